"""Sweep files in W&B's own words, over fields of a trial, load as they are."""

import functools
import math
import random
from pathlib import Path

import pytest

from harness.spec import SpecError, load_spec
from harness.spec.canonical import study_name
from trainables.config import TrialConfig

SWEEPS = Path(__file__).parent / "wandb"


def sweep(name, overrides=()):
    return load_spec(SWEEPS / f"{name}.yaml", overrides)


@pytest.mark.parametrize("path", sorted(SWEEPS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_sweep_loads_and_its_draws_are_trials(path):
    space, rng = load_spec(path).space, random.Random(3)
    for _ in range(100):
        TrialConfig.from_flat(space.draw(rng))


def said(name, *words):
    """Whether a notice of a sweep holds all of some words."""
    return any(all(word in notice for word in words) for notice in sweep(name).notices)


def test_what_is_other_than_in_wandb_is_said():
    assert said("learning_rates", "learning_rates.yaml:6:9: ", "bayes", "TPE", "gp")
    assert said(
        *("learning_rates", "learning_rates.yaml:14:7: parameters.adapt.lr ", "0.000100034"),
        *("0.0497871", "log_uniform_values"),
    )
    assert said(
        *("learning_rates", "learning_rates.yaml:35:3: parameters.vae.kl_weight ", "0.000101039"),
        *("0.100259", "inv_log_uniform_values"),
    )
    assert sweep("learning_rates").notices[-1] == (
        "not used here: program, command, project, entity, description, metric.target"
    )
    assert said("learning_rates", "learning_rates.yaml:39:1: warning: ", "after epoch 3")
    assert said(
        *("reconstruction", "reconstruction.yaml:12:19: parameters.vae.latent_dim ", "2.71828"),
        *("20.0855", "q_log_uniform_values"),
    )
    assert said("All pairs (v2)", "parameters.adapt.lr ", "leaves max out")
    assert sweep("min_iter_with_s").notices[-1] == "not used here: program, early_terminate.s"
    assert sweep("launch_words").notices == ("not used here: apiVersion, kind",)
    assert sweep("early_terminate_null").notices[1:] == ()


def test_exponents_that_were_meant_as_values_keep_their_meaning_with_a_warning():
    values = drawn("values_as_exponents", "adapt.lr")
    assert 1 < values[0] < values[-1] < 1.0101
    assert said("values_as_exponents", "yaml:5:13: parameters.adapt.lr ", "from 1 to 1.01005")


def test_defaults_are_those_of_wandb():
    spec = sweep("learning_rates")
    assert (spec.name, spec.trainable, spec.method) == ("learning_rates", "adaptation", "tpe")
    assert spec.budget.run_cap is None
    assert spec.max_trials is None
    assert sweep("reconstruction").objective.goal == "minimize"
    assert sweep("reconstruction").max_trials == 12


def test_a_grid_without_a_cap_is_all_of_it():
    spec = sweep("All pairs (v2)")
    assert spec.name == "all-pairs-v2"
    assert spec.max_trials == 2 * 2 * 2  # the learning rates 0.001 and 0.002


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Sweep 1", "sweep-1"),
        ("_a", "a"),
        ("ÄÖ, früh", "ao-fruh"),
        ("探索", "study"),
        ("a" * 80, "a" * 64),
        ("-", "study"),
    ],
)
def test_a_name_is_made_of_any_text(text, name):
    assert study_name(text) == name


def test_a_study_takes_the_name_of_its_file_if_it_has_none(tmp_path):
    text = (SWEEPS / "launch_words.yaml").read_text()
    for line in ("", "name: null\n", 'name: ""\n'):
        path = tmp_path / "Sweep 1 (new).yaml"
        path.write_text(text + line)
        assert (load_spec(path).name, load_spec(path).title) == ("sweep-1-new", None)


def test_free_text_as_a_name_is_the_title():
    spec = sweep("free_text_name")
    assert (spec.name, spec.title) == (
        "sampling-easy-half-round-2",
        "Sampling, easy half (round 2)",
    )
    assert spec.notices[0] == (
        f"{SWEEPS}/free_text_name.yaml:1:7: the study 'Sampling, easy half (round 2)' is named "
        "sampling-easy-half-round-2"
    )
    assert sweep("free_text_name", ["title=Easy half"]).title == "Easy half"


def test_constants_of_the_data_are_fixed():
    spec = sweep("constants_among_parameters")
    assert spec.fixed == {"data.source": "people_clean", "data.num_source": 200}
    assert list(spec.parameters) == ["adapt.epochs", "vae.kl_weight"]
    changed = sweep("constants_among_parameters", ["parameters.data.num_source.value=300"])
    assert changed.fixed["data.num_source"] == 300


