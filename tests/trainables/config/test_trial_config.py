"""The configuration of a trial: field paths, round trip, rules between fields.

Ranges of single fields are in test_config_ranges.py, parity in test_reference_recipe.py.
"""

import ast
import dataclasses
import inspect
import json
import subprocess
import sys
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.config import TrialConfig, coerce, trial_fields
from trainables.config import trial_config as config
from trainables.config.method_options import RegDAOptions

# A value other than the default for every field, all valid together.
OTHER = {
    "data.source": "coco",
    "data.target": "lspet",
    "data.source_root": "somewhere",
    "data.target_root": "data/lspet",
    "data.source_crop": "person",
    "data.target_crop": "person",
    "data.crop_scale": 1.25,
    "data.people_sport.backgrounds": "data/photographs",
    "data.people_sport.poses": "data/poses.npy",
    "data.people_sport.target_backgrounds": True,
    "data.lsp.split": "reference",
    "data.surreal.joints": "smpl_native",
    "data.surreal.split": "reference",
    "data.human36m.split": "reference",
    "data.rhd.split": "reference",
    "data.coco.joints": "left_elbow=l_elb, right_elbow=r_elb",
    "data.coco.hidden_visible": True,
    "data.coco.skeleton": "body16",
    "data.coco_hand.joints": "wrist=palm",
    "data.coco_hand.hidden_visible": True,
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
    "sampling.trim": 0.01,
    "sampling.phase": "adapt",
    "curriculum.order": "hard_to_easy",
    "curriculum.mode": "window",
    "curriculum.window": 0.2,
    "curriculum.pacing": "root",
    "curriculum.start_fraction": 0.1,
    "curriculum.full_at": 0.9,
    "adapt.method": "source_only",
    "adapt.pretrain_epochs": 2,
    "adapt.epochs": 3,
    "adapt.steps_per_epoch": 10,
    "adapt.batch_size": 8,
    "adapt.lr": 0.02,
    "adapt.flip": 0.0,
    "adapt.loss": "mse",
    "adapt.precision": "float32",
    "adapt.regda.margin": 2.0,
    "adapt.regda.tradeoff": 0.5,
    "adapt.regda.gradient_scale": 0.1,
    "adapt.udape.ema_decay": 0.9,
    "adapt.udape.consistency": 2.0,
    "adapt.udape.keep": 0.25,
    "adapt.udape.mask": "joint",
    "adapt.udape.occlusion": 0.1,
    "adapt.udape.occlusion_confidence": 0.9,
    "adapt.udape.labels": "warp",
    "adapt.udape.style_source": 0.25,
    "adapt.udape.style_target": 0.75,
    "adapt.udape.style_alpha": 0.8,
    "net.depth": 18,
    "net.width": 64,
    "net.weights": "resnet18.pth",
    "net.compile": True,
    "style.encoder": "vgg19.pth",
    "style.width": 32,
    "style.encoder_steps": 0,
    "style.steps": 100,
    "style.batch_size": 16,
    "style.style_weight": 1.0,
    "evaluation.bin_count": 4,
    "parity": True,
    "seed": 11,
}
# The same for the fields that exclude some of the above.
OTHER_BACKBONE = {
    **OTHER,
    "adapt.flip": 0.5,
    "data.heatmap_size": 16,
    "data.image_size": 64,
    "net.backbone": "efficientnet_lite0",
    "net.depth": 10,
    "net.frozen_blocks": 3,
    "net.backbone_lr_factor": 0.3,
    "parity": False,
}


LITE = {"net.backbone": "efficientnet_lite0", "data.heatmap_size": 16}


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
    assert set(OTHER_BACKBONE) == set(trial_fields())
    for path, default in TrialConfig().to_flat().items():
        assert any(path in table and table[path] != default for table in (OTHER, OTHER_BACKBONE))


def test_the_defaults_are_a_valid_trial():
    assert TrialConfig.from_flat({}) == TrialConfig()


@pytest.mark.parametrize("table", [OTHER, OTHER_BACKBONE], ids=["resnet", "efficientnet_lite0"])
def test_every_field_survives_the_round_trip(table):
    trial = TrialConfig.from_flat(table)
    assert trial.to_flat() == TrialConfig().to_flat() | table
    assert TrialConfig.from_flat(trial.to_flat()) == trial
    assert TrialConfig.from_flat(TrialConfig().to_flat()) == TrialConfig()


def test_a_flat_trial_survives_json():
    flat = TrialConfig.from_flat(OTHER).to_flat()
    assert json.loads(json.dumps(flat)) == flat


