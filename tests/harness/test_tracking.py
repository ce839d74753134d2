"""MLflow is real here: a SQLite file, and a server over HTTP."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from harness import tracking
from harness.tracking import MLflowTracker

FIELDS = {"seed": 0, "vae.kl_weight": 0.1, "bins.subset": [0, 2], "data.source": "people_clean"}


def _event(kind, **content):
    return {"event": kind, "time": 1_700_000_000.0 + content.get("step", 0), **content}


def _study(trials):
    yield _event(
        "study", study="s", yaml="name: s", objective="m", goal="maximize",
        varied=["vae.kl_weight", "bins.subset"],
        fixed={"data.source": "people_clean", "seed": 0, "adapt.epochs": 4},
    )  # fmt: skip
    for number, state in trials:
        yield _event(
            "trial", number=number, name=f"t{number}", is_baseline=False, params={},
            fields=FIELDS | {"adapt.epochs": 30 if number == 3 else 4},
        )  # fmt: skip
        for step in (1, 2):
            metrics = {"m": 10.0 * number + step, "pck_bin/00": 5.0}
            metrics |= {"final/pck_bin/00": 7.0, "chosen_pck_05/last": 6.0} if step == 2 else {}
            yield _event(
                "epoch", number=number, step=step, num_steps=2, metrics=metrics, stages={},
                digests={"source": "abc", "target": "def"}, tags={"style_encoder": "vgg19"},
            )  # fmt: skip
        reason = "interrupted by SIGINT" if state == "stopped" else None
        yield _event("finished", number=number, state=state, reason=reason, value=None)
    yield _event("end", state="complete", wall_s=1.0)


def _client(uri):
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


def _check(uri, tracker):
    client = _client(uri)
    parent = client.get_run(tracker.parent_run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.params == {"data.source": "people_clean", "seed": "0", "adapt.epochs": "4"}
    runs = [client.get_run(run_id) for run_id in tracker.run_ids.values()]
    assert [run.info.status for run in runs] == ["FINISHED", "KILLED", "KILLED", "FAILED"]
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {tracker.parent_run_id}
    assert [run.data.tags["pruned"] for run in runs] == ["false", "true", "false", "false"]
    assert runs[2].data.tags["reason"] == "interrupted by SIGINT"
    assert runs[0].data.params == {"vae.kl_weight": "0.1", "bins.subset": "0,2"}
    # What a trial has of its own beside what varies, as the fields that ``parity`` sets.
    assert runs[3].data.params == runs[0].data.params | {"adapt.epochs": "30"}
    assert {run.data.tags["style_encoder"] for run in runs} == {"vgg19"}
    curve = client.get_metric_history(tracker.run_ids[1], "m")
    assert [(point.step, point.value) for point in curve] == [(1, 11.0), (2, 12.0)]
    for name, value in (("final/pck_bin/00", 7.0), ("chosen_pck_05/last", 6.0)):
        bar = client.get_metric_history(tracker.run_ids[1], name)
        assert [(point.step, point.value) for point in bar] == [(0, value)]
    digests = {i.dataset.digest for i in runs[0].inputs.dataset_inputs}
    assert digests == {"abc", "def"}


TRIALS = [(0, "complete"), (1, "pruned"), (2, "stopped"), (3, "failed")]


def test_a_study_is_recorded_in_a_database(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracker = MLflowTracker(uri, tmp_path / "artifacts")
    for event in _study(TRIALS):
        tracker(event)
    tracker.close()
    assert tracker.num_unwritten == 0
    _check(uri, tracker)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def _server(folder, port):
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'server.db'}",
        "--default-artifact-root", str(folder / "artifacts"),
    ]  # fmt: skip
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
        start_new_session=True,
    )  # fmt: skip
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, "the server did not start"
                time.sleep(0.1)
        yield
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


@pytest.mark.slow
def test_a_study_is_recorded_by_a_server_that_starts_late(tmp_path):
    port = _free_port()
    uri = f"http://127.0.0.1:{port}"
    tracker = MLflowTracker(uri, tmp_path)
    started = time.monotonic()
    for event in _study(TRIALS):
        tracker(event)
    assert time.monotonic() - started < 1, "taking events must not wait for the server"
    with _server(tmp_path, port):
        tracker.close()
        assert tracker.num_unwritten == 0
        _check(uri, tracker)


def test_a_server_that_never_answers_costs_a_bounded_wait_and_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "CLOSE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(tracking, "RETRY_S", 0.1)
    tracker = MLflowTracker(f"http://127.0.0.1:{_free_port()}", tmp_path)
    events = list(_study(TRIALS))
    for event in events:
        tracker(event)
    tracker.close()
    assert tracker.num_unwritten == len(events)
