"""Sweep files of the language that W&B's schema describes: they load and draw what W&B draws.

The strategy follows ``sweeps/config/schema.json`` of the package ``sweeps`` 0.3.0 on PyPI: every
word, distribution and form of a parameter that it knows, over fields of a trial. Half of the
files use only what is supported, within the ranges of their fields; those must load. The others
have any numbers with any words, and may be refused, but only in a sentence about a word of theirs.
"""

import json
import math
import random
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.space.suggester import RandomSuggester
from harness.spec import SpecError, load_spec
from harness.spec.json_schema import study_schema
from tests.reference.wandb_sweeps import bands, grid, law_of, quantiles

NUM_DRAWS = 2000
LAW = (np.arange(4000) + 0.5) / 4000
SMALLEST_P = 1e-6
"""A thousandth for all of about a thousand comparisons. All draws are from the same seed, so that
the distance from the right law is much the same in every run."""

CHECK = jsonschema.Draft202012Validator(study_schema())

REALS = {  # field to a range that a trial takes
    "adapt.lr": (1e-4, 9.0),
    "vae.kl_weight": (1e-3, 900.0),
    "adapt.regda.margin": (0.0, 1e4),
    "adapt.regda.tradeoff": (0.0, 1e4),
    "sampling.trim": (0.0, 0.5),
    "adapt.udape.style_alpha": (0.0, 1.0),
}
WHOLES = {
    "vae.latent_dim": (1, 256),
    "vae.hidden_dim": (8, 4096),
    "vae.epochs": (1, 10_000),
    "adapt.batch_size": (2, 4096),
    "adapt.steps_per_epoch": (1, 100_000),
    "seed": (0, 2**31 - 1),
}
CATEGORIES = {
    "vae.norm": ["bbox", "raw", "root"],
    "sampling.strategy": ["all", "hardest", "easiest", "random"],
    "adapt.udape.mask": ["batch", "joint"],
    "net.compile": [True, False],
    "adapt.pretrain_epochs": [1, 2.0, 30],
}
CONSTANTS = {
    "data.source": ["people_clean", "people_wild"],
    "data.num_source": [200, 2000.0],
    "evaluation.bin_count": [4, 6.0],
}
NUMERIC = [
    *("uniform", "q_uniform", "log_uniform", "log_uniform_values", "q_log_uniform"),
    *("q_log_uniform_values", "inv_log_uniform", "inv_log_uniform_values", "normal", "q_normal"),
    *("log_normal", "q_log_normal", "beta", "q_beta"),
]
DISTRIBUTIONS = [
    *("constant", "categorical", "categorical_w_probabilities", "int_uniform", *NUMERIC)
]
GRID_LAWS = ("constant", "categorical", "int_uniform", "q_uniform")
"""What W&B can enumerate."""
NUMBERS = st.sampled_from([-2, -0.5, 0, 1e-6, 0.01, 0.1, 0.25, 0.5, 1, 2.0, 3, 8, 20, 300.0])


@st.composite
def within(draw, low, high):
    """Two numbers of a range, the smaller first, at least a sixty-fourth of it apart."""
    begin = draw(st.integers(0, 63))
    end = draw(st.integers(begin + 1, 64))
    return [low + (high - low) * share / 64 for share in (begin, end)]


@st.composite
def categories(draw, values):
    """Values, some of them listed twice, with or without probabilities."""
    listed = draw(st.lists(st.sampled_from(values), min_size=1, max_size=5))
    if draw(st.booleans()):
        named = draw(st.sampled_from([{}, {"distribution": "categorical"}]))
        return {"values": listed, **named}
    weights = draw(st.lists(st.integers(0, 4), min_size=len(listed), max_size=len(listed)))
    weights[0] += 1
    named = draw(st.sampled_from([{}, {"distribution": "categorical_w_probabilities"}]))
    return {
        "values": listed,
        "probabilities": [round(weight / sum(weights), 6) for weight in weights],
        **named,
    }


@st.composite
def stepped(draw, low, high, is_whole, log):
    """Ends and step such that every multiple that is drawn lies in the range."""
    steps = [1, 2, 5, 8, 32.0] if is_whole else [0.01, 0.1, 0.25, 1, 2]
    step = draw(st.sampled_from([step for step in steps if 3 * step < high - low] or steps[:1]))
    first = max(math.ceil(low / step), 1 if log else 0)
    last = min(math.floor(high / step), first + 60)
    begin = draw(st.integers(first, last - 1))
    end = draw(st.integers(begin + 1, last))
    offsets = [-0.375, 0, 0.25] if begin else [0, 0.25]  # rounded to the same multiple
    low, high = (
        float(f"{(index + draw(st.sampled_from(offsets))) * step:.9g}") for index in (begin, end)
    )
    words = {"min": low, "max": high}
    return words if step == 1 and draw(st.booleans()) else {**words, "q": step}


