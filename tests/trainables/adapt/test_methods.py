"""What ``parity: true`` builds: each piece of the references' recipes, by its published value."""

import math

import pytest
import torch

from tests.trainables.conftest import HEATMAP_SIZE, IMAGE_SIZE
from trainables.adapt.methods import (
    adaptation_adapter,
    augment_ranges,
    build_net,
    pretraining_adapter,
)
from trainables.config import TrialConfig
from trainables.data.augment import AugmentRanges
from trainables.data.skeleton import BODY16, HAND21
from trainables.distributed.shard import WHOLE

SMALL = {
    "data.image_size": IMAGE_SIZE,
    "data.heatmap_size": HEATMAP_SIZE,
    "net.width": 4,
    "parity": True,
}


def make_config(method, **fields):
    named = {name.replace("__", "."): value for name, value in fields.items()}
    return TrialConfig.from_flat(SMALL | {"adapt.method": method} | named)


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def pretrained(config, steps=0, source=None):
    net = build_net(config, 3)
    adapter = pretraining_adapter(config, net, None)
    for _ in range(steps):
        adapter.step(source)
    return adapter


@pytest.fixture
def source(make_source):
    return make_source()


@pytest.fixture
def target(make_target):
    return make_target()


@pytest.mark.parametrize("method", ["source_only", "regda", "udape"])
def test_pretraining_has_a_linear_head_that_starts_small(method):
    net = build_net(make_config(method), 3)
    (layer,) = net.head
    assert layer.weight.shape == (3, 16, 1, 1)
    assert layer.weight.std().item() == pytest.approx(1e-3, rel=0.35)
    assert layer.bias.abs().max() == 0
    assert net.upsampling.deconvolutions[0].weight.std().item() == pytest.approx(1e-3, rel=0.05)


def test_regda_pretrains_with_sgd_and_drops_at_44_and_59(source):
    config = make_config("regda")
    adapter = pretrained(config, 1, source)
    assert isinstance(adapter.optimizer, torch.optim.SGD)
    assert adapter.optimizer.defaults["nesterov"]
    for epoch, drop in ((0, 1), (43, 1), (44, 0.1), (58, 0.1), (59, 0.01)):
        adapter.load_state_dict({**adapter.state_dict(), "step": 500 * epoch})
        assert set(adapter.step(source)) == {"source_kl"}
        assert rates(adapter.optimizer) == pytest.approx([0.01 * drop, 0.1 * drop, 0.1 * drop])


def test_regda_adapts_with_two_fresh_deep_heads_and_its_own_schedule(source, target):
    config = make_config("regda")
    before = pretrained(config, 2, source)
    trunk = [p.clone() for p in before.net.backbone.parameters()]
    adapter = adaptation_adapter(config, before, None, WHOLE)
    assert [len(head) for head in (adapter.net.head, adapter.adversarial_head)] == [4, 4]
    for head in (adapter.net.head, adapter.adversarial_head):
        assert head[0].weight.std().item() == pytest.approx(1e-3, rel=0.05)
    assert not torch.equal(adapter.net.head[0].weight, adapter.adversarial_head[0].weight)
    for old, new in zip(trunk, adapter.net.backbone.parameters(), strict=True):
        assert torch.equal(old, new)
    for step in (0, 1000, 15_000):
        adapter.load_state_dict({**adapter.state_dict(), "step": step, "first_step": 0})
        adapter.step(source, target)
        factor = 0.1 * (1 + 1e-4 * step) ** -0.75
        optimizers = adapter._optimizers
        assert rates(optimizers["f"]) == pytest.approx([0.1 * factor] * 2)
        assert rates(optimizers["h"]) + rates(optimizers["h_adv"]) == pytest.approx([factor] * 2)
        momenta = {id(state["momentum_buffer"]) for state in optimizers["f"].state.values()}
        assert len(momenta) == len(list(adapter._f))  # one buffer for steps A and C