def test_a_category_listed_twice_is_twice_as_likely_and_once_in_a_grid():
    values = drawn("category_listed_twice", "sampling.strategy")
    shares = {value: values.count(value) / len(values) for value in values}
    assert shares == pytest.approx({"all": 0.25, "hardest": 0.5, "random": 0.25}, abs=0.03)
    assert len(sweep("category_listed_twice", ["method=grid"]).space.grid()) == 3


def test_whole_numbers_may_be_written_with_a_point_or_an_exponent():
    assert set(drawn("whole_numbers_with_point", "adapt.epochs")) == set(range(4, 11))
    sizes = drawn("whole_numbers_in_scientific_form", "adapt.batch_size")
    assert (sizes[0], sizes[-1]) == (288, 3008)  # round(300 / 32) = 9 and round(3000 / 32) = 94
    assert {type(size) for size in sizes} == {int}


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
            load_spec(path)
        assert str(caught.value).startswith(f"{path}:{message}")


def test_an_override_reaches_into_a_group():
    spec = sweep("learning_rates", ["parameters.adapt.regda.margin={value: 3}"])
    assert spec.parameters["adapt.regda.margin"].value == 3


@functools.cache
def draws(name):
    space, rng = sweep(name).space, random.Random(5)
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


def test_the_rungs_are_those_of_wandb():
    assert sweep("learning_rates").early_terminate.rungs == (3, 9)
    deep = sweep("learning_rates", ["early_terminate.s=9"]).early_terminate
    assert deep.rungs == (1, 3, 9)  # and no further
    assert sweep("reconstruction").early_terminate.rungs[:4] == (3, 9, 27, 81)
    assert sweep("min_iter_with_s").early_terminate.rungs[:3] == (10, 30, 90)
    assert sweep("eta_with_point").early_terminate.rungs == (2, 5)


MISTAKES = [  # line that is added to a sweep, and the message
    ("data.source: {value: peple}", "parameters.data.source.value must be one of people_clean"),
    (
        "data.num_source: {value: 3}",
        "parameters.data.num_source.value must be from 50 to 1000000, got 3",
    ),
    (
        "data.num_source: {values: [200, 300]}",
        "parameters.data.num_source cannot be searched, or trials would not be comparable; give",
    ),
    ("vae.epochs: {value: null}", "parameters.vae.epochs.value must be a whole number, got null"),
    (
        "net.compile: {values: [true, 1]}",
        "parameters.net.compile.values.1 must be true or false, got 1",
    ),
    ("bins.subset: {value: [true]}", "parameters.bins.subset.value must be a list of whole numb"),
    (
        "vae.norm: {value: true}",
        "parameters.vae.norm.value must be one of bbox, raw, root, got tr",
    ),
]


@pytest.mark.parametrize(("line", "message"), MISTAKES)
def test_a_mistake_is_named_in_the_words_of_the_file(tmp_path, line, message):
    path = tmp_path / "s.yaml"
    path.write_text(
        f"metric: {{name: train/source_kl}}\nparameters:\n  {line}\n  seed: {{value: 1}}\n"
    )
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert str(caught.value).partition(": ")[2].startswith(message)


UNSUPPORTED = [  # lines of a sweep, and what the message names
    ("method: custom", "method must be one of tpe, gp, cmaes, nsga2, qmc, random, grid"),
    ("scheduler: {engine: optuna}", "scheduler.engine must be one of wandb, got 'optuna'"),
    ("scheduler: {engine: wandb, source: a.py}", "scheduler.source is not a known key"),
    ("early_terminate: {type: hyperband, max_iter: 9, s: 0}", "early_terminate.s must be >= 1"),
    (
        "early_terminate: {type: hyperband, min_iter: 2, eta: 1}",
        "early_terminate.eta must be > 1, got 1",
    ),
    ("prior_runs: [a]", "prior_runs is not a known key; allowed are name, title, plugins"),
]


@pytest.mark.parametrize(("lines", "message"), UNSUPPORTED)
def test_what_is_not_supported_is_refused_by_its_name(tmp_path, lines, message):
    path = tmp_path / "s.yaml"
    path.write_text(
        f"metric: {{name: train/source_kl}}\nparameters: {{vae.norm: {{value: raw}}}}\n{lines}\n"
    )
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert str(caught.value).partition(": ")[2].startswith(message)


def test_the_list_of_allowed_words_has_those_of_wandb(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("metrik: {name: train/source_kl}\nmetric: {name: train/source_kl}\n")
    with pytest.raises(SpecError, match="did you mean metric.*run_cap, metric$"):
        load_spec(path)


def test_a_sweep_without_a_metric_is_refused(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("method: random\nparameters: {vae.norm: {value: raw}}\n")
    with pytest.raises(SpecError, match="s.yaml:1:1: metric is required: what the study optimis"):
        load_spec(path)
