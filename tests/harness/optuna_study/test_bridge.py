"""The bridge is driven by hand here, as Tune drives it; real Tune runs are in integration."""

import math

import optuna
import pytest
from optuna.trial import TrialState

from harness.results.ranking import ranked_trials
from harness.spec import SpecError, load_spec
from harness.study.tune_adapters import error_sentence
from tests.simulation import Simulation

PCK = "target_val/pck_05"
STUDY = f"""
name: t
trainable: adaptation
metric: {{name: {PCK}, goal: maximize}}
method: random
parameters:
  vae.kl_weight: {{distribution: log_uniform_values, min: 1e-4, max: 1}}
baselines:
  vae_hm: {{sampling.strategy: hardest, vae.kl_weight: 0.01}}
early_terminate: {{type: median, min_iter: 2, startup_trials: 1}}
budget: {{run_cap: 4}}
"""


@pytest.fixture
def open_bridge(write_study, tmp_path):
    """Open a study; again for the next driver of it. The last one's parts are attributes."""
    opened = []

    def make(text=STUDY, **options):
        for simulation in opened:
            simulation.close()
        opened.clear()
        opened.append(Simulation(load_spec(write_study(text)), tmp_path, **options))
        make.ledger, make.spec = opened[0].ledger, opened[0].spec
        return opened[0].bridge

    yield make
    for simulation in opened:
        simulation.close()


@pytest.fixture
def stored(tmp_path):
    """The trials in Optuna's storage."""

    def trials(name="t"):
        url = f"sqlite:///{tmp_path / 'optuna.db'}"
        return optuna.load_study(study_name=name, storage=url).trials

    return trials


def _fields(bridge, trial_id):
    number, fields = bridge.ask(trial_id)
    assert bridge.record_of(trial_id).number == number
    return fields


def _report(bridge, trial_id, step, value, num_steps=3, **more):
    metrics = {f"metrics/{name}": number for name, number in {PCK: value, **more}.items()}
    return bridge.report(trial_id, {**metrics, "step": step, "num_steps": num_steps, "pid": 1})


def _run(bridge, trial_id, values):
    asked = bridge.ask(trial_id)
    for step, value in enumerate(values, start=1):
        if _report(bridge, trial_id, step, value, num_steps=len(values)):
            break
    bridge.complete(trial_id)
    return asked


def test_baselines_come_first_with_their_exact_values(open_bridge):
    bridge = open_bridge()
    fields = _fields(bridge, "a")
    assert fields["sampling.strategy"] == "hardest"
    assert fields["vae.kl_weight"] == 0.01
    records = open_bridge.ledger.runs
    assert (records[0].name, records[0].is_baseline) == ("vae_hm", True)
    assert _fields(bridge, "b")["sampling.strategy"] == "all"
    assert not records[1].is_baseline


def test_no_more_trials_are_asked_for_than_the_budget_allows(open_bridge):
    bridge = open_bridge()
    assert all(bridge.ask(str(i)) for i in range(4))
    assert bridge.ask("5") is None
    assert bridge.is_finished
    assert not bridge.is_over


def test_a_complete_trial_is_told_its_last_value(open_bridge, stored):
    bridge = open_bridge()
    _run(bridge, "a", [10.0, 30.0, 20.0])
    trial = stored()[0]
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 20.0)
    assert trial.intermediate_values == {1: 10.0, 2: 30.0, 3: 20.0}


def test_a_pruned_trial_is_pruned_with_its_curve_and_is_never_the_best(open_bridge, stored):
    bridge = open_bridge()
    bridge.ask("a")
    bridge.ask("b")
    for step in (1, 2, 3):
        _report(bridge, "a", step, 50.0)
    bridge.complete("a")
    assert _report(bridge, "b", 1, 5.0) is False  # min_iter: not in the first epoch
    assert _report(bridge, "b", 2, 1.0) is True
    bridge.complete("b")
    trials = stored()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert trials[1].intermediate_values == {1: 5.0, 2: 1.0}
    assert open_bridge.ledger.runs[1].state == "pruned"


def test_baselines_are_never_pruned(open_bridge):
    bridge = open_bridge(STUDY.replace("baselines:", "baselines:\n  all: {}"))
    _run(bridge, "a", [50.0] * 3)
    bridge.ask("b")
    assert [_report(bridge, "b", step, 0.0) for step in (1, 2, 3)] == [False] * 3


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_objective_that_is_not_finite_fails_the_trial_with_its_step(open_bridge, stored, value):
    bridge = open_bridge()
    bridge.ask("a")
    _report(bridge, "a", 1, 1.0)
    assert _report(bridge, "a", 2, value) is True
    bridge.complete("a")
    assert stored()[0].state == TrialState.FAIL
    assert stored()[0].user_attrs["reason"] == f"objective {PCK} is {value} at step 2"


