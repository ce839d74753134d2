"""The harness around a trainable that computes nothing: real Tune in this process."""

import io
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from optuna.trial import TrialState

from harness import run
from harness.record.ledger import read_events, read_runs
from harness.record.storage import Storage
from harness.spec import load_spec
from harness.study import limits
from harness.study.follow import follow_study
from harness.study.launch import Launch
from tests.conftest import optuna_states
from tests.noop_trainable import FailingTrainable, NoopTrainable, SlowTrainable
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
ONE_BY_ONE = STUDY + "resources: {parallel: 1}\n"

FAILING = """
name: noop
trainable: adaptation
metric: {name: target_val/pck_05, goal: maximize}
method: grid
parameters: {vae.epochs: {values: [1, 2, 3, 4]}}
fixed: {adapt.epochs: 3}
early_terminate: {type: none}
failures: {retries: 1}
resources: {parallel: 1}
"""
"""A trial for each way to fail."""

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, of its threads and sockets


@pytest.fixture
def follow(write_study, tmp_path, cluster):
    """Run a study with a trainable; returns its result, its tracker and what it said."""

    def follow(trainable, text=STUDY, **options):
        out = io.StringIO()
        spec = load_spec(write_study(text))
        launch = Launch(Storage(tmp_path), trainable=trainable, address=cluster, **options)
        result, tracker = follow_study(spec, launch, out)
        return result, tracker, out.getvalue()

    return follow


def _optuna(tmp_path, name="noop"):
    return optuna_states(f"sqlite:///{tmp_path / 'optuna.db'}", name)


def test_bad_trials_are_pruned_and_the_best_has_run_to_its_end(follow, tmp_path):
    result, tracker, out = follow(NoopTrainable)
    states = [record.state for record in result.runs]
    assert set(states) == {"complete", "pruned"}
    told = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    assert _optuna(tmp_path) == [told[state] for state in states]
    pruned = [record for record in result.runs if record.state == "pruned"]
    assert all(record.step < 6 for record in pruned)
    assert sorted(tracker.run_ids) == list(range(8))
    assert out.count("starts:") == 8
    assert "left" in out


def test_a_second_run_of_a_name_goes_on_and_a_new_one_is_a_study_of_its_own(follow):
    short, text = (ONE_BY_ONE.replace("run_cap: 8", f"run_cap: {cap}") for cap in (2, 3))
    follow(NoopTrainable, short)
    second, tracker, out = follow(NoopTrainable, text)
    assert (second.study_name, len(second.runs), sorted(tracker.run_ids)) == (
        "noop", 3, [0, 1, 2],
    )  # fmt: skip
    assert "going on with study noop" in out
    assert out.count("starts:") == 1, "the two that had ended are not run again"
    other, _, _ = follow(NoopTrainable, short, new=True)
    assert (other.study_name, len(other.runs)) == ("noop-2", 2)


def test_failures_are_told_with_their_reason_and_may_be_tried_again(
    follow, cluster, write_study, tmp_path, monkeypatch, capsys
):
    failing = replace(TRAINABLES["adaptation"], code="tests.noop_trainable:FailingTrainable")
    monkeypatch.setitem(TRAINABLES, "adaptation", failing)
    path = write_study(FAILING)
    assert (
        run.main([str(path), "--no-report", "--storage", str(tmp_path), "--address", cluster]) == 3
    )
    shown = capsys.readouterr()
    assert "4 of 4 runs failed; --retry-failed tries again" in shown.err
    assert "objective target_val/pck_05 is nan at step 2" in shown.out
    assert "noop: 4 failed" in shown.out
    _, runs = read_runs(Storage(tmp_path).ledger("noop"))
    assert [record.state for record in runs.values()] == ["failed"] * 4
    reasons = {
        FailingTrainable.WAYS[record.fields["vae.epochs"] - 1]: record.reason
        for record in runs.values()
    }
    assert "objective target_val/pck_05 is nan at step 2" in reasons["nan"]
    assert "RuntimeError: the disk is made of cheese" in reasons["raise"]
    assert "MemoryError" in reasons["want"]
    assert "worker's process died" in reasons["die"]
    assert "memory" in reasons["die"], "what it may be"
    # No success that the sampler would follow.
    assert _optuna(tmp_path) == [TrialState.FAIL] * 4
    continued = {
        event["number"]
        for event in read_events(Storage(tmp_path).ledger("noop"))
        if event["event"] == "continued"
    }
    assert continued == {n for n, record in runs.items() if record.fields["vae.epochs"] > 1}

    again, _, _ = follow(NoopTrainable, FAILING, retry_failed=True)
    assert [record.retry_of for record in again.runs] == [None] * 4 + [0, 1, 2, 3]
    assert {record.state for record in again.runs[4:]} == {"complete"}
    assert [record.params for record in again.runs[4:]] == [
        record.params for record in again.runs[:4]
    ]


@pytest.mark.parametrize(
    ("drain", "ended", "stored"),
    [
        ("stop", ["complete", "stopped"], [TrialState.COMPLETE, TrialState.WAITING]),
        ("finish", ["complete"] * 2, [TrialState.COMPLETE] * 2),
    ],
)
def test_the_hours_of_a_budget_end_a_study_which_goes_on_with_more(
    follow, tmp_path, monkeypatch, drain, ended, stored
):
    """The hours are over while the second run trains, at a time that it decides."""
    ledger = Storage(tmp_path).ledger("noop")

    def monotonic():
        is_over = ledger.exists() and any(
            event["event"] == "epoch" and event["number"] == 1 for event in read_events(ledger)
        )
        return 7200.0 if is_over else 0.0

    text = ONE_BY_ONE.replace("run_cap: 8", f"run_cap: 4, hours: 1, drain: {drain}")
    text = re.sub("early_terminate.*", "early_terminate: {type: none}", text)
    with monkeypatch.context() as patch:
        patch.setattr(limits, "time", SimpleNamespace(monotonic=monotonic))
        result, _, _ = follow(SlowTrainable, text)
    assert (result.state, result.reason) == ("stopped", "budget.hours 1 used up")
    assert not result.was_interrupted
    assert [record.state for record in result.runs] == ended
    assert _optuna(tmp_path) == stored
    last = list(read_events(ledger))[-1]
    assert (last["event"], last["state"], last["reason"]) == ("end", "stopped", result.reason)
    more, _, _ = follow(SlowTrainable, text)
    assert more.state == "complete"
    assert [record.state for record in more.runs] == ["complete"] * 4
    assert _optuna(tmp_path) == [TrialState.COMPLETE] * 4


def test_hours_that_are_over_before_the_first_trial_start_none(write_study, tmp_path, capsys):
    path = write_study(STUDY.replace("run_cap: 8", "run_cap: 8, hours: 1e-6"))
    assert run.main([str(path), "--no-report", "--storage", str(tmp_path)]) == 0
    assert "budget.hours 1e-06 used up" in capsys.readouterr().out
    assert _optuna(tmp_path) == []
