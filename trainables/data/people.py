"""Procedural people: the built-in source and target domains.

Two looks of the same articulated body. ``people_clean`` is a labelled synthetic source:
plain backgrounds, even light, mostly simple poses with a long tail of complex ones.
``people_wild`` is the target: textured backgrounds, side light, colour casts, patterned
clothes, blur and noise, and poses of all complexities. ``people_wild_hard`` adds clutter,
occluders and people seen from behind. They stand in for SURREAL and LSP where nobody can or
may download those.

Image i of a domain depends on the domain, the size and the seed alone, not on how many images
are asked for.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.body_prior import sample_body_poses
from trainables.data.renderer import Capsules, gaussian_blur, paint, smooth_noise

CHUNK = 250
"""Images drawn from one random stream and painted as one batch."""


@dataclass(frozen=True)
class Look:
    """What separates one domain of people from another."""

    complexity: tuple[float, float]
    """Parameters of the Beta distribution of pose complexity."""
    yaw_limit: tuple[float, float]
    """Largest turn from the camera in radians, for the simplest and the most complex pose."""
    texture: float
    """Contrast of the background texture, 0 for a smooth gradient."""
    clutter: int
    """Largest number of limb-like shapes behind a person."""
    occluders: int
    """Largest number of shapes in front of a person."""
    saturation: float
    """Spread of the cloth colours around grey, 1 for the full range."""
    stripe: float
    """Largest contrast of cloth stripes."""
    ambient: tuple[float, float]
    """Range of the shading share that ignores the light."""
    side_light: float
    """How far the light leaves the camera axis, in [0, 1]."""
    cast: float
    """Spread of the colour cast and of the exposure."""
    blur: float
    """Largest blur sigma, in 64ths of the image side."""
    noise: float
    """Largest standard deviation of pixel noise, in [0, 1]."""


LOOKS = {
    "people_clean": Look(
        complexity=(1.1, 2.6), yaw_limit=(0.4, 1.5), texture=0.0, clutter=0, occluders=0,
        saturation=1.0, stripe=0.0, ambient=(0.55, 0.75), side_light=0.2, cast=0.03,
        blur=0.0, noise=0.0,
    ),
    "people_wild": Look(
        complexity=(1.6, 1.8), yaw_limit=(0.4, 1.5), texture=0.35, clutter=2, occluders=0,
        saturation=0.7, stripe=0.3, ambient=(0.25, 0.6), side_light=0.8, cast=0.15,
        blur=0.7, noise=0.06,
    ),
    "people_wild_hard": Look(
        complexity=(2.0, 1.5), yaw_limit=(1.0, 3.14), texture=0.6, clutter=6, occluders=2,
        saturation=0.7, stripe=0.5, ambient=(0.15, 0.5), side_light=1.0, cast=0.25,
        blur=1.0, noise=0.10,
    ),
}  # fmt: skip

SKIN, HAIR, SHIRT, TROUSERS, SHOES = range(5)

# joint a, joint b, radius in metres, palette entry; None stands for the point between the hips.
_PARTS = (
    (0, 1, 0.055, TROUSERS), (1, 2, 0.075, TROUSERS),
    (5, 4, 0.055, TROUSERS), (4, 3, 0.075, TROUSERS),
    (2, 3, 0.085, TROUSERS), (2, 12, 0.085, SHIRT), (3, 13, 0.085, SHIRT),
    (6, 8, 0.110, SHIRT), (12, 13, 0.070, SHIRT), (8, 9, 0.045, SKIN),
    (12, 11, 0.050, SHIRT), (13, 14, 0.050, SHIRT),
    (11, 10, 0.040, SKIN), (14, 15, 0.040, SKIN),
)  # fmt: skip


@dataclass(frozen=True)
class PeopleChunk:
    """Consecutive images of a domain with their labels.

    Attributes:
        images: (B, H, W, 3) uint8.
        keypoints_px: (B, 16, 2) float32 pixel coordinates; integers are pixel centres.
        visible: (B, 16) bool; False where a joint lies outside the image.
        complexity: (B,) float32, the prior's own difficulty in [0, 1]; read by tests only.
    """

    images: NDArray[np.uint8]
    keypoints_px: NDArray[np.float32]
    visible: NDArray[np.bool_]
    complexity: NDArray[np.float32]


def render_people(domain: str, num: int, image_size: int, seed: int) -> Iterator[PeopleChunk]:
    """Render the first ``num`` images of a domain, chunk by chunk, on the CPU.

    Args:
        domain: A key of :data:`LOOKS`.
        num: Number of images.
        image_size: Side in pixels.
        seed: Seed of the domain; source and target differ by name even with equal seeds.

    Yields:
        Chunks of at most :data:`CHUNK` images in order.
    """
    look = LOOKS[domain]
    for index, first in enumerate(range(0, num, CHUNK)):
        entropy = (zlib.crc32(domain.encode()), seed, index)
        chunk = _render_chunk(look, image_size, np.random.default_rng(entropy))
        count = min(CHUNK, num - first)
        yield PeopleChunk(
            chunk.images[:count],
            chunk.keypoints_px[:count],
            chunk.visible[:count],
            chunk.complexity[:count],
        )


def _render_chunk(look: Look, image_size: int, rng: np.random.Generator) -> PeopleChunk:
    complexity = rng.beta(*look.complexity, CHUNK)
    low, high = look.yaw_limit
    joints = sample_body_poses(rng, complexity, low + (high - low) * complexity)
    keypoints, scale = _place(joints, image_size, rng)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    capsules = _body_capsules(joints, keypoints, scale, look, rng)
    background = _background(look, image_size, rng, generator)
    light = rng.normal(0, 1, (CHUNK, 3)) * (look.side_light, look.side_light, 0) + (0, -0.2, 1)
    light /= np.linalg.norm(light, axis=1, keepdims=True)
    ambient = rng.uniform(*look.ambient, CHUNK)
    images = paint(background, capsules, _float(light), _float(ambient))
    images = _photograph(images, look, rng, generator)
    inside = np.all((keypoints >= -0.5) & (keypoints <= image_size - 0.5), axis=-1)
    return PeopleChunk(
        images=(images * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy(),
        keypoints_px=keypoints.astype(np.float32),
        visible=inside,
        complexity=complexity.astype(np.float32),
    )


def _place(
    joints: NDArray[np.float64], image_size: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project orthographically into the frame; returns keypoints and pixels per metre (B,)."""
    flat = joints[..., :2]
    low, high = flat.min(1), flat.max(1)
    side = (high - low).max(1) + 0.25  # room for the flesh around the outermost joints
    scale = image_size * rng.uniform(0.78, 0.95, len(joints)) / side
    centre = (low + high) / 2
    free = (image_size - scale[:, None] * (high - low + 0.25)).clip(0) / 2
    offset = (image_size - 1) / 2 + rng.uniform(-1, 1, centre.shape) * free * 0.8
    return (flat - centre[:, None]) * scale[:, None, None] + offset[:, None], scale


