"""Pacing functions: how much of the ordered data is active at a time of training.

Notation: u in [0, 1] progress of training, b start fraction, a the progress at which all data
is active, t = min(u / a, 1).
    linear             b + (1 - b) t
    root               sqrt(b^2 + (1 - b^2) t)
    step               round(1 / b) equal levels from b to 1, evenly spread over [0, a]
    fixed_exponential  b * 1.9^i, growth i evenly spread so that 1 is reached at a
linear, root: Wu et al. 2021; fixed_exponential: Hacohen and Weinshall 2019, whose growth
factor is 1.9. step with b = 1/3, a = 2/3 is the paper's VAE-CL: easy, easy and medium, all.
"""

import math

GROWTH = 1.9
_EPSILON = 1e-9


def active_fraction(pacing: str, progress: float, start_fraction: float, full_at: float) -> float:
    """Fraction of the samples, easiest first, that training may draw from.

    Args:
        pacing: ``linear``, ``root``, ``step`` or ``fixed_exponential``.
        progress: Share of the training done, in [0, 1].
        start_fraction: b in (0, 1].
        full_at: a in (0, 1].

    Returns:
        Fraction in [start_fraction, 1]; never falls as progress rises.

    Raises:
        ValueError: On an unknown pacing or a number out of range.
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must be in [0, 1], got {progress}")
    if not (0 < start_fraction <= 1 and 0 < full_at <= 1):
        raise ValueError(
            f"start_fraction and full_at must be in (0, 1], got {start_fraction} and {full_at}"
        )
    b, t = start_fraction, min(progress / full_at, 1.0)
    match pacing:
        case "linear":
            fraction = b + (1 - b) * t
        case "root":
            fraction = math.sqrt(b * b + (1 - b * b) * t)
        case "step":
            levels = max(round(1 / b), 1 if b == 1 else 2)
            level = math.floor(t * (levels - 1) + _EPSILON)
            fraction = b + (1 - b) * level / (levels - 1) if levels > 1 else 1.0
        case "fixed_exponential":
            growths = math.ceil(math.log(1 / b) / math.log(GROWTH) - _EPSILON)
            fraction = b * GROWTH ** math.floor(t * growths + _EPSILON)
        case _:
            raise ValueError(
                f"pacing must be linear, root, step or fixed_exponential, got {pacing!r}"
            )
    return 1.0 if t == 1 else min(fraction, 1.0)  # exactly 1, however b rounds
