"""Everything around a figure: background, occluders and camera effects."""

import math

import numpy as np
import torch
from torch import Tensor

from trainables.data.blur import gaussian_blur
from trainables.data.render.look import Look
from trainables.data.render.shapes import (
    Capsules,
    as_tensor,
    covers,
    paint,
    smooth_noise,
)

CHUNK = 250
"""Images drawn from one random stream and painted as one batch."""
_OVERHEAD = torch.tensor([0.0, -0.6, 0.8]).expand(CHUNK, 3), torch.full((CHUNK,), 0.5)
"""Direction of the light on background shapes and the share that does not depend on it."""


def draw_backgrounds(
    look: Look, size: int, rng: np.random.Generator, generator: torch.Generator
) -> Tensor:
    """A chunk of backgrounds (CHUNK, 3, size, size) in [0, 1]."""
    image = smooth_noise(size, 2, CHUNK, generator) * 0.5 + 0.4
    if look.structures:
        image = _place(size, look.structures, rng) + (image - 0.65) * 0.2
    if look.texture > 0:
        for cells, weight in ((5, 0.9), (11, 0.7), (23, 0.5)):
            strength = as_tensor(rng.uniform(0, weight * look.texture, CHUNK)).view(-1, 1, 1, 1)
            grain = smooth_noise(size, cells, CHUNK, generator) - 0.5
            if look.structures:  # what is seen outdoors varies in light more than in hue
                grain = grain.mean(1, keepdim=True) + 0.3 * grain
            image = image + grain * strength
    image = image.clamp(0, 1)
    if look.clutter:
        image = paint(image, _limbs(size, look.clutter, look, rng), *_OVERHEAD)
    return image


_ABOVE = (
    (0.55, 0.72, 0.90), (0.85, 0.88, 0.92), (0.70, 0.67, 0.62), (0.35, 0.42, 0.30),
    (0.25, 0.24, 0.24), (0.62, 0.50, 0.42),
)  # fmt: skip
_BELOW = (
    (0.38, 0.52, 0.26), (0.55, 0.55, 0.54), (0.62, 0.52, 0.40), (0.80, 0.74, 0.60),
    (0.45, 0.32, 0.24), (0.30, 0.30, 0.32), (0.60, 0.35, 0.28),
)  # fmt: skip
"""Colours of skies, walls and trees, and of lawns, floors, sand and tracks."""


def _place(size: int, most: int, rng: np.random.Generator) -> Tensor:
    """Ground, horizon and up to ``most`` rectangles, (CHUNK, 3, size, size) in [0, 1]."""

    def colours(palette: tuple[tuple[float, float, float], ...], *shape: int) -> Tensor:
        base = np.array(palette)[rng.integers(0, len(palette), (CHUNK, *shape))]
        return as_tensor((base + rng.normal(0, 0.08, base.shape)).clip(0, 1))

    y = torch.arange(size).view(1, size, 1).float()
    x = torch.arange(size).view(1, 1, size).float()
    horizon = as_tensor(rng.uniform(0.2, 1.05, CHUNK) * size).view(-1, 1, 1)
    slope = as_tensor(rng.normal(0, 0.06, CHUNK)).view(-1, 1, 1)
    above, below = (colours(palette)[..., None, None] for palette in (_ABOVE, _BELOW))
    is_below = (y - horizon + slope * (x - size / 2) + 0.5).clamp(0, 1).unsqueeze(1)
    image = above + is_below * (below - above)
    centre = as_tensor(rng.uniform(0, size, (CHUNK, most, 2)))
    half = as_tensor(rng.uniform(0.02, 0.30, (CHUNK, most, 2)) * size)
    half[torch.from_numpy(np.arange(most) >= rng.integers(0, most + 1, CHUNK)[:, None])] = -1.0
    colour = colours(_ABOVE + _BELOW, most)
    for index in range(most):
        cx, cy, hx, hy = (
            part[:, index, axis].view(-1, 1, 1) for part in (centre, half) for axis in (0, 1)
        )
        inside = torch.minimum(hx - (x - cx).abs(), hy - (y - cy).abs())
        cover = (inside + 0.5).clamp(0, 1).unsqueeze(1)
        image = image + cover * (colour[:, index, :, None, None] - image)
    return image


def add_occluders(
    images: Tensor, keypoints_px: Tensor, look: Look, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Paint limb-like shapes over a chunk of images.

    Args:
        images: (CHUNK, 3, S, S) in [0, 1].
        keypoints_px: (CHUNK, K, 2).
        look: The domain's look.
        rng: Source of all randomness.

    Returns:
        The images and (CHUNK, K) bool, the keypoints that lie behind a shape.
    """
    if not look.occluders:
        return images, torch.zeros(keypoints_px.shape[:2], dtype=torch.bool)
    shapes = _limbs(images.shape[-1], look.occluders, look, rng)
    return paint(images, shapes, *_OVERHEAD), covers(shapes, keypoints_px)


def _limbs(size: int, most: int, look: Look, rng: np.random.Generator) -> Capsules:
    """Up to ``most`` limb-like shapes for each image of a chunk."""
    shape = (CHUNK, most)
    start = rng.uniform(0, size, (*shape, 2))
    angle, length = rng.uniform(0, 2 * np.pi, shape), rng.uniform(0.1, 0.5, shape) * size
    end = start + np.stack([np.cos(angle), np.sin(angle)], -1) * length[..., None]
    absent = np.arange(most) >= rng.integers(0, most + 1, CHUNK)[:, None]
    start[absent] = end[absent] = -10.0 * size  # out of the frame
    return Capsules(
        start=as_tensor(start),
        end=as_tensor(end),
        radius=as_tensor(rng.uniform(0.02, 0.07, shape) * size),
        colour=as_tensor(0.5 + (rng.uniform(0, 1, (*shape, 3)) - 0.5) * look.saturation),
        stripe=as_tensor(rng.uniform(0, look.pattern, shape)),
    )


def add_camera_effects(
    images: Tensor, look: Look, rng: np.random.Generator, generator: torch.Generator
) -> Tensor:
    """Add colour cast, exposure, blur and noise to a chunk of images."""
    gain = as_tensor(1 + rng.normal(0, look.cast, (CHUNK, 3)).clip(-0.5, 0.5))
    gain = gain * as_tensor(1 + rng.normal(0, look.cast, (CHUNK, 1)).clip(-0.5, 0.5))
    images = images * gain.view(CHUNK, 3, 1, 1)
    if look.blur:
        sigma = rng.uniform(0, look.blur, CHUNK) * images.shape[-1] / 64
        radius = max(1, math.ceil(3 * sigma.max()))
        images = gaussian_blur(images, as_tensor(sigma), radius)
    if look.noise:
        level = as_tensor(rng.uniform(0, look.noise, CHUNK)).view(-1, 1, 1, 1)
        images = images + level * torch.randn(images.shape, generator=generator)
    return images.clamp(0, 1)
