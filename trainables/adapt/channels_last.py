"""The memory format of networks and their images: channels last, as convolutions want it."""

from typing import TypeVar, cast

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def module_on(module: M, device: torch.device) -> M:
    """The module itself, moved to a device with its convolutions' weights in channels last."""
    moved = module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return cast(M, moved)  # PyTorch's annotations know no memory format


def channels_last(images: Tensor) -> Tensor:
    """(B, C, H, W) images in channels last, copied only if they are not."""
    return images.contiguous(memory_format=torch.channels_last)