def _body_capsules(
    joints: NDArray[np.float64],
    keypoints: NDArray[np.float64],
    scale: NDArray[np.float64],
    look: Look,
    rng: np.random.Generator,
) -> Capsules:
    num = len(joints)
    palette = 0.5 + (rng.uniform(0.05, 0.95, (num, 5, 3)) - 0.5) * look.saturation
    tone = rng.uniform(0.35, 0.95, (num, 1))
    palette[:, SKIN] = tone * (1.0, 0.78, 0.62)
    palette[:, HAIR] = rng.uniform(0.05, 0.45, (num, 1)) * (1.0, 0.8, 0.6)
    girth = scale * rng.normal(1.0, 0.08, num).clip(0.8, 1.25)

    start, end = [keypoints[:, a] for a, *_ in _PARTS], [keypoints[:, b] for _, b, *_ in _PARTS]
    depth = [(joints[:, a, 2] + joints[:, b, 2]) / 2 for a, b, *_ in _PARTS]
    radius = [girth * r for *_, r, _ in _PARTS]
    entry = [p for *_, p in _PARTS]

    # The head: hair, with a face towards wherever the person looks, tells front from back.
    up = joints[:, 9] - joints[:, 8]
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    across = joints[:, 13] - joints[:, 12]
    facing = np.cross(across, up)
    facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    centre = joints[:, 9] - 0.09 * up
    for offset, size, colour in ((-0.01, 0.105, HAIR), (0.055, 0.075, SKIN)):
        middle = centre + facing * offset
        point = keypoints[:, 9] + (middle - joints[:, 9])[:, :2] * scale[:, None]
        start.append(point)
        end.append(point)
        depth.append(middle[:, 2])
        radius.append(girth * size)
        entry.append(colour)
    for toe_of, foot in ((1, 0), (4, 5)):
        ahead = facing * 0.10 + (joints[:, foot] - joints[:, toe_of]) * 0.08
        start.append(keypoints[:, foot])
        end.append(keypoints[:, foot] + ahead[:, :2] * scale[:, None])
        depth.append(joints[:, foot, 2] + ahead[:, 2] / 2)
        radius.append(girth * 0.05)
        entry.append(SHOES)
    stripes = rng.uniform(0, 1, (num, 5)) * look.stripe * (rng.random((num, 5)) < 0.6)
    stripes[:, [SKIN, HAIR]] = 0
    return Capsules(
        start=_float(np.stack(start, 1)),
        end=_float(np.stack(end, 1)),
        radius=_float(np.stack(radius, 1)),
        depth=_float(np.stack(depth, 1)),
        colour=_float(palette[:, entry]),
        stripe=_float(stripes[:, entry]),
    )