def test_a_missing_objective_fails_the_trial(open_bridge):
    bridge = open_bridge()
    bridge.ask("a")
    assert bridge.report("a", {"metrics/other": 1.0, "step": 1, "num_steps": 2}) is True
    bridge.complete("a")
    assert open_bridge.ledger.runs[0].reason == f"objective {PCK} was not reported at step 1"


def test_a_trial_that_goes_on_elsewhere_does_not_report_a_step_twice(open_bridge, stored):
    bridge = open_bridge()
    bridge.ask("a")
    _report(bridge, "a", 1, 10.0)
    bridge.note_error("a", "OSError: lost", continues=True)
    _report(bridge, "a", 1, 11.0)
    for step in (2, 3):
        _report(bridge, "a", step, 20.0)
    bridge.complete("a")
    assert stored()[0].intermediate_values == {1: 10.0, 2: 20.0, 3: 20.0}
    assert stored()[0].state == TrialState.COMPLETE


def test_a_crash_for_good_is_told_with_its_sentence(open_bridge, stored):
    bridge = open_bridge()
    bridge.ask("a")
    bridge.note_error("a", "ValueError: im00001.jpg is not a readable image", continues=False)
    bridge.fail("a")
    assert stored()[0].state == TrialState.FAIL
    assert "im00001.jpg" in open_bridge.ledger.runs[0].reason


def test_a_run_that_a_killed_driver_left_is_stopped_even_if_it_never_continues(open_bridge):
    bridge = open_bridge()
    bridge.ask("a")
    _report(bridge, "a", 1, 3.0)
    open_bridge().stop_all("interrupted by SIGINT")
    record = open_bridge.ledger.runs[0]
    assert (record.state, record.reason) == ("stopped", "interrupted by SIGINT")


def test_what_is_stopped_waits_and_goes_on_as_the_same_trial(open_bridge, stored):
    bridge = open_bridge()
    bridge.ask("a")
    fields = _fields(bridge, "b")
    _report(bridge, "b", 1, 3.0)
    bridge.stop_all("interrupted by SIGINT")
    assert [trial.state for trial in stored()] == [TrialState.WAITING] * 2
    assert [r.state for r in open_bridge.ledger.runs.values()] == ["stopped"] * 2
    bridge.complete("a")  # Tune's late word changes nothing
    assert open_bridge.ledger.runs[0].state == "stopped"

    bridge = open_bridge()
    assert bridge.ask("c")[0] == 0
    assert bridge.ask("d") == (1, fields)
    assert bridge.record_of("d").step == 1
    for step in (1, 2, 3):
        _report(bridge, "d", step, 20.0)
    bridge.complete("d")
    assert stored()[1].intermediate_values == {1: 3.0, 2: 20.0, 3: 20.0}
    assert stored()[1].state == TrialState.COMPLETE


def test_a_study_of_the_same_name_in_the_database_is_not_merged(open_bridge, tmp_path, stored):
    _run(open_bridge(), "a", [1.0])
    (tmp_path / "studies" / "t" / "events.jsonl").unlink()
    bridge = open_bridge()
    assert bridge.ask("a")[0] == 0
    assert open_bridge.ledger.description["optuna_name"].startswith("t-")
    assert len(stored()) == 1


def test_a_database_that_lost_the_study_is_refused(open_bridge, tmp_path):
    _run(open_bridge(), "a", [1.0])
    (tmp_path / "optuna.db").unlink()
    with pytest.raises(SpecError, match="the database has no study t, but its ledger has trials"):
        open_bridge()


def test_a_grid_runs_each_configuration_once(open_bridge):
    bridge = open_bridge(f"""
name: g
trainable: adaptation
metric: {{name: {PCK}, goal: minimize}}
method: grid
parameters:
  seed: {{values: [0, 1, 2]}}
  adapt.method: {{values: [regda, source_only]}}
""")
    asked = []
    while (answer := bridge.ask(str(len(asked)))) is not None:
        asked.append((answer[1]["seed"], answer[1]["adapt.method"]))
    assert sorted(asked) == sorted((s, m) for s in range(3) for m in ("regda", "source_only"))


