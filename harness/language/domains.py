"""What a searched parameter can be, and how Optuna is asked for it.

Every domain answers the same questions: draw a value from a :class:`Suggester`, encode a value
as Optuna parameters, list the values of a grid, name the values worth probing. Pure: an Optuna
``Trial`` is a :class:`Suggester`, but Optuna is not imported.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Protocol

from harness.language.parameters import MAX_ITEMS
from harness.language.suggester import Choice, Suggester


class Domain(Protocol):
    """What one parameter can be; values are hashable."""

    def suggest(self, name: str, suggester: Suggester) -> Any:
        """Draw a value."""

    def encode(self, name: str, value: Any) -> dict[str, Choice] | None:
        """Optuna parameters that make :meth:`suggest` return the value; None if none do."""

    def options(self) -> Iterable[Any] | None:
        """Every value once, in order; None for a continuous range."""

    def probes(self) -> Iterable[Any]:
        """Values that a check should visit: each category, both ends of a range."""

    def describe(self) -> str:
        """The domain in a few words."""


@dataclass(frozen=True)
class Categorical:
    """Different values without an order; a single one is never asked for.

    Lists, which Optuna cannot store, are asked for as JSON text.
    """

    values: tuple[Any, ...]
    """At least one value."""

    def suggest(self, name: str, suggester: Suggester) -> Any:
        """Draw a value, each as likely as the others."""
        if len(self.values) == 1:
            return self.values[0]
        labels = [_label(value) for value in self.values]
        return self.values[labels.index(suggester.suggest_categorical(name, labels))]

    def encode(self, name: str, value: Any) -> dict[str, Choice] | None:
        """The label of the value."""
        if value not in self.values:
            return None
        stored = self.values[self.values.index(value)]
        return {} if len(self.values) == 1 else {name: _label(stored)}

    def options(self) -> Iterable[Any]:
        """The values as given."""
        return self.values

    def probes(self) -> Iterable[Any]:
        """The values as given."""
        return self.values

    def describe(self) -> str:
        """The values, or that there is only one."""
        if len(self.values) == 1:
            return f"always {_written(self.values[0])}"
        return f"one of {', '.join(map(_written, self.values))}"


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
        """None: there is no end of them."""
        return

    def probes(self) -> Iterable[float]:
        """Both ends."""
        return (self.low, self.high)

    def describe(self) -> str:
        """The ends."""
        return f"from {self.low:g} to {self.high:g}{', log scale' if self.log else ''}"


@dataclass(frozen=True)
class Multiples:
    """Multiples of a step, from ``first * step`` to ``last * step``; whole numbers for step 1.

    With ``log`` and a step other than 1, Optuna has no such distribution: it is asked for a real
    number, which is rounded to the nearest multiple.
    """

    step: float
    """Distance of two values, > 0; an int if and only if the values are whole numbers."""
    first: int
    """Index of the smallest value."""
    last: int
    """Index of the largest value."""
    log: bool = False
    """Whether the logarithm is uniform."""

    @classmethod
    def within(cls, low: float, high: float, step: float, log: bool) -> "Multiples":
        """The multiples of a step from low to high; ``last < first`` if there are none."""
        first = (Decimal(repr(low)) / Decimal(repr(step))).to_integral_value(ROUND_CEILING)
        last = (Decimal(repr(high)) / Decimal(repr(step))).to_integral_value(ROUND_FLOOR)
        return cls(step, int(first), int(last), log)

    def suggest(self, name: str, suggester: Suggester) -> float:
        """Draw a multiple."""
        low, high = self.probes()
        if isinstance(self.step, int) and (self.step == 1 or not self.log):
            return suggester.suggest_int(name, int(low), int(high), step=self.step, log=self.log)
        if self.log:
            drawn = suggester.suggest_float(name, low, high, log=True)
        else:
            drawn = suggester.suggest_float(name, low, high, step=self.step)
        return self._value(self._index(drawn))

    def encode(self, name: str, value: Any) -> dict[str, Choice] | None:
        """The multiple itself."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        index = self._index(value)
        is_inside = self.first <= index <= self.last and self._value(index) == value
        return {name: self._value(index)} if is_inside else None

    def options(self) -> Iterable[float]:
        """The multiples, smallest first, computed on demand."""
        return map(self._value, range(self.first, self.last + 1))

    def probes(self) -> tuple[float, float]:
        """Both ends."""
        return (self._value(self.first), self._value(self.last))

    def describe(self) -> str:
        """The ends and the step."""
        kind = "whole number" if self.step == 1 else f"multiple of {self.step}"
        low, high = self.probes()
        return f"{kind} from {low} to {high}{', log scale' if self.log else ''}"

    def _value(self, index: int) -> float:
        exact = Decimal(repr(self.step)) * index
        return int(exact) if isinstance(self.step, int) else float(exact)

    def _index(self, value: float) -> int:
        return round(Decimal(repr(value)) / Decimal(repr(self.step)))


