"""Sweep files in W&B's own words, over fields of a trial, load as they are."""

import functools
import math
import random
from pathlib import Path

import pytest

from harness.language.canonical import study_name
from harness.spec import SpecError, load_study
from trainables.config import TrialConfig

SWEEPS = Path(__file__).parent / "wandb"


def sweep(name, overrides=()):
    return load_study(SWEEPS / f"{name}.yaml", overrides)


@pytest.mark.parametrize("path", sorted(SWEEPS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_sweep_loads_and_its_draws_are_trials(path):
    space, rng = load_study(path).space(), random.Random(3)
    for _ in range(100):
        TrialConfig.from_flat(space.draw(rng))


def test_words_without_a_meaning_here_are_listed_as_ignored():
    assert sweep("learning_rates").ignored == (
        *("program", "command", "project", "entity", "description"),
        *("metrics.0.target", "early_terminate.strict"),
    )
    assert sweep("reconstruction").ignored == ()


def test_defaults_are_those_of_wandb():
    spec = sweep("learning_rates")
    assert (spec.name, spec.trainable, spec.method) == ("learning_rates", "adaptation", "tpe")
    assert spec.budget.run_cap is None
    assert spec.max_settings is None
    assert sweep("reconstruction").objective.goal == "minimize"
    assert sweep("reconstruction").max_settings == 12


def test_a_grid_without_a_cap_is_all_of_it():
    spec = sweep("All pairs (v2)")
    assert spec.name == "all-pairs-v2"
    assert spec.max_settings == 2 * 2 * 3


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("x/Sweep 1.yaml", "sweep-1"),
        ("_a.yaml", "a"),
        ("ÄÖ.yaml", "study"),
        ("a" * 80 + ".yaml", "a" * 64),
        ("-.yaml", "study"),
    ],
)
def test_a_name_is_made_of_the_file_if_there_is_none(file, name):
    assert study_name(file) == name


def test_groups_of_parameters_are_dotted_names_in_the_order_of_the_file():
    assert list(sweep("learning_rates").parameters) == [
        *("adapt.lr", "adapt.epochs", "adapt.regda.margin", "adapt.regda.tradeoff"),
        *("adapt.regda.gradient_scale", "vae.kl_weight"),
    ]


def test_an_error_in_a_group_is_placed_where_it_stands(tmp_path):
    text = "metric: {name: train/source_kl}\nparameters:\n  adapt:\n    parameters:\n"
    path = tmp_path / "s.yaml"
    for lines, message in (
        ("      lr: {min: 2, max: 1}", "5:17: parameters.adapt.lr.min must be below max"),
        ("      lrr: {value: 1}", "5:7: parameters.adapt.lrr is not a field of a trial"),
        ("      lr: {value: 1}\n    min: 1", "6:5: parameters.adapt is a group of parameters and"),
        (
            "      lr: {value: 1}\n  adapt.lr: {value: 2}",
            "6:3: parameters.adapt.lr is given twice, dotted and grouped",
        ),
    ):
        path.write_text(f"{text}{lines}\n")
        with pytest.raises(SpecError) as caught:
            load_study(path)
        assert str(caught.value).startswith(f"{path}:{message}")


def test_an_override_reaches_into_a_group():
    spec = sweep("learning_rates", ["parameters.adapt.regda.margin={value: 3}"])
    assert spec.parameters["adapt.regda.margin"].value == 3


@functools.cache
def draws(name):
    space, rng = sweep(name).space(), random.Random(5)
    return [space.draw(rng) for _ in range(2000)]


def drawn(name, field):
    return sorted(fields[field] for fields in draws(name))


def test_log_uniform_takes_exponents_to_the_base_e():
    values = drawn("learning_rates", "adapt.lr")
    assert values[0] == pytest.approx(math.exp(-9.21), rel=0.02)
    assert values[-1] == pytest.approx(math.exp(-3), rel=0.02)
    assert math.log(values[1000]) == pytest.approx((-9.21 - 3) / 2, abs=0.15)


def test_inverse_log_uniform_is_log_uniform_in_one_over_x():
    values = drawn("learning_rates", "vae.kl_weight")
    assert values[0] == pytest.approx(math.exp(-9.2), rel=0.02)
    assert values[-1] == pytest.approx(math.exp(-2.3), rel=0.02)
    assert math.log(1 / values[1000]) == pytest.approx((9.2 + 2.3) / 2, abs=0.15)
    scales = drawn("learning_rates", "adapt.regda.gradient_scale")
    assert math.log(scales[1000]) == pytest.approx(math.log(0.1) / 2, abs=0.08)


def test_stepped_laws_give_multiples():
    assert {value % 0.25 for value in drawn("learning_rates", "adapt.regda.margin")} == {0.0}
    assert {value % 8 for value in drawn("reconstruction", "vae.hidden_dim")} == {0}
    trims = set(drawn("reconstruction", "sampling.trim"))
    assert {0.0, 0.1, 0.2, 0.3} <= trims <= {0.0, 0.1, 0.2, 0.3, 0.4, 0.5}
    assert set(drawn("reconstruction", "vae.latent_dim")) == set(range(3, 21))


def test_values_are_as_likely_as_their_probabilities():
    values = drawn("reconstruction", "sampling.strategy")
    shares = {value: values.count(value) / len(values) for value in values}
    assert shares == pytest.approx({"all": 0.5, "hardest": 0.3, "random": 0.2}, abs=0.03)


def test_laws_have_their_quantiles():
    median = drawn("reconstruction", "sampling.keep")[1000]
    assert median == pytest.approx(0.2644, abs=0.01)  # of beta(2, 5)
    alphas = drawn("reconstruction", "adapt.udape.style_alpha")
    assert alphas[1000] == pytest.approx(0.5, abs=0.01)
    assert alphas[1682] == pytest.approx(0.6, abs=0.01)  # 84.1 % lie below mean + deviation


def test_rungs_are_counted_down_from_max_iter():
    rule = sweep("learning_rates").early_terminate
    assert rule.first_rung == 3  # 27 / 3 = 9 and 27 / 9 = 3
    text = (SWEEPS / "learning_rates.yaml").read_text()
    assert "s: 2" in text
    deep = sweep("learning_rates", ["early_terminate.s=9"]).early_terminate
    assert deep.first_rung == 1  # 9, 3, 1 and no further