def test_the_sentence_of_an_error_is_the_last_exception_of_its_text():
    text = (
        "Failure # 1 (occurred at 2026-11-22)\nray::T.train() (pid=1)\n"
        '  File "leeds.py", line 1\nValueError: /data/im1.jpg is not a readable image\n'
    )
    assert error_sentence(text) == "ValueError: /data/im1.jpg is not a readable image"
    assert error_sentence("") == "the run crashed without a message"


def test_a_combination_that_cannot_be_built_fails_and_the_next_is_asked(open_bridge, stored):
    bridge = open_bridge(f"""
name: g
trainable: adaptation
metric: {{name: {PCK}, goal: maximize}}
method: random
parameters:
  adapt.pretrain_epochs: {{min: 0, max: 1}}
  adapt.epochs: {{min: 0, max: 300}}
  vae.kl_weight: {{distribution: log_uniform_values, min: 1e-4, max: 1}}
baselines:
  none: {{adapt.pretrain_epochs: 1, adapt.epochs: 0}}
budget: {{run_cap: 3}}
""")
    bridge._suggestions._slots[0].params.update({"adapt.pretrain_epochs": 0, "adapt.epochs": 0})
    assert bridge.ask("b") is not None
    records = open_bridge.ledger.runs
    assert records[0].state == "failed"
    assert "must be >= 1, got 0" in records[0].reason
    assert bridge.ask("c") is not None
    assert bridge.ask("d") is None
    bridge.stop_all("over")
    assert TrialState.RUNNING not in [trial.state for trial in stored("g")]


SPACE = f"""
name: t
trainable: adaptation
metric: {{name: {PCK}, goal: maximize}}
method: random
parameters:
  vae.kl_weight: {{distribution: log_uniform_values, min: 1e-4, max: 1}}
  vae.epochs: {{min: 2, max: 9}}
  sampling.strategy: {{values: [all, hardest]}}
  bins.count: {{values: [2, 3], when: {{sampling.strategy: hardest}}}}
budget: {{run_cap: 4}}
"""


@pytest.mark.parametrize(
    ("queued", "reason"),
    [
        ({"vae.kl_weight": 5}, "vae.kl_weight = 5; allowed is a number from 0.0001 to 1"),
        ({"vae.kl_weight": "0.1"}, "vae.kl_weight = '0.1'; allowed is a number from 0.0001 to 1"),
        ({"vae.kl_weight": float("nan")}, "vae.kl_weight = nan; allowed is a number from"),
        ({"vae.epochs": 2.5}, "vae.epochs = 2.5; allowed is a number from 2 to 9"),
        ({"vae.epochs": [3]}, "vae.epochs = [3]; allowed is a number from 2 to 9"),
        ({"sampling.strategy": "random"}, "sampling.strategy = 'random'; allowed is one of 'all'"),
        ({"vae.kl_wieght": 0.1}, "vae.kl_wieght, which is no parameter"),
        ({"sampling.strategy": "all", "bins.count": 2}, "bins.count, which is no parameter, or"),
    ],
)
@pytest.mark.parametrize("is_live", [False, True])
def test_a_trial_that_a_person_queued_outside_the_space_fails_and_the_study_goes_on(
    open_bridge, stored, tmp_path, queued, reason, is_live
):
    """Queued between two drivers of the study, or while one runs it."""
    bridge = open_bridge(SPACE)
    _run(bridge, "a", [1.0])
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    optuna.load_study(study_name="t", storage=url).enqueue_trial(queued)
    if not is_live:
        bridge.stop_all("over")
        bridge = open_bridge(SPACE)
    for name in ("b", "c"):
        assert _run(bridge, name, [1.0]) is not None
    assert bridge.ask("d") is None
    failed = open_bridge.ledger.runs[1]
    assert failed.state == "failed"
    assert f"it was queued with {reason}" in failed.reason
    assert stored()[1].user_attrs["reason"] == failed.reason
    assert [trial.state for trial in stored()] == [
        TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE,
    ]  # fmt: skip


def test_a_trial_that_a_person_queued_inside_the_space_runs(open_bridge, tmp_path):
    bridge = open_bridge(SPACE)
    queued = {"vae.kl_weight": 0.5, "vae.epochs": 4, "sampling.strategy": "hardest"}
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    optuna.load_study(study_name="t", storage=url).enqueue_trial(queued)
    assert queued.items() <= _run(bridge, "a", [1.0])[1].items()


DISCRETE = f"""
name: t
trainable: adaptation
metric: {{name: {PCK}, goal: maximize}}
method: random
parameters:
  sampling.strategy: {{values: [all, hardest, random]}}
baselines:
  everything: {{sampling.strategy: all}}
budget: {{run_cap: 10}}
"""


