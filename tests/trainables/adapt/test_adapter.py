"""What every adapter keeps to, the batch types and the learning rate."""

import copy
import dataclasses

import pytest
import torch

from trainables.adapt.adapter import LearningRate, SourceBatch, TargetBatch
from trainables.adapt.regda import RegDA, RegDAWeights
from trainables.adapt.source_only import SourceOnly
from trainables.adapt.udape import UDAPE, UDAPESettings

METHODS = ["source_only", "regda", "udape"]


IMAGE_SIZE = 32
SETTINGS = UDAPESettings(
    ema_decay=0.9, consistency=1.0, keep=0.5, per_joint=False, occlusion=0.5,
    occlusion_confidence=0.0,
)  # fmt: skip


@pytest.fixture
def make_adapter(make_net):
    """An adapter of a method; the seed decides the network and further heads."""

    def make(method, seed=0, peak=3e-3, total_steps=60, first_step=0):
        net, learning_rate = make_net(seed), LearningRate(peak, total_steps)
        if method == "source_only":
            return SourceOnly(net, learning_rate, first_step)
        if method == "udape":
            generator = torch.Generator().manual_seed(seed + 2)
            return UDAPE(net, SETTINGS, IMAGE_SIZE, learning_rate, generator, first_step)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            weights = RegDAWeights(margin=4.0, tradeoff=1.0, gradient_scale=1.0)
            return RegDA(net, weights, learning_rate, first_step)

    return make


@pytest.fixture
def train(make_source, make_target):
    """Steps on different batches, told apart by their seeds."""

    def run(adapter, seeds):
        return [adapter.step(make_source(seed), make_target(100 + seed)) for seed in seeds]

    return run


def assert_same(first, second, path=""):
    """Two nested states are equal bit for bit."""
    assert type(first) is type(second), path
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), path
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), path
        for key in first:
            assert_same(first[key], second[key], f"{path}/{key}")
    elif isinstance(first, list | tuple):
        for i, (a, b) in enumerate(zip(first, second, strict=True)):
            assert_same(a, b, f"{path}/{i}")
    else:
        assert first == second, path


def test_a_target_batch_has_views_of_images_and_no_label():
    names = [field.name for field in dataclasses.fields(TargetBatch)]
    assert names == ["images", "teacher_images", "teacher_to_student"]
    assert not issubclass(TargetBatch, SourceBatch)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_weights(method, make_adapter, train):
    first, second, other = (make_adapter(method, seed) for seed in (0, 0, 1))
    for adapter in (first, second, other):
        train(adapter, range(3))
    assert_same(first.state_dict(), second.state_dict())
    assert not torch.equal(first.net.head[0].weight, other.net.head[0].weight)


@pytest.mark.parametrize("method", METHODS)
def test_training_continues_from_a_saved_state_bit_for_bit(method, make_adapter, train, tmp_path):
    whole, first_half = make_adapter(method), make_adapter(method)
    train(first_half, range(3))
    torch.save(first_half.state_dict(), tmp_path / "state.pt")
    second_half = make_adapter(method, seed=1, first_step=9)  # the state overrules both
    second_half.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    losses = train(whole, range(6))
    assert_same(train(second_half, range(3, 6)), losses[3:])
    assert_same(second_half.state_dict(), whole.state_dict())


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_falls_on_a_batch_seen_again_and_again(
    method, make_adapter, make_source, make_target
):
    adapter = make_adapter(method, peak=1e-2)
    losses = [adapter.step(make_source(), make_target())["source_kl"] for _ in range(60)]
    assert losses[0] > 3  # ln 256 less the entropy of the Gaussians: a flat map
    assert losses[-1] < losses[0] / 3


@pytest.mark.parametrize("method", METHODS)
def test_losses_are_detached_scalars(method, make_adapter, train):
    (losses,) = train(make_adapter(method), [0])
    assert "source_kl" in losses
    for loss in losses.values():
        assert loss.shape == ()
        assert not loss.requires_grad


@pytest.mark.parametrize("method", METHODS)
def test_training_starts_from_evaluation_mode_too(method, make_adapter, train):
    adapter, other = make_adapter(method), make_adapter(method)
    adapter.net.eval()
    assert_same(train(adapter, [0]), train(other, [0]))


@pytest.mark.parametrize("method", ["source_only", "regda"])
@pytest.mark.parametrize(
    ("first_step", "lr"),
    [
        (0, 0.001),  # first of 30 steps of warm-up to 0.03
        (20, 0.01575),  # 0.03 * 21/30 * (1 + cos(pi/3)) / 2
        (40, 0.0075),  # 0.03 * (1 + cos(2 pi/3)) / 2
    ],
)
def test_the_first_step_is_as_long_as_the_schedule_says(
    method, first_step, lr, make_adapter, train
):
    adapter = make_adapter(method, peak=0.03, first_step=first_step)
    before = copy.deepcopy(adapter.net.head[3].weight.detach())
    train(adapter, [0])
    # AdamW's first step is the learning rate times the sign of the gradient, decay aside.
    moved = (adapter.net.head[3].weight.detach() - before * (1 - 0.01 * lr)).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, lr), rtol=1e-3, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_each_step_follows_the_schedule_one_further(method, make_adapter, train):
    adapter, other = make_adapter(method, first_step=7), make_adapter(method, first_step=9)
    train(adapter, [0, 1])
    train(other, [0])
    assert adapter.state_dict()["step"] == other.state_dict()["step"] - 1 == 9


def test_each_method_asks_for_what_it_reads():
    needs = [(m.needs_target, m.needs_teacher_view) for m in (SourceOnly, RegDA, UDAPE)]
    assert needs == [(False, False), (True, False), (True, True)]


def test_source_only_does_not_read_the_target_batch(make_adapter, make_source, make_target):
    first, second = make_adapter("source_only"), make_adapter("source_only")
    first.step(make_source(), None)
    second.step(make_source(), make_target())
    assert_same(first.state_dict(), second.state_dict())


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 1 / 30),  # warm-up 1/30, cosine 1
        (20, 0.525),  # 21/30 * (1 + cos(pi/3)) / 2 = 0.7 * 0.75
        (30, 0.5),  # warm-up over, (1 + cos(pi/2)) / 2
        (40, 0.25),
        (45, 0.1464466),  # (1 + cos(3 pi/4)) / 2
        (60, 0.0),
        (90, 0.0),  # beyond the end it stays at zero
    ],
)
def test_the_learning_rate_warms_up_and_follows_half_a_cosine(step, expected):
    assert LearningRate(1.0, 60).at(step) == pytest.approx(expected, abs=1e-7)
    assert LearningRate(0.02, 60).at(step) == pytest.approx(0.02 * expected, abs=1e-7)


def test_the_last_warm_up_step_has_the_full_rate_of_the_cosine():
    rate = LearningRate(1.0, 3000)
    assert rate.at(29) == pytest.approx(0.99976945, abs=1e-7)  # (1 + cos(29 pi/3000)) / 2
    assert rate.at(28) == pytest.approx(29 / 30, abs=1e-3)
