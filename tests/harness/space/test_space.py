import random
import warnings

import optuna
import pytest
from ruamel.yaml import YAML

from harness.space.space import Space
from harness.space.suggester import RandomSuggester
from tests.study_texts import HEAD, optuna_trial, space_of
from trainables.config import TrialConfig

optuna.logging.set_verbosity(optuna.logging.WARNING)

CONDITIONAL = """\
parameters:
  bins.subset: {choose: {from: bins.count, min: 2, max: 4}, when: {sampling.strategy: bins}}
  sampling.strategy: {values: [all, bins, hardest, curriculum]}
  sampling.keep: {min: 0.1, max: 0.9, q: 0.1, when: {sampling.strategy: [hardest]}}
  bins.count: {values: [4, 6, 8], when: {sampling.strategy: bins}}
  curriculum.pacing: {values: [linear, step], when: {sampling.strategy: curriculum}}
  curriculum.full_at: {min: 0.5, max: 1, when: {curriculum.pacing: step}}
  vae.latent_dim: {distribution: q_log_uniform_values, min: 2, max: 64}
  vae.hidden_dim: {distribution: q_log_uniform_values, min: 30, max: 512, q: 32}
  vae.kl_weight: {distribution: log_uniform_values, min: 1e-4, max: 10}
  vae.epochs: {min: 10, max: 100, q: 5}
  vae.norm: {value: raw}
fixed: {adapt.lr: 0.05}
"""


def expected_active(config: dict) -> set[str]:
    """Conditions of CONDITIONAL, written out by hand."""
    active = {"sampling.strategy", "vae.latent_dim", "vae.hidden_dim", "vae.kl_weight"}
    active |= {"vae.epochs", "vae.norm", "adapt.lr"}
    strategy = config["sampling.strategy"]
    active |= {"bins.subset", "bins.count"} if strategy == "bins" else set()
    active |= {"sampling.keep"} if strategy == "hardest" else set()
    if strategy == "curriculum":
        active |= {"curriculum.pacing"}
        active |= {"curriculum.full_at"} if config["curriculum.pacing"] == "step" else set()
    return active


