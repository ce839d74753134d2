"""How each trial stands and ends: a function of the ledger's events, live and after a crash.

With ``seeds: n`` a trial is trained by n runs. The first seed runs alone. If it is pruned or
fails, the trial has ended; if it completes, the other seeds follow. Live, events are applied as
they are written; after a crash, all of the file.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean

from optuna.trial import TrialState

from harness.optuna_study.pruners import Pruning
from harness.optuna_study.samplers import brackets_for
from harness.record.ledger import Event, RunRecord, apply_event
from harness.spec import StudySpec
from trainables.metrics.metric_keys import BIN_PREFIX, bin_keys


@dataclass(frozen=True)
class TrialOutcome:
    """How a trial ended.

    Attributes:
        state: COMPLETE, PRUNED or FAIL.
        values: Means of the objectives over the runs, if complete.
        constraints: Metric to its mean violation, feasible if <= 0.
        reason: Why it failed.
    """

    state: TrialState
    values: list[float] | None = None
    constraints: dict[str, float] = field(default_factory=dict)
    reason: str | None = None


@dataclass
class _Trial:
    number: int
    runs: dict[int, RunRecord] = field(default_factory=dict)
    is_pruned: bool = False
    outcome: TrialOutcome | None = None


class TrialOutcomes:
    """How the trials of a study stand, and the pruner that judges them.

    Args:
        spec: The study.
        study_name: Name of the stored study.
    """

    def __init__(self, spec: StudySpec, study_name: str) -> None:
        self.num_seeds = spec.seeds
        self._spec = spec
        self._rule = spec.early_terminate
        self._pruning_metric = spec.pruning_metric.name
        self._pruning = Pruning(brackets_for(spec, study_name), spec.pruning_metric.goal)
        self._records: dict[int, RunRecord] = {}
        self._trials: dict[int, _Trial] = {}

    def apply(self, event: Event) -> None:
        """Apply an event of the ledger."""
        apply_event(self._records, event)
        number = event.get("number")
        if number is None or number not in self._records:
            return
        record = self._records[number]
        trial = self._trials.setdefault(record.trial, _Trial(record.trial))
        trial.runs[self.seed_index(number)] = record
        match event["event"]:
            case "epoch":
                self._judge_epoch(trial, record)
            case "finished":
                self._judge_end(trial)

    def seed_index(self, number: int) -> int:
        """Index of a run's seed in its trial."""
        return number % self.num_seeds

    def should_stop(self, number: int) -> bool:
        """Whether the pruner has ended the trial of a run."""
        return self._trials[self._records[number].trial].is_pruned

    def is_pruned(self, trial: int) -> bool:
        """Whether the pruner has ended a trial."""
        return trial in self._trials and self._trials[trial].is_pruned

    def outcome(self, trial: int) -> TrialOutcome | None:
        """How a trial ended; None while it has not."""
        return self._trials[trial].outcome if trial in self._trials else None

    def runs(self, trial: int) -> dict[int, RunRecord]:
        """Runs of a trial that have been started, by the index of their seed."""
        return self._trials[trial].runs if trial in self._trials else {}

    def seeds_to_start(self, trial: int) -> list[int]:
        """Indices of seeds whose turn it is and that have not been started."""
        runs = self.runs(trial)
        if not runs:
            return [0]
        known = self._trials[trial]
        if known.outcome is not None or known.is_pruned or runs[0].state != "complete":
            return []
        return [index for index in range(self.num_seeds) if index not in runs]

    def reports(
        self, record: RunRecord, metrics: Mapping[str, float], step: int
    ) -> dict[int, float]:
        """What Optuna gets of an epoch: step to value.

        Args:
            record: The run; only the epochs of first seeds are compared between trials.
            metrics: What the run reported for this epoch.
            step: The epoch.
        """
        if self._rule.type != "wilcoxon":
            is_first = self.seed_index(record.number) == 0 and self._pruning_metric in metrics
            return {step: metrics[self._pruning_metric]} if is_first else {}
        if self._rule.over == "seeds":
            index = self.seed_index(record.number)
            ends = step >= record.num_steps and self._pruning_metric in metrics
            return {index: metrics[self._pruning_metric]} if ends else {}
        if self.seed_index(record.number) != 0:
            return {}
        bins = bin_keys(metrics, BIN_PREFIX)
        return {step * 1000 + index: metrics[name] for index, name in enumerate(bins)}

    def _judge_epoch(self, trial: _Trial, record: RunRecord) -> None:
        is_last = record.step >= record.num_steps and self._rule.type != "wilcoxon"
        may_prune = not record.is_baseline and not is_last
        if trial.outcome is not None:
            return
        for at, value in self.reports(record, record.metrics, record.step).items():
            if self._pruning.report(trial.number, value, at, may_prune=may_prune):
                trial.is_pruned = True

    def _judge_end(self, trial: _Trial) -> None:
        states = [run.state for run in trial.runs.values()]
        if trial.outcome is not None or {"running", "stopped"} & set(states):
            return
        complete = [run for run in trial.runs.values() if run.state == "complete"]
        reasons = [run.reason for run in trial.runs.values() if run.state == "failed"]
        if reasons:
            trial.outcome = TrialOutcome(TrialState.FAIL, reason=reasons[0])
        elif trial.is_pruned or "pruned" in states:
            trial.outcome = TrialOutcome(TrialState.PRUNED)
        elif len(complete) == self.num_seeds:
            trial.outcome = self._complete(complete)
        else:
            return
        is_complete = trial.outcome.state == TrialState.COMPLETE
        self._pruning.close(
            trial.number,
            self._compared_value(complete) if is_complete else None,
            pruned=trial.outcome.state == TrialState.PRUNED,
        )

    def _complete(self, runs: list[RunRecord]) -> TrialOutcome:
        for name in self._spec.required_metrics:
            if any(name not in run.metrics for run in runs):
                return TrialOutcome(TrialState.FAIL, reason=f"{name} was not reported")
        values = [self._mean(runs, metric.name) for metric in self._spec.objectives]
        violations = {
            constraint.name: constraint.violation(self._mean(runs, constraint.name))
            for constraint in self._spec.constraints
        }
        return TrialOutcome(TrialState.COMPLETE, values, violations)

    def _compared_value(self, runs: list[RunRecord]) -> float | None:
        """By which the pruner finds the best trial to compare others with."""
        if self._rule.over == "bins":
            bins = [r.metrics[name] for r in runs for name in bin_keys(r.metrics, BIN_PREFIX)]
            return fmean(bins) if bins else None
        return self._mean(runs, self._pruning_metric)

    @staticmethod
    def _mean(runs: list[RunRecord], metric: str) -> float:
        values = [run.metrics[metric] for run in runs]
        return values[0] if len(values) == 1 else math.fsum(values) / len(values)
