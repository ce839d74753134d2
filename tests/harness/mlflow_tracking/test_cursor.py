"""The cursor and the reader of the ledger behind it."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.mlflow_tracking.cursor import (
    Cursor,
    cursor_path,
    load_cursor,
    num_events_from,
    read_from,
)

URI = "https://***@host"


@pytest.fixture
def ledger(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "study", "study_id": "a"}\n{"event": "end"}\n')
    return path


def _cursor(**changed):
    runs = {"summary_run_id": "p", "run_ids": {0: "r"}, "steps": {0: 2}}
    return Cursor(URI, **{"study_id": "a", "offset": 36, "experiment_id": "1", **runs, **changed})


def test_a_cursor_is_read_as_it_was_saved_and_leaves_no_other_file(ledger):
    _cursor().save(cursor_path(ledger))
    assert load_cursor(ledger, URI) == _cursor()
    assert sorted(p.name for p in ledger.parent.iterdir()) == ["events.jsonl", "mlflow.json"]


@pytest.mark.parametrize(
    "cursor",
    [
        _cursor(offset=10_000),
        _cursor(offset=-1),
        _cursor(study_id="b"),
        _cursor(summary_run_id=None),
        _cursor(run_ids={0: None}),
        _cursor(steps={0: "2"}),
    ],
    ids=["beyond the end", "below zero", "another study", "no parent", "no run", "no step"],
)
def test_a_cursor_that_does_not_fit_the_ledger_is_none(ledger, cursor):
    cursor.save(cursor_path(ledger))
    assert load_cursor(ledger, URI) == Cursor(URI)


def test_a_cursor_of_another_store_is_none(ledger):
    _cursor().save(cursor_path(ledger))
    assert load_cursor(ledger, "http://other") == Cursor("http://other")


def _whole_text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cursor")
    path = folder / "events.jsonl"
    path.write_text('{"event": "study", "study_id": "a"}\n{"event": "end"}\n')
    _cursor().save(cursor_path(path))
    return path, cursor_path(path).read_bytes()


@given(data=st.data())
def test_a_damaged_cursor_is_read_as_it_was_or_is_none(data, tmp_path_factory):
    path, whole = _whole_text(tmp_path_factory)
    at = data.draw(st.integers(0, len(whole) - 1))
    damage = data.draw(st.sampled_from(["cut", "zero", "bracket"]))
    damaged = {"cut": whole[:at], "zero": whole[:at] + b"\0" * (len(whole) - at)}
    cursor_path(path).write_bytes(damaged.get(damage, whole[:at] + b"[" + whole[at + 1 :]))
    found = load_cursor(path, URI)
    assert isinstance(found.offset, int)
    assert found.uri == URI


@given(st.lists(st.text(max_size=30), max_size=20), st.integers(1, 200), st.text(max_size=5))
def test_reading_on_gives_each_whole_line_once(texts, max_bytes, torn):
    events = [{"event": "x", "text": text} for text in texts]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        lines = "".join(json.dumps(event) + "\n" for event in events)
        path.write_text(lines + json.dumps(torn))
        seen, offset = [], 0
        assert num_events_from(path, 0) == len(events)
        while True:
            more, offset = read_from(path, offset, max_bytes)
            if not more:
                break
            seen += more
            assert num_events_from(path, offset) == len(events) - len(seen)
        assert seen == events
        assert offset == len(lines.encode())


def test_without_a_ledger_there_is_nothing_to_read(tmp_path):
    assert read_from(tmp_path / "none.jsonl", 0) == ([], 0)
    assert num_events_from(tmp_path / "none.jsonl", 0) == 0


def test_a_damaged_line_is_named_by_its_place(ledger):
    with ledger.open("a") as file:
        file.write("{damaged\n")
    with pytest.raises(ValueError, match=r"events.jsonl: damaged event at byte 53"):
        read_from(ledger, 0)
