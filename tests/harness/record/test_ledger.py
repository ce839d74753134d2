import json

import pytest

from harness.record.ledger import Ledger, read_events, read_runs

RUN = {
    "number": 0, "trial": 0, "trial_name": "all", "seed": 0, "name": "all", "is_baseline": True,
    "params": {}, "fields": {"seed": 0},
}  # fmt: skip


def _filled(path):
    ledger = Ledger(path)
    ledger.append("study", study="s", objective="m", goal="maximize")
    ledger.append("run", **RUN)
    ledger.append(
        "epoch", number=0, step=1, num_steps=2, metrics={"m": 1.5}, stages={}, digests={}, tags={}
    )
    ledger.append("finished", number=0, state="complete", reason=None, value=1.5)
    return ledger


def test_events_come_back_in_order_with_the_state_they_lead_to(tmp_path):
    _filled(tmp_path / "events.jsonl").close()
    kinds = [event["event"] for event in read_events(tmp_path / "events.jsonl")]
    assert kinds == ["study", "run", "epoch", "finished"]
    description, runs = read_runs(tmp_path / "events.jsonl")
    assert description["objective"] == "m"
    assert (runs[0].state, runs[0].step, runs[0].value) == ("complete", 1, 1.5)


def test_every_event_is_on_disk_before_a_subscriber_hears_of_it(tmp_path):
    path = tmp_path / "events.jsonl"
    seen = []
    with Ledger(path) as ledger:
        ledger.subscribe(lambda event: seen.append((event["event"], path.read_text().count("\n"))))
        ledger.append("study", study="s")
        ledger.append("end", state="complete", wall_s=1.0)
    assert seen == [("study", 1), ("end", 2)]


def test_a_ledger_that_is_there_goes_on_with_what_it_holds(tmp_path):
    path = tmp_path / "events.jsonl"
    _filled(path).close()
    before = path.read_bytes()
    with Ledger(path) as ledger:
        assert not ledger.is_new
        assert (ledger.runs[0].state, ledger.description["study"]) == ("complete", "s")
        ledger.append("end", state="complete", reason=None, wall_s=1.0)
    assert path.read_bytes().startswith(before)
    assert Ledger(path).is_complete


def test_going_on_may_change_the_description_and_keeps_what_it_does_not_name(tmp_path):
    path = tmp_path / "events.jsonl"
    with Ledger(path) as ledger:
        ledger.append("study", study="s", study_id="1", objective="m")
        ledger.append("resume", objective="n")
    description, _ = read_runs(path)
    assert (description["study_id"], description["objective"]) == ("1", "n")


def _at(path, *events):
    """A ledger whose events happened at given seconds."""
    lines = [json.dumps({"event": kind, "time": at, **content}) for at, kind, content in events]
    path.write_text("\n".join(lines) + "\n")
    return Ledger(path)


STOPPED = {"number": 0, "state": "stopped", "reason": "interrupted", "value": None}
EPOCH = {
    "number": 0, "step": 1, "num_steps": 3, "metrics": {}, "stages": {}, "digests": {}, "tags": {}
}  # fmt: skip


def test_time_between_two_drivers_is_nobodys(tmp_path):
    ledger = _at(
        tmp_path / "events.jsonl",
        (100.0, "study", {"study": "s"}),
        (110.0, "run", RUN),
        (125.0, "epoch", EPOCH),  # killed
        (900.0, "resume", {}),
        (905.0, "continued", {"number": 0, "step": 1, "why": "killed"}),
        (945.0, "epoch", {**EPOCH, "step": 2}),
    )
    assert ledger.earlier_wall_s == 25.0 + 45.0
    assert ledger.runs[0].busy_s == 15.0 + 40.0
    assert (ledger.runs[0].state, ledger.runs[0].step) == ("running", 2)


def test_a_run_that_a_killed_driver_left_is_not_busy_until_the_next_one(tmp_path):
    ledger = _at(
        tmp_path / "events.jsonl",
        (0.0, "study", {"study": "s"}),
        (10.0, "run", RUN),
        (25.0, "epoch", EPOCH),
        (36_000.0, "resume", {}),
        (36_002.0, "finished", STOPPED),
    )
    assert ledger.runs[0].busy_s == 15.0 + 2.0


def test_a_stopped_run_continues(tmp_path):
    ledger = _at(
        tmp_path / "events.jsonl",
        (1.0, "study", {"study": "s"}),
        (1.0, "run", RUN),
        (2.0, "finished", STOPPED),
        (3.0, "continued", {"number": 0, "step": 0, "why": "its driver had ended"}),
    )
    assert (ledger.runs[0].state, ledger.runs[0].reason) == ("running", None)


def test_a_torn_last_line_is_cut_when_the_study_goes_on(tmp_path):
    path = tmp_path / "events.jsonl"
    _filled(path).close()
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole)):
        path.write_bytes(whole[:end])
        with Ledger(path) as ledger:
            ledger.append("end", state="stopped", reason=None, wall_s=1.0)
        kinds = [event["event"] for event in read_events(path)]
        assert kinds == ["study", "run", "epoch", "end"]


def test_a_ledger_that_was_torn_before_its_first_event_is_new(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "stu')
    assert Ledger(path).is_new
    assert path.read_bytes() == b""


def test_a_long_last_line_is_cut_too(tmp_path):
    path = tmp_path / "events.jsonl"
    _filled(path).close()
    before = path.read_bytes()
    path.write_bytes(before + b"x" * 200_000)
    Ledger(path).close()
    assert path.read_bytes() == before


def test_a_torn_last_line_is_left_out_at_every_offset(tmp_path):
    path = tmp_path / "events.jsonl"
    _filled(path).close()
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole)):
        path.write_bytes(whole[:end])
        assert [event["event"] for event in read_events(path)] == ["study", "run", "epoch"]


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "events.jsonl"
    _filled(path).close()
    lines = path.read_text().splitlines()
    lines[1] = lines[1][:10]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"events\.jsonl:2: damaged event"):
        list(read_events(path))


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    with (
        Ledger(tmp_path / "events.jsonl") as ledger,
        pytest.raises(ValueError, match="JSON"),
    ):
        ledger.append("epoch", metrics={"m": float("nan")})
    assert (tmp_path / "events.jsonl").read_text() == ""


def test_a_file_without_a_study_is_refused(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text(json.dumps({"event": "end"}) + "\n")
    with pytest.raises(ValueError, match="holds no study"):
        read_runs(path)


def test_a_subscriber_that_raises_is_left_out_and_the_others_go_on(tmp_path):
    def broken(_event):
        raise BrokenPipeError("the terminal is gone")

    seen = []
    with Ledger(tmp_path / "events.jsonl") as ledger:
        ledger.subscribe(broken)
        ledger.subscribe(lambda event: seen.append(event["event"]))
        with pytest.warns(RuntimeWarning, match="the terminal is gone"):
            ledger.append("study", study="s")
        ledger.append("end", state="stopped", wall_s=1.0)
    assert seen == ["study", "end"]
    assert len(list(read_events(tmp_path / "events.jsonl"))) == 2
