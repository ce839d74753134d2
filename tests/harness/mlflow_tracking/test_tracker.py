"""A study in MLflow's real database: everything once, whatever is killed or lost on the way."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import psutil
import pytest

from harness.mlflow_tracking.cursor import cursor_path
from harness.mlflow_tracking.tracker import MLflowTracker
from harness.mlflow_tracking.uri_check import check_tracking
from harness.record.ledger import Ledger
from tests.mlflow_study import (
    PCK,
    RUNS,
    STUDY_ID,
    check_study,
    client,
    followed,
    points,
    study_events,
    write,
    written,
)


def _uri(folder):
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """A database with MLflow's tables, whose creation takes seconds."""
    folder = tmp_path_factory.mktemp("empty")
    client(_uri(folder)).search_experiments()
    return (folder / "mlflow.db").read_bytes()


@pytest.fixture
def uri(tmp_path, empty_database):
    (tmp_path / "mlflow.db").write_bytes(empty_database)
    return _uri(tmp_path)


def _track(uri, folder):
    return MLflowTracker(uri, folder / "artifacts", folder / "events.jsonl")


def _wait_until(is_true, limit_s=60):
    started = time.monotonic()
    while not is_true():
        assert time.monotonic() - started < limit_s
        time.sleep(0.05)


def test_a_study_is_recorded_in_a_new_database_without_a_word(tmp_path, capfd):
    with Ledger(tmp_path / "events.jsonl") as ledger:
        tracker = _track(_uri(tmp_path), tmp_path)
        ledger.subscribe(tracker)
        for event in study_events(RUNS):
            content = {k: v for k, v in event.items() if k not in ("event", "time")}
            ledger.append(event["event"], **content)
    tracker.close()
    assert tracker.num_unwritten == 0
    assert capfd.readouterr() == ("", "")
    check_study(_uri(tmp_path), tracker)


@pytest.mark.faults
@pytest.mark.parametrize("tables", [1, 20])
def test_a_writer_killed_while_it_creates_the_database_leaves_none(tmp_path, tables):
    write(tmp_path, list(study_events(RUNS)))
    tracker = _track(_uri(tmp_path), tmp_path)

    def has_tables():
        for path in tmp_path.glob("*mlflow.db*"):
            query = "SELECT count(*) FROM sqlite_master"
            try:
                with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                    (found,) = database.execute(query).fetchone()
            except sqlite3.Error:  # it is being written, or gone by now
                continue
            if found >= tables:
                return True
        return False

    _wait_until(has_tables, 120)
    tracker.give_up()
    check_tracking(_uri(tmp_path))
    tracker = _track(_uri(tmp_path), tmp_path)
    _wait_until(lambda: tracker.num_unwritten == 0, 200)
    tracker.close()
    check_study(_uri(tmp_path), tracker)


@pytest.mark.parametrize("lost", ["the cursor", "nothing", "half of the cursor", "its end"])
def test_writing_again_repeats_nothing(tmp_path, uri, lost):
    write(tmp_path, list(study_events(RUNS)))
    before = written(uri, tmp_path)
    path = cursor_path(tmp_path / "events.jsonl")
    if lost == "the cursor":
        path.unlink()
    elif lost == "half of the cursor":
        path.write_text(path.read_text()[:200])
    elif lost == "its end":  # as after a kill between the write to MLflow and the cursor's
        content = json.loads(path.read_text())
        first = (tmp_path / "events.jsonl").read_text().index("\n") + 1
        path.write_text(json.dumps(content | {"offset": first, "run_ids": {}, "steps": {}}))
    after = written(uri, tmp_path)
    assert after.run_ids == before.run_ids
    assert after.summary_run_id == before.summary_run_id
    check_study(uri, after)


