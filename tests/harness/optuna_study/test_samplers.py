"""A study's sampler is built anew for every ask and must not notice."""

import math
import pickle
import warnings
from pathlib import Path

import numpy as np
import optuna
import pytest

from harness.optuna_study.optuna_private import ReplayedCmaEs
from harness.optuna_study.samplers import (
    POPULATION,
    needs_constant_seed,
    pruner_for,
    sampler_for,
)
from harness.spec import StudySpec

optuna.logging.set_verbosity(optuna.logging.WARNING)

METHODS = ["tpe", "gp", "cmaes", "nsga2", "qmc", "random"]
NUM_ASKS = {"gp": 10}
OBJECTIVE = {"name": "target_val/pck_05", "goal": "maximize"}
SMOOTH = {
    "vae.kl_weight": {"min": 1e-4, "max": 1, "distribution": "log_uniform_values"},
    "adapt.lr": {"min": 0.001, "max": 0.1},
    "sampling.trim": {"distribution": "beta", "a": 1, "b": 30},
}
CONDITIONAL = {
    "sampling.strategy": {"values": ["all", "hardest"]},
    "sampling.keep": {"min": 0.1, "max": 0.5, "when": {"sampling.strategy": "hardest"}},
    "vae.kl_weight": {"min": 0.1, "max": 1.0},
}


def study_spec(method="tpe", **sections) -> StudySpec:
    data = {"name": "t", "method": method, "metrics": [OBJECTIVE], "parameters": SMOOTH}
    return StudySpec.model_validate(data | sections)


def score(fields):
    kl, lr = math.log10(fields["vae.kl_weight"]), math.log10(fields.get("adapt.lr", 0.01))
    return -((kl + 2) ** 2) - (lr + 2) ** 2


def seed_of(spec, number):
    return 7 if needs_constant_seed(spec.method) else 7000 + number


def run(spec, num_asks, storage=None, lag=0):
    """Configurations that a study suggests; ``lag`` trials run at once."""
    study = optuna.create_study(
        storage=storage,
        study_name="t",
        directions=[metric.goal for metric in spec.objectives],
        load_if_exists=True,
    )
    space, found, running = spec.space, [], []
    for number in range(len(study.trials), len(study.trials) + num_asks):
        study.sampler = sampler_for(spec, seed_of(spec, number))
        trial = study.ask()
        found.append(space.suggest(trial))
        running.append((trial, score(found[-1])))
        while len(running) > lag:
            done, value = running.pop(0)
            for constraint in spec.constraints:
                done.set_constraint(constraint.rule, constraint.violation(value))
            study.tell(done, [value] * len(spec.objectives))
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lag", [0, 2])
def test_the_same_study_suggests_the_same_and_nothing_twice(method, lag):
    num_asks = NUM_ASKS.get(method, 30)
    spec = study_spec(method)
    configs = run(spec, num_asks, lag=lag)
    assert configs == run(spec, num_asks, lag=lag)
    different = {tuple(fields.items()) for fields in configs}
    # Crossing two parents may give one of them again.
    assert len(different) >= (0.8 if method == "nsga2" else 1) * num_asks


@pytest.mark.parametrize("method", METHODS)
def test_a_study_in_two_processes_suggests_what_one_would(method, tmp_path):
    spec, half = study_spec(method), {"nsga2": 12, "cmaes": 9}.get(method, 6)
    whole = run(spec, 2 * half, f"sqlite:///{tmp_path}/whole.db")
    parts = [run(spec, half, f"sqlite:///{tmp_path}/parts.db") for _ in range(2)]
    assert parts[0] + parts[1] == whole


@pytest.mark.parametrize("method", ["tpe", "cmaes", "nsga2"])
def test_a_method_that_learns_is_better_in_the_end_than_chance(method):
    def mean_of_last(method):
        return np.mean(list(map(score, run(study_spec(method), 80)[-20:])))

    assert mean_of_last(method) > mean_of_last("random") + 0.5


def test_a_constant_seed_is_for_methods_that_follow_one_sequence():
    assert [method for method in METHODS if needs_constant_seed(method)] == ["qmc"]


