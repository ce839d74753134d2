"""A small study as the ledger holds it, and what MLflow must have of it in the end."""

import json
import threading

from harness.mlflow_tracking.cursor import load_cursor, num_events_from
from harness.mlflow_tracking.writer import Ending, LedgerFollower
from trainables.config import TrialConfig

STUDY_ID = "0f" * 16
PCK = "target_val/pck_05"
RUNS = [(0, "complete"), (1, "pruned"), (2, "stopped"), (3, "failed")]
FIELDS = TrialConfig().to_flat() | {"seed": 0, "vae.kl_weight": 0.1, "bins.subset": [0, 2]}
STAGES = {"images/source": ["hit", "k1", 5.0], "pose_vae": ["miss", "k2", 2.5]}


def _event(event, /, **content):
    return {"event": event, "time": 1_700_000_000.0 + content.get("step", 0), **content}


SPEC = {
    "name": "s",
    "trainable": "adaptation",
    "metrics": [{"name": PCK, "goal": "maximize"}],
    "parameters": {"vae.kl_weight": {"min": 0.1, "max": 1}},
    "budget": {"run_cap": 4},
}


def study_events(runs, num_metrics=0, study_id=STUDY_ID, study="s", **more):
    """Events of a study whose runs report twice and then end in the given states."""
    yield _event(
        "study", study=study, study_id=study_id, objective=PCK, goal="maximize",
        **{
            "varied": ["vae.kl_weight", "bins.subset"],
            "yaml": json.dumps(SPEC),
            "objectives": [{"name": PCK, "goal": "maximize"}],
            "fixed": {"data.source": "people_clean", "adapt.epochs": 4},
            "trainable": "adaptation", "plugins": [], "kind": "trial", "read_test": False,
            "resources": {"cpus": 1, "gpus": 0}, "space": {"seeds": 1}, "compared": None,
            **more,
        },
    )  # fmt: skip
    for number, state in runs:
        yield _event(
            "run", number=number, trial=number, trial_name=f"t{number}", seed=0, name=f"t{number}",
            is_baseline=number == 0, params={}, retry_of=None,
            fields=FIELDS,
        )  # fmt: skip
        for step in (1, 2):
            metrics = {PCK: 10.0 * number + step, "pck_bin/00": 5.0}
            metrics |= {f"more/{i:02}": float(i) for i in range(num_metrics)}
            metrics |= {"final/pck_bin/00": 7.0, "chosen_pck_05/last": 6.0} if step == 2 else {}
            yield _event(
                "epoch", number=number, step=step, num_steps=2, metrics=metrics, stages=STAGES,
                digests={"source": "abc", "target": "def"}, tags={"style_encoder": "vgg19"},
            )  # fmt: skip
        reason = "interrupted by SIGINT" if state == "stopped" else None
        yield _event("finished", number=number, state=state, reason=reason, value=None)
    yield _event("end", state="complete", wall_s=1.0, reason=None)


def write(folder, events):
    """Append events to the folder's ledger."""
    with (folder / "events.jsonl").open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


def followed(uri, folder):
    """Write to MLflow what it takes of the folder's ledger, in this process; returns the cursor.

    A process of its own would import MLflow first, which takes seconds.
    """
    ledger_path = folder / "events.jsonl"
    due = threading.Event()
    due.set()
    LedgerFollower(uri, folder / "artifacts", ledger_path, Ending(due)).follow()
    return load_cursor(ledger_path, uri)


def written(uri, folder):
    """Bring MLflow up to date with the folder's ledger, in this process; returns the cursor."""
    cursor = followed(uri, folder)
    assert num_events_from(folder / "events.jsonl", cursor.offset) == 0, cursor.last_error
    return cursor


def client(uri):
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


def points(uri, run_id, metric):
    """Steps and values of a metric, all that MLflow has."""
    return [(point.step, point.value) for point in client(uri).get_metric_history(run_id, metric)]


def check_study(uri, tracker, study_id=STUDY_ID):
    """Assert that MLflow has the study of :data:`RUNS`, all of it and once.

    ``tracker`` is whoever knows the ids of the runs: a tracker or a cursor.
    """
    mlflow = client(uri)
    experiment = mlflow.get_run(tracker.summary_run_id).info.experiment_id
    assert mlflow.get_experiment(experiment).tags["study_id"] == study_id
    runs = mlflow.search_runs([experiment], f"tags.study_id = '{study_id}'")
    assert len(runs) == 1 + len(RUNS)
    _check_summary(mlflow.get_run(tracker.summary_run_id), tracker)
    runs = [mlflow.get_run(tracker.run_ids[number]) for number, _ in RUNS]
    assert [run.info.status for run in runs] == ["FINISHED", "KILLED", "KILLED", "FAILED"]
    assert not any("mlflow.parentRunId" in run.data.tags for run in runs)
    assert {run.data.tags["kind"] for run in runs} == {"trial"}
    assert [run.data.tags["state"] for run in runs] == [state for _, state in RUNS]
    assert [run.data.tags["pruned"] for run in runs] == ["false", "true", "false", "false"]
    assert runs[2].data.tags["reason"] == "interrupted by SIGINT"
    for run in runs:
        assert run.data.params == {"vae.kl_weight": "0.1", "bins.subset": "0,2"}
    assert {run.data.tags["style_encoder"] for run in runs} == {"vgg19"}
    assert {run.data.tags["stage/pose_vae"] for run in runs} == {"miss"}
    for number, _ in RUNS:
        run_id = tracker.run_ids[number]
        curve = [(1, 10.0 * number + 1), (2, 10.0 * number + 2)]
        assert points(uri, run_id, f"4 {PCK}") == curve
        assert points(uri, run_id, "1 objective/target_val pck_05") == [(0, 10.0 * number + 2)]
        assert points(uri, run_id, "3 final/pck_bin/00") == [(0, 7.0)]
        assert points(uri, run_id, "9 chosen_pck_05/last") == [(0, 6.0)]
        assert points(uri, run_id, "9 stages/seconds_saved") == [(0, 5.0)]
        assert points(uri, run_id, "9 stages/seconds_spent") == [(0, 2.5)]
    digests = {i.dataset.digest for i in runs[0].inputs.dataset_inputs}
    assert len(runs[0].inputs.dataset_inputs) == 2
    assert digests == {"abc", "def"}


def _check_summary(summary, tracker):
    assert summary.info.status == "FINISHED"
    assert summary.info.run_name == "summary"
    assert summary.data.params == {"data.source": "people_clean", "adapt.epochs": "4"}
    assert summary.data.metrics == {}, "it must add no charts"
    tags = {f"runs_{state}": "1" for _, state in RUNS}
    tags |= {"kind": "summary", f"best/{PCK}": "2", "best_run_id": tracker.run_ids[0]}
    assert tags.items() <= summary.data.tags.items()