def test_a_killed_writer_is_followed_by_one_that_repeats_nothing(tmp_path, uri, monkeypatch):
    monkeypatch.setattr("harness.mlflow_tracking.tracker.RESTART_S", 0.0)
    events = list(study_events(RUNS))
    write(tmp_path, events[:3])
    tracker = _track(uri, tmp_path)
    _wait_until(lambda: tracker.num_unwritten == 0)
    os.kill(tracker._process.pid, signal.SIGKILL)
    tracker._process.wait()
    write(tmp_path, events[3:])
    tracker(events[-1])
    tracker.close()
    assert tracker.num_unwritten == 0
    check_study(uri, tracker)


def test_a_study_that_goes_on_keeps_its_runs(tmp_path, uri):
    first = list(study_events([(0, "stopped")]))
    write(tmp_path, first)
    before = written(uri, tmp_path)
    run_id = before.run_ids[0]
    assert client(uri).get_run(run_id).info.status == "KILLED"
    write(tmp_path, [
        {"event": "resume", "time": 1_700_000_100.0, "reason": "again"},
        {"event": "continued", "number": 0, "step": 1, "why": "stopped", "time": 1_700_000_101.0},
    ])  # fmt: skip
    written(uri, tmp_path)
    for running in (run_id, before.summary_run_id):
        assert client(uri).get_run(running).info.status == "RUNNING"
    # Step 2 had been reported already: it is trained again, and is one point all the same.
    epoch = next(event for event in first if event["event"] == "epoch")
    again = [
        {**epoch, "step": step, "time": 1_700_000_102.0 + step, "metrics": {PCK: float(step)}}
        for step in (2, 3)
    ]
    finished = {"event": "finished", "number": 0, "state": "complete", "reason": None}
    end = {"event": "end", "state": "complete", "wall_s": 3.0, "reason": None}
    write(tmp_path, [
        *again,
        {**finished, "value": 3.0, "time": 1_700_000_106.0},
        {**end, "time": 1_700_000_107.0},
    ])  # fmt: skip
    after = written(uri, tmp_path)
    assert (after.run_ids, after.summary_run_id) == (before.run_ids, before.summary_run_id)
    run = client(uri).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert (run.data.tags["state"], run.data.tags["reason"]) == ("complete", "")
    assert run.info.end_time == 1_700_000_106_000
    assert points(uri, run_id, f"4 {PCK}") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert client(uri).get_run(after.summary_run_id).data.tags[f"best/{PCK}"] == "3"


