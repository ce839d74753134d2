"""The configuration of a trial: field paths, round trip, every rule and its message."""

import ast
import dataclasses
import inspect
import json
import math
import subprocess
import sys
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables import config
from trainables.config import FIELD_TYPES, TrialConfig, coerce

# A value other than the default for every field, all valid together.
OTHER = {
    "data.source": "people_wild",
    "data.target": "lspet",
    "data.source_root": "somewhere",
    "data.target_root": "data/lspet",
    "data.image_size": 128,
    "data.heatmap_size": 64,
    "data.num_source": 500,
    "data.num_target": 400,
    "vae.kl_weight": 0.5,
    "vae.latent_dim": 3,
    "vae.hidden_dim": 128,
    "vae.epochs": 7,
    "vae.norm": "root",
    "bins.count": 9,
    "bins.subset": [0, 8],
    "sampling.strategy": "bins",
    "sampling.keep": 0.5,
    "sampling.phase": "adapt",
    "curriculum.pacing": "root",
    "curriculum.start_fraction": 0.1,
    "curriculum.full_at": 0.9,
    "adapt.method": "source_only",
    "adapt.pretrain_epochs": 2,
    "adapt.epochs": 3,
    "adapt.steps_per_epoch": 10,
    "adapt.batch_size": 8,
    "adapt.lr": 0.02,
    "adapt.regda.margin": 2.0,
    "adapt.regda.tradeoff": 0.5,
    "adapt.regda.gradient_scale": 0.1,
    "adapt.udape.ema_decay": 0.9,
    "adapt.udape.consistency": 2.0,
    "adapt.udape.keep": 0.25,
    "adapt.udape.mask": "joint",
    "adapt.udape.occlusion": 0.1,
    "adapt.udape.occlusion_confidence": 0.9,
    "net.depth": 18,
    "net.width": 64,
    "net.weights": "resnet18.pth",
    "evaluation.bin_count": 4,
    "seed": 11,
}


def dataclasses_of(cls):
    """A config class and all nested ones."""
    yield cls
    for hint in typing.get_type_hints(cls).values():
        if dataclasses.is_dataclass(hint):
            yield from dataclasses_of(hint)


CLASSES = pytest.mark.parametrize(
    "cls", list(dataclasses_of(TrialConfig)), ids=lambda c: c.__name__
)


def test_the_table_of_this_test_names_every_field():
    assert set(OTHER) == set(FIELD_TYPES)
    defaults = TrialConfig().to_flat()
    assert all(OTHER[path] != defaults[path] for path in OTHER)


def test_the_defaults_are_a_valid_trial():
    assert TrialConfig.from_flat({}) == TrialConfig()


def test_every_field_survives_the_round_trip():
    trial = TrialConfig.from_flat(OTHER)
    assert trial.to_flat() == OTHER
    assert TrialConfig.from_flat(trial.to_flat()) == trial
    assert TrialConfig.from_flat(TrialConfig().to_flat()) == TrialConfig()


def test_a_flat_trial_survives_json():
    flat = TrialConfig.from_flat(OTHER).to_flat()
    assert json.loads(json.dumps(flat)) == flat


def test_fields_that_are_left_out_keep_their_default():
    trial = TrialConfig.from_flat({"adapt.regda.margin": 1})
    assert trial.adapt.regda.margin == 1.0
    assert trial.adapt.regda.tradeoff == TrialConfig().adapt.regda.tradeoff
    assert dataclasses.replace(trial, adapt=TrialConfig().adapt) == TrialConfig()


@CLASSES
def test_every_field_is_described(cls):
    # A text straight after each field, as a reader of the source would find it.
    body = ast.parse(inspect.getsource(cls)).body[0].body
    for field, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign):
            is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            assert is_text, f"{cls.__name__}.{field.target.id} is not described"
            assert len(following.value.value) > 3


