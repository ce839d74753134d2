"""Trials of a study in order: means over seeds, constraints, best or Pareto-optimal."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.record.ledger import RunRecord
from harness.spec import StudySpec
from trainables.metrics.intervals import mean_interval
from trainables.metrics.metric_keys import WAIT_SHARE

_CHOICE = ("sampling.", "bins.", "curriculum.")
"""Fields that choose from the source; trials may choose the same in different words."""


@dataclass(frozen=True)
class RankedTrial:
    """One trial whose runs are all complete.

    Attributes:
        number: Optuna's trial number.
        name: Baseline name, or ``trial-<number>``.
        is_baseline: Whether the study's file asked for it.
        runs: One for each seed.
        means: Metric to its mean over the runs; metrics that all of them reported.
        interval: 95 % Student t interval of the first objective; NaN for a single seed.
        broken: Constraints that the means break, in words.
        is_pareto: Whether it is a result that repeats no other, and no other result is as good in
            all objectives and better in one; with a single objective, whether it is the best.
        repeats: Number of a baseline or an earlier trial that is the same training, as all three
            bins of three are the same as no bins; None of most. The two draw poses of the same
            difficulty, agree in all other fields, and in all metrics but measured times.
    """

    number: int
    name: str
    is_baseline: bool
    runs: tuple[RunRecord, ...]
    means: dict[str, float]
    interval: tuple[float, float]
    broken: tuple[str, ...]
    is_pareto: bool
    repeats: int | None

    @property
    def reads_target_labels(self) -> bool:
        """Whether it trains on target labels, as only the oracle does."""
        return reads_target_labels(self.runs[0].fields)

    @property
    def is_result(self) -> bool:
        """Whether it can be a study's answer: keeps the constraints, read no target label."""
        return not self.broken and not self.reads_target_labels

    @property
    def is_evidence(self) -> bool:
        """Whether it counts in effects and importances: repeats no other, read no target label."""
        return self.repeats is None and not self.reads_target_labels


def reads_target_labels(fields: Mapping[str, Any]) -> bool:
    """Whether a trial with these fields trains on target labels, as only the oracle does."""
    return bool(fields.get("adapt.method") == "oracle")


def runs_by_trial(runs: Iterable[RunRecord]) -> dict[int, list[RunRecord]]:
    """Trial number to its runs, both in the order in which they started."""
    found: dict[int, list[RunRecord]] = {}
    for record in runs:
        found.setdefault(record.trial, []).append(record)
    return found


def trial_state(spec: StudySpec, runs: Sequence[RunRecord]) -> tuple[str, str | None]:
    """State of a trial, and why it is not complete.

    Args:
        spec: The study.
        runs: The runs of one trial.

    Returns:
        One of the states of a run, and a reason if there is one.
    """
    for state in ("running", "stopped", "failed", "pruned"):
        for record in runs:
            if record.state == state:
                return state, record.reason
    if len(runs) < spec.seeds:
        return "stopped", "not all of its seeds were started"
    for name in spec.required_metrics:
        if any(name not in record.metrics for record in runs):
            return "failed", f"{name} was not reported"
    return "complete", None


def ranked_trials(spec: StudySpec, runs: Iterable[RunRecord]) -> list[RankedTrial]:
    """Complete trials: feasible before infeasible, then by the mean of the first objective.

    Args:
        spec: The study.
        runs: All of its runs.
    """
    complete = {
        number: records
        for number, records in runs_by_trial(runs).items()
        if trial_state(spec, records)[0] == "complete"
    }
    means = {number: mean_metrics(records) for number, records in complete.items()}
    broken = {number: _broken(spec, values) for number, values in means.items()}
    repeats = _repeats(complete, means)
    results = {
        number: values
        for number, values in means.items()
        if not broken[number]
        and number not in repeats
        and not reads_target_labels(complete[number][0].fields)
    }
    optimal = _pareto(spec, results)
    objective = spec.objective
    trials = [
        RankedTrial(
            number=number,
            name=records[0].trial_name,
            is_baseline=records[0].is_baseline,
            runs=tuple(records),
            means=means[number],
            interval=mean_interval([record.metrics[objective.name] for record in records]),
            broken=broken[number],
            is_pareto=number in optimal,
            repeats=repeats.get(number),
        )
        for number, records in complete.items()
    ]
    sign = -1 if objective.goal == "maximize" else 1
    return sorted(trials, key=lambda t: (bool(t.broken), sign * t.means[objective.name], t.number))


def best_result(ranked: Iterable[RankedTrial]) -> RankedTrial | None:
    """The first of ranked trials that is a result: the best one; None if there is none."""
    return next((trial for trial in ranked if trial.is_result), None)


def mean_metrics(records: Sequence[RunRecord]) -> dict[str, float]:
    """Metric to its mean over runs; metrics that all of them reported."""
    shared = [name for name in records[0].metrics if all(name in r.metrics for r in records)]
    return {name: math.fsum(r.metrics[name] for r in records) / len(records) for name in shared}


def _repeats(
    complete: Mapping[int, Sequence[RunRecord]], means: Mapping[int, Mapping[str, float]]
) -> dict[int, int]:
    """Trial number to that of a baseline, or of an earlier trial, that is the same training."""
    alike = defaultdict(list)
    for number, records in complete.items():
        others = {n: v for n, v in records[0].fields.items() if not n.startswith(_CHOICE)}
        computed = {n: v for n, v in means[number].items() if n != WAIT_SHARE}
        alike[json.dumps([others, computed], sort_keys=True)].append(number)
    found = {}
    for numbers in alike.values():
        if len(numbers) == 1:
            continue
        drawn: dict[bytes, int] = {}
        for number in sorted(numbers, key=lambda n: (not complete[n][0].is_baseline, n)):
            first = drawn.setdefault(_drawn(complete[number][0].fields), number)
            if first != number and not complete[number][0].is_baseline:
                found[number] = first
    return found


def _drawn(fields: Mapping[str, Any]) -> bytes:
    """Equal for trials that draw poses of the same difficulty."""
    from trainables.config import TrialConfig
    from trainables.sampling.exposure import difficulty_exposure

    return difficulty_exposure(TrialConfig.from_flat(fields)).round(9).tobytes()


def _broken(spec: StudySpec, means: dict[str, float]) -> tuple[str, ...]:
    return tuple(
        f"{constraint.rule} (it is {means[constraint.name]:.4g})"
        for constraint in spec.constraints
        if constraint.violation(means[constraint.name]) > 0
    )


def _pareto(spec: StudySpec, means: dict[int, dict[str, float]]) -> set[int]:
    """Numbers of the trials that no other dominates."""
    signs = {metric.name: 1 if metric.goal == "maximize" else -1 for metric in spec.objectives}
    points = {
        number: [sign * values[name] for name, sign in signs.items()]
        for number, values in means.items()
    }

    def is_dominated(point: list[float]) -> bool:
        return any(
            other != point and all(theirs >= own for theirs, own in zip(other, point, strict=True))
            for other in points.values()
        )

    return {number for number, point in points.items() if not is_dominated(point)}
