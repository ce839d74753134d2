"""The bridge is driven by hand here, as Tune drives it; real Tune runs are in integration."""

import math

import optuna
import pytest
from optuna.trial import TrialState

from harness.ledger import Ledger
from harness.optuna_study import create_study, num_trials
from harness.search import StudyBridge, error_sentence
from harness.spec import load_study

STUDY = """
name: t
trainable: adaptation
metric: {name: m, goal: maximize}
method: random
parameters:
  vae.kl_weight: {distribution: log_uniform_values, min: 1e-4, max: 1}
baselines:
  vae_hm: {sampling.strategy: hardest, vae.kl_weight: 0.01}
early_terminate: {type: median, min_iter: 2, startup_trials: 1}
budget: {run_cap: 4}
"""


@pytest.fixture
def bridge(write_study, tmp_path):
    spec = load_study(write_study(STUDY))
    study = create_study(spec, "t", f"sqlite:///{tmp_path / 'optuna.db'}", seed=0)
    with Ledger(tmp_path / "events.jsonl") as ledger:
        made = StudyBridge(study, spec.space(), "m", num_trials(spec), ledger)
        made.study, made.ledger = study, ledger
        yield made


def _report(bridge, trial_id, step, value, num_steps=3):
    return bridge.report(
        trial_id, {"metrics/m": value, "step": step, "num_steps": num_steps, "time_total_s": 1}
    )


def _states(bridge):
    return [trial.state for trial in bridge.study.get_trials(deepcopy=False)]


def test_baselines_come_first_with_their_exact_settings(bridge):
    fields = bridge.ask("a")
    assert fields["sampling.strategy"] == "hardest"
    assert fields["vae.kl_weight"] == 0.01
    assert bridge.ledger.trials[0].is_baseline
    assert bridge.ledger.trials[0].name == "vae_hm"
    assert bridge.ask("b")["sampling.strategy"] == "all"
    assert not bridge.ledger.trials[1].is_baseline


def test_no_more_trials_are_asked_for_than_the_budget_allows(bridge):
    assert all(bridge.ask(str(i)) for i in range(4))
    assert bridge.ask("5") is None


def test_a_complete_trial_is_told_its_last_value(bridge):
    bridge.ask("a")
    for step, value in ((1, 10.0), (2, 30.0), (3, 20.0)):
        assert _report(bridge, "a", step, value) is False
    bridge.complete("a")
    trial = bridge.study.trials[0]
    assert trial.state == TrialState.COMPLETE
    assert trial.value == 20.0
    assert trial.intermediate_values == {1: 10.0, 2: 30.0, 3: 20.0}


def test_a_pruned_trial_is_pruned_with_its_curve_and_is_never_the_best(bridge):
    for name in ("a", "b"):
        bridge.ask(name)
    for step in (1, 2, 3):
        _report(bridge, "a", step, 50.0)
    bridge.complete("a")
    assert _report(bridge, "b", 1, 5.0) is False  # min_iter: not in the first epoch
    assert _report(bridge, "b", 2, 1.0) is True
    bridge.complete("b")
    assert _states(bridge) == [TrialState.COMPLETE, TrialState.PRUNED]
    assert bridge.study.trials[1].intermediate_values == {1: 5.0, 2: 1.0}
    assert bridge.study.best_trial.number == 0
    assert bridge.ledger.trials[1].state == "pruned"


def test_baselines_are_never_pruned(write_study, tmp_path):
    text = STUDY.replace("baselines:", "baselines:\n  all: {}")
    spec = load_study(write_study(text))
    study = create_study(spec, "t", f"sqlite:///{tmp_path / 'optuna.db'}", seed=0)
    with Ledger(tmp_path / "events.jsonl") as ledger:
        bridge = StudyBridge(study, spec.space(), "m", 4, ledger)
        bridge.ask("a")
        bridge.ask("b")
        for step in (1, 2, 3):
            _report(bridge, "a", step, 50.0)
        bridge.complete("a")
        assert [_report(bridge, "b", step, 0.0) for step in (1, 2, 3)] == [False] * 3


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_objective_that_is_not_finite_fails_the_trial_with_its_step(bridge, value):
    bridge.ask("a")
    _report(bridge, "a", 1, 1.0)
    assert _report(bridge, "a", 2, value) is True
    bridge.complete("a")
    assert _states(bridge) == [TrialState.FAIL]
    assert bridge.study.trials[0].user_attrs["reason"] == f"objective m is {value} at step 2"