def _background(
    look: Look, size: int, rng: np.random.Generator, generator: torch.Generator
) -> Tensor:
    image = smooth_noise(size, 2, CHUNK, generator) * 0.5 + 0.4
    if look.texture > 0:
        for cells, weight in ((5, 0.9), (11, 0.7), (23, 0.5)):
            strength = _float(rng.uniform(0, weight * look.texture, CHUNK)).view(-1, 1, 1, 1)
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
        start=_float(start),
        end=_float(end),
        radius=_float(rng.uniform(0.02, 0.07, shape) * size),
        depth=torch.zeros(shape),
        colour=_float(0.5 + (rng.uniform(0, 1, (*shape, 3)) - 0.5) * look.saturation),
        stripe=_float(rng.uniform(0, look.stripe, shape)),
    )
    overhead = _float(np.tile([0.0, -0.6, 0.8], (CHUNK, 1)))
    return paint(image, shapes, overhead, torch.full((CHUNK,), 0.5))


def _photograph(
    images: Tensor, look: Look, rng: np.random.Generator, generator: torch.Generator
) -> Tensor:
    """Occlude, expose, blur and grain the scene as a camera would."""
    if look.occluders:
        images = _scatter(images, look.occluders, look, rng)
    gain = _float(1 + rng.normal(0, look.cast, (CHUNK, 3)).clip(-0.5, 0.5))
    gain = gain * _float(1 + rng.normal(0, look.cast, (CHUNK, 1)).clip(-0.5, 0.5))
    images = images * gain.view(CHUNK, 3, 1, 1)
    if look.blur:
        sigma = rng.uniform(0, look.blur, CHUNK) * images.shape[-1] / 64
        images = gaussian_blur(images, _float(sigma))
    if look.noise:
        level = _float(rng.uniform(0, look.noise, CHUNK)).view(-1, 1, 1, 1)
        images = images + level * torch.randn(images.shape, generator=generator)
    return images.clamp(0, 1)


def _float(array: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
