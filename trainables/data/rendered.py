"""The built-in source and target domains: procedural people and hands.

Two looks of the same articulated figure. ``people_clean`` is a labelled synthetic source: plain
backgrounds, even light, mostly simple poses with a long tail of complex ones. ``people_wild`` is
the target: textured backgrounds, side light, colour casts, patterned clothes, blur and noise, and
poses of all complexities. ``people_wild_hard`` adds clutter, occluders and people seen from
behind. ``hands_clean`` and ``hands_wild`` are the same for hands. They replace SURREAL and LSP,
RHD and H3D where those cannot be downloaded.

Image i of a domain depends only on the domain, the size and the seed, not on the number of
images.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.data.body_prior import sample_body_poses
from trainables.data.frame import in_frame
from trainables.data.hand_prior import sample_hand_poses
from trainables.data.hands import hand_capsules
from trainables.data.people import body_capsules
from trainables.data.renderer import Capsules, paint
from trainables.data.scene import (
    CHUNK,
    Look,
    add_camera_effects,
    as_tensor,
    draw_backgrounds,
    project_joints,
)
from trainables.registry import DOMAINS

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
    "hands_clean": Look(
        complexity=(1.1, 2.6), yaw_limit=(0.3, 1.2), texture=0.0, clutter=0, occluders=0,
        saturation=1.0, stripe=0.0, ambient=(0.55, 0.75), side_light=0.2, cast=0.03,
        blur=0.0, noise=0.0,
    ),
    "hands_wild": Look(
        complexity=(1.6, 1.8), yaw_limit=(0.3, 1.2), texture=0.35, clutter=2, occluders=0,
        saturation=0.7, stripe=0.3, ambient=(0.25, 0.6), side_light=0.8, cast=0.15,
        blur=0.7, noise=0.06,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """What is drawn: a prior over poses and the capsules around the joints."""

    sample_poses: Callable[..., NDArray[np.float64]]
    """(rng, complexity (B,), yaw_limit (B,)) to joints (B, K, 3) in metres."""
    capsules: Callable[..., Capsules]
    """(joints, keypoints, scale, look, rng) to the capsules to paint."""
    margin_m: float
    """Room for the capsules around the outermost joints in metres."""


_FIGURES = {
    "body16": Figure(sample_body_poses, body_capsules, margin_m=0.25),
    "hand21": Figure(sample_hand_poses, hand_capsules, margin_m=0.03),
}
"""The figure of each skeleton that can be drawn."""


@dataclass(frozen=True)
class RenderedChunk:
    """Consecutive images of a domain with their labels.

    Attributes:
        images: (B, H, W, 3) uint8.
        keypoints_px: (B, K, 2) float32 pixel coordinates; integers are pixel centres.
        visible: (B, K) bool; False where a joint lies outside the image.
        complexity: (B,) float32, the prior's own difficulty in [0, 1]; only tests read it.
    """

    images: NDArray[np.uint8]
    keypoints_px: NDArray[np.float32]
    visible: NDArray[np.bool_]
    complexity: NDArray[np.float32]


def render_domain(domain: str, num: int, image_size: int, seed: int) -> Iterator[RenderedChunk]:
    """Render the first ``num`` images of a domain, chunk by chunk, on the CPU.

    Args:
        domain: A key of :data:`LOOKS`.
        num: Number of images.
        image_size: Side in pixels.
        seed: Seed of the domain; source and target differ by name even with equal seeds.

    Yields:
        Chunks of at most :data:`CHUNK` images in order.
    """
    for index, first in enumerate(range(0, num, CHUNK)):
        entropy = (zlib.crc32(domain.encode()), seed, index)
        chunk = _render_chunk(domain, image_size, np.random.default_rng(entropy))
        count = min(CHUNK, num - first)
        yield RenderedChunk(
            chunk.images[:count],
            chunk.keypoints_px[:count],
            chunk.visible[:count],
            chunk.complexity[:count],
        )


def _render_chunk(domain: str, image_size: int, rng: np.random.Generator) -> RenderedChunk:
    look, figure = LOOKS[domain], _FIGURES[DOMAINS[domain].skeleton]
    complexity = rng.beta(*look.complexity, CHUNK)
    low, high = look.yaw_limit
    joints = figure.sample_poses(rng, complexity, low + (high - low) * complexity)
    keypoints, scale = project_joints(joints, figure.margin_m, image_size, rng)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    capsules = figure.capsules(joints, keypoints, scale, look, rng)
    backgrounds = draw_backgrounds(look, image_size, rng, generator)
    light = rng.normal(0, 1, (CHUNK, 3)) * (look.side_light, look.side_light, 0) + (0, -0.2, 1)
    light /= np.linalg.norm(light, axis=1, keepdims=True)
    ambient = rng.uniform(*look.ambient, CHUNK)
    images = paint(backgrounds, capsules, as_tensor(light), as_tensor(ambient))
    images = add_camera_effects(images, look, rng, generator)
    return RenderedChunk(
        images=(images * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy(),
        keypoints_px=keypoints.astype(np.float32),
        visible=in_frame(keypoints, image_size, image_size),
        complexity=complexity.astype(np.float32),
    )
