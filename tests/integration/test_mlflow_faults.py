"""A real MLflow server that is down, hangs, fails or loses answers; everything arrives once."""

import contextlib
import random
import select
import signal
import socket
import sqlite3
import threading
import time
import uuid
from pathlib import Path

import pytest

from harness.mlflow_tracking.cursor import cursor_path
from harness.mlflow_tracking.tracker import MLflowTracker
from tests.mlflow_server import running_server
from tests.mlflow_study import PCK, RUNS, check_study, client, points, study_events, write, written

ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class FaultyRoad:
    """TCP proxy to a server.

    Attributes:
        mode: ``pass``, ``refuse``, ``hang`` (takes connections, never answers) or ``fail``
            (answers 500). A change breaks the connections that are open.
        lost_every: Of so many answers to a write one is lost, after the server has done it.
        num_lost: How many were.
    """

    def __init__(self, server_port):
        self.mode = "refuse"
        self.lost_every = 10**9
        self.num_lost = self._num_writes = 0
        self._server_port = server_port
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._listener = None
        self._open = set()

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.port}"

    def turn(self, mode):
        self.mode = mode
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        if mode == "refuse" and self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        elif mode != "refuse" and self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        self._open.add(connection)
        with connection, contextlib.suppress(OSError):
            if self.mode == "hang":
                while connection.recv(65536):
                    pass
            elif self.mode == "fail":
                connection.recv(65536)
                connection.sendall(ERROR)
            elif self.mode == "pass":
                self._forward(connection)
        self._open.discard(connection)

    def _forward(self, connection):
        with socket.create_connection(("127.0.0.1", self._server_port)) as server:
            is_write = False
            while True:
                ready, _, _ = select.select([connection, server], [], [])
                for origin in ready:
                    data = origin.recv(65536)
                    if not data:
                        return
                    if origin is server:
                        if is_write and self._is_lost():
                            return
                        is_write = False
                        connection.sendall(data)
                    else:
                        if data.startswith((b"POST", b"GET", b"PUT")):
                            words = (
                                b"/create",
                                b"log-batch",
                                b"runs/update",
                                b"log-inputs",
                                b"PUT",
                            )
                            is_write = any(word in data[:200] for word in words)
                        server.sendall(data)

    def _is_lost(self):
        self._num_writes += 1
        is_lost = self._num_writes % self.lost_every == 0
        self.num_lost += is_lost
        return is_lost


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Port of a running MLflow server, which takes artifacts over HTTP."""
    folder = tmp_path_factory.mktemp("server")
    with running_server(folder, "--artifacts-destination", str(folder / "artifacts")) as port:
        yield port


@pytest.fixture
def road(server):
    road = FaultyRoad(server)
    yield road
    road.turn("refuse")


class Study:
    """A study of its own on the server: its ledger, and who writes it.

    Where there is a road, the writer reaches the server by it alone.
    """

    def __init__(self, folder, server, road=None):
        self.folder, self.road = folder, road
        self.study_id = uuid.uuid4().hex
        self.events = list(study_events(RUNS, study_id=self.study_id))
        (folder / "summary").mkdir()
        (folder / "summary" / "per_bin.png").write_bytes(b"figure")
        self._server = server

    def track(self):
        uri = self._server if self.road is None else self.road.uri
        return MLflowTracker(uri, self.folder / "artifacts", self.folder / "events.jsonl")

    def check(self, tracker):
        assert tracker.num_unwritten == 0, tracker.last_error
        check_study(self._server, tracker, self.study_id)
        files = client(self._server).list_artifacts(tracker.summary_run_id)
        assert [(file.path, file.file_size) for file in files] == [("per_bin.png", 6)]


@pytest.fixture
def study(tmp_path, road, server, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    return Study(tmp_path, f"http://127.0.0.1:{server}", road)


def _wait_until(is_true, limit_s=60):
    started = time.monotonic()
    while not is_true():
        assert time.monotonic() - started < limit_s
        time.sleep(0.05)


def test_a_renamed_experiment_and_a_deleted_summary_do_not_lose_a_study(study, server):
    study.road.turn("pass")
    write(study.folder, study.events[:4])
    tracker = study.track()
    _wait_until(lambda: tracker.num_unwritten == 0)
    tracker.close()
    mlflow = client(f"http://127.0.0.1:{server}")
    experiment = mlflow.get_run(tracker.summary_run_id).info.experiment_id
    name = mlflow.get_experiment(experiment).name
    mlflow.rename_experiment(experiment, "renamed")
    mlflow.delete_run(tracker.summary_run_id)
    write(study.folder, study.events[4:])
    tracker = study.track()
    _wait_until(lambda: tracker._cursor().refused_runs)
    tracker.close()
    assert tracker.num_unwritten > 0
    mlflow.restore_run(tracker.summary_run_id)
    tracker = study.track()
    _wait_until(lambda: tracker.num_unwritten == 0)
    tracker.close()
    study.check(tracker)
    assert mlflow.get_run(tracker.summary_run_id).info.experiment_id == experiment
    mlflow.rename_experiment(experiment, name)


@pytest.mark.parametrize("mode", ["refuse", "hang", "fail"])
def test_a_server_that_fails_at_the_start_and_on_the_way_gets_it_all_later(study, mode):
    study.road.turn(mode)
    write(study.folder, study.events[:4])
    tracker = study.track()
    _wait_until(lambda: tracker.last_error != "no answer")
    assert tracker.num_unwritten == 4
    assert tracker.summary_run_id is None
    study.road.turn("pass")
    _wait_until(lambda: tracker.num_unwritten == 0)
    study.road.turn(mode)
    write(study.folder, study.events[4:])
    _wait_until(lambda: tracker.last_error != "no answer")
    study.road.turn("pass")
    tracker.close()
    study.check(tracker)


@pytest.mark.faults
def test_answers_that_are_lost_cost_no_second_run_or_point(study):
    study.road.turn("pass")
    study.road.lost_every = 4  # the last event takes three writes, which must once arrive together
    write(study.folder, study.events)
    tracker = study.track()
    _wait_until(lambda: tracker.num_unwritten == 0, 120)
    tracker.close()
    assert study.road.num_lost > 3
    study.check(tracker)


@pytest.mark.faults
def test_a_server_that_is_away_for_two_minutes_misses_nothing(tmp_path):
    artifacts = ("--artifacts-destination", str(tmp_path / "artifacts"))
    with running_server(tmp_path, *artifacts) as port:
        study = Study(tmp_path, f"http://127.0.0.1:{port}")
        write(study.folder, study.events[:4])
        tracker = study.track()
        _wait_until(lambda: tracker.num_unwritten == 0)
    write(study.folder, study.events[4:])
    time.sleep(120)
    assert tracker.num_unwritten == len(study.events) - 4
    with running_server(tmp_path, *artifacts, port=port):
        _wait_until(lambda: tracker.num_unwritten == 0)
        tracker.close()
        study.check(tracker)


@pytest.mark.parametrize("mode", ["refuse", "hang", "fail"])
def test_a_server_that_never_comes_back_gets_it_all_when_the_study_goes_on(study, mode):
    study.road.turn("pass")
    write(study.folder, study.events[:4])
    tracker = study.track()
    _wait_until(lambda: tracker.num_unwritten == 0)
    study.road.turn(mode)
    write(study.folder, study.events[4:])
    tracker.close()
    assert tracker.num_unwritten == len(study.events) - 4
    study.road.turn("pass")
    again = study.track()
    again.close()
    assert again.summary_run_id == tracker.summary_run_id
    study.check(again)


def test_giving_up_does_not_wait_for_a_server_that_hangs(study):
    study.road.turn("hang")
    write(study.folder, study.events)
    tracker = study.track()
    tracker.give_up()
    assert tracker._process.returncode == -signal.SIGKILL
    assert tracker.num_unwritten == len(study.events)


def test_a_password_is_in_no_file_no_error_and_no_list_of_processes(study, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0psecret")
    write(study.folder, study.events)
    uri = study.road.uri.replace("//", "//user:hunter2@")
    tracker = MLflowTracker(uri, study.folder / "artifacts", study.folder / "events.jsonl")
    command = Path(f"/proc/{tracker._process.pid}/cmdline").read_text()
    _wait_until(lambda: tracker.last_error != "no answer")
    tracker.close()
    stored = cursor_path(study.folder / "events.jsonl").read_text()
    for text in (command, stored, tracker.last_error):
        assert "hunter2" not in text
        assert "t0psecret" not in text
    assert "refused" in tracker.last_error


@pytest.mark.faults
def test_a_database_locked_for_longer_than_mlflow_waits_loses_nothing(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    write(tmp_path, list(study_events(RUNS))[:4])
    written(uri, tmp_path)
    write(tmp_path, list(study_events(RUNS))[4:])
    holder = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    tracker = MLflowTracker(uri, tmp_path / "artifacts", tmp_path / "events.jsonl")
    time.sleep(60)
    assert "locked" in tracker.last_error
    holder.close()
    _wait_until(lambda: tracker.num_unwritten == 0)
    tracker.close()
    check_study(uri, tracker)


@pytest.mark.faults
def test_a_writer_killed_again_and_again_loses_and_repeats_nothing(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client(uri).search_experiments()
    runs = [(number, "complete") for number in range(60)]
    write(tmp_path, study_events(runs, num_metrics=100))
    rng = random.Random(0)
    for _ in range(12):
        tracker = MLflowTracker(uri, tmp_path / "artifacts", tmp_path / "events.jsonl")
        time.sleep(rng.uniform(1.5, 3.5))
        tracker.give_up()
    end = written(uri, tmp_path)
    assert sorted(end.run_ids) == list(range(60))
    assert len(client(uri).search_runs([end.experiment_id])) == 61
    for number, run_id in end.run_ids.items():
        assert points(uri, run_id, f"4 {PCK}") == [(1, 10.0 * number + 1), (2, 10.0 * number + 2)]
        assert points(uri, run_id, "8 more/99") == [(1, 99.0), (2, 99.0)]
