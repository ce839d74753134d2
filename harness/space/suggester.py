"""Sources of the values of searched parameters: an Optuna trial, a random generator, a record.

An Optuna ``Trial`` is a :class:`Suggester`; nothing here imports Optuna.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Choice = None | bool | int | float | str
"""What Optuna can store as a category."""


class Suggester(Protocol):
    """The part of an Optuna trial that a space needs."""

    def suggest_categorical(self, name: str, choices: Sequence[Choice]) -> Choice:
        """One of the choices."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """A whole number from low to high, both included."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from low to high, both included."""


class RecordedSuggester:
    """Suggests the recorded parameters of a trial.

    Args:
        params: Optuna's parameters of the trial, by name.

    Attributes:
        num_read: How many parameters it has been asked for.

    Raises:
        KeyError: From every method, if the trial has no parameter of that name.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params
        self.num_read = 0

    def suggest_categorical(self, name: str, choices: Sequence[Choice]) -> Choice:
        """The recorded choice."""
        answer: Choice = self._read(name)
        return answer

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """The recorded number, inside the range or not."""
        return int(self._read(name))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """The recorded number, inside the range or not."""
        return float(self._read(name))

    def _read(self, name: str) -> Any:
        value = self._params[name]
        self.num_read += 1
        return value


class RandomSuggester:
    """Suggests from a random generator, uniformly or log-uniformly.

    Args:
        rng: Random generator.
        pinned: Name to the value to suggest in place of a drawn one.
    """

    def __init__(self, rng: random.Random, pinned: Mapping[str, Any] | None = None) -> None:
        self._rng = rng
        self._pinned = pinned or {}

    def suggest_categorical(self, name: str, choices: Sequence[Choice]) -> Choice:
        """One of the choices."""
        drawn = self._rng.choice(choices)
        answer: Choice = self._pinned.get(name, drawn)
        return answer

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """A whole number from low to high, both included."""
        return int(self._pinned.get(name, self._rng.randrange(low, high + 1, step)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from low to high, both included."""
        if step is not None:
            number = low + step * self._rng.randint(0, round((high - low) / step))
        elif log:
            number = math.exp(self._rng.uniform(math.log(low), math.log(high)))
        else:
            number = self._rng.uniform(low, high)
        return float(self._pinned.get(name, min(max(number, low), high)))
