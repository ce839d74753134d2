"""AdaIN, the encoders and the decoder of style transfer, their files."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainables.style.style_net import (
    VGG19_PLAN,
    Encoder,
    StyleNet,
    adain,
    channel_statistics,
    load_style_net,
    save_style_net,
    small_plan,
)

VGG19_SHAPES = {
    0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256),
    14: (256, 256), 16: (256, 256), 19: (512, 256),
}  # fmt: skip
"""Convolutions of torchvision's vgg19().features up to relu4_1: outputs, inputs."""


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make_net(seed=0, width=4):
    net = StyleNet(small_plan(width))
    net.initialise(generator(seed))
    return net


@pytest.fixture(scope="module")
def vgg19_state():
    draws = generator(7)
    state = {"classifier.0.weight": torch.zeros(2, 2), "features.34.bias": torch.zeros(512)}
    for index, (outputs, inputs) in VGG19_SHAPES.items():
        weight = torch.randn((outputs, inputs, 3, 3), generator=draws)
        state[f"features.{index}.weight"] = weight * (2 / (9 * inputs)) ** 0.5
        state[f"features.{index}.bias"] = 0.1 * torch.randn(outputs, generator=draws)
    return state


@pytest.fixture
def vgg19_file(tmp_path):
    def write(state):
        path = tmp_path / "vgg19.pth"
        torch.save(state, path)
        return path

    return write


def test_statistics_of_channels_are_those_of_each_image():
    features = torch.tensor([[[[1.0, 3.0], [1.0, 3.0]], [[0.0, 0.0], [0.0, 8.0]]]])
    mean, std = channel_statistics(features)
    assert mean.flatten().tolist() == [2.0, 2.0]
    # Variances 1 and (3 * 2^2 + 6^2) / 4 = 12.
    torch.testing.assert_close(std.flatten(), torch.tensor([1.0, 12**0.5]), rtol=1e-5, atol=0)


def test_weighted_statistics_are_those_of_the_cells_that_count():
    features = torch.tensor([[[[1.0, 3.0, 100.0], [5.0, 7.0, -50.0]]]])
    weight = torch.tensor([[[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]]])
    mean, std = channel_statistics(features, weight)
    assert mean.item() == 4.0
    assert std.item() == pytest.approx(5**0.5, rel=1e-5)
    # A cell that counts half: mean (1 + 3 + 5 + 3.5) / 3.5.
    weight[0, 0, 1, 1] = 0.5
    assert channel_statistics(features, weight)[0].item() == pytest.approx(12.5 / 3.5)


def test_statistics_of_an_image_that_shows_nothing_are_finite():
    mean, std = channel_statistics(torch.ones(1, 2, 3, 3), torch.zeros(1, 1, 3, 3))
    assert mean.flatten().tolist() == [0.0, 0.0]
    assert std.isfinite().all()


def test_statistics_of_bfloat16_features_are_computed_in_float32():
    features = 100 + torch.rand((1, 1, 32, 32), generator=generator()).round()
    _, std = channel_statistics(features.bfloat16())  # 100 and 101 are exact in bfloat16
    assert std.dtype == torch.float32
    assert std.item() == pytest.approx(0.5, rel=1e-2)


@given(st.integers(0, 1000))
def test_adain_gives_the_mean_and_deviation_asked_for(seed):
    draws = generator(seed)
    content = 3 * torch.randn((2, 3, 4, 4), generator=draws) + 1
    mean = torch.randn((2, 3, 1, 1), generator=draws)
    std = 0.1 + torch.rand((2, 3, 1, 1), generator=draws)
    weight = (torch.arange(16) % 4 < 3).float().view(1, 1, 4, 4).expand(2, 1, 4, 4)
    transferred = adain(content, mean, std, weight)
    inner = transferred[..., :3]
    torch.testing.assert_close(inner.mean((2, 3), keepdim=True), mean, rtol=0, atol=1e-4)
    own = inner.std((2, 3), keepdim=True, correction=0)
    torch.testing.assert_close(own, std, rtol=1e-3, atol=1e-3)


def test_adain_towards_the_own_statistics_changes_nothing():
    content = torch.randn((2, 3, 4, 4), generator=generator())
    torch.testing.assert_close(adain(content, *channel_statistics(content)), content)


def test_levels_have_the_documented_channels_and_sides():
    levels = make_net(width=4).encoder(torch.zeros(1, 3, 32, 32))
    assert [tuple(level.shape[1:]) for level in levels] == [
        (4, 32, 32),
        (8, 16, 16),
        (16, 16, 16),
        (16, 16, 16),
    ]
    levels = StyleNet(VGG19_PLAN).encoder(torch.zeros(1, 3, 16, 16))
    assert [tuple(level.shape[1:]) for level in levels] == [
        (64, 16, 16),
        (128, 8, 8),
        (256, 4, 4),
        (512, 2, 2),
    ]


