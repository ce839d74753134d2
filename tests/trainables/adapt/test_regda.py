"""RegDA: the three updates, the gradient between the heads, agreement with the obvious step."""

import math

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from tests.reference.regda_three_forward import ThreeForwardRegDA
from trainables.adapt.optimisers import default_recipe
from trainables.adapt.regda import (
    RegDA,
    RegDAWeights,
    gradient_factor,
    ramp_steps,
    scale_gradient,
)


@pytest.fixture
def make_regda(make_net):
    """RegDA, or a class with its arguments, on a network of seed 0."""

    def make(cls=RegDA, gradient_scale=1.0, margin=4.0, tradeoff=1.0, total_steps=60, ramp=100.0):
        net = make_net(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            weights = RegDAWeights(margin, tradeoff, gradient_scale, ramp)
            return cls(net, weights, default_recipe(1e-2, total_steps), first_step=10)

    return make


def copies(adapter):
    """Parameters of f, h and h'."""
    net = adapter.net
    parts = {
        "f": [*net.backbone.parameters(), *net.upsampling.parameters()],
        "h": net.head.parameters(),
        "h_adv": adapter.adversarial_head.parameters(),
    }
    return {name: [p.detach().clone() for p in part] for name, part in parts.items()}


def changed(before, after):
    return {
        name
        for name in before
        if not all(torch.equal(a, b) for a, b in zip(before[name], after[name], strict=True))
    }


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.0), (100, 0.004996), (500, 0.024492), (1000, 0.046212), (3000, 0.090515), (1e5, 0.1)],
)
def test_the_gradient_factor_grows_from_zero_to_a_tenth(step, expected):
    assert gradient_factor(step) == pytest.approx(expected, abs=1e-6)


def test_the_gradient_factor_is_a_hyperbolic_tangent():
    # 2 h / (1 + exp(-x)) - h = h tanh(x / 2)
    for step in (0, 7, 40, 300):
        expected = 0.7 * math.tanh(step / 50 / 2)
        assert gradient_factor(step, high=0.7, ramp=50) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("factor", [0.0, 0.25, 1.0])
def test_scaling_keeps_the_features_and_the_sign_of_their_gradient(factor):
    features = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    scaled = scale_gradient(features, factor)
    assert torch.equal(scaled, features)
    (scaled * torch.tensor([4.0, 8.0, -16.0])).sum().backward()
    assert features.grad.tolist() == [4 * factor, 8 * factor, -16 * factor]


@pytest.mark.parametrize("total_steps", [60, 6000])
def test_sharing_a_forward_pass_leaves_every_parameter_as_it_was(
    make_regda, make_source, make_target, total_steps
):
    shared = make_regda(total_steps=total_steps)
    obvious = make_regda(ThreeForwardRegDA, total_steps=total_steps)
    for seed in range(5):
        batches = make_source(seed), make_target(100 + seed)
        losses, expected = shared.step(*batches), obvious.step(*batches)
        assert losses == expected
        assert changed(copies(shared), copies(obvious)) == set()


def test_batch_norms_of_the_features_see_the_target_batch_once(
    make_regda, make_source, make_target
):
    adapter = make_regda()
    for _ in range(3):
        adapter.step(make_source(), make_target())
    assert adapter.net.backbone.bn1.num_batches_tracked == 6
    assert adapter.net.upsampling.norms[0].num_batches_tracked == 6
    assert adapter.net.head[1].num_batches_tracked == 6
    assert adapter.adversarial_head[1].num_batches_tracked == 9  # A, B and C


def test_a_trains_all_then_b_the_adversarial_head_then_c_the_features(
    make_regda, make_source, make_target
):
    adapter = make_regda()
    adapter.step(make_source(0), make_target())
    snapshots = [copies(adapter)]
    handle = register_optimizer_step_post_hook(lambda *_: snapshots.append(copies(adapter)))
    try:
        adapter.step(make_source(1), make_target())
    finally:
        handle.remove()
    *in_a, b, c = [changed(a, b) for a, b in zip(snapshots, snapshots[1:], strict=False)]
    assert sorted(in_a, key=str) == [{"f"}, {"h"}, {"h_adv"}]
    assert b == {"h_adv"}
    assert c == {"f"}


