"""Should a trial stop here? Optuna's pruners over a study in memory that the ledger rebuilds.

A pruner's state (which rungs a trial has passed) must survive a crash, and its decision must not
depend on where in between a driver was killed. Kept in the stored study, a rung could be written
and the decision be lost. So the pruner works on a study in memory that is a function of the
ledger alone: after a crash the ledger's reports, in their order, lead to the same state and the
same decisions. It also serves studies with several objectives, for which Optuna takes no reports:
one declared metric is reported here.
"""

from typing import Literal

import optuna
from optuna.trial import TrialState


class Pruning:
    """A pruner and what has been reported to it.

    Args:
        pruner: Optuna's pruner.
        goal: ``maximize`` or ``minimize`` the reported values.
        study_name: Name of the stored study; Hyperband picks brackets by it.
    """

    def __init__(
        self,
        pruner: optuna.pruners.BasePruner,
        goal: Literal["maximize", "minimize"],
        study_name: str,
    ) -> None:
        self._study = optuna.create_study(
            study_name=study_name,
            direction=goal,
            pruner=pruner,
            sampler=optuna.samplers.RandomSampler(seed=0),  # never asked
            storage=optuna.storages.InMemoryStorage(),
        )
        self._num_created = 0
        self._open: dict[int, optuna.Trial] = {}

    def report(self, setting: int, value: float, step: int, *, may_prune: bool) -> bool:
        """Report a value; whether the setting should stop here.

        Args:
            setting: Optuna's trial number in the stored study.
            value: Finite.
            step: Epoch, or index of the seed or bin; each once for a setting.
            may_prune: Whether to ask at all; others are still compared with this setting.
        """
        trial = self._trial(setting)
        trial.report(value, step)
        # Some pruners answer with a numpy bool.
        should_prune = bool(trial.should_prune())
        return may_prune and should_prune

    def close(self, setting: int, value: float | None, *, pruned: bool = False) -> None:
        """Tell the end of a setting.

        Args:
            setting: Optuna's trial number in the stored study.
            value: Final value if it is complete, else None.
            pruned: Whether it was pruned; neither complete nor pruned is failed.
        """
        trial = self._trial(setting)
        del self._open[setting]
        if value is not None:
            self._study.tell(trial, value)
        else:
            state = TrialState.PRUNED if pruned else TrialState.FAIL
            self._study.tell(trial, state=state)

    def _trial(self, setting: int) -> optuna.Trial:
        # Numbers must be those of the stored study, as brackets follow from them.
        while self._num_created <= setting:
            trial = self._study.ask()
            self._open[trial.number] = trial
            self._num_created += 1
        return self._open[setting]