def test_a_missing_objective_fails_the_trial(bridge):
    bridge.ask("a")
    assert bridge.report("a", {"metrics/other": 1.0, "step": 1, "num_steps": 2}) is True
    bridge.complete("a")
    assert bridge.ledger.trials[0].reason == "objective m was not reported at step 1"


def test_a_retried_trial_does_not_report_a_step_twice(bridge):
    bridge.ask("a")
    _report(bridge, "a", 1, 10.0)
    bridge.note_error("a", "OSError: lost")
    _report(bridge, "a", 1, 11.0)
    for step in (2, 3):
        _report(bridge, "a", step, 20.0)
    bridge.complete("a")
    trial = bridge.study.trials[0]
    assert trial.intermediate_values == {1: 10.0, 2: 20.0, 3: 20.0}
    assert trial.state == TrialState.COMPLETE


def test_a_crash_for_good_is_told_with_its_sentence(bridge):
    bridge.ask("a")
    bridge.note_error("a", "ValueError: im00001.jpg is not a readable image")
    bridge.fail("a")
    assert _states(bridge) == [TrialState.FAIL]
    assert "im00001.jpg" in bridge.ledger.trials[0].reason


def test_nothing_stays_running_after_the_end(bridge):
    bridge.ask("a")
    bridge.ask("b")
    _report(bridge, "b", 1, 3.0)
    bridge.stop_all("interrupted by SIGINT")
    assert TrialState.RUNNING not in _states(bridge)
    assert {record.state for record in bridge.ledger.trials.values()} == {"stopped"}
    bridge.complete("a")  # Tune's late word changes nothing
    assert bridge.ledger.trials[0].state == "stopped"


def test_two_studies_of_one_name_are_never_merged(write_study, tmp_path):
    spec = load_study(write_study(STUDY))
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    create_study(spec, "t", url, seed=0)
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        create_study(spec, "t", url, seed=0)


def test_a_grid_runs_each_configuration_once(write_study, tmp_path):
    text = """
name: g
trainable: adaptation
metric: {name: m, goal: minimize}
method: grid
parameters:
  seed: {values: [0, 1, 2]}
  adapt.method: {values: [regda, source_only]}
"""
    spec = load_study(write_study(text))
    study = create_study(spec, "g", f"sqlite:///{tmp_path / 'optuna.db'}", seed=0)
    asked = []
    with Ledger(tmp_path / "events.jsonl") as ledger:
        bridge = StudyBridge(study, spec.space(), "m", num_trials(spec), ledger)
        while (fields := bridge.ask(str(len(asked)))) is not None:
            asked.append((fields["seed"], fields["adapt.method"]))
    assert sorted(asked) == sorted((s, m) for s in range(3) for m in ("regda", "source_only"))


def test_the_sentence_of_an_error_is_the_last_exception_of_its_text():
    text = (
        "Failure # 1 (occurred at 2026-11-22)\nray::T.train() (pid=1)\n"
        '  File "leeds.py", line 1\nValueError: /data/im1.jpg is not a readable image\n'
    )
    assert error_sentence(text) == "ValueError: /data/im1.jpg is not a readable image"
    assert error_sentence("") == "the trial crashed without a message"


def test_a_combination_that_cannot_be_built_fails_and_the_next_is_asked(write_study, tmp_path):
    text = """
name: g
trainable: adaptation
metric: {name: m, goal: maximize}
parameters:
  adapt.pretrain_epochs: {min: 0, max: 40}
  adapt.epochs: {min: 0, max: 40}
baselines:
  none: {adapt.pretrain_epochs: 1, adapt.epochs: 0}
budget: {run_cap: 3}
"""
    spec = load_study(write_study(text))
    study = create_study(spec, "g", f"sqlite:///{tmp_path / 'optuna.db'}", seed=0)
    study.enqueue_trial({"adapt.pretrain_epochs": 0, "adapt.epochs": 0})
    with Ledger(tmp_path / "events.jsonl") as ledger:
        bridge = StudyBridge(study, spec.space(), "m", 3, ledger)
        assert bridge.ask("a")["adapt.pretrain_epochs"] == 1
        assert bridge.ask("b") is not None
        assert ledger.trials[1].state == "failed"
        assert "must be >= 1, got 0" in ledger.trials[1].reason
        assert bridge.ask("c") is None
        bridge.stop_all("over")
    assert TrialState.RUNNING not in [trial.state for trial in study.trials]
