"""Pose network: shapes, torchvision's names, files of ImageNet weights."""

import pytest
import torch

from trainables.network.pose_net import PoseNet, ResNet, Upsampling

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def published_parameters(depth):
    """Names and shapes of He et al. (2016), Table 1, in torchvision's spelling, without fc."""
    shapes = {"conv1.weight": (64, 3, 7, 7)}

    def batch_norm(name, channels):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (channels,)

    batch_norm("bn1", 64)
    inputs = 64
    for stage, count in enumerate(BLOCKS[depth], start=1):
        planes = 64 * 2 ** (stage - 1)
        outputs = planes if depth == 18 else 4 * planes
        for block in range(count):
            name = f"layer{stage}.{block}"
            kernels = (
                [(planes, inputs, 3), (planes, planes, 3)]
                if depth == 18
                else [(planes, inputs, 1), (planes, planes, 3), (outputs, planes, 1)]
            )
            for i, (n_out, n_in, side) in enumerate(kernels, start=1):
                shapes[f"{name}.conv{i}.weight"] = (n_out, n_in, side, side)
                batch_norm(f"{name}.bn{i}", n_out)
            if inputs != outputs:
                shapes[f"{name}.downsample.0.weight"] = (outputs, inputs, 1, 1)
                batch_norm(f"{name}.downsample.1", outputs)
            inputs = outputs
    return shapes


@pytest.fixture
def make_backbone():
    def make(depth=18, seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return ResNet(depth, 4, use_max_pool=True)

    return make


def imagenet_file(tmp_path, state):
    path = tmp_path / "resnet.pth"
    torch.save({**state, "fc.weight": torch.zeros(10, 32), "fc.bias": torch.zeros(10)}, path)
    return path


@pytest.mark.parametrize(("image_size", "heatmap_size"), [(32, 16), (32, 8), (64, 32), (64, 16)])
@pytest.mark.parametrize("depth", [10, 18, 50])
def test_heatmaps_are_a_half_or_a_quarter_of_the_image(depth, image_size, heatmap_size):
    net = PoseNet(5, depth, 4, image_size, heatmap_size).eval()
    images = torch.zeros(2, 3, image_size, image_size)
    assert net.features(images).shape == (2, 8, heatmap_size, heatmap_size)
    assert net(images).shape == (2, 5, heatmap_size, heatmap_size)


@pytest.mark.parametrize(
    ("depth", "num_parameters"), [(18, 11_176_512), (50, 23_508_032), (101, 42_500_160)]
)
def test_the_backbone_has_the_parameters_of_torchvision(depth, num_parameters):
    with torch.device("meta"):
        backbone = ResNet(depth, 64, use_max_pool=True)
    shapes = {name: tuple(p.shape) for name, p in backbone.named_parameters()}
    assert shapes == published_parameters(depth)
    assert sum(p.numel() for p in backbone.parameters()) == num_parameters


@pytest.mark.parametrize("depth", [18, 50])
def test_each_stage_after_the_first_halves_the_resolution(depth):
    backbone = ResNet(depth, 4, use_max_pool=True).eval()
    expansion = 1 if depth == 18 else 4
    shapes = []
    for stage in range(1, 5):
        backbone.get_submodule(f"layer{stage}").register_forward_hook(
            lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:]))
        )
    backbone(torch.zeros(1, 3, 64, 64))
    assert shapes == [(4 * 2**i * expansion, 16 // 2**i, 16 // 2**i) for i in range(4)]


def test_the_stride_of_a_bottleneck_is_on_its_3x3_convolution():
    first = ResNet(50, 4, use_max_pool=True).layer2[0]
    assert [first.conv1.stride, first.conv2.stride, first.conv3.stride] == [(1, 1), (2, 2), (1, 1)]


def test_a_block_adds_its_input_to_its_branch(make_backbone):
    block = make_backbone().layer1[0].eval()
    torch.nn.init.zeros_(block.bn2.weight)  # the branch gives zero
    x = torch.tensor([-1.0, 0.0, 2.0, 5.0]).view(1, 4, 1, 1)
    assert block(x).flatten().tolist() == [0.0, 0.0, 2.0, 5.0]


def test_a_fresh_head_starts_at_a_nearly_flat_map(make_net):
    logits = make_net()(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert logits.abs().max() < 0.2


def test_imagenet_weights_load_and_the_classifier_is_ignored(tmp_path, make_backbone):
    saved, backbone = make_backbone(seed=1), make_backbone(seed=2)
    backbone.load_imagenet(imagenet_file(tmp_path, saved.state_dict()))
    for name, value in saved.state_dict().items():
        assert torch.equal(backbone.state_dict()[name], value), name


def test_files_older_than_the_batch_counter_load(tmp_path, make_backbone):
    saved, backbone = make_backbone(seed=1), make_backbone(seed=2)
    state = {k: v for k, v in saved.state_dict().items() if not k.endswith("num_batches_tracked")}
    backbone.load_imagenet(imagenet_file(tmp_path, state))
    assert torch.equal(backbone.conv1.weight, saved.conv1.weight)


def test_weights_that_lack_a_parameter_are_refused_by_name(tmp_path, make_backbone):
    state = make_backbone().state_dict()
    del state["layer3.0.conv2.weight"]
    with pytest.raises(ValueError, match=r"resnet\.pth.*layer3\.0\.conv2\.weight"):
        make_backbone().load_imagenet(imagenet_file(tmp_path, state))


def test_weights_of_another_shape_are_refused_by_name(tmp_path, make_backbone):
    state = make_backbone().state_dict()
    state["conv1.weight"] = torch.zeros(8, 3, 7, 7)
    with pytest.raises(ValueError, match=r"resnet\.pth.*conv1\.weight"):
        make_backbone().load_imagenet(imagenet_file(tmp_path, state))


def test_weights_of_another_depth_are_refused(tmp_path, make_backbone):
    path = imagenet_file(tmp_path, make_backbone(depth=18).state_dict())
    with pytest.raises(ValueError, match=r"resnet\.pth"):
        make_backbone(depth=10).load_imagenet(path)


@pytest.mark.parametrize(
    "content", [b"", b"<html>404</html>", b"PK\x03\x04 not a zip", b"\x80\x02.", bytes(300)]
)
def test_a_file_that_is_no_torch_file_is_refused_by_name(tmp_path, make_backbone, content):
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.pth"):
        make_backbone().load_imagenet(path)


def test_a_truncated_file_is_refused_by_name(tmp_path, make_backbone):
    path = imagenet_file(tmp_path, make_backbone().state_dict())
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"resnet\.pth"):
        make_backbone().load_imagenet(path)


def test_a_missing_file_is_refused_by_name(tmp_path, make_backbone):
    with pytest.raises(ValueError, match=r"absent\.pth"):
        make_backbone().load_imagenet(tmp_path / "absent.pth")


@pytest.mark.parametrize("value", [torch.zeros(3), [1, 2], {1: torch.zeros(3)}, {"conv1": 3}, {}])
def test_a_torch_file_without_named_weights_is_refused_by_name(tmp_path, make_backbone, value):
    path = tmp_path / "other.pth"
    torch.save(value, path)
    with pytest.raises(ValueError, match=r"other\.pth"):
        make_backbone().load_imagenet(path)


def test_the_references_network_has_a_linear_head_and_wider_deconvolutions():
    net = PoseNet(5, 18, 4, 32, 8, is_reference=True).eval()
    assert [type(layer).__name__ for layer in net.head] == ["Conv2d"]
    assert net.head[0].weight.shape == (5, 16, 1, 1)  # 256 for the ResNet of width 64
    assert net.head[0].weight.std() < 0.002
    assert net.head[0].bias.abs().max() == 0
    net.renew_head()
    assert [type(layer).__name__ for layer in net.head][-1] == "Conv2d"
    assert len(net.head) == 4
    assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 5, 8, 8)


def test_maps_in_bfloat16_are_float32_and_close():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = PoseNet(5, 10, 8, 32, 16).eval()
        images = torch.randn(2, 3, 32, 32)
    exact = net(images)
    net.accelerate(use_bfloat16=True, is_compiled=False)
    rounded = net(images)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).abs().max() < 0.05 * exact.abs().max()
    rounded.sum().backward()
    assert {p.grad.dtype for p in net.parameters()} == {torch.float32}


