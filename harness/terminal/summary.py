"""What is said at the end of a study: to the person, or as JSON to a program."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.mlflow_tracking.tracker import MLflowTracker
from harness.record.ledger import TERMINAL_STATES, RunRecord
from harness.record.masking import masked
from harness.record.storage import Storage
from harness.record.study_result import StudyResult
from harness.results.ranking import (
    RankedTrial,
    mean_metrics,
    ranked_trials,
    runs_by_trial,
    trial_state,
)
from harness.spec import StudySpec
from harness.spec.metric_names import CONTROLS, control_metric
from harness.terminal.progress import describe_params
from trainables.config import SCORED_STRATEGIES

SHOWN = 5


def as_json(
    spec: StudySpec, storage: Storage, result: StudyResult, tracker: MLflowTracker
) -> dict[str, Any]:
    """The result as a JSON object; its fields are an interface and stay stable."""
    ranked = ranked_trials(spec, result.runs)
    complete = {trial.number: trial for trial in ranked}
    feasible = [trial for trial in ranked if not trial.broken]
    run_ids = tracker.run_ids
    return {
        "study": result.study_name,
        "storage": str(storage.root),
        "optuna_url": masked(result.optuna_url),
        "optuna_study": result.optuna_name,
        "mlflow_uri": masked(storage.mlflow_uri),
        "state": result.state,
        "reason": result.reason,
        "wall_s": round(result.wall_s, 3),
        "trials": [
            _trial_json(spec, runs, complete.get(number), run_ids)
            for number, runs in sorted(runs_by_trial(result.runs).items())
        ],
        "best": feasible[0].number if feasible else None,
        "pareto": [trial.number for trial in feasible if trial.is_pareto],
    }


def _trial_json(
    spec: StudySpec,
    runs: Sequence[RunRecord],
    ranked: RankedTrial | None,
    run_ids: Mapping[int, str],
) -> dict[str, Any]:
    """One trial with its runs; ``ranked`` if it is complete."""
    first = runs[0]
    state, reason = trial_state(spec, runs)
    interval = None if ranked is None or math.isnan(ranked.interval[0]) else list(ranked.interval)
    found = [_run_json(record, run_ids.get(record.number)) for record in runs]
    return {
        "number": first.trial,
        "name": first.trial_name,
        "baseline": first.trial_name if first.is_baseline else None,
        "state": state,
        "reason": reason,
        "params": first.searched,
        "metrics": mean_metrics(runs),
        "interval": interval,
        "broken_constraints": [] if ranked is None else list(ranked.broken),
        "retry_of": first.retry_of,
        **{name: found[0][name] for name in ("epochs_run", "mlflow_run_id", "stages")},
        "runs": found,
    }


def _run_json(record: RunRecord, mlflow_run_id: str | None) -> dict[str, Any]:
    return {
        "number": record.number,
        "seed": record.seed,
        "state": record.state,
        "reason": record.reason,
        "metrics": record.metrics,
        "mlflow_run_id": mlflow_run_id,
        "epochs_run": record.step,
        "stages": {name: stage[0] for name, stage in record.stages.items()},
    }


def as_text(
    spec: StudySpec, storage: Storage, result: StudyResult, tracker: MLflowTracker
) -> Iterator[str]:
    """Lines for the terminal: the best trials, the baselines, what to type next."""
    states = dict.fromkeys(TERMINAL_STATES, 0)
    for record in result.runs:
        states[record.state] += 1
    counts = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    yield ""
    yield f"{result.study_name}: {counts or 'no runs'} in {result.wall_s / 60:.1f} min"
    retried = {record.retry_of for record in result.runs}
    for record in result.runs:
        if record.state == "failed" and record.trial not in retried:
            yield f"  run {record.number} {record.name} failed: {record.reason}"
    reused = sum(record.stages.get("training", [None])[0] == "hit" for record in result.runs)
    if reused:
        yield f"  {reused} of the runs equal earlier ones, whose results are reused"
    yield from _collapsed(result)
    yield from (f"  {note}" for note in result.notes)
    if result.state == "stopped":
        yield f"  {result.reason}; the same command goes on where it was"
    ranked = ranked_trials(spec, result.runs)
    if states["pruned"] and all(trial.is_baseline for trial in ranked):
        yield "  no searched trial ran to its end: all were pruned, so the table has none"
    if ranked:
        yield ""
        yield from _table(spec, ranked)
        if not ranked[0].broken:
            yield from _checkpoints(ranked[0])
    yield ""
    yield "Compare the runs and look at the bins:"
    if storage.mlflow_uri.startswith("sqlite"):
        yield f"  mlflow ui --backend-store-uri {shlex.quote(storage.mlflow_uri)}"
    else:
        yield "  the MLflow server named by MLFLOW_TRACKING_URI"
    # Absolute, as a notebook's kernel runs in the notebook's folder.
    ledger = shlex.quote(str(storage.ledger(result.study_name)))
    yield f"  POSEBINS_STUDY={ledger} jupyter lab analysis/01_per_bin.ipynb"


def _collapsed(result: StudyResult) -> Iterator[str]:
    """Which runs chose samples by a Pose VAE that says nothing of poses."""
    names = [
        record.name
        for record in result.runs
        if record.metrics.get("vae/is_collapsed")
        and record.fields["sampling.strategy"] in SCORED_STRATEGIES
    ]
    if names:
        shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        yield (
            f"  warning: {len(names)} of the runs ({shown}) chose samples by a collapsed Pose "
            "VAE, so by their distance to the mean pose; lower vae.kl_weight"
        )


def _table(spec: StudySpec, ranked: list[RankedTrial]) -> Iterator[str]:
    """The best trials and all baselines, with each one's gap to the best baseline."""
    objective = spec.objective.name
    # What is trained on target labels is no method to be compared with.
    reference = next(
        (s for s in ranked if s.is_baseline and s.runs[0].fields["adapt.method"] != "oracle"),
        None,
    )
    shown = ranked[:SHOWN]
    shown += [s for s in ranked[SHOWN:] if s.is_baseline or (_is_multi(spec) and s.is_pareto)]
    columns = [metric.name for metric in spec.metrics]
    names = [_marked_name(spec, trial) for trial in shown]
    width = max(map(len, [*names, *CONTROLS]))
    intervals = f"  {'95 % interval':>16}" if spec.seeds > 1 else ""
    header = "  ".join(f"{name:>{max(len(name), 8)}}" for name in columns)
    yield f"  {'trial':>5}  {'name':<{width}}  {header}{intervals}  {'gap':>7}  parameters"
    for trial, name in zip(shown, names, strict=True):
        cells = "  ".join(
            f"{_cell(trial.means.get(column)):>{max(len(column), 8)}}" for column in columns
        )
        interval = f"  {_interval(trial):>16}" if spec.seeds > 1 else ""
        gap = ""
        if reference is not None and trial is not reference:
            gap = f"{trial.means[objective] - reference.means[objective]:+.3g}"
        yield (
            f"  {trial.number:>5}  {name:<{width}}  {cells}{interval}  {gap:>7}  "
            f"{describe_params(trial.runs[0])}"
        )
    yield from _control_rows(columns, shown[0], width)
    if len(shown) < len(ranked):
        rest = len(ranked) - len(shown)
        yield f"  and {rest} more complete trial{'s' * (rest > 1)} below the best {SHOWN}"
    yield from _legend(spec, shown, reference)