@CLASSES
def test_configs_are_frozen(cls):
    instance = cls()
    name = dataclasses.fields(cls)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(instance, name, getattr(instance, name))


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        ("data.image_size", 48, "a multiple of 32 from 32 to 512, got 48"),
        ("data.image_size", 0, "a multiple of 32 from 32 to 512, got 0"),
        ("data.image_size", 544, "a multiple of 32 from 32 to 512, got 544"),
        ("data.heatmap_size", 24, r"a half or a quarter of data.image_size \(64\), got 24"),
        ("data.num_source", 49, "from 50 to 1000000, got 49"),
        ("data.num_target", 1_000_001, "from 50 to 1000000, got 1000001"),
        ("vae.kl_weight", 0, r"in \(0, 1000\], got 0.0"),
        ("vae.kl_weight", 1001, r"in \(0, 1000\], got 1001.0"),
        ("vae.latent_dim", 0, "from 1 to 256, got 0"),
        ("vae.latent_dim", 257, "from 1 to 256, got 257"),
        ("vae.hidden_dim", 7, "from 8 to 4096, got 7"),
        ("vae.hidden_dim", 4097, "from 8 to 4096, got 4097"),
        ("vae.epochs", 0, "from 1 to 10000, got 0"),
        ("vae.epochs", 10_001, "from 1 to 10000, got 10001"),
        ("bins.count", 1, "from 2 to 100, got 1"),
        ("bins.count", 101, "from 2 to 100, got 101"),
        ("bins.subset", [], r"at least one bin, got \(\)"),
        ("bins.subset", [6], r"different bins from 0 to 5, got \[6\]"),
        ("bins.subset", [-1, 0], r"different bins from 0 to 5, got \[-1, 0\]"),
        ("bins.subset", [2, 2], r"different bins from 0 to 5, got \[2, 2\]"),
        ("sampling.keep", 0, r"in \(0, 1\], got 0.0"),
        ("sampling.keep", 1.5, r"in \(0, 1\], got 1.5"),
        ("curriculum.start_fraction", 0, r"in \(0, 1\], got 0.0"),
        ("curriculum.start_fraction", 1.1, r"in \(0, 1\], got 1.1"),
        ("curriculum.full_at", 0, r"in \(0, 1\], got 0.0"),
        ("curriculum.full_at", 1.1, r"in \(0, 1\], got 1.1"),
        ("adapt.regda.margin", -1, ">= 0, got -1.0"),
        ("adapt.regda.tradeoff", -0.5, ">= 0, got -0.5"),
        ("adapt.regda.gradient_scale", -0.1, ">= 0, got -0.1"),
        ("adapt.pretrain_epochs", -1, ">= 0, got -1"),
        ("adapt.epochs", -1, ">= 0, got -1"),
        ("adapt.steps_per_epoch", 0, ">= 1, got 0"),
        ("adapt.batch_size", 1, "2 to 4096, got 1"),
        ("adapt.batch_size", 4097, "2 to 4096, got 4097"),
        ("adapt.lr", 0, r"in \(0, 10\], got 0.0"),
        ("adapt.lr", 10.5, r"in \(0, 10\], got 10.5"),
        ("net.width", 2, "from 4 to 256, got 2"),
        ("net.width", 257, "from 4 to 256, got 257"),
        ("evaluation.bin_count", 1, "2 to 100, got 1"),
        ("seed", -1, "from 0 to 2147483647, got -1"),
        ("seed", 2**31, "from 0 to 2147483647, got 2147483648"),
        # Types.
        ("data.source", "mpii", "one of people_clean, .*, lspet, got 'mpii'"),
        ("sampling.strategy", 3, "one of all, hardest, .*, got 3"),
        ("net.depth", 20, "one of 10, 18, 34, 50, 101, got 20"),
        ("net.depth", "18", "one of 10, 18, 34, 50, 101, got '18'"),
        ("vae.epochs", 2.5, "a whole number, got 2.5"),
        ("vae.epochs", True, "a whole number, got True"),
        ("vae.epochs", "3", "a whole number, got '3'"),
        ("vae.epochs", None, "a whole number, got None"),
        ("vae.kl_weight", "small", "a number, got 'small'"),
        ("vae.kl_weight", True, "a number, got True"),
        ("vae.kl_weight", math.nan, "finite, got nan"),
        ("adapt.regda.margin", math.inf, "finite, got inf"),
        ("adapt.regda.margin", -math.inf, "finite, got -inf"),
        pytest.param("adapt.lr", 10**400, "finite, got 10+", id="adapt.lr-huge"),
        ("data.source_root", 5, "a text, got 5"),
        ("bins.subset", 3, "a list of whole numbers, got 3"),
        ("bins.subset", [0.5], r"a list of whole numbers, got \[0.5\]"),
        ("bins.subset", "01", "a list of whole numbers, got '01'"),
        ("bins.subset", [True], r"a list of whole numbers, got \[True\]"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_names_field_rule_and_value(path, value, rule):
    with pytest.raises(ValueError, match=rf"^{path} must be {rule}$"):
        TrialConfig.from_flat({path: value})


@pytest.mark.parametrize(
    ("path", "low", "high"),
    [
        ("data.num_source", 50, 1_000_000),
        ("vae.kl_weight", 1e-12, 1000.0),
        ("vae.latent_dim", 1, 256),
        ("vae.hidden_dim", 8, 4096),
        ("vae.epochs", 1, 10_000),
        ("bins.count", 2, 100),
        ("sampling.keep", 1e-9, 1.0),
        ("curriculum.start_fraction", 1e-9, 1.0),
        ("curriculum.full_at", 1e-9, 1.0),
        ("adapt.regda.margin", 0.0, 100.0),
        ("adapt.batch_size", 2, 4096),
        ("adapt.lr", 1e-9, 10.0),
        ("net.width", 4, 256),
        ("evaluation.bin_count", 2, 100),
        ("seed", 0, 2**31 - 1),
    ],
)
def test_the_ends_of_a_range_are_allowed(path, low, high):
    for value in (low, high):
        assert TrialConfig.from_flat({path: value}).to_flat()[path] == value


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"data.image_size": 256},
            r"^data.heatmap_size must be a half or a quarter of data.image_size \(256\), got 32$",
        ),
        (
            {"data.source": "lsp"},
            "^data.source_root must name the folder of the lsp data set, got None$",
        ),
        (
            {"data.target": "lspet", "data.source_root": "x"},
            "^data.target_root must name the folder of the lspet data set, got None$",
        ),
        (
            {"adapt.pretrain_epochs": 0, "adapt.epochs": 0},
            r"^adapt.pretrain_epochs \+ adapt.epochs must be >= 1, got 0$",
        ),
        (
            {"net.weights": "a.pth", "net.width": 32},
            r"^net.width must be 64 to load net.weights \(a.pth\), got 32$",
        ),
        (
            {"sampling.strategy": "bins"},
            "^bins.subset must list the bins to train on when sampling.strategy is 'bins', "
            "got None$",
        ),
        ({"vae.lambda": 1}, "^vae.lambda is not a field of a trial$"),
        ({"vae": {}}, "^vae is not a field of a trial$"),
        ({"": 1}, "^ is not a field of a trial$"),
    ],
)
def test_fields_that_do_not_fit_together_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        TrialConfig.from_flat(values)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("vae.epochs", 3.0, 3),
        ("vae.kl_weight", 1, 1.0),
        ("bins.subset", [3, 1.0, 2], (1, 2, 3)),  # sorted: the order of bins means nothing
        ("bins.subset", (0,), (0,)),
        ("bins.subset", None, None),
        ("data.source_root", None, None),
        ("data.source_root", "x", "x"),
        ("net.depth", 50, 50),
        ("net.depth", 10.0, 10),
        ("sampling.phase", "adapt", "adapt"),
    ],
)
def test_values_become_the_type_of_their_field(path, value, expected):
    result = coerce(path, value)
    assert result == expected
    assert type(result) is type(expected)


# Fields whose value can be right by itself and wrong for another field.
NAMED_INSTEAD = {
    "data.image_size": "data.heatmap_size",
    "data.source": "data.source_root",
    "data.target": "data.target_root",
    "sampling.strategy": "bins.subset",
    "net.weights": "net.width",
}

PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.lists(st.integers(0, 9), max_size=3), st.dictionaries(st.text(max_size=2), st.integers()),
)  # fmt: skip


@given(path=st.sampled_from(sorted(FIELD_TYPES)), value=PLAIN)
def test_any_value_is_taken_or_refused_by_the_fields_name(path, value):
    try:
        trial = TrialConfig.from_flat({path: value})
    except ValueError as error:
        assert str(error).startswith((path, NAMED_INSTEAD.get(path, path)))
    else:
        assert TrialConfig.from_flat(trial.to_flat()) == trial


def test_reading_the_configuration_imports_neither_torch_nor_numpy():
    code = f"import sys, {config.__name__}; print(sorted({{'torch', 'numpy'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
