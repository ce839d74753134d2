"""The memory format of networks: channels last if this machine computes it correctly.

Channels last is faster, but a library's kernel for one shape may be wrong on one kind of CPU.
With few input channels, oneDNN's backward pass of a 1x1 convolution of stride 2 writes past its
workspace (oneDNN issue 6035, in PyTorch 2.13): wrong gradients or a dead process.
:class:`trainables.network.pose_net.StridedPointwise` avoids that case. The check here catches
unknown ones: before a network trains, each of its layers is compared with plain kernels.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)

TOLERANCE = 1e-4
"""Largest relative error (norm of the difference to norm) of an output or a gradient. Correct
kernels stayed below 4e-6, wrong ones were off by 0.1 to 1e6."""
CHECKED_IMAGES = 4
"""Batch size of the check, which takes about 0.2 s for the default network."""
_checked: dict[tuple[str, tuple[int, ...], int], torch.memory_format] = {}


def in_format(module: M, device: torch.device, memory_format: torch.memory_format) -> M:
    """Move a module to a device, the weights of its convolutions in a format; returns it."""
    moved = module.to(device, memory_format=memory_format)  # type: ignore[call-overload]
    return cast(M, moved)  # PyTorch's annotations lack the memory format


def trusted_format(net: nn.Module, image_size: int) -> torch.memory_format:
    """Choose the format in which a network computes correct float32 gradients on this CPU.

    A process checks networks of equal structure once.

    Args:
        net: On the CPU, in float32.
        image_size: Side in pixels of its square input images.

    Returns:
        ``torch.channels_last`` or, if some layer is wrong in it, ``torch.contiguous_format``.

    Raises:
        RuntimeError: If a layer is wrong in both; names the layer and what may help.
    """
    shape = (CHECKED_IMAGES, 3, image_size, image_size)
    key = (repr(net), shape, torch.get_num_threads())
    if key not in _checked:
        _checked[key] = _first_right_format(net, shape)
    return _checked[key]


def _first_right_format(net: nn.Module, shape: tuple[int, ...]) -> torch.memory_format:
    wrong = ""
    for memory_format in (torch.channels_last, torch.contiguous_format):
        wrong = next(wrong_layers(net, shape, memory_format), "")
        if not wrong:
            return memory_format
    raise RuntimeError(
        f"PyTorch computes wrong gradients on this CPU for {wrong}; another version of PyTorch "
        "or ONEDNN_MAX_CPU_ISA=SSE41 in the environment may help"
    )


def wrong_layers(
    net: nn.Module, image_shape: tuple[int, ...], memory_format: torch.memory_format
) -> Iterator[str]:
    """Describe each layer whose output or gradients are wrong in a format.

    Each layer runs alone, on random input of the shape that it gets inside the network; of
    identical layers only one runs. The reference is the same layer without oneDNN, in contiguous
    memory.

    Args:
        net: On the CPU, in float32.
        image_shape: (B, C, H, W) of the network's input.
        memory_format: The format to check.
    """
    seen = set()
    for name, layer, shape in _layers(net, image_shape):
        alike = (repr(layer), shape)
        if alike not in seen:
            seen.add(alike)
            error = relative_error(layer, shape, memory_format)
            if not error < TOLERANCE:  # NaN is wrong too
                yield f"{name}: {layer} with input {shape}, relative error {error:.1e}"


def _layers(
    net: nn.Module, image_shape: tuple[int, ...]
) -> list[tuple[str, nn.Module, tuple[int, ...]]]:
    """Name, layer and input shape of every call of a module without children."""
    net = copy.deepcopy(net).eval()
    calls: list[tuple[str, nn.Module, tuple[int, ...]]] = []

    def record(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Any], None]:
        return lambda layer, inputs, _: calls.append((name, layer, tuple(inputs[0].shape)))

    for name, module in net.named_modules():
        if not list(module.children()):
            module.register_forward_hook(record(name))
    with torch.no_grad(), _plain_kernels():
        net(torch.zeros(image_shape))
    return calls


def relative_error(
    layer: nn.Module, shape: tuple[int, ...], memory_format: torch.memory_format
) -> float:
    """Largest relative error among a layer's output and its input and parameter gradients.

    Args:
        layer: On the CPU, in float32.
        shape: Of its input.
        memory_format: Of its input, its weights and the gradient of its output.
    """
    values = _output_and_gradients(layer, shape, memory_format)
    with _plain_kernels():
        plain = _output_and_gradients(layer, shape, torch.contiguous_format)
    errors = [
        (value - right).norm() / right.norm().clamp_min(1e-30)
        for value, right in zip(values, plain, strict=True)
    ]
    return float(torch.stack(errors).max())  # NaN if one is


def _output_and_gradients(
    layer: nn.Module, shape: tuple[int, ...], memory_format: torch.memory_format
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    layer = in_format(copy.deepcopy(layer), torch.device("cpu"), memory_format)
    layer.requires_grad_(True)
    inputs = torch.randn(shape, generator=generator)
    inputs = inputs.contiguous(memory_format=memory_format).requires_grad_(True)
    output = layer(inputs.clone())  # a layer may work in place
    gradient = torch.randn(output.shape, generator=generator)
    output.backward(gradient.contiguous(memory_format=memory_format))
    gradients = [tensor.grad for tensor in (inputs, *layer.parameters())]
    return [output.detach(), *(g for g in gradients if g is not None)]


@contextmanager
def _plain_kernels() -> Iterator[None]:
    was_enabled = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = was_enabled