def _control_rows(columns: list[str], trial: RankedTrial, width: int) -> Iterator[str]:
    """What the metrics give to predictions that no network made; the same for all trials."""
    for control in CONTROLS:
        values = [trial.means.get(control_metric(column, control)) for column in columns]
        if any(value is not None for value in values):
            cells = "  ".join(
                f"{_cell(value):>{max(len(column), 8)}}"
                for column, value in zip(columns, values, strict=True)
            )
            yield f"  {'-':>5}  {control:<{width}}  {cells}  (no network)"


def _legend(
    spec: StudySpec, shown: list[RankedTrial], reference: RankedTrial | None
) -> Iterator[str]:
    if _is_multi(spec):
        names = ", ".join(metric.name for metric in spec.objectives)
        yield f"  + Pareto-optimal: no other trial is as good in {names} and better in one"
    for trial in shown:
        if trial.broken:
            yield f"  ! {trial.name} breaks {' and '.join(trial.broken)}"
    if reference is not None:
        yield f"  * baseline; gap: {spec.objective.name} minus that of {reference.name}"
    if spec.seeds == 1:
        yield "  One seed each and the last epoch's values: a small gap is not a finding."
    else:
        yield f"  Means over {spec.seeds} seeds, Student t; the last epoch's values."


def _marked_name(spec: StudySpec, trial: RankedTrial) -> str:
    marks = "*" * trial.is_baseline + "+" * (_is_multi(spec) and trial.is_pareto)
    marks += "!" * bool(trial.broken)
    return f"{trial.name} {marks}".rstrip()


def _is_multi(spec: StudySpec) -> bool:
    return len(spec.objectives) > 1


def _interval(trial: RankedTrial) -> str:
    low, high = trial.interval
    return f"[{low:.4g}, {high:.4g}]"


def _checkpoints(trial: RankedTrial) -> Iterator[str]:
    """What the best trial's checkpoints are worth, chosen in three ways that stay apart."""
    ways = {
        "last": "last",
        "default": "by label-free validators",
        "oracle_val": "by target labels, which is not allowed",
    }
    found = [
        f"{words} {pck:.4g} (epoch {trial.means[f'chosen_epoch/{way}']:.3g})"
        for way, words in ways.items()
        if (pck := trial.means.get(f"chosen_pck_05/{way}")) is not None
    ]
    if found:
        yield f"  Checkpoints of {trial.name}, target_val/pck_05: {', '.join(found)}."


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
