"""A run's seeds and checkpoints: the same again, and on from where it was."""

import dataclasses

import pytest
import torch

from tests.repeatable_metrics import repeatable
from tests.trainables.adapt.tiny_run import (
    LITE,
    METHODS,
    RECIPES,
    finish,
    make_config,
    make_run,
)
from trainables.adapt.methods import build_net
from trainables.checkpoint import load_state, save_states


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_seed_gives_the_same_metrics_whatever_the_global_generator(recipe, domains):
    config = make_config(**RECIPES[recipe])
    before = torch.get_rng_state()
    try:
        torch.manual_seed(1)
        start = torch.get_rng_state()
        first = finish(make_run(config, domains))
        assert torch.equal(torch.get_rng_state(), start), "it is not moved either"
        torch.manual_seed(2)
        assert finish(make_run(config, domains)) == first
    finally:
        torch.set_rng_state(before)
    other = finish(make_run(dataclasses.replace(config, seed=1), domains))
    (loss,) = (name for name in first[0] if name.startswith("train/source_"))
    assert first[0][loss] != other[0][loss]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_continues_from_any_checkpoint_bit_for_bit(recipe, domains, tmp_path):
    strategy = {} if recipe == "oracle" else {"sampling.strategy": "curriculum"}
    config = make_config(**RECIPES[recipe], **strategy)
    assert_continues(config, (1, 2, 3), domains, tmp_path)


@pytest.mark.parametrize("method", METHODS)
def test_the_other_backbone_continues_too_and_its_frozen_blocks_never_move(
    method, domains, tmp_path
):
    config = make_config(**LITE, adapt__method=method)
    net = assert_continues(config, (3,), domains, tmp_path)
    frozen = ("_conv_stem.", "_bn0.", *(f"_blocks.{i}." for i in range(3)))
    for name, value in build_net(config, 16).backbone.state_dict().items():
        assert torch.equal(net.backbone.state_dict()[name], value) == name.startswith(frozen), name


def assert_continues(config, checkpoints, domains, tmp_path):
    """Resume a run from checkpoints after some epochs; returns the network after its last."""
    run = make_run(config, domains)
    epochs = {}
    while not run.is_done:
        metrics = run.run_epoch()
        epochs[run.epoch] = repeatable(metrics)
        (tmp_path / str(run.epoch)).mkdir()
        save_states(tmp_path / str(run.epoch), {"last": run.state_dict(), "best": run.best})
    for epoch in checkpoints:
        resumed = make_run(config, domains, net_seed=7)
        resumed.load_state_dict(load_state(tmp_path / str(epoch)))
        resumed.best = load_state(tmp_path / str(epoch), "best")
        assert resumed.epoch == epoch
        assert finish(resumed) == [epochs[later] for later in epochs if later > epoch]
        for name, value in run.net.state_dict().items():
            assert torch.equal(resumed.net.state_dict()[name], value), name
        assert resumed.best["epoch"] == run.best["epoch"]
        for name, value in run.best["net"].items():
            assert torch.equal(resumed.best["net"][name], value), name
    return run.net


def test_a_network_is_built_from_the_seed_alone():
    config = make_config()
    first, second = build_net(config, 16), build_net(config, 16)
    other = build_net(dataclasses.replace(config, seed=1), 16)
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(first.backbone.conv1.weight, other.backbone.conv1.weight)


def test_the_best_network_is_that_of_the_label_free_choice(domains, monkeypatch):
    run = make_run(make_config(), domains)
    equivariance = iter([40.0, 70.0, 60.0, 50.0])

    def validators(*_):
        names = ("source_pck", "infomax", "plausibility")
        return {f"validator/{name}": 1.0 for name in names} | {
            "validator/equivariance": next(equivariance)
        }

    monkeypatch.setattr(run._judge.validation, "metrics", validators)
    networks = []
    while not run.is_done:
        metrics = run.run_epoch()
        networks.append({name: v.clone() for name, v in run.net.state_dict().items()})
    assert run.best["epoch"] == 2
    for name, value in run.best["net"].items():
        assert torch.equal(value, networks[1][name]), name
    assert [metrics[f"chosen_epoch/{way}"] for way in ("kept", "default", "last")] == [2, 2, 4]
    assert metrics["chosen_pck_05/last"] == metrics["target_val/pck_05"]


def test_a_run_that_adapts_cannot_return_to_pretraining(domains):
    config = make_config(adapt__method="udape")
    run = make_run(config, domains)
    early = run.state_dict()
    finish(run)
    with pytest.raises(ValueError, match="adapts.*pre-training"):
        run.load_state_dict(early)