def test_another_store_gets_the_study_from_its_beginning(tmp_path, uri, empty_database):
    write(tmp_path, list(study_events(RUNS)))
    before = written(uri, tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mlflow.db").write_bytes(empty_database)
    other = written(_uri(tmp_path / "other"), tmp_path)
    assert not set(other.run_ids.values()) & set(before.run_ids.values())
    check_study(_uri(tmp_path / "other"), other)


def test_a_database_that_was_deleted_is_filled_again(tmp_path, uri, empty_database):
    write(tmp_path, list(study_events(RUNS)))
    written(uri, tmp_path)
    (tmp_path / "mlflow.db").write_bytes(empty_database)
    write(tmp_path, [{"event": "resume", "time": 1_700_000_200.0}])
    after = written(uri, tmp_path)
    assert len(client(uri).search_runs([after.experiment_id])) == 1 + len(RUNS)
    assert points(uri, after.run_ids[1], f"4 {PCK}") == [(1, 11.0), (2, 12.0)]


def test_a_run_that_a_person_deleted_does_not_hold_up_the_others(tmp_path, uri):
    events = list(study_events(RUNS))
    write(tmp_path, events[:2])
    before = written(uri, tmp_path)
    client(uri).delete_run(before.run_ids[0])
    write(tmp_path, events[2:])
    after = followed(uri, tmp_path)
    assert after.num_refused
    assert "must be in the 'active' state" in after.last_error
    assert points(uri, after.run_ids[1], f"4 {PCK}") == [(1, 11.0), (2, 12.0)]


@pytest.mark.parametrize("when", ["between two drivers", "while one writes"])
@pytest.mark.parametrize("is_summary", [True, False])
def test_a_run_that_was_deleted_and_is_restored_has_everything_in_the_end(
    tmp_path, uri, is_summary, when
):
    events = list(study_events(RUNS))
    write(tmp_path, events[:2])
    before = written(uri, tmp_path)
    run_id = before.summary_run_id if is_summary else before.run_ids[0]
    client(uri).delete_run(run_id)
    if when == "while one writes":
        tracker = _track(uri, tmp_path)
        write(tmp_path, events[2:6])
        _wait_until(
            lambda: tracker._cursor().num_refused or is_summary and len(tracker.run_ids) > 1
        )
    else:
        write(tmp_path, events[2:])
        assert followed(uri, tmp_path).num_refused
    client(uri).restore_run(run_id)
    if when == "while one writes":
        write(tmp_path, events[6:])
        tracker.close()
        assert tracker.num_unwritten == 0, tracker.last_error
        check_study(uri, tracker)
    else:
        after = written(uri, tmp_path)
        assert after.num_refused == 0, after.last_error
        check_study(uri, after)


def test_each_study_has_an_experiment_of_its_own_whatever_a_person_calls_it(tmp_path, uri):
    events = list(study_events(RUNS))
    write(tmp_path, events[:4])
    before = written(uri, tmp_path)
    client(uri).rename_experiment(before.experiment_id, "which poses?")
    cursor_path(tmp_path / "events.jsonl").unlink()
    write(tmp_path, events[4:])
    after = written(uri, tmp_path)
    check_study(uri, after)
    assert after.experiment_id == before.experiment_id
    for folder, study_id, name in (("b", "1e" * 16, "s"), ("c", "2d" * 16, "s (2)")):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, list(study_events(RUNS, study_id=study_id)))
        other = written(uri, tmp_path / folder)
        check_study(uri, other, study_id)
        assert client(uri).get_experiment(other.experiment_id).name == name
    names = {experiment.name for experiment in client(uri).search_experiments()}
    assert names == {"Default", "which poses?", "s", "s (2)"}


def test_a_confirmation_goes_to_the_experiment_of_its_study_if_the_store_has_it(tmp_path, uri):
    write(tmp_path, list(study_events(RUNS)))
    searched = written(uri, tmp_path)
    note = client(uri).get_experiment(searched.experiment_id).tags["mlflow.note.content"]
    compared = {"baselines": ["t0"], "references": ["t0"]}
    kinds = {"kind": "confirmation", "varied": ["seed"], "compared": compared}
    for folder, belongs_to, experiment in (("b", STUDY_ID, "s"), ("c", "3c" * 16, "s (2)")):
        (tmp_path / folder).mkdir()
        more = {"belongs_to": belongs_to, **kinds}
        write(tmp_path / folder, study_events(RUNS[:1], study_id=folder * 32, **more))
        found = written(uri, tmp_path / folder)
        assert client(uri).get_experiment(found.experiment_id).name == experiment
        run = client(uri).get_run(found.run_ids[0])
        assert run.data.tags["kind"] == "confirmation"
        assert run.info.run_name == "confirm s0 t0"
        summary = client(uri).get_run(found.summary_run_id)
        assert summary.info.run_name == "summary of s"
        verdict = "**No run reported the test split.**"  # as these made-up runs did not
        assert summary.data.tags["mlflow.note.content"].startswith(verdict)
    after = client(uri).get_experiment(searched.experiment_id).tags["mlflow.note.content"]
    assert after == note, "the note stays that of the search"


def test_the_files_of_the_summary_are_kept_once(tmp_path, uri):
    (tmp_path / "summary").mkdir()
    (tmp_path / "summary" / "per_bin.png").write_bytes(b"figure")
    (tmp_path / "summary" / "report.html").write_text("<p>report</p>")
    write(tmp_path, list(study_events(RUNS)))
    cursor = written(uri, tmp_path)
    cursor_path(tmp_path / "events.jsonl").unlink()
    assert written(uri, tmp_path).summary_run_id == cursor.summary_run_id
    files = client(uri).list_artifacts(cursor.summary_run_id)
    assert [file.path for file in files] == ["per_bin.png", "report.html"]
    note = client(uri).get_experiment(cursor.experiment_id).tags["mlflow.note.content"]
    assert f"](get-artifact?path=per_bin.png&run_uuid={cursor.summary_run_id})" in note