@st.composite
def whole_range(draw, low, high):
    """A range of whole numbers, implied or by its name."""
    first = draw(st.integers(math.ceil(low), math.floor(high) - 1))
    last = draw(st.integers(first + 1, min(math.floor(high), first + 500)))
    if draw(st.booleans()):
        return {"min": first, "max": last}
    return {"distribution": "int_uniform", "min": float(first), "max": last}


@st.composite
def range_words(draw, law, low, high, is_whole):
    """Ends of a range, exponents where the distribution takes them."""
    if law.startswith("q_"):
        words = draw(stepped(low, high, is_whole, "log" in law))
    elif law == "uniform":
        words = dict(zip(("min", "max"), draw(within(low, high)), strict=True))
    else:
        exponents = draw(within(math.log(max(low, 1e-3)), math.log(high)))
        words = dict(zip(("min", "max"), map(math.exp, exponents), strict=True))
    if "log" in law and not law.endswith("_values"):
        ends = [math.log(words[word]) for word in ("min", "max")]
        if law.startswith("inv_"):
            ends = [-ends[1], -ends[0]]
        words |= dict(zip(("min", "max"), ends, strict=True))
    return words


@st.composite
def law_words(draw, law, low, high, is_whole):
    """Mean, deviation and shapes such that nearly all of the law lies in the range."""
    words = {}
    if law.startswith("q_"):
        words["q"] = draw(st.sampled_from([1, 2, 8.0] if is_whole else [0.125, 0.5]))
    high = min(high, low + 300)
    if law.endswith("beta"):
        words |= {"a": draw(st.sampled_from([1, 0.8, 2, 5])), "b": 3}
    elif "log" in law:
        words |= {"mu": math.log((low + high) / 2), "sigma": draw(st.sampled_from([0.05, 0.15]))}
    else:
        words |= {"mu": (low + high) / 2, "sigma": (high - low) / draw(st.sampled_from([9, 15]))}
    return words


@st.composite
def numbers(draw, low, high, is_whole):
    """A distribution within a range, of whole numbers or real ones."""
    laws = [law for law in NUMERIC if law.startswith("q_") or not is_whole]
    law = draw(st.sampled_from(["int_uniform", *laws] if high - low >= 1 else laws))
    if law == "int_uniform":
        return draw(whole_range(low, high))
    if law.endswith("uniform") or law.endswith("_values"):
        return {"distribution": law, **draw(range_words(law, low, high, is_whole))}
    words = {"distribution": law, **draw(law_words(law, low, high, is_whole))}
    smallest, largest = quantiles(words, np.array([1e-4, 1 - 1e-4]))
    return words if low <= smallest < largest <= high else {"value": low}


@st.composite
def supported_parameters(draw, is_grid):
    found = {}
    fields = st.lists(st.sampled_from([*REALS, *WHOLES]), min_size=1, max_size=4, unique=True)
    for field in draw(fields):
        low, high = (REALS | WHOLES)[field]
        words = draw(numbers(low, high, field in WHOLES))
        if is_grid and law_of(words) == "q_uniform":  # counts from min, which must be whole then
            step = words.get("q", 1)
            ends = [round(words[word] / step) * step for word in ("min", "max")]
            words |= {"min": ends[0], "max": ends[1] + draw(st.sampled_from([0, step / 4]))}
        is_short = words.get("max", 0) - words.get("min", 0) <= 6 * words.get("q", 1)
        if is_grid and not (law_of(words) in GRID_LAWS and is_short):
            words = {"values": [low, high, low]}
        found[field] = words
    fields = st.lists(st.sampled_from([*CATEGORIES]), min_size=1, max_size=2, unique=True)
    for field in draw(fields):
        found[field] = draw(categories(CATEGORIES[field]))
        if is_grid:
            found[field].pop("probabilities", None)
            found[field].pop("distribution", None)
    for field in draw(st.lists(st.sampled_from([*CONSTANTS]), max_size=2, unique=True)):
        value = draw(st.sampled_from(CONSTANTS[field]))
        found[field] = draw(
            st.sampled_from(
                [
                    {"value": value},
                    {"values": [value]},
                    {"value": value, "distribution": "constant"},
                ]
            )
        )
    return found


