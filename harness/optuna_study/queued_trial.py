"""A trial of Optuna that may have been queued with values, by the harness or by the user.

Anybody can queue a trial in the study's database with Optuna's ``enqueue_trial``. Optuna raises
for a category that there is not, takes a number outside its range with a warning, and leaves out
names that it is never asked for.
"""

from collections.abc import Sequence

import optuna

from harness.optuna_study.optuna_private import queued_params
from harness.space.suggester import Choice


class QueuedTrial:
    """Makes the suggestions of its trial, but refuses a queued value outside the space.

    Args:
        trial: A trial of the Optuna study.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial
        self._queued = queued_params(trial)
        self._known = dict(trial.params)  # taken by an earlier driver

    def suggest_categorical(self, name: str, choices: Sequence[Choice]) -> Choice:
        """One of the choices.

        Raises:
            ValueError: If another value was queued.
        """
        if self._is_new(name) and self._queued[name] not in choices:
            raise self._problem(name, f"one of {', '.join(map(repr, choices))}")
        answer: Choice = self._trial.suggest_categorical(name, choices)
        return answer

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """A whole number from low to high, both included.

        Raises:
            ValueError: If another value was queued.
        """
        self._check_number(name, low, high, step)
        return self._trial.suggest_int(name, low, high, step=step)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from low to high, both included.

        Raises:
            ValueError: If another value was queued.
        """
        self._check_number(name, low, high, step)
        return self._trial.suggest_float(name, low, high, step=step, log=log)

    def check_names(self) -> None:
        """Check that the space has asked for everything that was queued.

        Raises:
            ValueError: If not; names what is left.
        """
        left = sorted(set(self._queued) - set(self._trial.params))
        if left:
            raise ValueError(
                f"it was queued with {', '.join(left)}, which is no parameter, or none that "
                "exists with these values of the others"
            )

    def _is_new(self, name: str) -> bool:
        return name in self._queued and name not in self._known

    def _check_number(self, name: str, low: float, high: float, step: float | None) -> None:
        if not self._is_new(name):
            return
        value = self._queued[name]
        is_inside = isinstance(value, int | float) and low <= value <= high
        if is_inside and step is not None:
            steps = (value - low) / step
            is_inside = abs(steps - round(steps)) < 1e-8
        if not is_inside:
            steps_of = "" if step in (None, 1) else f" in steps of {step:g}"
            raise self._problem(name, f"a number from {low:g} to {high:g}{steps_of}")

    def _problem(self, name: str, allowed: str) -> ValueError:
        return ValueError(
            f"it was queued with {name} = {self._queued[name]!r}; allowed is {allowed}"
        )