def test_fields_that_are_left_out_keep_their_default():
    trial = TrialConfig.from_flat({"adapt.regda.margin": 1})
    assert trial.options(RegDAOptions).margin == 1.0
    assert trial.options(RegDAOptions).tradeoff == RegDAOptions().tradeoff
    assert dataclasses.replace(trial, registered=TrialConfig().registered) == TrialConfig()


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
    ("values", "message"),
    [
        (
            {"data.image_size": 256},
            r"^data.heatmap_size must be a half or a quarter of data.image_size \(256\), got 32$",
        ),
        (
            {"data.source": "lsp"},
            "^data.source_root must name the folder of the lsp data set, got null$",
        ),
        (
            {"data.target": "lspet", "data.source_root": "x"},
            "^data.target_root must name the folder of the lspet data set, got null$",
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
            {**LITE, "net.depth": 18},
            "^net.depth must be 10, its default, for efficientnet_lite0, which has one depth, "
            "got 18$",
        ),
        (
            {"net.frozen_blocks": 2},
            "^net.frozen_blocks must be 0 for net.backbone resnet, got 2$",
        ),
        (
            {**LITE, "data.heatmap_size": 32},
            r"^data.heatmap_size must be a quarter of data.image_size \(64\) for "
            "efficientnet_lite0, got 32$",
        ),
        (
            {**LITE, "parity": True},
            "^net.backbone must be resnet with parity, got 'efficientnet_lite0'$",
        ),
        (
            {"net.backbone_lr_factor": 0.3, "parity": True},
            "^net.backbone_lr_factor must be 1.0 with parity, got 0.3$",
        ),
        (
            {"sampling.strategy": "bins"},
            "^bins.subset must list the bins to train on when sampling.strategy is 'bins', "
            "got null$",
        ),
        (
            {"sampling.strategy": "bins", "bins.subset": [4, 5], "sampling.trim": 0.34},
            r"^bins.subset must be bins of which sampling.trim \(0.34\) leaves samples, "
            r"got \[4, 5\]$",
        ),
        (
            {"sampling.strategy": "hardest", "sampling.phase": "adapt", "adapt.epochs": 0},
            "^sampling.phase must be a phase with epochs, got 'adapt' with adapt.epochs = 0$",
        ),
        (
            {
                "sampling.strategy": "bins",
                "bins.subset": [0],
                "sampling.phase": "pretrain",
                "adapt.pretrain_epochs": 0,
            },
            "^sampling.phase must be a phase with epochs, got 'pretrain' with "
            "adapt.pretrain_epochs = 0$",
        ),
        (
            {"adapt.method": "oracle", "sampling.strategy": "random"},
            "^sampling.strategy must be 'all' for the oracle, which draws target samples, "
            "got 'random'$",
        ),
        (
            {"adapt.method": "oracle", "sampling.trim": 0.01},
            "^sampling.trim must be 0 for the oracle, which draws target samples, got 0.01$",
        ),
        (
            {"adapt.method": "regda", "adapt.loss": "mse"},
            "^adapt.loss must be kl for RegDA, whose disparities compare distributions, "
            "got 'mse'$",
        ),
        (
            {"parity": True, "adapt.method": "regda", "adapt.loss": "mse"},
            "^adapt.loss must be kl for RegDA, .*, got 'mse'$",
        ),
        (
            {"data.source": "hands_clean", "data.target": "hands_wild", "adapt.flip": 0.5},
            "^adapt.flip must be 0 for hand21, which has no left and right joints, got 0.5$",
        ),
        ({"parity": True, "adapt.flip": 0.5}, "^adapt.flip must be 0 with parity, got 0.5$"),
        (
            {"parity": True, "adapt.method": "udape", "adapt.loss": "kl"},
            "^adapt.loss must be mse for UDAPE's recipe, got 'kl'$",
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
    "values",
    [
        # A third of the samples trimmed is bins 4 and 5 of six; a little less leaves some of 4.
        {"sampling.strategy": "bins", "bins.subset": [4, 5], "sampling.trim": 0.33},
        {"sampling.strategy": "bins", "bins.subset": [0, 5], "sampling.trim": 0.5},
        # Where a strategy is not read or has epochs elsewhere, a phase without any is allowed.
        {"sampling.strategy": "all", "sampling.phase": "adapt", "adapt.epochs": 0},
        {"sampling.strategy": "hardest", "sampling.phase": "both", "adapt.epochs": 0},
        {"sampling.strategy": "hardest", "sampling.phase": "adapt", "adapt.pretrain_epochs": 0},
        {"bins.subset": [5], "sampling.trim": 0.5},
        {**LITE, "net.width": 32, "net.weights": "lite0.pth", "net.frozen_blocks": 16},
        {"net.backbone_lr_factor": 0.3},
        *(
            {"adapt.method": method, "adapt.loss": loss}
            for method in ("source_only", "oracle", "udape")
            for loss in ("kl", "mse")
        ),
    ],
)
def test_fields_that_fit_together_are_taken(values):
    flat = TrialConfig.from_flat(values).to_flat()
    assert {path: flat[path] for path in values} == values


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
        ("sampling.trim", 0, 0.0),
        ("parity", True, True),
        ("net.compile", False, False),
        ("style.encoder", None, None),
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
    "net.backbone": "data.heatmap_size",
}

PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.lists(st.integers(0, 9), max_size=3), st.dictionaries(st.text(max_size=2), st.integers()),
)  # fmt: skip


@given(path=st.sampled_from(sorted(trial_fields())), value=PLAIN)
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
