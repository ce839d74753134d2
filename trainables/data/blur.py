"""A Gaussian blur of its own width for each image of a batch."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad


def gaussian_blur(images: Tensor, sigma_px: Tensor, radius: int) -> Tensor:
    """Blur images, with their edges repeated outwards.

    Args:
        images: (B, C, H, W).
        sigma_px: (B,) standard deviation of each image's blur in pixels, >= 0.
        radius: Pixels on each side that a pixel is averaged over, at least three times the
            largest sigma. It is not computed from ``sigma_px``, since a GPU would have to be
            waited for.
    """
    batch, channels, height, width = images.shape
    offset = torch.arange(-radius, radius + 1, device=images.device)
    line = torch.exp(-0.5 * (offset / sigma_px.clamp_min(1e-3).unsqueeze(1)).square())
    line = (line / line.sum(1, keepdim=True)).repeat_interleave(channels, 0)  # (B*C, taps)
    flat = images.reshape(1, batch * channels, height, width)
    along_rows, along_columns = (radius, radius, 0, 0), (0, 0, radius, radius)
    for kernel, around in (
        (line[:, None, None], along_rows),
        (line[:, None, :, None], along_columns),
    ):
        flat = pad(flat, around, mode="replicate")
        flat = conv2d(flat, kernel, groups=batch * channels)
    return flat.view(batch, channels, height, width)