def test_a_configuration_is_run_once_and_its_outcome_is_told_again(open_bridge, stored):
    bridge = open_bridge(DISCRETE)
    value = {"all": 1.0, "hardest": 2.0, "random": 3.0}
    run = {}
    while (asked := bridge.ask(f"r{len(run)}")) is not None:
        strategy = asked[1]["sampling.strategy"]
        _report(bridge, f"r{len(run)}", 1, value[strategy], num_steps=1)
        bridge.complete(f"r{len(run)}")
        assert strategy not in run
        run[strategy] = asked[0]
    assert set(run) == set(value)
    assert bridge.is_exhausted
    for trial in stored():
        assert trial.state == TrialState.COMPLETE
        assert trial.value == value[trial.params["sampling.strategy"]]


def test_a_repeated_suggestion_waits_for_its_original(open_bridge, stored):
    bridge = open_bridge(DISCRETE)
    names = ("a", "b", "c")
    assert all(bridge.ask(name) for name in names)
    assert bridge.ask("d") is None  # all that follow are repeated
    for value, name in enumerate(names):
        _report(bridge, name, 1, float(value), num_steps=1)
        bridge.complete(name)
    assert {trial.state for trial in stored()} == {TrialState.COMPLETE}
    assert len(open_bridge.ledger.runs) == 3


def test_failed_trials_are_tried_again_when_asked_to_and_take_no_place(open_bridge, stored):
    text = STUDY.replace("run_cap: 4", "run_cap: 2")
    bridge = open_bridge(text)
    failed = bridge.ask("a")
    bridge.note_error("a", "OSError: lost", continues=False)
    bridge.fail("a")
    _run(bridge, "b", [1.0])
    assert bridge.is_over
    assert open_bridge(text).is_over, "without being asked to, nothing is tried again"
    bridge = open_bridge(text, retry_failed=True)
    again = bridge.ask("c")
    assert again == (2, failed[1])
    assert open_bridge.ledger.runs[2].retry_of == 0
    assert (open_bridge.ledger.runs[2].name, bridge.ask("d")) == ("vae_hm", None)
    _report(bridge, "c", 1, 5.0, num_steps=1)
    bridge.complete("c")
    assert [t.state.name for t in stored()] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert open_bridge(text, retry_failed=True).is_over, "it has been tried again already"


SEEDS = STUDY + "seeds: 3\n"


def test_the_seeds_of_a_trial_follow_its_first_and_their_mean_is_told(open_bridge, stored):
    bridge = open_bridge(SEEDS)
    number, fields = bridge.ask("a")
    assert (number, fields["seed"]) == (0, 0)
    _report(bridge, "a", 1, 10.0, num_steps=1)
    bridge.complete("a")
    second, third = bridge.ask("b"), bridge.ask("c")
    assert [(n, f["seed"]) for n, f in (second, third)] == [(1, 1), (2, 2)]
    assert {k: v for k, v in second[1].items() if k != "seed"} == {
        k: v for k, v in fields.items() if k != "seed"
    }
    for name, value in (("b", 20.0), ("c", 60.0)):
        assert stored()[0].state == TrialState.RUNNING
        _report(bridge, name, 1, value, num_steps=1)
        bridge.complete(name)
    assert (stored()[0].state, stored()[0].value) == (TrialState.COMPLETE, 30.0)
    assert bridge.ask("d")[0] == 3


def test_a_trial_whose_first_seed_is_pruned_runs_no_other(open_bridge, stored):
    bridge = open_bridge(SEEDS)
    for name in "abc":
        _run(bridge, name, [50.0, 50.0, 50.0])
    assert _run(bridge, "d", [0.0, 0.0, 0.0])[0] == 3
    assert stored()[1].state == TrialState.PRUNED
    assert bridge.ask("e")[0] == 6


def test_while_seeds_may_follow_there_is_none_now_but_it_is_not_the_end(open_bridge):
    bridge = open_bridge(SEEDS.replace("run_cap: 4", "run_cap: 1"))
    bridge.ask("a")
    assert bridge.ask("b") is None
    assert not bridge.is_finished
    _report(bridge, "a", 1, 1.0, num_steps=1)
    bridge.complete("a")
    assert bridge.ask("b")[0] == 1
    assert bridge.ask("c")[0] == 2


