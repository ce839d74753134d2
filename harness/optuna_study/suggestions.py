"""The next configuration: given ones first, then the sampler's, none of them twice."""

import hashlib
import itertools
import json
import math
import random
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from harness.optuna_study.optuna_private import live_trial, requeue
from harness.optuna_study.queued_trial import QueuedTrial
from harness.optuna_study.stored_study import Patience
from harness.record.ledger import RunRecord, searched_fields
from harness.space.suggester import RandomSuggester
from harness.spec import StudySpec
from trainables.config import TrialConfig, absolute_paths

MAX_DUPLICATES = 100
"""After so many known suggestions in a row, a space that cannot be listed counts as exhausted."""
PATIENT_DUPLICATES = 10
"""After so many in a row, an untried one is taken from a space that can be listed."""


@dataclass
class _Slot:
    """A configuration that is not left to the sampler: a baseline, a grid point, a retry."""

    key: str
    params: dict[str, Any]
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Suggestion:
    """A trial of Optuna and the configuration that it stands for.

    Attributes:
        trial: Its parameters have been asked for.
        fields: Flat fields of its config; of its first seed.
        baseline: Name of the baseline it is.
        retry_of: Failed trial that it tries again.
        error: Why it is no valid configuration.
        duplicate_of: Earlier trial with the same configuration.
        is_noted: Whether the trial is marked as a duplicate already.
        params: Optuna's parameters.
    """

    trial: optuna.Trial
    fields: dict[str, Any]
    baseline: str | None
    retry_of: int | None
    error: str | None
    duplicate_of: int | None
    is_noted: bool
    params: dict[str, Any]


