"""Batch statistics and gradients over several processes, so that they train like one.

Everything here is the identity, or PyTorch's own layer, unless ``torch.distributed`` is
initialised. PyTorch's own classes do not fit: ``SyncBatchNorm`` refuses CPU tensors, and
``DistributedDataParallel`` allows one backward pass per forward pass, whereas RegDA makes three
with different parameters.
"""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn


def num_processes() -> int:
    """Number of processes of this trial; 1 outside a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over all processes, in the gradient too."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Differentiable sum over all processes; each passes a tensor of the same shape."""
    return cast(Tensor, _SumOverProcesses.apply(tensor))  # type: ignore[no-untyped-call]


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the batch of all processes, which hold equal parts of it.

    Attributes:
        is_local: Whether to use this process's part only, as when one process evaluates.
    """

    is_local = False

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to the same; statistics in float32."""
        world = num_processes()
        if world == 1 or self.is_local or not self.training:
            return super().forward(input)
        x = input.float()
        count = world * x.numel() // x.shape[1]
        mean = sum_over_processes(x.sum((0, 2, 3))) / count
        centred = x - mean.view(1, -1, 1, 1)
        var = sum_over_processes(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (count / (count - 1)), self.momentum)
        scale = self.weight * torch.rsqrt(var + self.eps)
        out = centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return out.to(input.dtype)


def average_gradients(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Replace the gradients of an optimiser's parameters by their mean over all processes.

    It runs as a step pre-hook, so no method has to know how many processes there are. All
    parameters travel in one message; every process leaves out the same ones without a gradient.
    """
    gradients = [
        parameter.grad
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None
    ]
    if num_processes() == 1 or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= num_processes()
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def mean_over_processes(tensor: Tensor) -> Tensor:
    """Mean of a tensor over all processes, without a gradient."""
    if num_processes() == 1:
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total / num_processes()


def gather(part: Tensor) -> Tensor:
    """The whole batch (B, ...) from the equal parts of all processes, without a gradient."""
    world = num_processes()
    if world == 1:
        return part
    parts = [torch.empty_like(part) for _ in range(world)]
    dist.all_gather(parts, part.contiguous())
    return torch.cat(parts)


def own_part(whole: Tensor) -> Tensor:
    """This process's part (B / world, ...) of a batch from :func:`gather`."""
    world = num_processes()
    if world == 1:
        return whole
    return whole.chunk(world)[dist.get_rank()]
