"""Distributions that Optuna lacks, as quantiles of a uniform number between 0 and 1.

Optuna draws from ranges and from equally likely categories only. Any other value is the quantile
of a number that Optuna draws uniformly, under the name ``<field>/quantile``; a sampler that learns
then learns about quantiles, as it learns about the logarithm of a log-uniform range.

Pure Python: a study file is checked before anything slow is imported, and importing scipy takes
longer than the rest of the check.
"""

import bisect
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from statistics import NormalDist
from typing import Any, Protocol

from harness.space.suggester import Choice, Suggester
from harness.yaml.text import described

EDGE = 1e-4
"""Share of each tail of a law that is left out: samplers like to try the ends of a range, and a
normal distribution has none. It is cut at 3.7 standard deviations."""

_DIGITS = 12
"""Significant digits of a drawn value: fewer than a float has, so that a baseline's value can be
recovered from its quantile as it was written."""

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


@dataclass(frozen=True)
class Drawn:
    """Values of a law: real numbers, or multiples of a step."""

    law: Law
    """Distribution."""
    step: float | None = None
    """Distance between two values, > 0; an int if they are whole numbers, None for real ones."""

    def suggest(self, name: str, suggester: Suggester) -> float:
        """Draw a value."""
        share = suggester.suggest_float(_quantile_name(name), EDGE, 1 - EDGE)
        return self._value(share)

    def encode(self, name: str, value: Any) -> dict[str, Choice] | None:
        """The quantile of the value; None if it does not lead back to exactly that value."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        share = min(max(self.law.share_below(value), EDGE), 1 - EDGE)
        return {_quantile_name(name): share} if self._value(share) == value else None

    def options(self) -> Iterable[float] | None:
        """The multiples, smallest first; None for real values."""
        if self.step is None:
            return None
        low, high = (round(Decimal(repr(end)) / Decimal(repr(self.step))) for end in self.probes())
        return map(self._multiple, range(low, high + 1))

    def probes(self) -> tuple[float, float]:
        """Both ends of the law, without its tails."""
        return (self._value(EDGE), self._value(1 - EDGE))

    def describe(self) -> str:
        """The law and its step."""
        step = "" if self.step is None else f", multiples of {self.step}"
        return f"{self.law.describe()}{step}"

    def _value(self, share: float) -> float:
        drawn = self.law.quantile(share)
        if self.step is None:
            return float(f"{drawn:.{_DIGITS}g}")
        index = Decimal(repr(drawn)) / Decimal(repr(self.step))
        return self._multiple(int(index.to_integral_value(ROUND_HALF_EVEN)))

    def _multiple(self, index: int) -> float:
        exact = Decimal(repr(self.step)) * index
        return int(exact) if isinstance(self.step, int) else float(exact)


@dataclass(frozen=True)
class Weighted:
    """Different values with a probability each."""

    values: tuple[Any, ...]
    """At least two values."""
    probabilities: tuple[float, ...]
    """Probability of each, > 0."""

    def suggest(self, name: str, suggester: Suggester) -> Any:
        """Draw a value."""
        share = suggester.suggest_float(_quantile_name(name), 0.0, 1.0)
        index = bisect.bisect_right(self._edges(), share)
        return self.values[min(index, len(self.values) - 1)]

    def encode(self, name: str, value: Any) -> dict[str, Choice] | None:
        """The middle of the value's part of [0, 1]."""
        if value not in self.values:
            return None
        index = self.values.index(value)
        edges = (0.0, *self._edges())
        return {_quantile_name(name): (edges[index] + edges[index + 1]) / 2}

    def options(self) -> Iterable[Any]:
        """The values as given."""
        return self.values

    def probes(self) -> Iterable[Any]:
        """The values as given."""
        return self.values

    def describe(self) -> str:
        """The values with their probabilities."""
        pairs = zip(self.values, self.probabilities, strict=True)
        parts = (f"{described(value)} ({probability:.3g})" for value, probability in pairs)
        return f"one of {', '.join(parts)}"

    def _edges(self) -> tuple[float, ...]:
        total = math.fsum(self.probabilities)
        return tuple(edge / total for edge in itertools.accumulate(self.probabilities))


def _quantile_name(name: str) -> str:
    return f"{name}/quantile"
