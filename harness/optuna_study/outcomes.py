"""What has become of each setting: a function of the ledger's events, live and after a crash.

A setting is what Optuna proposes, one of its trials; with ``seeds: n`` it is trained n times.
The first seed runs alone. If it is pruned or fails, the setting has ended; if it completes, the
other seeds follow. Live, events are applied as they are written; after a crash, all of the file.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from optuna.trial import TrialState

from harness.optuna_study.pruners import Pruning
from harness.optuna_study.samplers import brackets_for
from harness.record.ledger import Event, TrialRecord, apply_event
from harness.spec import StudySpec
from trainables.metrics.metric_keys import BIN_PREFIX, bin_keys


@dataclass(frozen=True)
class Outcome:
    """How a setting ended.

    Attributes:
        state: COMPLETE, PRUNED or FAIL.
        values: Means of the objectives over the seeds, if complete.
        constraints: Metric to its mean violation, feasible if <= 0.
        reason: Why it failed.
    """

    state: TrialState
    values: list[float] | None = None
    constraints: dict[str, float] = field(default_factory=dict)
    reason: str | None = None


@dataclass
class _Setting:
    number: int
    runs: dict[int, TrialRecord] = field(default_factory=dict)
    is_pruned: bool = False
    outcome: Outcome | None = None


class Settings:
    """Settings of a study and the pruner that judges them.

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
        self._records: dict[int, TrialRecord] = {}
        self._settings: dict[int, _Setting] = {}

    def apply(self, event: Event) -> None:
        """Take an event of the ledger."""
        apply_event(self._records, event)
        number = event.get("number")
        if number is None or number not in self._records:
            return
        record = self._records[number]
        setting = self._settings.setdefault(record.setting, _Setting(record.setting))
        setting.runs[self.seed_index(number)] = record
        match event["event"]:
            case "epoch":
                self._judge_epoch(setting, record)
            case "finished":
                self._judge_end(setting, record)

    def seed_index(self, number: int) -> int:
        """Index of a trial's seed in its setting."""
        return number % self.num_seeds

    def should_stop(self, number: int) -> bool:
        """Whether the pruner has ended the setting of a trial."""
        return self._settings[self._records[number].setting].is_pruned

    def is_pruned(self, setting: int) -> bool:
        """Whether the pruner has ended a setting."""
        return setting in self._settings and self._settings[setting].is_pruned

    def outcome(self, setting: int) -> Outcome | None:
        """How a setting ended; None while it has not."""
        return self._settings[setting].outcome if setting in self._settings else None

    def runs(self, setting: int) -> dict[int, TrialRecord]:
        """Trials of a setting that have been started, by the index of their seed."""
        return self._settings[setting].runs if setting in self._settings else {}

    def seeds_to_start(self, setting: int) -> list[int]:
        """Indices of seeds whose turn it is and that have not been started."""
        runs = self.runs(setting)
        if not runs:
            return [0]
        known = self._settings[setting]
        if known.outcome is not None or known.is_pruned or runs[0].state != "complete":
            return []
        return [index for index in range(self.num_seeds) if index not in runs]

    def reports(
        self, record: TrialRecord, metrics: Mapping[str, float], step: int
    ) -> dict[int, float]:
        """What an epoch tells Optuna: step to value.

        Args:
            record: The trial; only the first seed's epochs are compared between settings.
            metrics: Of the epoch.
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

    def _judge_epoch(self, setting: _Setting, record: TrialRecord) -> None:
        is_last = record.step >= record.num_steps and self._rule.type != "wilcoxon"
        may_prune = not record.is_baseline and not is_last
        if setting.outcome is not None:
            return
        for at, value in self.reports(record, record.metrics, record.step).items():
            if self._pruning.report(setting.number, value, at, may_prune=may_prune):
                setting.is_pruned = True

    def _judge_end(self, setting: _Setting, record: TrialRecord) -> None:
        states = [run.state for run in setting.runs.values()]
        if setting.outcome is not None or {"running", "stopped"} & set(states):
            return
        complete = [run for run in setting.runs.values() if run.state == "complete"]
        reasons = [run.reason for run in setting.runs.values() if run.state == "failed"]
        if reasons:
            setting.outcome = Outcome(TrialState.FAIL, reason=reasons[0])
        elif setting.is_pruned or "pruned" in states:
            setting.outcome = Outcome(TrialState.PRUNED)
        elif len(complete) == self.num_seeds:
            setting.outcome = self._complete(complete)
        else:
            return
        values = setting.outcome.values
        self._pruning.close(
            setting.number,
            None if values is None else self._mean(complete, self._pruning_metric),
            pruned=setting.outcome.state == TrialState.PRUNED,
        )

    def _complete(self, runs: list[TrialRecord]) -> Outcome:
        names = [metric.name for metric in self._spec.objectives]
        names += [constraint.name for constraint in self._spec.constraints]
        names.append(self._pruning_metric)
        for name in names:
            if any(name not in run.metrics for run in runs):
                return Outcome(TrialState.FAIL, reason=f"{name} was not reported")
        values = [self._mean(runs, metric.name) for metric in self._spec.objectives]
        violations = {
            constraint.name: constraint.violation(self._mean(runs, constraint.name))
            for constraint in self._spec.constraints
        }
        return Outcome(TrialState.COMPLETE, values, violations)

    @staticmethod
    def _mean(runs: list[TrialRecord], metric: str) -> float:
        values = [run.metrics[metric] for run in runs]
        return values[0] if len(values) == 1 else math.fsum(values) / len(values)
