"""What is said at the end of a study: to the user, or as JSON to a program."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.mlflow_tracking.page import is_server
from harness.mlflow_tracking.tracker import MLflowTracker
from harness.record.ledger import TERMINAL_STATES, RunRecord
from harness.record.masking import masked
from harness.record.storage import Storage
from harness.record.study_result import StudyResult
from harness.results.ranking import (
    RankedTrial,
    best_result,
    mean_metrics,
    ranked_trials,
    runs_by_trial,
    trial_state,
)
from harness.results.result_table import SHOWN, effect_lines, result_table, wrapped
from harness.spec import StudySpec
from trainables.registry import STRATEGIES


def as_json(
    spec: StudySpec, storage: Storage, result: StudyResult, tracker: MLflowTracker
) -> dict[str, Any]:
    """The result as a JSON object; its fields are an interface and stay stable."""
    from harness.results.effects import difficulty_effects  # imports numpy and torch

    ranked = ranked_trials(spec, result.runs)
    complete = {trial.number: trial for trial in ranked}
    best = best_result(ranked)
    run_ids = tracker.run_ids
    written = storage.study(result.study_name).report
    return {
        "study": result.study_name,
        "storage": str(storage.root),
        "optuna_url": masked(result.optuna_url),
        "optuna_study": result.optuna_name,
        "mlflow_uri": masked(storage.mlflow_uri),
        "mlflow_page": tracker.page,
        "report": str(written) if written.exists() else None,
        "state": result.state,
        "reason": result.reason,
        "wall_s": round(result.wall_s, 3),
        "trials": [
            _trial_json(spec, runs, complete.get(number), run_ids)
            for number, runs in sorted(runs_by_trial(result.runs).items())
        ],
        "best": best.number if best else None,
        "pareto": [trial.number for trial in ranked if trial.is_pareto],
        "difficulty_effects": [
            {
                "from": effect.start,
                "to": effect.end,
                "effect": effect.effect,
                "low": effect.low,
                "high": effect.high,
                "runs": effect.runs,
            }
            for effect in difficulty_effects(spec, ranked)
        ],
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
            yield from wrapped(f"run {record.number} {record.name} failed: {record.reason}")
    reused = sum(record.stages.get("training", [None])[0] == "hit" for record in result.runs)
    if reused:
        yield f"  {reused} of the runs equal earlier ones, whose results are reused"
    yield from _collapsed(result)
    for note in result.notes:
        yield from wrapped(note)
    if result.state == "stopped":
        yield f"  {result.reason}; the same command continues from here"
    ranked = ranked_trials(spec, result.runs)
    if states["pruned"] and all(trial.is_baseline for trial in ranked):
        yield "  no searched trial ran to its end: all were pruned, so the table has none"
    if ranked:
        yield ""
        yield from result_table(spec, ranked)
        best = best_result(ranked)
        if best is not None:
            yield from _checkpoints(best)
        yield from effect_lines(spec, ranked, states["pruned"])
    yield ""
    yield from _next_steps(spec, storage, result, tracker)


def _next_steps(
    spec: StudySpec, storage: Storage, result: StudyResult, tracker: MLflowTracker
) -> Iterator[str]:
    yield "Next:"
    given = f" --storage {shlex.quote(_near(storage.root))}"
    place = "" if storage.root == Path("runs").resolve() else given
    if (report := storage.study(result.study_name).report).exists():
        yield f"  {_near(report)}"
        yield "      the report: open it in a browser, or send it to somebody"
    if spec.trainable == "adaptation":
        yield f"  python -m harness.confirm {result.study_name}{place}"
        yield "      trains the best trials and the baselines with fresh seeds, on the test split"
    if (model := storage.study(result.study_name).model).exists():
        near = shlex.quote(_near(model))
        yield f"  python -m trainables.predict {near} photographs/*.jpg --out predicted"
        yield "      draws the poses that the best trial's network finds in your own photographs"
    if not is_server(storage.mlflow_uri):
        yield f"  python -m harness.ui {result.study_name}{place}"
        then = "" if tracker.page is None else "; open"
        yield f"      starts MLflow's pages, to compare the runs{then}"
    elif tracker.page is not None:
        yield "  to compare the runs on MLflow's server, open"
    if tracker.page is not None:
        yield f"      {tracker.page}"
    # Absolute, as a notebook's kernel runs in the notebook's folder.
    folder = storage.study(result.study_name).path
    near = _near(folder)
    study = shlex.quote(str(folder)) if Path(near).is_absolute() else f'"$PWD"/{shlex.quote(near)}'
    yield f"  POSEBINS_STUDY={study} jupyter lab analysis/01_per_bin.ipynb"


def _near(path: Path) -> str:
    """A path as it is typed from here: relative if it is below the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _collapsed(result: StudyResult) -> Iterator[str]:
    """Which runs chose samples by a Pose VAE that says nothing of poses."""
    names = [
        record.name
        for record in result.runs
        if record.metrics.get("vae/is_collapsed")
        and STRATEGIES[record.fields["sampling.strategy"]].reads_scores
    ]
    if names:
        shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        yield from wrapped(
            f"warning: {len(names)} of the runs ({shown}) chose samples by a collapsed Pose VAE, "
            "so by their distance to the mean pose; lower vae.kl_weight"
        )


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
        line = f"Checkpoints of {trial.name}, target_val/pck_05: {', '.join(found)}."
        yield from wrapped(line)