@dataclass(frozen=True)
class Subset:
    """Some of a few items; one boolean per item is asked for, ``bins.subset/b03`` for item 3.

    A drawn pattern with too few or too many items is repaired, see :func:`repair`.
    """

    items: tuple[int, ...]
    """Items to choose from, all different."""
    min: int
    """Fewest items chosen."""
    max: int
    """Most items chosen."""

    def suggest(self, name: str, suggester: Suggester) -> tuple[int, ...]:
        """Draw a subset, sorted."""
        pattern = [
            bool(suggester.suggest_categorical(_item_name(name, item), (False, True)))
            for item in self.items
        ]
        kept = repair(pattern, self.min, self.max)
        return tuple(sorted(itertools.compress(self.items, kept)))

    def encode(self, name: str, value: Any) -> dict[str, Choice] | None:
        """One boolean per item."""
        is_possible = (
            isinstance(value, tuple)
            and set(value) <= set(self.items)
            and self.min <= len(value) <= self.max
        )
        if not is_possible:
            return None
        return {_item_name(name, item): item in value for item in self.items}

    def options(self) -> Iterable[tuple[int, ...]]:
        """Subsets of every allowed size, smallest first, computed on demand."""
        sizes = range(self.min, min(self.max, len(self.items)) + 1)
        return itertools.chain.from_iterable(
            itertools.combinations(sorted(self.items), size) for size in sizes
        )

    def probes(self) -> Iterable[tuple[int, ...]]:
        """A smallest and a largest subset."""
        items = tuple(sorted(self.items))
        return (items[: self.min], items[-self.max :])

    def describe(self) -> str:
        """The sizes and the items."""
        items = ", ".join(map(str, sorted(self.items)))
        return f"{_sizes(self.min, self.max)} of the items {items}"


@dataclass(frozen=True)
class CountedSubset:
    """A subset of 0 to count - 1, where another field of the same trial is the count."""

    count_name: str
    """Field that counts the items."""
    min: int
    """Fewest items chosen."""
    max: int | None
    """Most items chosen; None for all."""

    def at(self, count: int) -> Subset:
        """The subset for a known count, of which at most :data:`MAX_ITEMS` are used."""
        count = min(count, MAX_ITEMS)
        most = count if self.max is None else min(self.max, count)
        return Subset(tuple(range(count)), min(self.min, count), most)

    def describe(self) -> str:
        """The sizes and the count."""
        sizes = f"{self.min} or more" if self.max is None else _sizes(self.min, self.max)
        return f"{sizes} of the {self.count_name} items"


def repair(pattern: Sequence[bool], minimum: int, maximum: int) -> tuple[bool, ...]:
    """The pattern with as few items flipped as give it from minimum to maximum true ones.

    Which items are flipped follows from a SHA-256 of the pattern: always the same ones for the
    same pattern, and over all patterns no position more often than another.

    Args:
        pattern: Whether each item is in.
        minimum: Fewest true items, at most ``len(pattern)``.
        maximum: Most true items, at least ``minimum``.
    """
    bits = "".join("1" if is_in else "0" for is_in in pattern)
    repaired = list(pattern)
    order = sorted(
        range(len(bits)), key=lambda item: hashlib.sha256(f"{bits}:{item}".encode()).digest()
    )
    excess = sum(repaired) - maximum
    shortage = minimum - sum(repaired)
    for item in order:
        if repaired[item] and excess > 0:
            repaired[item], excess = False, excess - 1
        elif not repaired[item] and shortage > 0:
            repaired[item], shortage = True, shortage - 1
    return tuple(repaired)


def _item_name(name: str, item: int) -> str:
    return f"{name}/b{item:02d}"


def _label(value: Any) -> Choice:
    label: Choice = json.dumps(value) if isinstance(value, tuple) else value
    return label


def _written(value: Any) -> str:
    if value is None:
        return "null"
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _sizes(fewest: int, most: int) -> str:
    return f"{fewest}" if fewest == most else f"{fewest} to {most}"