@pytest.mark.parametrize(("plan", "factor"), [(small_plan(4), 2), (VGG19_PLAN, 8)])
def test_the_decoder_undoes_the_pooling(plan, factor):
    net = StyleNet(plan)
    net.initialise(generator())
    images = torch.randn((1, 3, 16, 16), generator=generator())
    features = net.encoder(images)[-1]
    assert features.shape[2:] == (16 // factor, 16 // factor)
    assert net.decode(features).shape == images.shape


def test_after_calibration_every_level_has_mean_square_one():
    encoder = make_net().encoder
    images = 5 * torch.randn((4, 3, 16, 16), generator=generator())
    for _ in range(2):  # the old scales have no part in the new ones
        encoder.calibrate(images)
        for level in encoder(images):
            assert level.square().mean().item() == pytest.approx(1, rel=1e-4)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator():
    before = torch.get_rng_state()
    nets = [make_net(seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    first, again, other = (net.encoder.levels[3][0].weight for net in nets)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_vgg19_computes_what_torchvisions_layers_compute(vgg19_file, vgg19_state):
    encoder = Encoder(VGG19_PLAN)
    encoder.load_vgg19(vgg19_file(vgg19_state))
    images = torch.randn((1, 3, 32, 32), generator=generator())
    # The published configuration "E" up to its ninth convolution, with reflection padding.
    x, taps = images, []
    for index in range(21):
        if index in VGG19_SHAPES:
            x = nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
            weight, bias = (vgg19_state[f"features.{index}.{k}"] for k in ("weight", "bias"))
            x = nn.functional.conv2d(x, weight, bias)
        elif index in {4, 9, 18}:
            x = nn.functional.max_pool2d(x, 2)
        else:
            x = x.relu()
        if index in {1, 6, 11, 20}:
            taps.append(x)
    for level, expected in zip(encoder(images), taps, strict=True):
        torch.testing.assert_close(level, expected, rtol=1e-4, atol=1e-4)


def test_vgg19_that_lacks_a_parameter_is_refused_by_name(vgg19_file, vgg19_state):
    state = {k: v for k, v in vgg19_state.items() if k != "features.12.bias"}
    with pytest.raises(ValueError, match=r"vgg19\.pth.*features\.12\.bias is missing"):
        Encoder(VGG19_PLAN).load_vgg19(vgg19_file(state))


def test_vgg19_of_another_shape_is_refused_by_name(vgg19_file, vgg19_state):
    state = vgg19_state | {"features.5.weight": torch.zeros(64, 64, 3, 3)}
    expected = r"features\.5\.weight must be \(128, 64, 3, 3\), got \(64, 64, 3, 3\)"
    with pytest.raises(ValueError, match=r"vgg19\.pth.*" + expected):
        Encoder(VGG19_PLAN).load_vgg19(vgg19_file(state))


@pytest.mark.parametrize("value", [torch.zeros(3), [1, 2], {1: torch.zeros(3)}, {}])
def test_a_file_without_named_weights_is_refused_by_name(vgg19_file, value):
    with pytest.raises(ValueError, match=r"vgg19\.pth"):
        Encoder(VGG19_PLAN).load_vgg19(vgg19_file(value))


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x80\x02."])
def test_a_file_that_is_no_torch_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.pth is not a readable file"):
        Encoder(VGG19_PLAN).load_vgg19(path)


def test_vgg16_is_refused(vgg19_file, vgg19_state):
    # Its third block has three convolutions: a pooling where VGG-19 has its eighth layer.
    state = {k: v for k, v in vgg19_state.items() if not k.startswith("features.16.")}
    with pytest.raises(ValueError, match=r"features\.16\.weight is missing"):
        Encoder(VGG19_PLAN).load_vgg19(vgg19_file(state))


def test_a_saved_network_computes_the_same_and_is_frozen(tmp_path):
    net = make_net()
    images = torch.randn((2, 3, 16, 16), generator=generator())
    net.encoder.calibrate(images)
    save_style_net(tmp_path / "net.pt", net)
    before = torch.get_rng_state()
    loaded = load_style_net(tmp_path / "net.pt")
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert not loaded.training
    features = net.encoder(images)[-1]
    assert torch.equal(loaded.encoder(images)[-1], features)
    assert torch.equal(loaded.decode(features), net.decode(features))
