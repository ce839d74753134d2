"""Everything around a figure: projection, background, occluders and camera effects."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.renderer import Capsules, gaussian_blur, paint, smooth_noise

CHUNK = 250
"""Images drawn from one random stream and painted as one batch."""


@dataclass(frozen=True)
class Look:
    """What distinguishes one rendered domain from another."""

    complexity: tuple[float, float]
    """Parameters of the Beta distribution of pose complexity."""
    yaw_limit: tuple[float, float]
    """Largest turn from the camera in radians, for the simplest and the most complex pose."""
    texture: float
    """Contrast of the background texture, 0 for a smooth gradient."""
    clutter: int
    """Largest number of limb-like shapes behind the figure."""
    occluders: int
    """Largest number of shapes in front of a person."""
    saturation: float
    """Spread of the cloth colours around grey, 1 for the full range."""
    stripe: float
    """Largest contrast of cloth stripes."""
    ambient: tuple[float, float]
    """Range of the share of the shading that does not depend on the light."""
    side_light: float
    """How far the light moves off the camera axis, in [0, 1]."""
    cast: float
    """Spread of the colour cast and of the exposure."""
    blur: float
    """Largest blur sigma, in 64ths of the image side."""
    noise: float
    """Largest standard deviation of pixel noise, in [0, 1]."""


def project_joints(
    joints: NDArray[np.float64], margin_m: float, image_size: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project joints (B, K, 3) in metres orthographically into a square frame.

    ``margin_m`` is the room, in metres, for the capsules around the outermost joints.

    Returns:
        (B, K, 2) pixel coordinates and (B,) pixels per metre.
    """
    flat = joints[..., :2]
    low, high = flat.min(1), flat.max(1)
    side = (high - low).max(1) + margin_m
    scale = image_size * rng.uniform(0.78, 0.95, len(joints)) / side
    centre = (low + high) / 2
    free = (image_size - scale[:, None] * (high - low + margin_m)).clip(0) / 2
    offset = (image_size - 1) / 2 + rng.uniform(-1, 1, centre.shape) * free * 0.8
    return (flat - centre[:, None]) * scale[:, None, None] + offset[:, None], scale


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
        image = _scatter(image, look.clutter, look, rng)
    return image


def _scatter(image: Tensor, most: int, look: Look, rng: np.random.Generator) -> Tensor:
    """Paint up to ``most`` limb-like shapes onto each image."""
    size = image.shape[-1]
    shape = (CHUNK, most)
    start = rng.uniform(0, size, (*shape, 2))
    angle, length = rng.uniform(0, 2 * np.pi, shape), rng.uniform(0.1, 0.5, shape) * size
    end = start + np.stack([np.cos(angle), np.sin(angle)], -1) * length[..., None]
    absent = np.arange(most) >= rng.integers(0, most + 1, CHUNK)[:, None]
    start[absent] = end[absent] = -10.0 * size  # out of the frame
    shapes = Capsules(
        start=as_tensor(start),
        end=as_tensor(end),
        radius=as_tensor(rng.uniform(0.02, 0.07, shape) * size),
        depth=torch.zeros(shape),
        colour=as_tensor(0.5 + (rng.uniform(0, 1, (*shape, 3)) - 0.5) * look.saturation),
        stripe=as_tensor(rng.uniform(0, look.stripe, shape)),
    )
    overhead = as_tensor(np.tile([0.0, -0.6, 0.8], (CHUNK, 1)))
    return paint(image, shapes, overhead, torch.full((CHUNK,), 0.5))


def add_camera_effects(
    images: Tensor, look: Look, rng: np.random.Generator, generator: torch.Generator
) -> Tensor:
    """Add occluders, colour cast, exposure, blur and noise to a chunk of images."""
    if look.occluders:
        images = _scatter(images, look.occluders, look, rng)
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
