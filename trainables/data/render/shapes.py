"""Batched drawing of simple things: shaded capsules over a background, noise.

All images of a batch are painted at once on the tensor's device. The coverage of a capsule is the
clipped signed distance of each pixel to it, which gives smooth edges without supersampling.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Capsules:
    """P capsules for each of B images, later ones in front of earlier ones.

    Attributes:
        start: (B, P, 2) pixel coordinates of one end; integers are pixel centres.
        end: (B, P, 2) the other end.
        radius: (B, P) in pixels.
        colour: (B, P, 3) in [0, 1].
        stripe: (B, P) contrast of stripes along the capsule, 0 for plain cloth.
    """

    start: Tensor
    end: Tensor
    radius: Tensor
    colour: Tensor
    stripe: Tensor


def paint(background: Tensor, capsules: Capsules, light: Tensor, ambient: Tensor) -> Tensor:
    """Draw capsules over backgrounds.

    Args:
        background: (B, 3, H, W) in [0, 1].
        capsules: What to draw.
        light: (B, 3) unit direction towards the light: x right, y down, z towards the viewer.
        ambient: (B,) share of the shading that does not depend on the light, in [0, 1].

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    height, width = background.shape[-2:]
    device = background.device
    y = torch.arange(height, device=device, dtype=torch.float32).view(1, height, 1)
    x = torch.arange(width, device=device, dtype=torch.float32).view(1, 1, width)
    image = background.clone()
    for part in range(capsules.radius.shape[1]):
        a, b = capsules.start[:, part], capsules.end[:, part]  # (B, 2)
        radius = capsules.radius[:, part].view(-1, 1, 1)
        axis = b - a
        length2 = (axis * axis).sum(1).clamp_min(1e-6).view(-1, 1, 1)
        dx, dy = x - a[:, 0].view(-1, 1, 1), y - a[:, 1].view(-1, 1, 1)
        ux, uy = axis[:, 0].view(-1, 1, 1), axis[:, 1].view(-1, 1, 1)
        along = ((dx * ux + dy * uy) / length2).clamp_(0, 1)
        nx, ny = dx - along * ux, dy - along * uy  # from the axis to the pixel
        distance = (nx * nx + ny * ny).sqrt()
        coverage = (radius - distance + 0.5).clamp_(0, 1).unsqueeze(1)
        # The surface normal of a round limb, for diffuse shading.
        nx, ny = nx / radius, ny / radius
        nz = (1 - nx * nx - ny * ny).clamp_min_(0).sqrt()
        lx, ly, lz = (light[:, i].view(-1, 1, 1) for i in range(3))
        diffuse = (nx * lx + ny * ly + nz * lz).clamp_min_(0)
        share = ambient.view(-1, 1, 1)
        shade = share + (1 - share) * diffuse
        waves = torch.sin(along * length2.sqrt() * (6.2832 / (1.2 * radius)))
        shade = shade * (1 + capsules.stripe[:, part].view(-1, 1, 1) * waves)
        colour = capsules.colour[:, part].view(-1, 3, 1, 1) * shade.unsqueeze(1)
        image = image + coverage * (colour - image)
    return image.clamp_(0, 1)


def covers(capsules: Capsules, points: Tensor) -> Tensor:
    """Which points (B, K, 2) in pixels lie under one of an image's capsules, (B, K) bool."""
    axis = (capsules.end - capsules.start)[:, None]  # (B, 1, P, 2)
    offset = points[:, :, None] - capsules.start[:, None]  # (B, K, P, 2)
    along = (offset * axis).sum(-1) / (axis * axis).sum(-1).clamp_min(1e-6)
    distance = (offset - along.clamp(0, 1)[..., None] * axis).norm(dim=-1)
    return torch.any(distance < capsules.radius[:, None], -1)


def smooth_noise(size: int, cells: int, num: int, generator: torch.Generator) -> Tensor:
    """Random colour fields of one spatial frequency.

    Args:
        size: Side of the fields in pixels.
        cells: Random values along a side; more is finer.
        num: Number of fields.
        generator: CPU generator.

    Returns:
        (num, 3, size, size) in [0, 1].
    """
    coarse = torch.rand((num, 3, cells, cells), generator=generator)
    return torch.nn.functional.interpolate(
        coarse, size=(size, size), mode="bilinear", align_corners=True
    )


def as_tensor(array: NDArray[np.floating]) -> Tensor:
    """A float32 copy on the CPU."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
