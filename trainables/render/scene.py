"""Everything around a figure: background, occluders and camera effects."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.render.look import Look
from trainables.render.shapes import Capsules, covers, gaussian_blur, paint, smooth_noise

CHUNK = 250
"""Images drawn from one random stream and painted as one batch."""
_OVERHEAD = torch.tensor([0.0, -0.6, 0.8]).expand(CHUNK, 3), torch.full((CHUNK,), 0.5)
"""Direction of the light on background shapes and the share that does not depend on it."""


def draw_backgrounds(
    look: Look, size: int, rng: np.random.Generator, generator: torch.Generator
) -> Tensor:
    """A chunk of backgrounds (CHUNK, 3, size, size) in [0, 1]."""
    image = smooth_noise(size, 2, CHUNK, generator) * 0.5 + 0.4
    if look.texture > 0:
        for cells, weight in ((5, 0.9), (11, 0.7), (23, 0.5)):
            strength = as_tensor(rng.uniform(0, weight * look.texture, CHUNK)).view(-1, 1, 1, 1)
            image = image + (smooth_noise(size, cells, CHUNK, generator) - 0.5) * strength
    image = image.clamp(0, 1)
    if look.clutter:
        image = paint(image, _limbs(size, look.clutter, look, rng), *_OVERHEAD)
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
        depth=torch.zeros(shape),
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
        images = gaussian_blur(images, as_tensor(sigma))
    if look.noise:
        level = as_tensor(rng.uniform(0, look.noise, CHUNK)).view(-1, 1, 1, 1)
        images = images + level * torch.randn(images.shape, generator=generator)
    return images.clamp(0, 1)


def as_tensor(array: NDArray[np.float64]) -> Tensor:
    """A float32 copy on the CPU."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
