"""Largest relative error of the layers of networks on this CPU, beside float64.

    python -m tests.reference.double_gradients SIZES DEPTHS WIDTHS THREADS

Each argument is a comma-separated list; SIZES are sides of the images in pixels. Every convolution
of a pose network, and of a style network of the same width, runs alone in channels last, on
random input of the shape it gets inside the network, and its output and gradients are compared
with those of the same layer in float64 and contiguous memory. Layers that are alike run once.
Prints one JSON object. It is a process of its own because a wrong kernel may end it.
"""

import copy
import json
import math
import sys
from itertools import product

import torch
from torch import nn

from trainables.network.pose_net import PoseNet
from trainables.style.style_net import StyleNet, small_plan

NUM_IMAGES = 4


def convolutions(net, image_size):
    """(name, layer, input) of every convolution of a network, with random inputs."""
    found = []
    hooks = [
        layer.register_forward_hook(
            lambda layer, inputs, _, name=name: found.append((name, layer, inputs[0].shape))
        )
        for name, layer in net.named_modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]
    with torch.no_grad():
        net(torch.zeros(NUM_IMAGES, 3, image_size, image_size))
    for hook in hooks:
        hook.remove()
    return [(name, layer, torch.randn(shape)) for name, layer, shape in found]


def products(layer, inputs, memory_format):
    """Output of a layer, gradients of its input and of its parameters."""
    layer = copy.deepcopy(layer).to(memory_format=memory_format)
    inputs = inputs.clone(memory_format=memory_format).requires_grad_()
    output = layer(inputs)
    towards = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).sin().view(output.shape)
    output.backward(towards.contiguous(memory_format=memory_format))
    return [output.detach(), inputs.grad, *(parameter.grad for parameter in layer.parameters())]


def worst_error(net, image_size, known):
    """(error, layer) that is furthest from float64, of the layers that are not known yet."""
    worst = (0.0, "")
    for name, layer, inputs in convolutions(net, image_size):
        if (repr(layer), inputs.shape) in known:
            continue
        known.add((repr(layer), inputs.shape))
        got = products(layer, inputs, torch.channels_last)
        right = products(copy.deepcopy(layer).double(), inputs.double(), torch.contiguous_format)
        for value, exact in zip(got, right, strict=True):
            error = float((value.double() - exact).norm() / exact.norm().clamp_min(1e-30))
            worst = max(worst, (math.inf if math.isnan(error) else error, name))
    return worst


def main(sizes, depths, widths, threads):
    """Print the worst error of each network."""
    torch.manual_seed(0)
    found = {}
    known = {num_threads: set() for num_threads in threads}
    for num_threads, width, size in product(threads, widths, sizes):
        torch.set_num_threads(num_threads)
        nets = {f"depth {d}": PoseNet(16, d, width, size, size // 2) for d in depths}
        style = StyleNet(small_plan(width))
        style.initialise(torch.Generator().manual_seed(0))
        for name, net in {**nets, "style": style}.items():
            found[f"{name}, {size} px, width {width}, threads {num_threads}"] = worst_error(
                net, size, known[num_threads]
            )
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*([int(value) for value in argument.split(",")] for argument in sys.argv[1:]))