def test_target_images_reach_the_features_and_the_adversarial_head_but_not_the_main_head(
    make_regda, make_source, make_target
):
    first, second = make_regda(), make_regda()
    for adapter in (first, second):
        adapter.step(make_source(0), make_target(0))  # the gradient's warm start begins at zero
    first.step(make_source(1), make_target(1))
    second.step(make_source(1), make_target(2))
    assert changed(copies(first), copies(second)) == {"f", "h_adv"}


def test_without_a_gradient_from_the_adversarial_head_target_images_leave_the_features_alone(
    make_regda, make_source, make_target
):
    first, second = make_regda(gradient_scale=0.0), make_regda(gradient_scale=0.0)
    for step in range(4):
        first.step(make_source(step), make_target(10 + step))
        second.step(make_source(step), make_target(20 + step))
    assert changed(copies(first), copies(second)) == {"h_adv"}


def test_the_gradient_from_the_adversarial_head_starts_at_zero(
    make_regda, make_source, make_target
):
    first, second = make_regda(), make_regda()
    first.step(make_source(), make_target(1))
    second.step(make_source(), make_target(2))
    assert changed(copies(first), copies(second)) == {"h_adv"}


@pytest.mark.parametrize(
    ("num_steps", "expected"), [(50, 100), (1500, 100), (3000, 200), (15_000, 1000)]
)
def test_the_warm_start_takes_a_fifteenth_of_the_adaptation_or_a_hundred_steps(
    num_steps, expected
):
    assert ramp_steps(num_steps) == expected


def test_the_warm_start_begins_with_the_adaptation(
    make_regda, make_source, make_target, monkeypatch
):
    factors = []

    def recorded(features, factor):
        factors.append(factor)
        return scale_gradient(features, factor)

    monkeypatch.setattr("trainables.adapt.regda.scale_gradient", recorded)
    adapter = make_regda(gradient_scale=0.5, ramp=70.0)  # 10 steps came before
    for _ in range(3):
        adapter.step(make_source(), make_target())
    expected = [0.5 * math.tanh(step / 70 / 2) for step in (0, 1, 2)]
    assert sorted(set(factors)) == pytest.approx(expected, abs=1e-12)


def test_the_adversarial_head_learns_the_ground_false_on_target_images(
    make_regda, make_source, make_target
):
    adapter = make_regda(gradient_scale=0.0, margin=0.0, total_steps=200)
    losses = [adapter.step(make_source(), make_target()) for _ in range(30)]
    first, last = losses[0], losses[-1]
    assert last["false_disparity"] < first["false_disparity"] / 2
    assert last["target_disparity"] > last["false_disparity"]


def test_a_tradeoff_of_zero_leaves_source_training(make_regda, make_source, make_target):
    first, second = (make_regda(tradeoff=0.0, margin=margin) for margin in (0.0, 4.0))
    for step in range(3):
        first.step(make_source(step), make_target(10 + step))
        second.step(make_source(step), make_target(20 + step))
    assert changed(copies(first), copies(second)) == set()


def test_the_margin_weighs_the_source_disparity_alone(make_regda, make_source, make_target):
    heads = []
    for margin in (0.0, 4.0):
        adapter = make_regda(margin=margin, gradient_scale=0.0)
        adapter.step(make_source(), make_target())
        heads.append(copies(adapter))
    assert changed(*heads) == {"h_adv"}


def test_a_step_without_a_target_batch_is_refused(make_regda, make_source):
    with pytest.raises(ValueError, match="target batch"):
        make_regda().step(make_source(), None)