WORDS_OF = {
    "constant": ("value",),
    "categorical": ("values",),
    "categorical_w_probabilities": ("values", "probabilities"),
    **dict.fromkeys(("normal", "log_normal", "q_normal", "q_log_normal"), ("mu", "sigma")),
    **dict.fromkeys(("beta", "q_beta"), ("a", "b")),
}


@st.composite
def any_parameter(draw):
    """A form that W&B's schema knows, with any numbers."""
    law = draw(st.sampled_from(DISTRIBUTIONS))
    words = WORDS_OF.get(law, ("min", "max")) + (("q",) if law.startswith("q_") else ())
    optional = {"mu", "sigma", "a", "b", "q"}
    found = {"distribution": law}
    for word in words:
        if word in ("values", "probabilities"):
            found[word] = draw(st.lists(NUMBERS, min_size=1, max_size=3))
        elif word not in optional or draw(st.booleans()):
            found[word] = draw(NUMBERS)
    if law in ("constant", "categorical", "uniform", "int_uniform") and draw(st.booleans()):
        del found["distribution"]
    return found


TEXTS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=12)
METRIC = st.fixed_dictionaries(
    {"name": st.just("target_val/pck_05"), "goal": st.just("maximize")},
    optional={
        "target": NUMBERS,
        "impute": st.sampled_from(["latest", "best", "worst"]),
        "impute_while_running": st.sampled_from(["latest", "best", "worst", "false", False]),
    },
)
ETA = {"eta": st.sampled_from([2, 3, 4.0, 1.5, 2.5])}
RULES = st.none() | st.fixed_dictionaries(
    {"type": st.just("hyperband"), "max_iter": st.integers(4, 99), "s": st.integers(1, 9)},
    optional={**ETA, "strict": st.booleans(), "min_iter": st.integers(1, 9)},
) | st.fixed_dictionaries(
    {"type": st.just("hyperband"), "min_iter": st.integers(1, 9) | st.just(3.0)},
    optional={**ETA, "strict": st.booleans(), "s": st.integers(1, 9)},
)  # fmt: skip
ANY_RULE = st.fixed_dictionaries(
    {"type": st.just("hyperband")},
    optional={
        **dict.fromkeys(("min_iter", "max_iter", "s", "eta"), NUMBERS),
        "strict": st.booleans(),
    },
)
LAUNCH = {
    "name": TEXTS | st.none(),
    "description": TEXTS | st.none(),
    "program": st.just("train.py"),
    "project": TEXTS,
    "entity": TEXTS,
    "command": st.just(["${env}", "${program}", "${args}"]) | st.none(),
    "apiVersion": st.just("v1"),
    "kind": st.just("sweep"),
    "job": TEXTS,
    "image_uri": TEXTS,
    "controller": st.fixed_dictionaries({"type": st.sampled_from(["local", "cloud"])}),
    "run_cap": st.sampled_from([1, 8.0, 300]) | st.none(),
}
ANY_SCHEDULER = st.fixed_dictionaries(
    {"engine": st.sampled_from(["optuna", "ax", "wandb"])}, optional={"source": st.just("a.py")}
)


@st.composite
def supported(draw):
    """A sweep that must load."""
    method = draw(st.sampled_from(["random", "random", "bayes", "grid"]))
    words = {
        "early_terminate": RULES,
        "scheduler": st.just({"engine": "wandb"}),
        **LAUNCH,
    }
    sections = draw(st.fixed_dictionaries({}, optional=words))
    parameters = draw(supported_parameters(method == "grid"))
    return {"method": method, "metric": draw(METRIC), "parameters": parameters, **sections}


@st.composite
def anything(draw):
    """A sweep that may use what is not supported."""
    fields = st.sampled_from([*REALS, *WHOLES, *REALS, *CATEGORIES, "data.num_source"])
    parameters = draw(st.dictionaries(fields, any_parameter(), min_size=1, max_size=2))
    parameters["adapt.udape.keep"] = {"value": 0.5}
    found = {"method": draw(st.sampled_from(["random"] * 4 + ["bayes", "grid", "custom"]))}
    match draw(st.integers(0, 9)):
        case 0:
            found["metrics"] = draw(st.lists(METRIC, min_size=2, max_size=2))
        case 1:
            found["metric"] = {"name": "target_val/pck_05"}
        case 2:
            pass
        case _:
            found["metric"] = draw(METRIC)
    words = {"early_terminate": ANY_RULE} if draw(st.integers(0, 2)) == 0 else {}
    words |= {"scheduler": ANY_SCHEDULER} if draw(st.integers(0, 5)) == 0 else {}
    sections = draw(st.fixed_dictionaries({}, optional={**words, **LAUNCH}))
    return {**found, "parameters": parameters, **sections}


