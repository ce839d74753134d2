"""What every adapter keeps to, the batch types and the learning rate."""

import copy
import dataclasses

import pytest
import torch

from tests.same_state import assert_same
from trainables.adapt.adapter import SourceBatch, TargetBatch
from trainables.adapt.optimisers import default_recipe
from trainables.adapt.regda import RegDA, RegDAWeights
from trainables.adapt.source_only import SourceOnly
from trainables.adapt.udape import UDAPE, UDAPESettings

VARIANTS = {
    "udape": ("kl", "coord"),
    "udape_mse": ("mse", "coord"),
    "udape_warp": ("kl", "warp"),
    "udape_mse_warp": ("mse", "warp"),
}
METHODS = ["source_only", "source_only_mse", "regda", *VARIANTS]


IMAGE_SIZE = 32
SETTINGS = UDAPESettings(
    loss="kl", labels="coord", image_size=IMAGE_SIZE, ema_decay=0.9, consistency=1.0, keep=0.5,
    per_joint=False, occlusion=0.5, occlusion_confidence=0.0,
)  # fmt: skip


@pytest.fixture
def make_adapter(make_net):
    """An adapter of a method; the seed decides the network and further heads."""

    def make(method, seed=0, peak=3e-3, total_steps=60, first_step=0):
        net, recipe = make_net(seed), default_recipe(peak, total_steps)
        if method.startswith("source_only"):
            loss = "mse" if method.endswith("mse") else "kl"
            adapter = SourceOnly(net, loss, recipe)
            adapter.load_state_dict({**adapter.state_dict(), "step": first_step})
            return adapter
        if method.startswith("udape"):
            loss, labels = VARIANTS[method]
            settings = dataclasses.replace(SETTINGS, loss=loss, labels=labels)
            generator = torch.Generator().manual_seed(seed + 2)
            return UDAPE(net, settings, recipe, None, generator, first_step)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            weights = RegDAWeights(4.0, 1.0, gradient_scale=1.0, ramp_steps=100.0)
            return RegDA(net, weights, recipe, first_step)

    return make


@pytest.fixture
def train(make_source, make_target):
    """Steps on different batches, told apart by their seeds."""

    def run(adapter, seeds):
        return [adapter.step(make_source(seed), make_target(100 + seed)) for seed in seeds]

    return run


def supervised(losses):
    """The loss on the labelled batch."""
    (value,) = (v for name, v in losses.items() if name in ("source_kl", "source_mse"))
    return value


def test_a_target_batch_has_views_of_images_and_no_label():
    names = [field.name for field in dataclasses.fields(TargetBatch)]
    assert names == ["images", "rows", "view", "teacher_images", "teacher_view"]
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
    losses = [supervised(adapter.step(make_source(), make_target())) for _ in range(60)]
    # KL: ln 256 less the entropy of the Gaussians: a flat map. MSE: half the energy of the maps.
    assert losses[0] > (3 if "mse" not in method else 0.001)
    # A fresh teacher's labels for mse hold the student back.
    assert losses[-1] < losses[0] / (1.3 if method.startswith("udape_mse") else 3)


@pytest.mark.parametrize("method", METHODS)
def test_losses_are_detached_scalars(method, make_adapter, train):
    (losses,) = train(make_adapter(method), [0])
    assert supervised(losses) > 0
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


@pytest.mark.parametrize("method", METHODS)
def test_auxiliary_logits_have_the_shape_of_maps_and_change_nothing(
    method, make_adapter, train, make_target
):
    adapter = make_adapter(method)
    train(adapter, [0])
    before = copy.deepcopy(adapter.state_dict())
    logits = adapter.auxiliary_logits(make_target().images)
    assert_same(adapter.state_dict(), before)
    if method.startswith("source_only"):
        assert logits is None
    else:
        adapter.net.eval()
        assert logits.shape == (4, 3, 16, 16)
        assert not torch.equal(logits, adapter.net(make_target().images))


@pytest.mark.parametrize("method", METHODS)
def test_a_joint_outside_the_frame_never_makes_a_loss_that_is_not_finite(
    method, make_adapter, make_source, make_target
):
    adapter = make_adapter(method)
    source, target = make_source(), make_target()
    source.maps[0], source.weights[0] = 0.0, 0.0  # nothing of the first image is in the frame
    far = torch.tensor([[1.0, 0.0, 500.0], [0.0, 1.0, -500.0]])
    target.view[1], target.teacher_view[2] = far, far  # views without any of the stored image
    for _ in range(3):
        losses = adapter.step(source, target)
        assert torch.stack(list(losses.values())).isfinite().all()
    for name, value in adapter.net.state_dict().items():
        assert value.isfinite().all(), name
