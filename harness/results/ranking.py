"""Trials of a study in order: means over seeds, constraints, best or Pareto-optimal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.record.ledger import RunRecord
from harness.spec import StudySpec
from trainables.metrics.intervals import mean_interval


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
        is_pareto: Whether no other feasible trial is as good in all objectives and better in
            one; with a single objective, whether it is the best.
    """

    number: int
    name: str
    is_baseline: bool
    runs: tuple[RunRecord, ...]
    means: dict[str, float]
    interval: tuple[float, float]
    broken: tuple[str, ...]
    is_pareto: bool


def ranked_trials(spec: StudySpec, runs: Sequence[RunRecord]) -> list[RankedTrial]:
    """Complete trials: feasible before infeasible, then by the mean of the first objective.

    Args:
        spec: The study.
        runs: All of its runs.
    """
    by_trial: dict[int, list[RunRecord]] = {}
    for record in runs:
        by_trial.setdefault(record.trial, []).append(record)
    complete = {
        number: records
        for number, records in by_trial.items()
        if len(records) == spec.seeds and all(record.state == "complete" for record in records)
    }
    means = {number: _means(records) for number, records in complete.items()}
    broken = {number: _broken(spec, values) for number, values in means.items()}
    optimal = _pareto(spec, {number: means[number] for number in means if not broken[number]})
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
        )
        for number, records in complete.items()
    ]
    sign = -1 if objective.goal == "maximize" else 1
    return sorted(trials, key=lambda t: (bool(t.broken), sign * t.means[objective.name], t.number))


def _means(records: Sequence[RunRecord]) -> dict[str, float]:
    shared = [name for name in records[0].metrics if all(name in r.metrics for r in records)]
    return {name: math.fsum(r.metrics[name] for r in records) / len(records) for name in shared}


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