def test_a_frozen_copy_shares_nothing_and_learns_nothing():
    net = PoseNet(5, 10, 4, 32, 16)
    copy = net.frozen_copy()
    assert not any(p.requires_grad for p in copy.parameters())
    assert all(p.requires_grad for p in net.parameters())
    with torch.no_grad():
        net.head[0].weight.add_(1)
    assert not torch.equal(net.head[0].weight, copy.head[0].weight)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::")  # PyTorch's own, while compiling
def test_a_compiled_network_computes_the_same_and_saves_the_same_names():
    net = PoseNet(5, 10, 4, 32, 16).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    names, exact = list(net.state_dict()), net(images)
    net.accelerate(use_bfloat16=False, is_compiled=True)
    torch.testing.assert_close(net(images), exact, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(net.frozen_copy()(images), exact, rtol=1e-3, atol=1e-4)
    assert list(net.state_dict()) == names


def test_finer_features_are_added_where_their_resolution_is_reached():
    upsampling = Upsampling((2, 3, 3, 3), channels=1).eval()
    for parameter in upsampling.parameters():
        torch.nn.init.constant_(parameter, 0.0)
    for norm in upsampling.norms:  # eps aside, a fresh norm in evaluation mode changes nothing
        torch.nn.init.ones_(norm.weight)
    torch.nn.init.ones_(upsampling.lateral[1].weight)
    # In the middle of the last map each pixel gets four terms of the map before it.
    torch.nn.init.ones_(upsampling.deconvolutions[2].weight)
    features = [torch.full((1, c, s, s), 1.0) for c, s in [(2, 1), (3, 2), (3, 4), (3, 8)]]
    found = upsampling(features)
    assert found.shape == (1, 1, 8, 8)
    assert found[0, 0, 4, 4].item() == pytest.approx(3 * 4, rel=1e-3)
    torch.nn.init.ones_(upsampling.lateral[2].weight)
    assert upsampling(features)[0, 0, 4, 4].item() == pytest.approx(3 * 4 + 3, rel=1e-3)
    torch.nn.init.zeros_(upsampling.lateral[1].weight)
    torch.nn.init.constant_(upsampling.lateral[0].weight, 7.0)  # the next deconvolution is 0
    assert upsampling(features)[0, 0, 4, 4].item() == pytest.approx(3, rel=1e-3)
