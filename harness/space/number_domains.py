"""Domains of numbers that Optuna draws from a range: as drawn, in steps, or rounded."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from harness.space.suggester import Choice, Suggester


@dataclass(frozen=True)
class Continuous:
    """Real numbers from low to high."""

    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    log: bool = False
    """Whether the logarithm is uniform."""

    def suggest(self, name: str, suggester: Suggester) -> float:
        """Draw a number."""
        return suggester.suggest_float(name, self.low, self.high, log=self.log)

    def encode(self, name: str, value: Any) -> dict[str, Choice] | None:
        """The number itself."""
        is_inside = isinstance(value, int | float) and self.low <= value <= self.high
        return {name: float(value)} if is_inside else None

    def options(self) -> None:
        """None: they cannot be listed."""
        return

    def probes(self) -> Iterable[float]:
        """Both ends."""
        return (self.low, self.high)

    def describe(self) -> str:
        """The ends."""
        return f"from {self.low:g} to {self.high:g}{', log scale' if self.log else ''}"


@dataclass(frozen=True)
class Steps:
    """``low``, ``low + step`` and so on, all equally likely."""

    low: float
    """Smallest value; an int if the values are whole numbers."""
    step: float
    """Distance between two values, > 0; an int if the values are whole numbers."""
    last: int
    """Steps from the smallest value to the largest, >= 0."""

    def suggest(self, name: str, suggester: Suggester) -> float:
        """Draw a value."""
        low, high = self.probes()
        if isinstance(low, int) and isinstance(self.step, int):
            return suggester.suggest_int(name, low, int(high), step=self.step)
        return self._value(self._index(suggester.suggest_float(name, low, high, step=self.step)))

    def encode(self, name: str, value: Any) -> dict[str, Choice] | None:
        """The value itself."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        index = self._index(value)
        is_inside = 0 <= index <= self.last and self._value(index) == value
        return {name: self._value(index)} if is_inside else None

    def options(self) -> Iterable[float]:
        """The values, smallest first, computed on demand."""
        return map(self._value, range(self.last + 1))

    def probes(self) -> tuple[float, float]:
        """Both ends."""
        return (self._value(0), self._value(self.last))

    def describe(self) -> str:
        """The ends and the step."""
        low, high = self.probes()
        if isinstance(low, int) and self.step == 1:
            return f"whole number from {low} to {high}"
        return f"from {low} to {high} in steps of {self.step}"

    def _value(self, index: int) -> float:
        exact = Decimal(repr(self.low)) + Decimal(repr(self.step)) * index
        is_whole = isinstance(self.low, int) and isinstance(self.step, int)
        return int(exact) if is_whole else float(exact)

    def _index(self, value: float) -> int:
        return round((Decimal(repr(value)) - Decimal(repr(self.low))) / Decimal(repr(self.step)))


@dataclass(frozen=True)
class Rounded:
    """Real numbers from low to high, each rounded to the nearest multiple of a step.

    As in W&B, the first and the last multiple can lie beyond low and high, and are about half as
    likely as the others. Optuna is asked for the real number.
    """

    low: float
    """Smallest number before rounding."""
    high: float
    """Largest number before rounding."""
    step: float
    """Distance between two multiples, > 0; an int if the values are whole numbers."""
    log: bool = False
    """Whether the logarithm of the number is uniform."""

    def suggest(self, name: str, suggester: Suggester) -> float:
        """Draw a multiple."""
        drawn = suggester.suggest_float(name, self.low, self.high, log=self.log)
        return self._value(self._index(drawn))

    def encode(self, name: str, value: Any) -> dict[str, Choice] | None:
        """The number in the range that is nearest to the multiple."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        number = float(min(max(value, self.low), self.high))
        return {name: number} if self._value(self._index(number)) == value else None

    def options(self) -> Iterable[float]:
        """The multiples, smallest first, computed on demand."""
        return map(self._value, range(self._index(self.low), self._index(self.high) + 1))

    def probes(self) -> tuple[float, float]:
        """Smallest and largest multiple."""
        return (self._value(self._index(self.low)), self._value(self._index(self.high)))

    def describe(self) -> str:
        """The ends and the step."""
        kind = "whole number" if self.step == 1 else f"multiple of {self.step}"
        scale = ", log scale" if self.log else ""
        return f"{kind} nearest to a number from {self.low:g} to {self.high:g}{scale}"

    def _value(self, index: int) -> float:
        exact = Decimal(repr(self.step)) * index
        return int(exact) if isinstance(self.step, int) else float(exact)

    def _index(self, number: float) -> int:
        return round(Decimal(repr(number)) / Decimal(repr(self.step)))
