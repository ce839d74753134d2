"""Convolutions have right gradients on this CPU, at every level of its instruction set."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from tests.conftest import ROOT
from trainables.network.memory_format import trusted_format, wrong_layers
from trainables.network.pose_net import PoseNet, StridedPointwise

NARROW = "4,5,7,8,16"
LEVELS = ("SSE41", "AVX2", "DEFAULT")  # DEFAULT is the best that the CPU has


class WrongInChannelsLast(nn.Conv2d):
    """A convolution whose gradients are off by a thousandth, by oneDNN in channels last."""

    formats = (torch.channels_last,)

    def forward(self, input):
        output = super().forward(input)
        is_wrong = any(input.is_contiguous(memory_format=wrong) for wrong in self.formats)
        if is_wrong and torch.backends.mkldnn.enabled:
            return output + 0.001 * (output - output.detach())
        return output


class WrongInBoth(WrongInChannelsLast):
    formats = (torch.channels_last, torch.contiguous_format)


def net_with(first_layer):
    net = PoseNet(5, 10, 4, 32, 16)
    net.backbone.conv1 = first_layer(3, 4, 7, 2, 3, bias=False)
    return net


def errors(level, sizes, depths, widths, threads):
    """Worst relative error and layer of each network, in a process with some instruction set."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.reference.double_gradients", sizes, depths, widths, threads],
        cwd=ROOT, capture_output=True, text=True, timeout=280,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": level},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_gradients_of_narrow_networks_are_right_here():
    found = errors("DEFAULT", "64", "10,50", "4,7", "1,2")
    assert len(found) == 12
    assert max(found.values())[0] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_gradients_are_right_at_every_instruction_set(level):
    assert max(errors(level, "64", "10,50", NARROW, "1").values())[0] < 1e-4


@pytest.mark.slow
def test_gradients_are_right_for_every_width():
    widths = ",".join(str(width) for width in range(4, 33))
    assert max(errors("DEFAULT", "32", "10,50", widths, "1").values())[0] < 1e-4


@pytest.mark.parametrize("side", [4, 5, 8])
@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3, 8])
def test_a_strided_pointwise_convolution_is_a_strided_convolution(channels, step, side):
    generator = torch.Generator().manual_seed(0)
    layer = StridedPointwise(channels, 2 * channels, step).double()
    plain = nn.Conv2d(channels, 2 * channels, 1, step, bias=False).double()
    plain.load_state_dict(layer.state_dict())
    inputs = torch.randn((2, channels, side, side), generator=generator, dtype=torch.float64)
    inputs.requires_grad_()
    got, right = layer(inputs), plain(inputs)
    assert torch.equal(got, right)
    assert torch.equal(
        torch.autograd.grad(got.square().sum(), inputs)[0],
        torch.autograd.grad(right.square().sum(), inputs)[0],
    )


def test_strides_tell_layers_apart_in_the_check():
    assert repr(StridedPointwise(4, 8, 1)) != repr(StridedPointwise(4, 8, 2))


def test_a_network_that_is_computed_rightly_is_trusted_in_channels_last():
    net = PoseNet(5, 10, 4, 32, 16)
    assert list(wrong_layers(net, (2, 3, 32, 32), torch.channels_last)) == []
    assert trusted_format(net, 32) is torch.channels_last
    assert torch.backends.mkldnn.enabled


def test_channels_last_is_left_out_where_a_layer_is_wrong_in_it():
    net = net_with(WrongInChannelsLast)
    (found,) = wrong_layers(net, (2, 3, 32, 32), torch.channels_last)
    assert "backbone.conv1" in found
    assert "1.0e-03" in found
    net.place(torch.device("cpu"))
    seen = []
    net.backbone.conv1.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    net(torch.zeros(2, 3, 32, 32).contiguous(memory_format=torch.channels_last))
    assert seen[0].is_contiguous()
    assert net.backbone.conv1.weight.is_contiguous()
    assert net.new_head()[0].weight.is_contiguous()


def test_a_layer_that_is_wrong_in_every_format_ends_the_training_with_its_name():
    with pytest.raises(RuntimeError, match=r"backbone\.conv1: WrongInBoth.*ONEDNN_MAX_CPU_ISA"):
        net_with(WrongInBoth).place(torch.device("cpu"))
