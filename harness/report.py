"""What is said at the end of a study: to the person, or as JSON to a program."""

import shlex
from collections.abc import Iterator
from typing import Any

from harness.engine import StudyResult
from harness.ledger import TrialRecord
from harness.progress import describe_params
from harness.spec import StudySpec
from harness.storage import Storage
from harness.tracking import MLflowTracker

SHOWN = 5


def as_json(storage: Storage, result: StudyResult, tracker: MLflowTracker) -> dict[str, Any]:
    """The result as a JSON object; its fields are an interface and stay stable."""
    best = best_trials(result)
    return {
        "study": result.study_name,
        "storage": str(storage.root),
        "optuna_url": storage.optuna_url,
        "mlflow_uri": storage.mlflow_uri,
        "state": result.state,
        "wall_s": round(result.wall_s, 3),
        "trials": [
            {
                "number": record.number,
                "name": record.name,
                "state": record.state,
                "reason": record.reason,
                "params": record.params,
                "metrics": record.metrics,
                "mlflow_run_id": tracker.run_ids.get(record.number),
                "epochs_run": record.step,
                "stages": {name: "hit" if hit else "miss" for name, hit in record.stages.items()},
            }
            for record in result.trials
        ],
        "best": best[0].number if best else None,
    }


def as_text(
    spec: StudySpec, storage: Storage, result: StudyResult, tracker: MLflowTracker
) -> Iterator[str]:
    """Lines for the terminal: the best trials, the baselines, what to type next."""
    states = {state: 0 for state in ("complete", "pruned", "failed", "stopped")}
    for record in result.trials:
        states[record.state] += 1
    counts = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    yield ""
    yield f"{result.study_name}: {counts} in {result.wall_s / 60:.1f} min"
    for record in result.trials:
        if record.state == "failed":
            yield f"  trial {record.number} {record.name} failed: {record.reason}"
    best = best_trials(result)
    if best:
        yield ""
        yield from _table(spec, best)
        yield from _checkpoints(best[0])
    yield ""
    yield "Compare the runs and look at the bins:"
    if storage.mlflow_uri.startswith("sqlite"):
        yield f"  mlflow ui --backend-store-uri {shlex.quote(storage.mlflow_uri)}"
    else:
        yield "  the MLflow server named by MLFLOW_TRACKING_URI"
    # Absolute, as a notebook's kernel runs in the notebook's folder.
    ledger = shlex.quote(str(storage.ledger(result.study_name)))
    yield f"  POSEBINS_STUDY={ledger} jupyter lab analysis/01_per_bin.ipynb"


def best_trials(result: StudyResult) -> list[TrialRecord]:
    """Complete trials, best first."""
    complete = [record for record in result.trials if record.value is not None]
    sign = -1 if result.goal == "maximize" else 1
    return sorted(complete, key=lambda record: (sign * (record.value or 0.0), record.number))


def _table(spec: StudySpec, best: list[TrialRecord]) -> Iterator[str]:
    """The best trials and all baselines, with each one's gap to the best baseline."""
    # What is trained on target labels is no method to be compared with.
    reference = next(
        (r for r in best if r.is_baseline and r.fields["adapt.method"] != "oracle"), None
    )
    shown = best[:SHOWN] + [record for record in best[SHOWN:] if record.is_baseline]
    columns = [metric.name for metric in spec.metrics]
    names = [f"{record.name}{' *' if record.is_baseline else ''}" for record in shown]
    width = max(map(len, names))
    header = "  ".join(f"{name:>{max(len(name), 8)}}" for name in columns)
    yield f"  {'trial':>5}  {'name':<{width}}  {header}  {'gap':>7}  settings"
    for record, name in zip(shown, names, strict=True):
        cells = "  ".join(
            f"{_cell(record.metrics.get(column)):>{max(len(column), 8)}}" for column in columns
        )
        gap = ""
        if reference is not None and record is not reference:
            gap = f"{(record.value or 0) - (reference.value or 0):+.3g}"
        yield (
            f"  {record.number:>5}  {name:<{width}}  {cells}  {gap:>7}  {describe_params(record)}"
        )
    if len(shown) < len(best):
        rest = len(best) - len(shown)
        yield f"  and {rest} more complete trial{'s' * (rest > 1)} below the best {SHOWN}"
    if reference is not None:
        yield f"  * baseline; gap: {spec.objective.name} minus that of {reference.name}"
    yield "  One seed each and the last epoch's values: a small gap is not a finding."


def _checkpoints(record: TrialRecord) -> Iterator[str]:
    """What the best trial's checkpoints are worth, chosen in three ways that stay apart."""
    ways = {
        "last": "last",
        "default": "by label-free validators",
        "oracle_val": "by target labels, which is not allowed",
    }
    found = [
        f"{words} {pck:.4g} (epoch {record.metrics[f'chosen_epoch/{way}']:.0f})"
        for way, words in ways.items()
        if (pck := record.metrics.get(f"chosen_pck_05/{way}")) is not None
    ]
    if found:
        yield f"  Checkpoints of trial {record.number}, target_val/pck_05: {', '.join(found)}."


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
