"""Domains that are asked for as an even number between 0 and 1: laws and weighted categories.

Optuna draws from ranges and from equally likely categories only. Everything else is the quantile
of a number that it draws evenly, under the name ``<field>/quantile``; a sampler that learns then
learns about quantiles, as it would about the logarithm of a log-uniform range.
"""

import bisect
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from harness.language.quantiles import Law
from harness.language.suggester import Choice, Suggester
from harness.language.yaml_text import described

EDGE = 1e-4
"""Share of each tail of a law that is left out: a sampler likes to try the ends of a range, and
those of a normal distribution have no end. It is cut at 3.7 standard deviations."""

_DIGITS = 12
"""Significant digits of a drawn value: fewer than a float has, so that a baseline's value comes
back from its quantile as it was written."""


@dataclass(frozen=True)
class Drawn:
    """Values of a law, real or multiples of a step."""

    law: Law
    """Distribution."""
    step: float | None = None
    """Distance of two values, > 0; an int if the values are whole numbers, None for real ones."""

    def suggest(self, name: str, suggester: Suggester) -> float:
        """Draw a value."""
        share = suggester.suggest_float(_quantile_name(name), EDGE, 1 - EDGE)
        return self._value(share)

    def encode(self, name: str, value: Any) -> dict[str, Choice] | None:
        """The quantile of the value; None where it does not lead back to the value exactly."""
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
        """Both ends of what is left of the law."""
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