def test_qmc_covers_a_range_more_evenly_than_chance():
    def largest_gap(method):
        spec = study_spec(method, parameters={"adapt.lr": {"min": 0.0001, "max": 1.0}})
        study, values = optuna.create_study(direction="maximize"), []
        for number in range(33):
            study.sampler = sampler_for(spec, seed_of(spec, number))
            trial = study.ask()
            values.append(spec.space.suggest(trial)["adapt.lr"])
            study.tell(trial, 0.0)
        return max(np.diff(sorted(values[1:])))

    assert largest_gap("qmc") < 2 / 32 < largest_gap("random")


def test_qmc_starts_elsewhere_with_another_seed():
    spec = study_spec("qmc")
    study = optuna.create_study(direction="maximize")
    seconds = set()
    for seed in range(3):
        study.sampler = sampler_for(spec, seed)
        trial = study.ask()
        seconds.add(spec.space.suggest(trial)["adapt.lr"])
        study.tell(trial, 0.0)
    assert len(seconds) == 3
    assert min(seconds) > 0.001  # the plain sequence starts there


@pytest.mark.parametrize("method", ["tpe", "gp", "nsga2", "random"])
def test_several_objectives_and_constraints_are_taken(method):
    spec = study_spec(
        method,
        metrics=[OBJECTIVE, {"name": "target_val/evalpose", "goal": "maximize"}],
        constraints=[{"name": "target_val/pck_05", "min": -1}],
    )
    configs = run(spec, 12)
    assert len({tuple(fields.items()) for fields in configs}) >= 11


@pytest.mark.parametrize("method", ["tpe", "nsga2", "random"])
def test_conditional_parameters_are_taken_without_a_warning(method):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        configs = run(study_spec(method, parameters=CONDITIONAL), 30)
    assert {("sampling.keep" in s) == (s["sampling.strategy"] == "hardest") for s in configs} == {
        True
    }


def test_a_baseline_beyond_its_range_leaves_tpe_what_it_knows_of_both_parameters():
    """Without groups, a trial that lacks a parameter takes it out of what is drawn together."""
    spec = study_spec(baselines={"far": {"vae.kl_weight": 5.0}})
    assert sampler_for(spec, 0)._group
    assert not sampler_for(study_spec(), 0)._group


def test_nsga2_has_a_second_generation_soon():
    storage = optuna.storages.InMemoryStorage()
    run(study_spec("nsga2"), POPULATION + 2, storage)
    trials = optuna.load_study(study_name="t", storage=storage).trials
    generations = [trial.system_attrs["NSGAIISampler:generation"] for trial in trials]
    assert generations == [0] * POPULATION + [1] * 2


