"""The harness around a trainable that computes nothing: real Tune in this process."""

import io

import pytest
from optuna.trial import TrialState

from harness.spec import load_study
from harness.storage import Storage
from harness.study import follow_study
from tests.conftest import optuna_states
from tests.noop_trainable import CrashingTrainable, NaNTrainable, NoopTrainable

STUDY = """
name: noop
trainable: adaptation
metric: {name: target_val/pck_05, goal: maximize}
parameters:
  vae.kl_weight: {distribution: log_uniform_values, min: 1e-4, max: 1}
fixed: {adapt.epochs: 6}
early_terminate: {type: hyperband, min_iter: 1, eta: 3, max_iter: 6}
budget: {run_cap: 8}
failures: {retries: 0}
"""

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, of its threads and sockets


def _follow(write_study, tmp_path, trainable, text=STUDY):
    out = io.StringIO()
    spec = load_study(write_study(text))
    result, tracker = follow_study(spec, Storage(tmp_path), out, trainable=trainable)
    return result, tracker, out.getvalue()


def test_bad_trials_are_pruned_and_the_best_has_run_to_its_end(write_study, tmp_path):
    result, tracker, out = _follow(write_study, tmp_path, NoopTrainable)
    states = [record.state for record in result.trials]
    assert set(states) == {"complete", "pruned"}
    told = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    assert optuna_states(f"sqlite:///{tmp_path / 'optuna.db'}", "noop") == [
        told[state] for state in states
    ]
    pruned = [record for record in result.trials if record.state == "pruned"]
    assert all(record.step < 6 for record in pruned)
    assert sorted(tracker.run_ids) == list(range(8))
    assert out.count("starts:") == 8
    assert "left" in out


def test_a_second_run_of_a_name_is_a_study_of_its_own(write_study, tmp_path):
    text = STUDY.replace("run_cap: 8", "run_cap: 2")
    first, _, _ = _follow(write_study, tmp_path, NoopTrainable, text)
    second, _, _ = _follow(write_study, tmp_path, NoopTrainable, text)
    assert (first.study_name, second.study_name) == ("noop", "noop-2")
    assert len(second.trials) == 2


@pytest.mark.parametrize(
    ("trainable", "words"),
    [
        (NaNTrainable, "objective target_val/pck_05 is nan at step 2"),
        (CrashingTrainable, "RuntimeError: the disk is made of cheese"),
    ],
)
def test_failures_are_told_with_their_reason_and_the_study_goes_on(
    write_study, tmp_path, trainable, words
):
    text = STUDY.replace("run_cap: 8", "run_cap: 3")
    result, _, _ = _follow(write_study, tmp_path, trainable, text)
    assert [record.state for record in result.trials] == ["failed"] * 3
    assert all(words in record.reason for record in result.trials)
    states = optuna_states(f"sqlite:///{tmp_path / 'optuna.db'}", "noop")
    assert states == [TrialState.FAIL] * 3


def test_the_hours_of_a_budget_end_a_study(write_study, tmp_path):
    text = STUDY.replace("{run_cap: 8}", "{run_cap: 8, hours: 1e-6}")
    result, _, _ = _follow(write_study, tmp_path, NoopTrainable, text)
    assert result.state == "complete"
    assert not result.was_interrupted
    assert all(record.state == "stopped" for record in result.trials)