def test_a_deleted_experiment_is_named_with_the_way_to_restore_it(tmp_path, uri):
    events = list(study_events(RUNS))
    write(tmp_path, events[:4])
    known = written(uri, tmp_path).experiment_id
    client(uri).delete_experiment(known)
    write(tmp_path, events[4:])
    assert f"s is deleted; restore it with: mlflow experiments restore -x {known}" in (
        followed(uri, tmp_path).last_error
    )
    client(uri).restore_experiment(known)
    check_study(uri, written(uri, tmp_path))


def test_a_metric_that_mlflow_refuses_costs_no_other(tmp_path, uri):
    events = list(study_events([(0, "complete")]))
    next(event for event in events if event["event"] == "epoch")["metrics"]["no,comma"] = 1.0
    write(tmp_path, events)
    after = followed(uri, tmp_path)
    assert after.num_refused == 1
    assert points(uri, after.run_ids[0], f"4 {PCK}") == [(1, 1.0), (2, 2.0)]


def test_of_two_mlflow_runs_of_one_run_only_one_is_kept(tmp_path, uri):
    events = list(study_events(RUNS))
    write(tmp_path, events[:2])
    before = written(uri, tmp_path)
    twin = client(uri).create_run(
        before.experiment_id,
        tags={"study_id": "0f" * 16, "run": "0"},
        run_name="created by a late request",
    )
    write(tmp_path, events[2:])
    after = written(uri, tmp_path)
    assert after.run_ids[0] == before.run_ids[0]
    assert client(uri).get_run(twin.info.run_id).info.lifecycle_stage == "deleted"
    check_study(uri, after)


def test_events_of_unknown_kinds_are_skipped(tmp_path, uri):
    events = list(study_events(RUNS))
    events.insert(3, {"event": "comet", "time": 1.0})
    write(tmp_path, events)
    check_study(uri, written(uri, tmp_path))


def test_a_line_that_is_being_written_waits_for_its_end(tmp_path, uri):
    events = list(study_events(RUNS))
    write(tmp_path, events[:-1])
    last = json.dumps(events[-1])
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write(last[:20])
    assert client(uri).get_run(written(uri, tmp_path).summary_run_id).info.status == "RUNNING"
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write(last[20:] + "\n")
    check_study(uri, written(uri, tmp_path))


def test_signals_to_the_writer_do_not_stop_it(tmp_path, uri):
    events = list(study_events(RUNS))
    write(tmp_path, events[:1])
    tracker = _track(uri, tmp_path)
    _wait_until(lambda: tracker.num_unwritten == 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(tracker._process.pid, number)
    write(tmp_path, events[1:])
    tracker.close()
    check_study(uri, tracker)
    assert tracker._process.returncode == 0


def test_a_driver_that_is_killed_leaves_no_writer_and_nothing_unwritten(tmp_path, uri):
    write(tmp_path, list(study_events(RUNS)))
    code = (
        "import sys, time; from pathlib import Path\n"
        "from harness.mlflow_tracking.tracker import MLflowTracker\n"
        f"folder = Path({str(tmp_path)!r})\n"
        f"tracker = MLflowTracker({uri!r}, folder / 'artifacts', folder / 'events.jsonl')\n"
        "print(tracker._process.pid, flush=True); time.sleep(600)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    writer = psutil.Process(int(driver.stdout.readline()))
    driver.kill()
    driver.wait()
    driver.stdout.close()
    writer.wait(60)
    check_study(uri, written(uri, tmp_path))


def test_a_lock_on_the_database_is_waited_for(tmp_path, uri, monkeypatch):
    write(tmp_path, list(study_events(RUNS)))
    holder = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    tracker = _track(uri, tmp_path)
    time.sleep(3)
    assert tracker.num_unwritten > 0
    holder.close()
    tracker.close()
    assert tracker.num_unwritten == 0
    check_study(uri, tracker)
