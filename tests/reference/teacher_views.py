"""Two views of an image and a teacher's maps of them, for tests and benchmarks."""

import math

import torch

from trainables.data.heatmaps import default_sigma, gaussian_heatmaps

IDENTITY = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])


def shift(x, y=0.0):
    """A view that is moved by so many pixels."""
    return IDENTITY + torch.tensor([[[0.0, 0.0, x], [0.0, 0.0, y]]])


def peaks(cells, size=16, height=20.0):
    """Maps (1, K, H, H) that are zero but for one whole cell (x, y) each."""
    maps = torch.zeros(1, len(cells), size, size)
    for k, (x, y) in enumerate(cells):
        maps[0, k, y, x] = height
    return maps


def random_views(num, image_size, seed, zoom=(0.6, 1.3), turn_deg=60.0, shear=0.5, slide=0.05):
    """UDAPE's warps about the centre: shear, scale, turn, slide."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand((num, 5), generator=generator)
    angle = (2 * u[:, 0] - 1) * math.radians(turn_deg)
    scale = zoom[0] + (zoom[1] - zoom[0]) * u[:, 1]
    cos, sin = angle.cos() * scale, angle.sin() * scale
    slant = (2 * u[:, 2] - 1) * shear
    linear = torch.stack(
        [torch.stack([cos, cos * slant - sin], 1), torch.stack([sin, sin * slant + cos], 1)], 1
    )
    centre = torch.full((num, 2), (image_size - 1) / 2)
    moved = centre + (2 * u[:, 3:] - 1) * slide * image_size
    offset = moved - (linear @ centre.unsqueeze(-1)).squeeze(-1)
    return torch.cat([linear, offset.unsqueeze(-1)], -1)


def random_maps(num, num_joints, size, seed, loss="mse"):
    """Noisy Gaussians of different heights, as a teacher would give them."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.rand((num, num_joints, 2), generator=generator) * size - 0.5
    heights = torch.rand((num, num_joints, 1, 1), generator=generator) * 1.2
    maps = heights * gaussian_heatmaps(cells, size, default_sigma(size))
    maps = maps + 0.02 * torch.randn(maps.shape, generator=generator)
    return maps * 12 if loss == "kl" else maps