def test_wilcoxon_compares_bin_by_bin(open_bridge, stored):
    rule = "early_terminate: {type: wilcoxon, over: bins}"
    text = STUDY.replace("early_terminate: {type: median, min_iter: 2, startup_trials: 1}", rule)
    bridge = open_bridge(text)

    def report(trial_id, step, level):
        bins = {f"pck_bin/{index:02}": level + index for index in range(6)}
        return _report(bridge, trial_id, step, 50.0, num_steps=2, **bins)

    for trial_id, level in (("a", 40.0), ("b", 60.0)):
        bridge.ask(trial_id)
        assert [report(trial_id, step, level) for step in (1, 2)] == [False, False]
        bridge.complete(trial_id)
    bridge.ask("c")
    assert report("c", 1, 50.0) is True  # better than the first in all bins, worse than the best
    bridge.complete("c")
    states = [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED]
    assert [trial.state for trial in stored()] == states
    ranked = ranked_trials(open_bridge.spec, open_bridge.ledger.runs.values())
    assert [trial.number for trial in ranked] == [0, 1]


def test_wilcoxon_compares_seed_by_seed(open_bridge, stored):
    rule = "early_terminate: {type: wilcoxon, over: seeds, p_threshold: 0.2}"
    text = STUDY.replace("early_terminate: {type: median, min_iter: 2, startup_trials: 1}", rule)
    bridge = open_bridge(text + "seeds: 6\n")
    for index in range(6):
        _run(bridge, f"a{index}", [50.0 + index])
    runs = 0
    while bridge.ask(f"b{runs}")[0] < 12:
        _report(bridge, f"b{runs}", 1, 10.0 + runs, num_steps=1)
        bridge.complete(f"b{runs}")
        runs += 1
    assert stored()[1].state == TrialState.PRUNED
    assert 1 < runs < 6


def test_seeds_of_a_killed_driver_end_with_the_trial_that_one_of_them_prunes(open_bridge, stored):
    rule = "early_terminate: {type: wilcoxon, over: seeds, p_threshold: 0.2}"
    text = STUDY.replace("early_terminate: {type: median, min_iter: 2, startup_trials: 1}", rule)
    text = text.replace("run_cap: 4", "run_cap: 2") + "seeds: 6\n"
    bridge = open_bridge(text)
    for index in range(6):
        _run(bridge, f"a{index}", [50.0 + index])
    _run(bridge, "b0", [10.0])
    for index in range(1, 6):
        bridge.ask(f"b{index}")  # their driver dies
    bridge = open_bridge(text)
    for index in range(1, 6):
        if bridge.ask(f"c{index}") is None:
            break
        _report(bridge, f"c{index}", 1, 10.0 + index, num_steps=1)
        bridge.complete(f"c{index}")
    states = [record.state for record in open_bridge.ledger.runs.values()]
    assert states[-1] == "pruned"
    assert "running" not in states
    assert bridge.is_over
    assert stored()[1].state == TrialState.PRUNED


def test_two_objectives_are_told_and_pruning_reads_the_declared_one(open_bridge, stored):
    bridge = open_bridge(f"""
name: t
trainable: adaptation
metrics:
  - {{name: {PCK}, goal: maximize}}
  - {{name: target_val/evalpose, goal: maximize}}
parameters:
  vae.kl_weight: {{distribution: log_uniform_values, min: 1e-4, max: 1}}
early_terminate: {{type: median, min_iter: 2, startup_trials: 1, metric: {PCK}}}
budget: {{run_cap: 3}}
""")
    other = {"target_val/evalpose": 90.0}
    bridge.ask("a")
    for step in (1, 2, 3):
        _report(bridge, "a", step, 50.0, **other)
    bridge.complete("a")
    bridge.ask("b")
    assert [_report(bridge, "b", step, 1.0, **other) for step in (1, 2)] == [False, True]
    bridge.complete("b")
    assert bridge.ask("c") is not None
    assert [trial.state.name for trial in stored()] == ["COMPLETE", "PRUNED", "RUNNING"]
    assert stored()[0].values == [50.0, 90.0]


def test_a_broken_constraint_is_told_as_a_violation(open_bridge, stored):
    bridge = open_bridge(STUDY + "constraints: [{name: target_val/evalpose, min: 95}]\n")
    bridge.ask("a")
    _report(bridge, "a", 1, 50.0, num_steps=1, **{"target_val/evalpose": 93.0})
    bridge.complete("a")
    assert stored()[0].constraints == {"target_val/evalpose": 2.0}


def test_a_trial_over_its_time_fails(open_bridge):
    bridge = open_bridge(STUDY + "failures: {timeout_s: 0.01}\n")
    bridge.ask("a")
    open_bridge.ledger.runs[0].seen_at -= 1.0
    assert _report(bridge, "a", 1, 1.0)
    bridge.complete("a")
    assert open_bridge.ledger.runs[0].reason == "took longer than failures.timeout_s, 0.01 s"
