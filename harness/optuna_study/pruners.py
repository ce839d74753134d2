"""Whether a trial should stop: Optuna's pruners on in-memory studies that the ledger rebuilds.

A pruner's state (which rungs a trial has passed) and its decisions must survive a crash. Kept in
the stored study, a rung could be written and the decision lost. So the pruners work on in-memory
studies that follow from the ledger alone: after a crash, its reports in their order lead to the
same state and the same decisions. They also serve studies with several objectives, for which
Optuna takes no reports: one declared metric is reported here.

hyperband_brackets runs one successive halving for each bracket, each in a study of its own.
Optuna's class hashes the number of every trial to find its bracket whenever one trial reaches a
rung: 13 ms of every report at three thousand trials.
"""

import binascii
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import optuna
from optuna.pruners import BasePruner, SuccessiveHalvingPruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from harness.spec.early_terminate import EarlyTerminate


@dataclass(frozen=True)
class Brackets:
    """Several pruners, each of which judges its own share of the trials.

    Attributes:
        pruners: One for each bracket.
        shares: How many trials of ``sum(shares)`` go to each.
        study_name: Trials are spread by it, as Optuna's Hyperband spreads them.
    """

    pruners: Sequence[BasePruner]
    shares: Sequence[int] = (1,)
    study_name: str = ""

    def of(self, trial: int) -> int:
        """Index of the bracket of a trial."""
        if len(self.pruners) == 1:
            return 0
        key = f"{self.study_name}_{trial}".encode()
        place = binascii.crc32(key) % sum(self.shares)
        for index, share in enumerate(self.shares):
            if place < share:
                return index
            place -= share
        raise AssertionError("a remainder is less than the sum")


def hyperband(rule: EarlyTerminate, longest: int, study_name: str) -> Brackets:
    """The brackets of :class:`optuna.pruners.HyperbandPruner`.

    Args:
        rule: Of type hyperband_brackets.
        longest: Reports of a full trial.
        study_name: See :class:`Brackets`.
    """
    shares = rule.bracket_shares(longest)
    pruners = [
        SuccessiveHalvingPruner(
            min_resource=rule.min_iter,
            reduction_factor=int(rule.eta),
            min_early_stopping_rate=bracket,
        )
        for bracket in range(len(shares))
    ]
    return Brackets(pruners, shares, study_name)


class RungPruner(BasePruner):
    """W&B's hyperband, which Optuna does not have.

    Each report compares a trial, at the last rung that it has reached, with all trials that have
    reached this rung, ended ones included. So it can be stopped between two rungs, because of a
    trial that reached the lower one later.

    Args:
        rule: Rungs, and how many trials pass each.
    """

    def __init__(self, rule: EarlyTerminate) -> None:
        self._rule = rule
        self._losses: dict[int, list[float]] = {rung: [] for rung in rule.rungs}

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether a trial should stop; must be called once after each of its reports."""
        sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
        losses = {step: sign * value for step, value in trial.intermediate_values.items()}
        reached = [rung for rung in self._losses if rung in losses]
        if not reached:
            return False
        rung = reached[-1]
        others = self._losses[rung]
        if trial.last_step == rung:
            insort(others, losses[rung])
        own = losses[rung] if self._rule.strict else min(losses.values())
        return own > others[self._rule.num_kept(len(others)) - 1]


class Pruning:
    """Pruners and what has been reported to them.

    Args:
        brackets: Optuna's pruners.
        goal: ``maximize`` or ``minimize`` the reported values.
    """

    def __init__(self, brackets: Brackets, goal: Literal["maximize", "minimize"]) -> None:
        self._brackets = brackets
        self._studies = [
            optuna.create_study(
                study_name=brackets.study_name or None,
                direction=goal,
                pruner=pruner,
                sampler=optuna.samplers.RandomSampler(seed=0),  # never asked
                storage=optuna.storages.InMemoryStorage(),
            )
            for pruner in brackets.pruners
        ]
        self._num_created = 0
        self._open: dict[int, optuna.Trial] = {}

    def report(self, number: int, value: float, step: int, *, may_prune: bool) -> bool:
        """Report a value; whether the trial should stop here.

        Args:
            number: Of the trial in the stored study.
            value: Finite.
            step: Epoch, or index of the seed or bin; each once for a trial.
            may_prune: Whether to ask at all; others are still compared with this trial.
        """
        trial = self._trial(number)
        trial.report(value, step)
        # Some pruners answer with a numpy bool.
        should_prune = bool(trial.should_prune())
        return may_prune and should_prune

    def close(self, number: int, value: float | None, *, pruned: bool = False) -> None:
        """Tell the end of a trial.

        Args:
            number: Of the trial in the stored study.
            value: Final value if it is complete, else None.
            pruned: Whether it was pruned; neither complete nor pruned is failed.
        """
        trial = self._trial(number)
        del self._open[number]
        if value is not None:
            trial.study.tell(trial, value)
        else:
            state = TrialState.PRUNED if pruned else TrialState.FAIL
            trial.study.tell(trial, state=state)

    def _trial(self, number: int) -> optuna.Trial:
        # All earlier numbers too: Optuna's own Hyperband, which serves where the length of a full
        # trial is not known, finds the bracket by the number in the study.
        while self._num_created <= number:
            study = self._studies[self._brackets.of(self._num_created)]
            self._open[self._num_created] = study.ask()
            self._num_created += 1
        return self._open[number]