class Poison:
    """Unpickling it leaves a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_cmaes_neither_stores_nor_loads_a_pickle(tmp_path):
    storage = optuna.storages.InMemoryStorage()
    spec, mark = study_spec("cmaes"), tmp_path / "unpickled"
    run(spec, 20, storage)
    study = optuna.load_study(study_name="t", storage=storage)
    keys = {key for trial in study.trials for key in trial.system_attrs}
    assert keys == {"cma:generation"}
    poison = pickle.dumps(Poison(mark)).hex()
    for trial in study.trials:
        storage._trials = None  # nothing cached
        storage._studies[0].trials[trial.number].system_attrs["cma:optimizer:0"] = poison
    run(spec, 3, storage)
    assert not mark.exists()
    pickle.loads(bytes.fromhex(poison))  # it would have been found
    assert mark.exists()


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_replayed_optimiser_is_the_one_that_optuna_pickles(direction):
    space = {
        "a": optuna.distributions.FloatDistribution(-3, 3),
        "b": optuna.distributions.FloatDistribution(1e-3, 1, log=True),
        "c": optuna.distributions.IntDistribution(0, 9),
    }
    study = optuna.create_study(direction=direction)
    for number in range(40):
        study.sampler = optuna.samplers.CmaEsSampler(seed=number)
        trial = study.ask(space)
        a, b, c = trial.params["a"], trial.params["b"], trial.params["c"]
        study.tell(trial, -((a - 1) ** 2) - abs(math.log(b)) - abs(c - 4))
    sampler = optuna.samplers.CmaEsSampler(seed=0)
    pickled = sampler._restore_optimizer(sampler._get_trials(study))

    replaying = ReplayedCmaEs(seed=1)
    replaying.sample_relative(study, study.ask()._get_latest_trial(), space)
    replayed = replaying._restore_optimizer(replaying._get_trials(study))
    assert replayed.generation == pickled.generation == 39 // 7  # 4 + 3 ln 3 in a generation
    np.testing.assert_allclose(replayed._mean, pickled._mean, rtol=1e-12)
    np.testing.assert_allclose(replayed._C, pickled._C, rtol=1e-12)
    assert replayed._sigma == pytest.approx(pickled._sigma, rel=1e-12)


def test_a_trial_that_ends_late_does_not_change_what_was_learned():
    spec = study_spec("cmaes")
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(study_name="t", storage=storage, direction="maximize")
    space = spec.space

    def ask(number):
        study.sampler = sampler_for(spec, seed_of(spec, number))
        trial = study.ask()
        return trial, space.suggest(trial)

    first, fields = ask(0)
    study.tell(first, score(fields))
    late, late_fields = ask(1)
    for number in range(2, 20):
        trial, fields = ask(number)
        study.tell(trial, score(fields))
    _, before = ask(20)
    study.tell(late, score(late_fields))
    again = sampler_for(spec, seed_of(spec, 20))
    frozen = study.trials[20]
    names = again.infer_relative_search_space(study, frozen)
    suggested = again.sample_relative(study, frozen, names)
    assert suggested == {name: frozen.params[name] for name in suggested}
    assert before["adapt.lr"] == suggested["adapt.lr"]


def rungs(pruner, num_steps):
    """Steps at which a hopeless trial beside five good ones is stopped, else None."""
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for value in range(10, 15):
        trial = study.ask()
        for step in range(1, num_steps + 1):
            trial.report(value + step / 10, step)
            trial.should_prune()
        study.tell(trial, value)
    bad = study.ask()
    for step in range(1, num_steps + 1):
        bad.report(0.0, step)
        if bad.should_prune():
            return step
    return None


@pytest.mark.parametrize(
    ("rule", "step"),
    [
        ({"type": "none"}, None),
        ({"type": "successive_halving", "min_iter": 2}, 2),
        ({"type": "hyperband", "min_iter": 3, "s": 1}, 3),
        ({"type": "hyperband", "max_iter": 20, "s": 2}, 2),
        ({"type": "hyperband", "max_iter": 27, "s": 2}, 3),
        ({"type": "hyperband", "max_iter": 27, "s": 1}, 9),
        ({"type": "hyperband", "max_iter": 27, "s": 1, "eta": 2}, 13),
        ({"type": "median", "min_iter": 4}, 4),
        ({"type": "median", "min_iter": 4, "startup_trials": 6}, None),
        ({"type": "wilcoxon", "over": "bins"}, 4),  # 1 / 16 is below 0.1
        ({"type": "wilcoxon", "over": "bins", "p_threshold": 0.3}, 2),
    ],
)
def test_a_hopeless_trial_is_stopped_where_the_rule_says(rule, step):
    num_steps = 9 if rule["type"] == "wilcoxon" else 27  # scipy is slow with more pairs
    spec = study_spec(early_terminate=rule)
    assert rungs(pruner_for(spec), num_steps) == step
    if rule["type"] != "wilcoxon":
        assert step in {None, spec.early_terminate.first_stop}


@pytest.mark.parametrize(
    ("sections", "brackets"),
    [
        ({"fixed": {"adapt.pretrain_epochs": 3, "adapt.epochs": 6}}, 3),  # 9 epochs: 1, 3, 9
        ({"early_terminate": {"type": "hyperband_brackets", "max_iter": 3}}, 2),
        ({"fixed": {"vae.epochs": 100}, "trainable": "pose_vae"}, 2),  # 5 reports: 1, 3
    ],
)
def test_hyperband_knows_the_length_of_a_trial_before_one_is_complete(sections, brackets):
    if sections.get("trainable") == "pose_vae":
        sections = sections | {"metrics": [{"name": "vae/reconstruction"}]}
    spec = study_spec(**({"early_terminate": {"type": "hyperband_brackets"}} | sections))
    study = optuna.create_study(pruner=pruner_for(spec))
    trial = study.ask()
    trial.report(1.0, 1)
    trial.should_prune()
    assert study.pruner._n_brackets == brackets