class Suggestions:
    """Where the next configuration comes from.

    Args:
        study: From :func:`harness.optuna_study.stored_study.open_study`.
        spec: The study.
        patience: Makes the calls to the database.
    """

    def __init__(self, study: optuna.Study, spec: StudySpec, patience: Patience) -> None:
        self._study = study
        self._spec = spec
        self._space = spec.space
        self._patience = patience
        self._max_trials = spec.max_trials
        self._slots: deque[_Slot] = deque()
        self._known: dict[str, int] = {}
        self._handed_out: set[int] = set()
        self._end = 0
        self._num_asked = 0
        self._num_waiting = 0
        self._num_repeated = 0
        self._num_points = math.inf if (points := self._space.points()) is None else len(points)
        self._untried: dict[str, dict[str, Any]] | None = None

    def restore(self, trials: Iterable[FrozenTrial], first_runs: Mapping[int, RunRecord]) -> None:
        """Take over what has been asked before.

        Args:
            trials: All of the study.
            first_runs: Trial number to the run of its first seed.
        """
        taken = set()
        for trial in trials:
            attributes = trial.user_attrs
            taken.add(attributes.get("slot"))
            self._end = trial.number + 1
            if trial.state == TrialState.WAITING and trial.number not in first_runs:
                self._num_waiting += 1  # queued, not asked for yet
                continue
            self._handed_out.add(trial.number)
            self._num_repeated = self._num_repeated + 1 if "duplicate_of" in attributes else 0
            if not {"duplicate_of", "retry_of"} & set(attributes):
                self._num_asked += 1
        for number, record in first_runs.items():
            self._known.setdefault(_digest(record.fields), number)
        self._slots.extend(slot for slot in self._given() if slot.key not in taken)

    def queue_retries(self, trials: Iterable[FrozenTrial]) -> int:
        """Queue every failed trial that has not been tried again; returns how many."""
        trials = list(trials)
        retried = {trial.user_attrs.get("retry_of") for trial in trials}
        failed = [
            trial
            for trial in trials
            if trial.state == TrialState.FAIL
            and trial.number not in retried
            and "duplicate_of" not in trial.user_attrs
        ]
        for trial in reversed(failed):
            kept = {k: v for k, v in trial.user_attrs.items() if k in ("baseline", "overrides")}
            attributes = {**kept, "retry_of": trial.number}
            self._slots.appendleft(_Slot(f"retry/{trial.number}", trial.params, attributes))
        return len(failed)

    @property
    def is_exhausted(self) -> bool:
        """Whether no baseline is left and the space holds no further configuration."""
        if self._slots:
            return False
        return self._num_repeated >= MAX_DUPLICATES or (
            len(self._known) >= self._num_points and not self._untried_points()
        )

    @property
    def has_more(self) -> bool:
        """Whether another trial may be asked for."""
        if self._slots and "retry_of" in self._slots[0].attributes:
            return True
        has_room = self._max_trials is None or self._num_asked < self._max_trials
        return has_room and not self.is_exhausted

    def _untried_points(self) -> dict[str, dict[str, Any]]:
        """Optuna parameters of the configurations that are left of a space that can be listed."""
        if self._untried is None:
            self._untried = {}
            for params in self._space.points() or ():
                point = self._space.suggest(RandomSuggester(random.Random(0), params))
                with suppress(ValueError):  # no valid trial
                    self._untried.setdefault(_digest(_fields(point)), params)
        self._untried = {key: p for key, p in self._untried.items() if key not in self._known}
        return self._untried

    def ask(self) -> Suggestion:
        """Ask Optuna for a trial."""
        if self._num_waiting:
            self._num_waiting -= 1
        elif self._slots:
            # Queued just before it is asked for, as a queue of ten thousand takes minutes.
            self._enqueue(self._slots.popleft())
        elif self._num_repeated >= PATIENT_DUPLICATES and (untried := self._untried_points()):
            self._enqueue(_Slot(f"untried/{self._end}", next(iter(untried.values()))))
        trial = self._new_trial()
        suggestion = self.read(trial)
        if suggestion.retry_of is None and not suggestion.is_noted:
            self._num_asked += 1
        return suggestion

    def _enqueue(self, slot: _Slot) -> None:
        attributes = {"slot": slot.key, **slot.attributes}
        attempts = itertools.count()

        def enqueue() -> None:
            if next(attempts) == 0 or not self._has_slot(slot.key):
                self._study.enqueue_trial(slot.params, user_attrs=attributes)

        self._patience(enqueue)

    def _has_slot(self, key: str) -> bool:
        trials = self._study.get_trials(deepcopy=False)
        return any(trial.user_attrs.get("slot") == key for trial in trials)

    def _new_trial(self) -> optuna.Trial:
        """Ask Optuna for a trial, but first take one whose answer was lost.

        Such a trial would stay RUNNING for ever. Optuna's storage makes another one by itself if
        it gets no answer, so a gap in the numbers is a sign of it too.
        """
        attempts = itertools.count()

        def ask() -> optuna.Trial:
            lost = self._lost_trial() if next(attempts) > 0 or self._has_gap else None
            if lost is not None:
                return live_trial(self._study, lost)
            trial = self._study.ask()
            self._end = max(self._end, trial.number + 1)
            lost = self._lost_trial() if trial.number > len(self._handed_out) else None
            if lost is None or lost.number == trial.number:
                return trial
            requeue(self._study, trial)
            self._num_waiting += 1
            return live_trial(self._study, lost)

        trial = self._patience(ask)
        self._handed_out.add(trial.number)
        self._end = max(self._end, trial.number + 1)
        return trial

    @property
    def _has_gap(self) -> bool:
        return len(self._handed_out) + self._num_waiting < self._end

    def _lost_trial(self) -> FrozenTrial | None:
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return next((trial for trial in running if trial.number not in self._handed_out), None)

    def read(self, trial: optuna.Trial) -> Suggestion:
        """The configuration of a trial; parameters that it does not have yet are asked for.

        Optuna's parameters may encode the values that are trained: these become attributes of
        the trial, under the names of the fields.
        """
        attributes = self._patience(lambda: trial.user_attrs)
        overrides = json.loads(attributes.get("overrides", "{}"))
        suggested = dict(self._spec.fixed)
        retry_of, error, original = attributes.get("retry_of"), None, trial.number
        queued = QueuedTrial(trial)
        try:
            suggested = self._patience(self._space.suggest, queued, overrides)
            queued.check_names()
            fields = _fields(suggested)
        except ValueError as invalid:
            # The check at load draws a sample only, which may have missed this combination.
            fields, error = {**TrialConfig().to_flat(), **suggested}, str(invalid)
        else:
            digest = _digest(fields)
            if retry_of is not None:
                self._known[digest] = trial.number
            original = self._known.setdefault(digest, trial.number)
        params = self._patience(lambda: trial.params)
        for name, value in searched_fields(params, fields).items():
            if attributes.get(name) != value:
                self._patience(trial.set_user_attr, name, value)
        is_duplicate, is_noted = original != trial.number, "duplicate_of" in attributes
        if not is_duplicate:
            self._num_repeated = 0
        elif not is_noted:
            self._num_repeated += 1
            self._num_asked -= 1  # it was counted as a trial of its own
        return Suggestion(
            trial=trial,
            fields=fields,
            baseline=attributes.get("baseline"),
            retry_of=retry_of,
            error=error,
            duplicate_of=original if is_duplicate else None,
            is_noted=is_noted,
            params=params,
        )

    def _given(self) -> Iterable[_Slot]:
        for baseline in self._space.baselines():
            attributes = {"baseline": baseline.name, "overrides": json.dumps(baseline.overrides)}
            yield _Slot(f"baseline/{baseline.name}", baseline.enqueue, attributes)
        if self._spec.method == "grid":
            for index, params in enumerate(self._space.grid()):
                yield _Slot(f"grid/{index}", params)


def _fields(suggested: Mapping[str, Any]) -> dict[str, Any]:
    """All fields of a configuration, flat.

    Raises:
        ValueError: If it is not valid.
    """
    return absolute_paths(TrialConfig.from_flat(suggested).to_flat())


def _digest(fields: Mapping[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()
