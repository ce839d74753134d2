"""Writes to the trials of a stored study; each may be repeated after a crash."""

from collections.abc import Mapping

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from harness.optuna_study.optuna_private import live_trial, trial_id
from harness.optuna_study.outcomes import TrialOutcome
from harness.optuna_study.stored_study import Patience


class StoredTrials:
    """The trials of one stored study.

    Args:
        study: From :func:`harness.optuna_study.stored_study.open_study`.
        storage: The storage of it.
        patience: Makes the calls to the database.
    """

    def __init__(self, study: optuna.Study, storage: BaseStorage, patience: Patience) -> None:
        self._study = study
        self._storage = storage
        self._patience = patience
        # Optuna takes no reports for several objectives.
        self._takes_reports = len(study.directions) == 1

    def all(self) -> list[FrozenTrial]:
        """Every trial, by number."""
        return self._patience(self._study.get_trials, deepcopy=False)

    def reopen(self, frozen: FrozenTrial) -> optuna.Trial:
        """Resume a trial that is RUNNING or WAITING."""
        if frozen.state == TrialState.WAITING:
            self._set_state(frozen, TrialState.RUNNING)
        return self._patience(live_trial, self._study, frozen)

    def requeue(self, trial: optuna.Trial) -> None:
        """Let a trial wait until the study is resumed."""
        self._set_state(trial, TrialState.WAITING)

    def report(self, trial: optuna.Trial, reports: Mapping[int, float]) -> None:
        """Report values by step."""
        for step, value in reports.items() if self._takes_reports else ():
            self._patience(trial.report, value, step)

    def tell(self, trial: optuna.Trial, outcome: TrialOutcome) -> None:
        """Tell how a trial ended."""
        for name, value in outcome.constraints.items():
            self._patience(self._constrain, trial, name, value)
        if outcome.reason is not None:
            self._patience(trial.set_user_attr, "reason", outcome.reason)
        self._patience(
            self._study.tell, trial, outcome.values, state=outcome.state, skip_if_finished=True
        )

    def tell_duplicate(self, trial: optuna.Trial, original: int, outcome: TrialOutcome) -> None:
        """Give a trial the reports and the end of another."""
        if outcome.state == TrialState.PRUNED:  # the last report is its value
            self.report(trial, self.all()[original].intermediate_values)
        self.tell(trial, outcome)

    def note_duplicate(self, trial: optuna.Trial, original: int) -> None:
        """Mark a trial as the same configuration as another."""
        self._patience(trial.set_user_attr, "duplicate_of", original)

    def _constrain(self, trial: optuna.Trial, name: str, value: float) -> None:
        # Optuna takes a constraint once, and it may be there although the answer was lost.
        if name not in self._storage.get_trial(trial_id(trial)).constraints:
            trial.set_constraint(name, value)

    def _set_state(self, trial: optuna.Trial | FrozenTrial, state: TrialState) -> None:
        self._patience(self._storage.set_trial_state_values, trial_id(trial), state)
