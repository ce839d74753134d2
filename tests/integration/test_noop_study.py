"""The harness around a trainable that computes nothing: real Tune in this process."""

import io
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from optuna.trial import TrialState

from harness import run
from harness.record.ledger import read_events
from harness.record.storage import Storage
from harness.spec import load_study
from harness.study import limits
from harness.study.follow import follow_study
from harness.study.launch import Launch
from tests.conftest import optuna_states
from tests.noop_trainable import (
    CrashingTrainable,
    DyingTrainable,
    GreedyTrainable,
    NaNTrainable,
    NoopTrainable,
    SlowTrainable,
)
from trainables.registry import TRAINABLES

STUDY = """
name: noop
trainable: adaptation
metric: {name: target_val/pck_05, goal: maximize}
parameters:
  vae.kl_weight: {distribution: log_uniform_values, min: 1e-4, max: 1}
fixed: {adapt.epochs: 6}
early_terminate: {type: hyperband_brackets, min_iter: 1, eta: 3, max_iter: 6}
budget: {run_cap: 8}
failures: {retries: 0}
"""
WITHOUT_PRUNING = STUDY.replace(
    "type: hyperband_brackets, min_iter: 1, eta: 3, max_iter: 6", "type: none"
)

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, of its threads and sockets


def _follow(write_study, tmp_path, trainable, text=STUDY, **options):
    out = io.StringIO()
    spec = load_study(write_study(text))
    launch = Launch(Storage(tmp_path), trainable=trainable, **options)
    result, tracker = follow_study(spec, launch, out)
    return result, tracker, out.getvalue()


def _optuna(tmp_path, name="noop"):
    return optuna_states(f"sqlite:///{tmp_path / 'optuna.db'}", name)


def test_bad_trials_are_pruned_and_the_best_has_run_to_its_end(write_study, tmp_path):
    result, tracker, out = _follow(write_study, tmp_path, NoopTrainable)
    states = [record.state for record in result.runs]
    assert set(states) == {"complete", "pruned"}
    told = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    assert _optuna(tmp_path) == [told[state] for state in states]
    pruned = [record for record in result.runs if record.state == "pruned"]
    assert all(record.step < 6 for record in pruned)
    assert sorted(tracker.run_ids) == list(range(8))
    assert out.count("starts:") == 8
    assert "left" in out


def test_a_second_run_of_a_name_goes_on_and_a_new_one_is_a_study_of_its_own(write_study, tmp_path):
    short, text = (STUDY.replace("run_cap: 8", f"run_cap: {cap}") for cap in (2, 3))
    _follow(write_study, tmp_path, NoopTrainable, short)
    second, tracker, out = _follow(write_study, tmp_path, NoopTrainable, text)
    assert (second.study_name, len(second.runs), sorted(tracker.run_ids)) == (
        "noop", 3, [0, 1, 2],
    )  # fmt: skip
    assert "going on with study noop" in out
    assert out.count("starts:") == 1, "the two that had ended are not run again"
    other, _, _ = _follow(write_study, tmp_path, NoopTrainable, short, new=True)
    assert (other.study_name, len(other.runs)) == ("noop-2", 2)


@pytest.mark.parametrize(
    ("trainable", "words"),
    [
        (NaNTrainable, "objective target_val/pck_05 is nan at step 2"),
        (CrashingTrainable, "RuntimeError: the disk is made of cheese"),
        (GreedyTrainable, "MemoryError"),
    ],
)
def test_failures_are_told_with_their_reason_and_the_study_goes_on(
    write_study, tmp_path, trainable, words
):
    # Without pruning, which could end a run before it fails.
    text = re.sub("early_terminate.*", "", STUDY).replace("run_cap: 8", "run_cap: 3")
    result, _, _ = _follow(write_study, tmp_path, trainable, text)
    assert [record.state for record in result.runs] == ["failed"] * 3
    assert all(words in record.reason for record in result.runs)
    assert _optuna(tmp_path) == [TrialState.FAIL] * 3