def assert_is_within_the_space(config: dict) -> None:
    TrialConfig.from_flat(config)
    assert set(config) == expected_active(config)
    if "bins.subset" in config:
        subset = config["bins.subset"]
        assert 2 <= len(subset) <= 4
        assert subset == sorted(set(subset))
        assert set(subset) <= set(range(config["bins.count"]))
    if "sampling.keep" in config:
        assert config["sampling.keep"] in [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert config["vae.hidden_dim"] in range(32, 513, 32)
    assert config["vae.epochs"] in range(10, 101, 5)
    assert 1e-4 <= config["vae.kl_weight"] <= 10
    assert config["vae.latent_dim"] in range(2, 65)
    assert (config["vae.norm"], config["adapt.lr"]) == ("raw", 0.05)


def test_random_draws_build_trials_and_keep_every_condition():
    space, rng = space_of(CONDITIONAL), random.Random(1)
    configs = [space.draw(rng) for _ in range(200)]
    for config in configs:
        assert_is_within_the_space(config)
    assert len({frozenset(config) for config in configs}) == 5
    assert {config["bins.count"] for config in configs if "bins.count" in config} == {4, 6, 8}


def test_draws_follow_from_the_generator():
    space = space_of(CONDITIONAL)
    first = [space.draw(random.Random(3)) for _ in range(2)]
    assert first[0] == first[1] != space.draw(random.Random(4))


def test_optuna_trials_build_the_same_kind_of_trial_as_draws():
    space = space_of(CONDITIONAL)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    kinds = set()
    for _ in range(60):
        trial = study.ask()
        config = space.suggest(trial)
        study.tell(trial, config["vae.kl_weight"])
        assert_is_within_the_space(config)
        kinds.add(frozenset(config))
        for item in range(config.get("bins.count", 0)):
            assert type(trial.params[f"bins.subset/b{item:02d}"]) is bool
    assert len(kinds) == 5


class Replay:
    """Answers with given Optuna parameters and remembers which were asked for."""

    def __init__(self, params: dict) -> None:
        self.params = params
        self.asked: list[str] = []

    def _answer(self, name: str, *args: object, **kwargs: object) -> object:
        self.asked.append(name)
        return self.params[name]

    suggest_categorical = suggest_int = suggest_float = _answer


def test_a_draw_from_a_trials_parameters_asks_the_same_and_gives_the_same():
    space = space_of(CONDITIONAL)
    for seed in range(40):
        trial = optuna_trial(seed=seed)
        config = space.suggest(trial)
        replay = Replay(trial.params)
        assert space.suggest(replay) == config
        assert replay.asked == list(trial.params)
        pinned = RandomSuggester(random.Random(0), trial.params)
        assert space.suggest(pinned) == config


def test_parents_are_asked_before_children_whatever_the_order_in_the_file():
    params = optuna_trial()
    names = list(dict.fromkeys(_asked(space_of(CONDITIONAL), params)))
    assert names.index("sampling.strategy") < names.index("vae.latent_dim")
    assert names[0] == "sampling.strategy"


def _asked(space: Space, trial: optuna.Trial) -> list[str]:
    space.suggest(trial)
    return list(trial.params)


def test_grid_lists_every_combination_once():
    space = space_of(
        "method: grid\nparameters:\n"
        "  bins.subset: {choose: {from: bins.count, min: 2, max: 3},\n"
        "    when: {sampling.strategy: bins}}\n"
        "  sampling.strategy: {values: [all, bins, hardest]}\n"
        "  bins.count: {values: [3, 4], when: {sampling.strategy: bins}}\n"
        "  sampling.keep: {min: 0.2, max: 0.6, q: 0.2, when: {sampling.strategy: hardest}}\n"
        "  vae.epochs: {min: 1, max: 2}\n"
        "  vae.norm: {value: raw}\n"
    )
    grid = space.grid()
    # all: 1; bins: 3 + 1 subsets of 3 bins, 6 + 4 of 4; hardest: 0.2, 0.4. Times 2 epochs.
    assert len(grid) == 2 * (1 + (3 + 1) + (6 + 4) + 2)
    assert len({tuple(sorted(point.items())) for point in grid}) == len(grid)
    configs = [space.suggest(optuna_trial(point)) for point in grid]
    assert len({str(sorted(config.items())) for config in configs}) == len(grid)
    for point, config in zip(grid, configs, strict=True):
        replay = Replay(point)
        assert space.suggest(replay) == config
        assert sorted(replay.asked) == sorted(point)
    assert grid[0] == {"sampling.strategy": "all", "vae.epochs": 1}


def test_grid_of_constants_is_one_empty_point():
    assert space_of("method: grid\nparameters: {vae.norm: {value: raw}}").grid() == [{}]


BASELINES = (
    CONDITIONAL
    + """\
baselines:
  defaults: {}
  hard: {sampling: {strategy: hardest, keep: 0.3}, adapt.epochs: 7, adapt.lr: 0.2}
  third: {sampling.strategy: hardest}
  upper: {sampling.strategy: bins, bins: {count: 6, subset: [5, 3, 4]}, vae.norm: root}
  wide: {sampling.strategy: bins, bins: {count: 6, subset: [0, 1, 2, 3, 4]}}
  many: {sampling.strategy: bins, bins: {count: 12, subset: [0, 11]}}
  easy: {sampling.strategy: easiest, sampling.keep: 0.5, vae.latent_dim: 100}
"""
).replace("run_cap: 5", "run_cap: 9")

COMMON = {"vae.latent_dim": 8, "vae.hidden_dim": 64, "vae.kl_weight": 1e-4, "vae.epochs": 100}
BITS = {f"bins.subset/b{item:02d}": item >= 3 for item in range(6)}


@pytest.mark.parametrize(
    ("name", "enqueue", "overrides"),
    [
        ("defaults", {"sampling.strategy": "all", **COMMON}, {}),
        (
            "hard",
            {"sampling.strategy": "hardest", "sampling.keep": 0.3, **COMMON},
            {"adapt.epochs": 7, "adapt.lr": 0.2},
        ),
        (
            "third",
            {"sampling.strategy": "hardest", **COMMON},
            {"sampling.keep": 1 / 3},
        ),
        (
            "upper",
            {"sampling.strategy": "bins", "bins.count": 6, **BITS, **COMMON},
            {"vae.norm": "root"},
        ),
        (
            "wide",
            {"sampling.strategy": "bins", "bins.count": 6, **COMMON},
            {"bins.subset": [0, 1, 2, 3, 4]},
        ),
        (
            "many",
            {"sampling.strategy": "bins", **COMMON}
            | {f"bins.subset/b{item:02d}": item in (0, 11) for item in range(12)},
            {"bins.count": 12},
        ),
        (
            "easy",
            {key: value for key, value in COMMON.items() if key != "vae.latent_dim"},
            {
                "sampling.strategy": "easiest",
                "sampling.keep": 0.5,
                "vae.latent_dim": 100,
            },
        ),
    ],
)
def test_a_baseline_is_fully_decided_by_its_two_parts(name, enqueue, overrides):
    space = space_of(BASELINES)
    baseline = next(found for found in space.baselines() if found.name == name)
    assert baseline.enqueue == enqueue
    assert baseline.overrides == overrides
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trials = [optuna_trial(baseline.enqueue, seed) for seed in range(3)]
        configs = [space.suggest(trial, baseline.overrides) for trial in trials]
    assert configs[0] == configs[1] == configs[2]
    assert trials[0].params == enqueue
    expected = TrialConfig().to_flat() | {"adapt.lr": 0.05, "vae.norm": "raw"}
    written = YAML(typ="safe", pure=True).load(HEAD + BASELINES)["baselines"][name]
    for key, value in written.items():
        nested = value if isinstance(value, dict) else None
        expected |= {f"{key}.{k}": v for k, v in nested.items()} if nested else {key: value}
    if expected["bins.subset"]:
        expected["bins.subset"] = sorted(expected["bins.subset"])
    assert TrialConfig.from_flat(configs[0]).to_flat() == expected


def test_overridden_names_are_not_asked_for():
    space = space_of(CONDITIONAL)
    replay = Replay(COMMON)
    config = space.suggest(
        replay, {"sampling.strategy": "bins", "bins.count": 4, "seed": 3} | {"bins.subset": [2, 1]}
    )
    assert replay.asked == list(COMMON)
    assert config["bins.subset"] == [1, 2]
    assert config["seed"] == 3


def test_probes_visit_every_category_and_both_ends_of_every_range():
    configs = [probe.fields for probe in space_of(CONDITIONAL).probes]

    def seen(name: str) -> set:
        return {config[name] for config in configs if name in config}

    assert seen("sampling.strategy") == {"all", "bins", "hardest", "curriculum"}
    assert seen("bins.count") == {4, 6, 8}
    assert seen("sampling.keep") >= {0.1, 0.9}
    assert seen("curriculum.full_at") >= {0.5, 1.0}
    assert seen("vae.kl_weight") >= {1e-4, 10.0}
    assert seen("vae.hidden_dim") >= {32, 512}
    for config in configs:
        assert_is_within_the_space(config)


def test_description_has_a_line_for_every_part():
    assert space_of(BASELINES).describe() == [
        "search bins.subset: 2 to 4 of the bins.count items, when sampling.strategy is bins",
        "search sampling.strategy: one of all, bins, hardest, curriculum",
        "search sampling.keep: multiple of 0.1 nearest to a number from 0.1 to 0.9, "
        "when sampling.strategy is hardest",
        "search bins.count: one of 4, 6, 8, when sampling.strategy is bins",
        "search curriculum.pacing: one of linear, step, when sampling.strategy is curriculum",
        "search curriculum.full_at: from 0.5 to 1, when curriculum.pacing is step",
        "search vae.latent_dim: whole number nearest to a number from 2 to 64, log scale",
        "search vae.hidden_dim: multiple of 32 nearest to a number from 30 to 512, log scale",
        "search vae.kl_weight: from 0.0001 to 10, log scale",
        "search vae.epochs: multiple of 5 nearest to a number from 10 to 100",
        "search vae.norm: always raw",
        "fix adapt.lr = 0.05",
        "baseline defaults: all defaults",
        "baseline hard: sampling.strategy = hardest, sampling.keep = 0.3, adapt.epochs = 7, "
        "adapt.lr = 0.2",
        "baseline third: sampling.strategy = hardest",
        "baseline upper: sampling.strategy = bins, bins.count = 6, bins.subset = [3, 4, 5], "
        "vae.norm = root",
        "baseline wide: sampling.strategy = bins, bins.count = 6, bins.subset = [0, 1, 2, 3, 4]",
        "baseline many: sampling.strategy = bins, bins.count = 12, bins.subset = [0, 11]",
        "baseline easy: sampling.strategy = easiest, sampling.keep = 0.5, vae.latent_dim = 100",
    ]


def test_a_baseline_with_parity_takes_the_references_values():
    text = """
parameters:
  adapt.udape.ema_decay: {min: 0.9, max: 0.9999}
  adapt.udape.keep: {values: [0.25, 0.5]}
baselines:
  ours: {adapt.method: udape}
  theirs: {adapt.method: udape, parity: true}
"""
    ours, theirs = space_of(text).baselines()
    assert ours.enqueue == {"adapt.udape.ema_decay": 0.98, "adapt.udape.keep": 0.5}
    assert theirs.enqueue == {"adapt.udape.ema_decay": 0.999, "adapt.udape.keep": 0.5}
