"""What is said at the end of a study: to the person, or as JSON to a program."""

import math
import shlex
from collections.abc import Iterator
from typing import Any

from harness.mlflow_tracking.tracker import MLflowTracker
from harness.record.ledger import TERMINAL_STATES
from harness.record.masking import masked
from harness.record.storage import Storage
from harness.record.study_result import StudyResult
from harness.results.ranking import RankedSetting, ranked_settings
from harness.spec import StudySpec
from harness.spec.metric_names import control_metric
from harness.terminal.progress import describe_params
from trainables.config import SCORED_STRATEGIES
from trainables.metrics.metric_keys import CONTROLS

SHOWN = 5


def as_json(
    spec: StudySpec, storage: Storage, result: StudyResult, tracker: MLflowTracker
) -> dict[str, Any]:
    """The result as a JSON object; its fields are an interface and stay stable."""
    ranked = ranked_settings(spec, result.trials)
    feasible = [setting for setting in ranked if not setting.broken]
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
            {
                "number": record.number,
                "setting": record.setting,
                "seed": record.fields["seed"],
                "name": record.name,
                "state": record.state,
                "reason": record.reason,
                "params": record.searched,
                "metrics": record.metrics,
                "mlflow_run_id": tracker.run_ids.get(record.number),
                "epochs_run": record.step,
                "stages": {name: stage[0] for name, stage in record.stages.items()},
            }
            for record in result.trials
        ],
        "settings": [
            {
                "setting": setting.number,
                "name": setting.name,
                "seeds": len(setting.trials),
                "means": setting.means,
                "interval": None if math.isnan(setting.interval[0]) else list(setting.interval),
                "broken_constraints": list(setting.broken),
            }
            for setting in ranked
        ],
        "best": feasible[0].number if feasible else None,
        "pareto": [setting.number for setting in feasible if setting.is_pareto],
    }


def as_text(
    spec: StudySpec, storage: Storage, result: StudyResult, tracker: MLflowTracker
) -> Iterator[str]:
    """Lines for the terminal: the best settings, the baselines, what to type next."""
    states = dict.fromkeys(TERMINAL_STATES, 0)
    for record in result.trials:
        states[record.state] += 1
    counts = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    yield ""
    yield f"{result.study_name}: {counts or 'no trials'} in {result.wall_s / 60:.1f} min"
    retried = {record.retry_of for record in result.trials}
    for record in result.trials:
        if record.state == "failed" and record.setting not in retried:
            yield f"  trial {record.number} {record.name} failed: {record.reason}"
    told = sum(record.stages.get("training", [None])[0] == "hit" for record in result.trials)
    if told:
        yield f"  {told} of the trials equal earlier ones, whose results they were told"
    yield from _collapsed(result)
    yield from (f"  {note}" for note in result.notes)
    if result.state == "stopped":
        yield f"  {result.reason}; the same command goes on where it was"
    ranked = ranked_settings(spec, result.trials)
    if states["pruned"] and all(setting.is_baseline for setting in ranked):
        yield "  no searched setting ran to its end: all were pruned, so the table has none"
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
    """Which trials chose samples by a Pose VAE that says nothing of poses."""
    names = [
        record.name
        for record in result.trials
        if record.metrics.get("vae/is_collapsed")
        and record.fields["sampling.strategy"] in SCORED_STRATEGIES
    ]
    if names:
        shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        yield (
            f"  warning: {len(names)} of the trials ({shown}) chose samples by a collapsed Pose "
            "VAE, so by their distance to the mean pose; lower vae.kl_weight"
        )


