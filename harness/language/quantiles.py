"""Distributions that Optuna lacks, as quantile functions in pure Python.

A value of such a distribution is the quantile of a number that Optuna draws evenly between 0 and
1. Pure Python, as a study file is checked before anything slow is imported; scipy takes longer
than everything else of that check.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

_TERMS = 500
"""Most terms of the continued fraction; it needs about the square root of the larger shape."""
_TINY = 1e-300
_HALVINGS = 80


class Law(Protocol):
    """A distribution of real numbers."""

    def quantile(self, share: float) -> float:
        """The value below which a share in (0, 1) of the distribution lies."""

    def share_below(self, value: float) -> float:
        """The share of the distribution below a value, in [0, 1]."""

    def describe(self) -> str:
        """The distribution in a few words."""


@dataclass(frozen=True)
class Normal:
    """Normal distribution."""

    mu: float
    """Mean."""
    sigma: float
    """Standard deviation, > 0."""

    def quantile(self, share: float) -> float:
        """The value below which a share in (0, 1) lies."""
        return NormalDist(self.mu, self.sigma).inv_cdf(share)

    def share_below(self, value: float) -> float:
        """The share below a value."""
        return NormalDist(self.mu, self.sigma).cdf(value)

    def describe(self) -> str:
        """Mean and deviation."""
        return f"normal with mean {self.mu:g} and deviation {self.sigma:g}"


@dataclass(frozen=True)
class LogNormal:
    """Distribution whose logarithm is normal."""

    mu: float
    """Mean of the logarithm."""
    sigma: float
    """Standard deviation of the logarithm, > 0."""

    def quantile(self, share: float) -> float:
        """The value below which a share in (0, 1) lies; infinite if it is beyond all numbers."""
        try:
            return math.exp(Normal(self.mu, self.sigma).quantile(share))
        except OverflowError:
            return math.inf

    def share_below(self, value: float) -> float:
        """The share below a value."""
        return Normal(self.mu, self.sigma).share_below(math.log(value)) if value > 0 else 0.0

    def describe(self) -> str:
        """Mean and deviation of the logarithm."""
        return f"log-normal with mean {self.mu:g} and deviation {self.sigma:g} of the logarithm"


@dataclass(frozen=True)
class Beta:
    """Beta distribution on [0, 1].

    Example:
        >>> round(Beta(2, 1).quantile(0.25), 9)  # the share below x is x ** 2
        0.5
    """

    a: float
    """First shape, > 0: the larger, the more mass near 1."""
    b: float
    """Second shape, > 0."""

    def quantile(self, share: float) -> float:
        """The value below which a share in (0, 1) lies, by bisection."""
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if self.share_below(middle) < share:
                low = middle
            else:
                high = middle
        return (low + high) / 2

    def share_below(self, value: float) -> float:
        """The regularised incomplete beta function I_x(a, b).

        The continued fraction (DLMF 8.17.22) converges fast below the mean; above it, the
        symmetry I_x(a, b) = 1 - I_(1 - x)(b, a) is used.
        """
        if not 0 < value < 1:
            return 0.0 if value <= 0 else 1.0
        if value > (self.a + 1) / (self.a + self.b + 2):
            return 1 - Beta(self.b, self.a).share_below(1 - value)
        a, b = self.a, self.b
        log_front = (
            math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
            + a * math.log(value) + b * math.log1p(-value)
        )  # fmt: skip
        return math.exp(log_front) / (a * _fraction(a, b, value))

    def describe(self) -> str:
        """The shapes."""
        return f"beta with shapes {self.a:g} and {self.b:g}"


def _fraction(a: float, b: float, x: float) -> float:
    """``1 + d1 / (1 + d2 / (1 + ...))`` of DLMF 8.17.22, by Lentz's method."""
    value, upper, lower = 1.0, 1.0, 0.0
    for index in range(1, _TERMS):
        m = index // 2
        if index % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1 / ((1 + term * lower) or _TINY)
        upper = (1 + term / upper) or _TINY
        value *= upper * lower
        if abs(upper * lower - 1) < 1e-15:
            break
    return value
