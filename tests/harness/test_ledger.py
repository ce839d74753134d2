import json

import pytest

from harness.ledger import Ledger, read_events, read_trials

FIELDS = {"seed": 0}


def _filled(path):
    ledger = Ledger(path)
    ledger.append("study", study="s", objective="m", goal="maximize")
    ledger.append("trial", number=0, name="all", is_baseline=True, params={}, fields=FIELDS)
    ledger.append(
        "epoch", number=0, step=1, num_steps=2, metrics={"m": 1.5}, stages={}, digests={}, tags={}
    )
    ledger.append("finished", number=0, state="complete", reason=None, value=1.5)
    return ledger


def test_events_come_back_in_order_with_the_state_they_lead_to(tmp_path):
    _filled(tmp_path / "events.jsonl").close()
    kinds = [event["event"] for event in read_events(tmp_path / "events.jsonl")]
    assert kinds == ["study", "trial", "epoch", "finished"]
    description, trials = read_trials(tmp_path / "events.jsonl")
    assert description["objective"] == "m"
    assert (trials[0].state, trials[0].step, trials[0].value) == ("complete", 1, 1.5)


def test_every_event_is_on_disk_before_a_subscriber_hears_of_it(tmp_path):
    path = tmp_path / "events.jsonl"
    seen = []
    with Ledger(path) as ledger:
        ledger.subscribe(lambda event: seen.append((event["event"], path.read_text().count("\n"))))
        ledger.append("study", study="s")
        ledger.append("end", state="complete", wall_s=1.0)
    assert seen == [("study", 1), ("end", 2)]


def test_a_ledger_never_overwrites_another(tmp_path):
    _filled(tmp_path / "events.jsonl").close()
    with pytest.raises(FileExistsError):
        Ledger(tmp_path / "events.jsonl")


def test_a_torn_last_line_is_left_out_at_every_offset(tmp_path):
    path = tmp_path / "events.jsonl"
    _filled(path).close()
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole)):
        path.write_bytes(whole[:end])
        assert [event["event"] for event in read_events(path)] == ["study", "trial", "epoch"]


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
        read_trials(path)


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