def test_a_study_whose_every_loss_is_nan_says_so_and_ends_with_3(
    write_study, tmp_path, monkeypatch, capsys
):
    nans = replace(TRAINABLES["adaptation"], code="tests.noop_trainable:NaNTrainable")
    monkeypatch.setitem(TRAINABLES, "adaptation", nans)
    path = write_study(STUDY.replace("run_cap: 8", "run_cap: 2"))
    assert run.main([str(path), "--storage", str(tmp_path)]) == 3
    shown = capsys.readouterr()
    assert "2 of 2 runs failed; --retry-failed tries again" in shown.err
    assert "objective target_val/pck_05 is nan at step 2" in shown.out
    assert "noop: 2 failed" in shown.out


def test_a_worker_that_is_killed_each_time_fails_and_may_be_tried_again(write_study, tmp_path):
    text = STUDY.replace("retries: 0", "retries: 1").replace("run_cap: 8", "run_cap: 2")
    result, _, _ = _follow(write_study, tmp_path, DyingTrainable, text)
    assert [record.state for record in result.runs] == ["failed", "failed"]
    assert all("worker's process died" in record.reason for record in result.runs)
    assert all("memory" in record.reason for record in result.runs), "what it may be"
    assert _optuna(tmp_path) == [TrialState.FAIL] * 2, "no success that the sampler would follow"
    events = list(read_events(Storage(tmp_path).ledger("noop")))
    assert sum(event["event"] == "continued" for event in events) == 2, "each was tried twice"
    again, _, _ = _follow(write_study, tmp_path, NoopTrainable, text, retry_failed=True)
    assert [record.retry_of for record in again.runs] == [None, None, 0, 1]
    assert {record.state for record in again.runs[2:]} <= {"complete", "pruned"}
    assert [record.params for record in again.runs[2:]] == [
        record.params for record in again.runs[:2]
    ]


@pytest.mark.parametrize(
    ("drain", "ended", "stored"),
    [
        ("stop", ["complete", "stopped"], [TrialState.COMPLETE, TrialState.WAITING]),
        ("finish", ["complete"] * 2, [TrialState.COMPLETE] * 2),
    ],
)
def test_the_hours_of_a_budget_end_a_study_which_goes_on_with_more(
    write_study, tmp_path, monkeypatch, drain, ended, stored
):
    """The hours are over while the second run trains, at a time that it decides."""
    ledger = Storage(tmp_path).ledger("noop")

    def monotonic():
        is_over = ledger.exists() and any(
            event["event"] == "epoch" and event["number"] == 1 for event in read_events(ledger)
        )
        return 7200.0 if is_over else 0.0

    text = WITHOUT_PRUNING.replace("run_cap: 8", f"run_cap: 4, hours: 1, drain: {drain}")
    text += "resources: {parallel: 1}\n"
    with monkeypatch.context() as patch:
        patch.setattr(limits, "time", SimpleNamespace(monotonic=monotonic))
        result, _, _ = _follow(write_study, tmp_path, SlowTrainable, text)
    assert (result.state, result.reason) == ("stopped", "budget.hours 1 used up")
    assert not result.was_interrupted
    assert [record.state for record in result.runs] == ended
    assert _optuna(tmp_path) == stored
    last = list(read_events(ledger))[-1]
    assert (last["event"], last["state"], last["reason"]) == ("end", "stopped", result.reason)
    more, _, _ = _follow(write_study, tmp_path, SlowTrainable, text)
    assert more.state == "complete"
    assert [record.state for record in more.runs] == ["complete"] * 4
    assert _optuna(tmp_path) == [TrialState.COMPLETE] * 4


def test_hours_that_are_over_before_the_first_trial_start_none(write_study, tmp_path, capsys):
    path = write_study(STUDY.replace("run_cap: 8", "run_cap: 8, hours: 1e-6"))
    assert run.main([str(path), "--storage", str(tmp_path)]) == 0
    assert "budget.hours 1e-06 used up" in capsys.readouterr().out
    assert _optuna(tmp_path) == []
