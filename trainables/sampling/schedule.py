"""Pacing functions: the fraction of the ordered data that is active at a point of training.

Notation: u in [0, 1] progress of training, b start fraction, a the progress at which all data
is active, t = min(u / a, 1).
    linear             b + (1 - b) t
    quadratic          b + (1 - b) t^2
    root               b + (1 - b) sqrt(t)
    exponential        b + (1 - b) (e^(10 t) - 1) / (e^10 - 1)
    log                b + (1 - b) (1 + ln(t + e^-10) / 10)
    step               round(1 / b) equal levels from b to 1, evenly spread over [0, a]
    fixed_exponential  b * 1.9^i, growth i evenly spread so that 1 is reached at a
All are clipped to [b, 1]. Halfway to a, the active share of the remaining 1 - b is 0.7 % with
exponential, 25 % with quadratic, 50 % with linear, 71 % with root and 93 % with log.

Sources: Wu, Dyer and Neyshabur, "When do curricula work?" (2021), for the first six: function
``get_pacing_function`` in ``utils/utils.py`` of google-research/understanding-curricula at commit
3d5cccb9. Hacohen and Weinshall, "On the power of curriculum learning" (2019), for the last, whose
growth factor is 1.9. step with b = 1/3, a = 2/3 is the paper's VAE-CL: easy, easy and medium, all.
Differs from the references: Wu et al.'s step has two levels, b and 1, as ours does from b = 0.4
on; their step and log exceed 1 at the end, which is clipped here. Hacohen and Weinshall choose the
time between two growths; here it follows from a.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

GROWTH = 1.9
_STEEPNESS = 10.0  # of exponential and log, fixed by Wu et al.
_MAX_LEVELS = 1_000_000  # the largest number of samples: more levels would be empty
_EPSILON = 1e-9

# Active share of the remaining 1 - b at t in [0, 1].
_SHAPES: dict[str, Callable[[float], float]] = {
    "linear": lambda t: t,
    "quadratic": lambda t: t * t,
    "root": math.sqrt,
    "exponential": lambda t: math.expm1(_STEEPNESS * t) / math.expm1(_STEEPNESS),
    "log": lambda t: 1 + math.log(t + math.exp(-_STEEPNESS)) / _STEEPNESS,
}
_STEPWISE = ("step", "fixed_exponential")
PACINGS = (*_SHAPES, *_STEPWISE)
"""Names of the pacing functions."""


@dataclass(frozen=True)
class Levels:
    """Rising fractions from b to exactly 1: the sizes that a stepwise pacing passes through.

    Example:
        >>> list(Levels("step", 0.25))
        [0.25, 0.5, 0.75, 1.0]
        >>> list(Levels("fixed_exponential", 0.25))
        [0.25, 0.475, 0.9025, 1.0]
    """

    pacing: str
    """A continuous pacing has the levels of ``step``."""
    start_fraction: float
    """b in (0, 1]."""

    def __len__(self) -> int:
        b = self.start_fraction
        if self.pacing == "fixed_exponential":
            return 1 + math.ceil(math.log(1 / b) / math.log(GROWTH) - _EPSILON)
        return max(round(min(1 / b, _MAX_LEVELS)), 1 if b == 1 else 2)

    def __getitem__(self, index: int) -> float:
        last, b = len(self) - 1, self.start_fraction
        if not 0 <= index <= last:
            raise IndexError(f"index must be from 0 to {last}, got {index}")
        if index == last:
            return 1.0  # exactly, however b rounds
        if self.pacing == "fixed_exponential":
            return min(b * GROWTH**index, 1.0)
        return b + (1 - b) * index / last


def active_fraction(pacing: str, progress: float, start_fraction: float, full_at: float) -> float:
    """Fraction of the samples, counted from the start of the order, that is active.

    Args:
        pacing: One of :data:`PACINGS`.
        progress: Share of the training done, in [0, 1].
        start_fraction: b in (0, 1].
        full_at: a in (0, 1].

    Returns:
        Fraction in [start_fraction, 1]; never falls as progress rises.

    Raises:
        ValueError: On an unknown pacing or a number out of range.
    """
    if pacing not in PACINGS:
        raise ValueError(f"pacing must be one of {', '.join(PACINGS)}, got {pacing!r}")
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must be in [0, 1], got {progress}")
    if not (0 < start_fraction <= 1 and 0 < full_at <= 1):
        raise ValueError(
            f"start_fraction and full_at must be in (0, 1], got {start_fraction} and {full_at}"
        )
    b, t = start_fraction, min(progress / full_at, 1.0)
    if t == 1:
        return 1.0  # exactly, however b rounds
    if pacing in _STEPWISE:
        levels = Levels(pacing, b)
        # 3 / 5 / 0.8 * 4 is a little less than 3
        fraction = levels[math.floor(t * (len(levels) - 1) + _EPSILON)]
    else:
        fraction = b + (1 - b) * _SHAPES[pacing](t)
    return min(max(fraction, b), 1.0)
