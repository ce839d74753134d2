"""``harness.ui`` names the pages of studies, or says in one sentence why there are none."""

import json
import socket
import sys

import pytest

from harness.mlflow_tracking.cursor import Cursor, cursor_path
from harness.ui import main
from tests.mlflow_study import STUDY_ID, study_events, write

PAGE = (
    "/#/experiments/{}/runs?workflowType=machine_learning&compareRunsMode=CHART"
    "&viewStateShareKey=0f0f0f0f"
)


def _recorded(root, name, uri, experiment_id):
    """A study that a writer has written to the experiment."""
    folder = root / "studies" / name
    folder.mkdir(parents=True)
    write(folder, list(study_events([(0, "complete")]))[:1])
    ledger = folder / "events.jsonl"
    size = ledger.stat().st_size
    Cursor(uri, STUDY_ID, size, 0, experiment_id, "summary").save(cursor_path(ledger))


def test_with_a_server_the_addresses_are_said_without_its_password(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@host:5000")
    for name, experiment_id in (("a", "3"), ("b", "4")):
        _recorded(tmp_path, name, "http://***@host:5000", experiment_id)
    assert main(["--storage", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a: http://host:5000" + PAGE.format(3),
        "b: http://host:5000" + PAGE.format(4),
    ]
    assert main(["b", "--storage", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"b: http://host:5000{PAGE.format(4)}\n"


@pytest.fixture
def local(tmp_path, monkeypatch):
    """A storage whose study is said to be in its database, which does not exist."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    _recorded(tmp_path, "a", f"sqlite:///{tmp_path}/mlflow.db", "3")
    return tmp_path


def _refusal(capsys, *arguments):
    assert main(list(map(str, arguments))) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_what_cannot_be_shown_is_said_in_a_sentence(local, capsys):
    assert "no study named b in" in _refusal(capsys, "b", "--storage", local)
    assert "mlflow.db does not exist" in _refusal(capsys, "a", "--storage", local)
    cursor = cursor_path(local / "studies" / "a" / "events.jsonl")
    old = json.loads(cursor.read_text())
    old["parent_run_id"] = old.pop("summary_run_id")
    cursor.write_text(json.dumps(old))
    assert "type the study's command again" in _refusal(capsys, "a", "--storage", local)


def test_a_port_that_is_in_use_or_is_none_is_refused(local, capsys):
    (local / "mlflow.db").touch()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"--port {port}: in use" in _refusal(capsys, "--storage", local, "--port", port)
    assert "from 1 to 65535" in _refusal(capsys, "--storage", local, "--port", 0)


def test_what_the_server_said_is_shown_if_it_does_not_start(local, tmp_path, monkeypatch, capsys):
    (local / "mlflow.db").touch()
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    assert main(["--storage", str(local)]) == 4
    error = capsys.readouterr().err
    assert error.startswith("out of order\n")
    assert "MLflow's server did not start" in error
