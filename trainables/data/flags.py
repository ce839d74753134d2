"""Checks that the joint flags of a Leeds file mean what its data set publishes.

Flag 1 means occluded in LSP and visible in LSPET, and the shape of a file does not show which it
holds. Each data set has one kind of joint that is rare if the flag is right:

========  ============================================  ==================
data set  joints that are counted                       as published
========  ============================================  ==================
LSP       flagged occluded                              2,044 of 28,000
LSPET     whose flag and coordinates contradict         6 of 140,000
========  ============================================  ==================

In LSPET flag 0 means that a joint has no coordinates: they are negative, (0, 0) or, in copies,
NaN.

The evidence that a count k of n joints gives against a file is how much likelier k is if the flag
means nothing (half of the joints counted; an inverted flag counts nearly all) than at the
published rate p:

    evidence = k ln(0.5 / p) + (n - k) ln(0.5 / (1 - p))     in nats

A limit on the share k / n would reject small parts of a sound file, where one joint is several
percent.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.data.problems import Problem

_DECISIVE_NATS = 2.4 * math.log(1e6)
"""A million to one. The joints of one person are flagged together, so counts vary 2.4 times as
much as those of independent joints (2.0 in LSP, 2.3 in LSPET), and the evidence must be larger by
that factor."""


@dataclass(frozen=True)
class _Rule:
    rate: float
    """Published share of the counted joints."""
    sentence: str
    """Message with the fields ``count`` and ``total``."""


_RULES = {
    "lsp": _Rule(
        2_044 / 28_000,
        "{count:,} of {total:,} joints are flagged occluded, but in lsp flag 1 means occluded and "
        "7 % of the joints have it; the flag may be inverted",
    ),
    "lspet": _Rule(
        6 / 140_000,
        "the flags of {count:,} of {total:,} joints contradict their coordinates: in lspet flag 1 "
        "means that a joint has coordinates and 0 that they are negative, (0, 0) or NaN; the flag "
        "may be inverted",
    ),
}


def flag_problems(name: str, joints: NDArray[np.float64]) -> list[Problem]:
    """Check the flags of all joints of a file.

    Args:
        name: ``lsp`` or ``lspet``.
        joints: (N, 14, 3) x, y and flag.

    Returns:
        No problem or one: flags other than 0 and 1, or flags with another meaning.
    """
    flags = joints[..., 2]
    is_other = (flags != 0) & (flags != 1)
    if is_other.any():
        values = ", ".join(f"{value:g}" for value in np.unique(flags[is_other])[:5])
        share = f"{int(is_other.sum()):,} of {flags.size:,}"
        return [Problem(f"{share} flags are neither 0 nor 1 but, for instance, {values}")]
    counted = flags == 1
    if name == "lspet":
        x_y = joints[..., :2]
        has_coordinates = (x_y >= 0).all(-1) & (x_y != 0).any(-1) & np.isfinite(x_y).all(-1)
        counted = counted != has_coordinates
    rule = _RULES[name]
    count, total = int(counted.sum()), counted.size
    evidence = count * math.log(0.5 / rule.rate) + (total - count) * math.log(
        0.5 / (1 - rule.rate)
    )
    if evidence <= _DECISIVE_NATS:
        return []
    return [Problem(rule.sentence.format(count=count, total=total))]