def grouped(parameters, rng):
    """Some of the dotted names as groups of parameters."""
    found = {}
    for name, words in parameters.items():
        head, _, rest = name.partition(".")
        if rest and rng.random() < 0.5:
            found.setdefault(head, {"parameters": {}})["parameters"][rest] = words
        else:
            found[name] = words
    return found


def written(sweep, rng):
    """The text of a sweep file; hundreds as 3e2 at times."""
    text = json.dumps({**sweep, "parameters": grouped(sweep["parameters"], rng)}, indent=1)
    return re.sub(r"([: ][1-9])00\.0\b", r"\1e2", text) if rng.random() < 0.5 else text


def key(value):
    """A value such that equal ones compare equal, whatever rounding left of them."""
    return float(f"{value:.9g}") if isinstance(value, int | float) else value


def p_value(words, drawn):
    """Of a Kolmogorov-Smirnov test of drawn values against the law of their parameter."""
    expected, drawn = [[key(v) for v in vs] for vs in (quantiles(words, LAW), drawn)]
    order = sorted({*expected, *drawn}, key=lambda v: (str(type(v)), v))
    ranks = {value: rank for rank, value in enumerate(order)}
    counts = np.zeros((2, len(order)))
    for row, values in enumerate((expected, drawn)):
        for value in values:
            counts[row, ranks[value]] += 1 / len(values)
    distance = np.abs(np.cumsum(counts[0] - counts[1])).max()
    return stats.kstwo(len(drawn)).sf(max(0.0, distance - 1 / len(LAW)))


def check_meaning(sweep, spec):
    """Draws, grid and rungs of a study are those of its sweep."""
    rule = sweep.get("early_terminate")
    if rule:
        assert list(spec.early_terminate.rungs) == [b for b in bands(rule) if b <= 10**9]
    space, parameters = spec.space, sweep["parameters"]
    fixed = {name: parameters[name] for name in parameters if name in CONSTANTS}
    for name, words in fixed.items():
        assert spec.fixed[name] == words.get("value", *words.get("values", []))
    searched = {name: words for name, words in parameters.items() if name not in fixed}
    if spec.method == "grid" and all(law_of(words) in GRID_LAWS for words in searched.values()):
        rng = random.Random(0)
        found = [space.suggest(RandomSuggester(rng, point)) for point in space.grid()]
        points = [tuple(key(point[name]) for name in searched) for point in found]
        assert len(set(points)) == len(points)
        assert set(points) == {tuple(map(key, point)) for point in grid(searched)}
        return
    rng = random.Random(0)
    draws = [space.draw(rng) for _ in range(NUM_DRAWS)]
    for name, words in searched.items():
        p = p_value(words, [draw[name] for draw in draws])
        assert p > SMALLEST_P, (name, words, p)


def loads_and_means(sweep, tmp_path: Path, must_load: bool):
    path = tmp_path / "s.yaml"
    path.write_text(written(sweep, random.Random(json.dumps(sweep))), encoding="utf-8")
    try:
        spec = load_spec(path)
    except SpecError as error:
        assert not must_load, error
        place, _, sentence = str(error).removeprefix(f"{path}:").partition(": ")
        assert re.fullmatch(r"\d+:\d+", place)
        subject = re.match(r"[\w.]+", sentence).group().split(".")
        assert subject[0] in sweep or subject == ["metric"], sentence
        return
    CHECK.validate(json.loads(json.dumps(sweep)))
    check_meaning(sweep, spec)


SWEEPS = supported().map(lambda sweep: (sweep, True)) | anything().map(lambda s: (s, False))
HEALTH = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=20, suppress_health_check=HEALTH)
@given(SWEEPS)
def test_a_sweep_file_loads_and_draws_what_wandb_draws_or_is_refused_by_name(tmp_path, case):
    loads_and_means(case[0], tmp_path, case[1])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=500, suppress_health_check=HEALTH)
@given(SWEEPS)
def test_five_hundred_sweep_files(tmp_path, case):
    loads_and_means(case[0], tmp_path, case[1])