def _table(spec: StudySpec, ranked: list[RankedSetting]) -> Iterator[str]:
    """The best settings and all baselines, with each one's gap to the best baseline."""
    objective = spec.objective.name
    # What is trained on target labels is no method to be compared with.
    reference = next(
        (s for s in ranked if s.is_baseline and s.trials[0].fields["adapt.method"] != "oracle"),
        None,
    )
    shown = ranked[:SHOWN]
    shown += [s for s in ranked[SHOWN:] if s.is_baseline or (_is_multi(spec) and s.is_pareto)]
    columns = [metric.name for metric in spec.metrics]
    names = [_marked_name(spec, setting) for setting in shown]
    width = max(map(len, [*names, *CONTROLS]))
    intervals = f"  {'95 % interval':>16}" if spec.seeds > 1 else ""
    header = "  ".join(f"{name:>{max(len(name), 8)}}" for name in columns)
    yield f"  {'trial':>5}  {'name':<{width}}  {header}{intervals}  {'gap':>7}  settings"
    for setting, name in zip(shown, names, strict=True):
        cells = "  ".join(
            f"{_cell(setting.means.get(column)):>{max(len(column), 8)}}" for column in columns
        )
        interval = f"  {_interval(setting):>16}" if spec.seeds > 1 else ""
        gap = ""
        if reference is not None and setting is not reference:
            gap = f"{setting.means[objective] - reference.means[objective]:+.3g}"
        yield (
            f"  {setting.number:>5}  {name:<{width}}  {cells}{interval}  {gap:>7}  "
            f"{describe_params(setting.trials[0])}"
        )
    yield from _control_rows(columns, shown[0], width)
    if len(shown) < len(ranked):
        rest = len(ranked) - len(shown)
        yield f"  and {rest} more complete setting{'s' * (rest > 1)} below the best {SHOWN}"
    yield from _legend(spec, shown, reference)


def _control_rows(columns: list[str], setting: RankedSetting, width: int) -> Iterator[str]:
    """What the metrics give to predictions that no network made; the same for all settings."""
    for control in CONTROLS:
        values = [setting.means.get(control_metric(column, control)) for column in columns]
        if any(value is not None for value in values):
            cells = "  ".join(
                f"{_cell(value):>{max(len(column), 8)}}"
                for column, value in zip(columns, values, strict=True)
            )
            yield f"  {'-':>5}  {control:<{width}}  {cells}  (no network)"


def _legend(
    spec: StudySpec, shown: list[RankedSetting], reference: RankedSetting | None
) -> Iterator[str]:
    if _is_multi(spec):
        names = ", ".join(metric.name for metric in spec.objectives)
        yield f"  + Pareto-optimal: no other setting is as good in {names} and better in one"
    for setting in shown:
        if setting.broken:
            yield f"  ! {setting.name} breaks {' and '.join(setting.broken)}"
    if reference is not None:
        yield f"  * baseline; gap: {spec.objective.name} minus that of {reference.name}"
    if spec.seeds == 1:
        yield "  One seed each and the last epoch's values: a small gap is not a finding."
    else:
        yield f"  Means over {spec.seeds} seeds, Student t; the last epoch's values."


def _marked_name(spec: StudySpec, setting: RankedSetting) -> str:
    marks = "*" * setting.is_baseline + "+" * (_is_multi(spec) and setting.is_pareto)
    marks += "!" * bool(setting.broken)
    return f"{setting.name} {marks}".rstrip()


def _is_multi(spec: StudySpec) -> bool:
    return len(spec.objectives) > 1


def _interval(setting: RankedSetting) -> str:
    low, high = setting.interval
    return f"[{low:.4g}, {high:.4g}]"


def _checkpoints(setting: RankedSetting) -> Iterator[str]:
    """What the best setting's checkpoints are worth, chosen in three ways that stay apart."""
    ways = {
        "last": "last",
        "default": "by label-free validators",
        "oracle_val": "by target labels, which is not allowed",
    }
    found = [
        f"{words} {pck:.4g} (epoch {setting.means[f'chosen_epoch/{way}']:.3g})"
        for way, words in ways.items()
        if (pck := setting.means.get(f"chosen_pck_05/{way}")) is not None
    ]
    if found:
        yield f"  Checkpoints of {setting.name}, target_val/pck_05: {', '.join(found)}."


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
