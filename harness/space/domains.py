"""What a searched parameter can be, and how Optuna is asked for it.

Every domain can draw a value from a :class:`Suggester`, encode a value as Optuna parameters, list
the values of a grid and name those that a check should visit. An Optuna ``Trial`` is a
:class:`Suggester`; Optuna is not imported.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.space.parameters import MAX_ITEMS
from harness.space.suggester import Choice, Suggester
from harness.yaml.text import described


class Domain(Protocol):
    """What one parameter can be; values are hashable."""

    def suggest(self, name: str, suggester: Suggester) -> Any:
        """Draw a value."""

    def encode(self, name: str, value: Any) -> dict[str, Choice] | None:
        """Optuna parameters with which :meth:`suggest` returns the value; None if none do."""

    def options(self) -> Iterable[Any] | None:
        """Every value once, in order; None for a continuous range."""

    def probes(self) -> Iterable[Any]:
        """Values that a check should visit: each category, both ends of a range."""

    def describe(self) -> str:
        """The domain in a few words."""


@dataclass(frozen=True)
class Categorical:
    """Different values without an order; Optuna is not asked for a single one.

    Lists, which Optuna cannot store, become JSON text.
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
            return f"always {described(self.values[0])}"
        return f"one of {', '.join(map(described, self.values))}"


@dataclass(frozen=True)
class Subset:
    """Some of a few items. Optuna is asked one boolean per item, ``bins.subset/b03`` for item 3.

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
    """A subset of the items 0 to count - 1; another field of the trial is the count."""

    count_name: str
    """Field that counts the items."""
    min: int
    """Fewest items chosen."""
    max: int | None
    """Most items chosen; None for all."""

    def at(self, count: int) -> Subset:
        """The subset for a known count; at most :data:`MAX_ITEMS` of the items are used."""
        count = min(count, MAX_ITEMS)
        most = count if self.max is None else min(self.max, count)
        return Subset(tuple(range(count)), min(self.min, count), most)

    def describe(self) -> str:
        """The sizes and the count."""
        sizes = f"{self.min} or more" if self.max is None else _sizes(self.min, self.max)
        return f"{sizes} of the {self.count_name} items"


def repair(pattern: Sequence[bool], minimum: int, maximum: int) -> tuple[bool, ...]:
    """Flip as few items of a pattern as leave it with minimum to maximum true ones.

    The SHA-256 of the pattern decides which: always the same items for the same pattern, and over
    all patterns no position more often than another.

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


def _sizes(fewest: int, most: int) -> str:
    return f"{fewest}" if fewest == most else f"{fewest} to {most}"