def test_regdas_gradient_factor_grows_to_a_tenth(source, target, monkeypatch):
    factors = []
    adapter = adaptation_adapter(
        make_config("regda"), pretrained(make_config("regda"), 1, source), None, WHOLE
    )

    def recorded(features, factor):
        factors.append(factor)
        return features

    monkeypatch.setattr("trainables.adapt.regda.scale_gradient", recorded)
    for step in (0, 100, 1000):
        adapter.load_state_dict({**adapter.state_dict(), "step": step, "first_step": 0})
        adapter.step(source, target)
    expected = [0.1 * math.tanh(step / 2000) for step in (0, 100, 1000)]
    assert factors[::2] == pytest.approx(expected, abs=1e-9)


def test_udape_trains_both_phases_with_one_adam_and_drops_over_both(source, target):
    config = make_config("udape")
    before = pretrained(config, 3, source)
    assert type(before.optimizer) is torch.optim.Adam
    adapter = adaptation_adapter(config, before, None, WHOLE)
    moments = [state["exp_avg"].clone() for state in before.optimizer.state.values()]
    for state, moment in zip(adapter.optimizer.state.values(), moments, strict=True):
        assert state["step"] == 3
        assert torch.equal(state["exp_avg"], moment)
    for epoch, drop in ((40, 1), (43, 1), (44, 0.1), (59, 0.01), (69, 0.01)):
        adapter.load_state_dict({**adapter.state_dict(), "step": 500 * epoch})
        assert set(adapter.step(source, target)) == {"source_mse", "consistency", "confidence"}
        assert rates(adapter.optimizer) == pytest.approx([1e-4 * drop] * 3)


def test_udapes_teacher_starts_as_the_student_and_moves_a_thousandth(source, target):
    config = make_config("udape")
    adapter = adaptation_adapter(config, pretrained(config, 1, source), None, WHOLE)
    first = [p.clone() for p in adapter.net.parameters()]
    adapter.step(source, target)
    for teacher, student, start in zip(
        adapter.net.parameters(), adapter._student.parameters(), first, strict=True
    ):
        torch.testing.assert_close(teacher, 0.999 * start + 0.001 * student)


def test_the_source_only_baseline_uses_adam_and_mse_or_regdas_recipe(source):
    mse = pretrained(make_config("source_only"), 1, source)
    assert type(mse.optimizer) is torch.optim.Adam
    assert rates(mse.optimizer) == pytest.approx([1e-3] * 3)
    kl = pretrained(make_config("source_only", adapt__loss="kl"), 1, source)
    assert isinstance(kl.optimizer, torch.optim.SGD)


def test_the_references_augmentations_are_drawn():
    regda = augment_ranges(make_config("regda"), BODY16)
    assert (regda.rotation_deg, regda.min_area, regda.colour, regda.affine) == (
        30,
        0.6,
        0.25,
        None,
    )
    assert regda.blur_px == pytest.approx(0.8 * IMAGE_SIZE / 256)
    udape = augment_ranges(make_config("udape"), BODY16)
    assert (udape.rotation_deg, udape.min_area, udape.blur_px) == (0, 0.6, 0)
    affine = udape.affine
    assert (affine.rotation_deg, affine.shear_deg, affine.translation) == (60, 30, 0.05)
    assert affine.scale == (0.6, 1.3)
    assert augment_ranges(make_config("regda"), HAND21).rotation_deg == 180
    assert augment_ranges(make_config("udape"), HAND21).affine.rotation_deg == 180


@pytest.mark.parametrize("method", ["source_only", "regda", "udape"])
def test_without_parity_all_methods_share_augmentation_head_and_optimiser(method, source):
    config = make_config(method, parity=False)
    assert augment_ranges(config, BODY16) == AugmentRanges()
    adapter = pretrained(config, 1, source)
    assert len(adapter.net.head) == 4
    assert isinstance(adapter.optimizer, torch.optim.AdamW)
    assert rates(adapter.optimizer) == pytest.approx([3e-3 / 30] * 3)  # first of 30 steps
