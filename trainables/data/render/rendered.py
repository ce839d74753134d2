"""The built-in source and target domains: procedural people and hands.

``people_clean`` is a labelled synthetic source: plain backgrounds, even light, mostly simple poses
with a long tail of complex ones. ``people_wild`` is the target: textured backgrounds, side light,
colour casts, patterned clothes, blur and noise, and poses of all complexities.
``people_wild_hard`` adds more clutter, occluders and people seen from behind.
``people_sport`` is a source for photographs: people of all sizes who jump, fall and turn over,
in front of fields, walls and skies or of photographs. ``hands_clean`` and ``hands_wild`` are
hands in the first two looks. These domains replace SURREAL and LSP, RHD and H3D where those cannot
be downloaded.

Image i of a domain depends only on the domain, the size, the seed and what a user brings, not on
the number of images.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.data.frame import in_frame
from trainables.data.render.body_prior import rotation_matrix
from trainables.data.render.draw_chunks import in_order
from trainables.data.render.figure import HAND, PERSON, draw_figures
from trainables.data.render.look import Look
from trainables.data.render.material import photographic_backgrounds, read_poses
from trainables.data.render.scene import CHUNK, add_camera_effects, add_occluders, draw_backgrounds
from trainables.registry import DOMAINS

Array = NDArray[np.float64]

_STUDIO = Look(
    complexity=(1.1, 2.6), yaw_limit=(0.4, 1.5), tumble=0.0, figure_share=(0.7, 0.9),
    off_centre=1.0, is_padded=False,
    shape_spread=0.7, texture=0.0, structures=0, clutter=0, occluders=0, saturation=1.0,
    pattern=0.0, folds=0.15, ambient=(0.55, 0.75), side_light=0.2, cast=0.03, blur=0.0,
    noise=0.0, labels_hidden=True,
)  # fmt: skip
_STREET = Look(
    complexity=(1.6, 1.8), yaw_limit=(0.4, 1.5), tumble=0.0, figure_share=(0.7, 0.9),
    off_centre=1.0, is_padded=False,
    shape_spread=1.0, texture=0.35, structures=0, clutter=2, occluders=0, saturation=0.7,
    pattern=0.5, folds=0.5, ambient=(0.25, 0.6), side_light=0.8, cast=0.15, blur=0.7,
    noise=0.06, labels_hidden=False,
)  # fmt: skip
LOOKS = {
    "people_clean": _STUDIO,
    "people_wild": _STREET,
    "people_wild_hard": replace(
        _STREET, complexity=(2.0, 1.5), yaw_limit=(1.0, 3.14), texture=0.6, clutter=6,
        occluders=2, pattern=0.8, ambient=(0.15, 0.5), side_light=1.0, cast=0.25, blur=1.0,
        noise=0.10,
    ),
    "people_sport": replace(
        _STREET, complexity=(1.6, 1.2), yaw_limit=(1.5, 3.14), tumble=0.5,
        figure_share=(0.25, 0.85), off_centre=0.5, is_padded=True, clutter=2, occluders=1,
        texture=0.5, structures=8, saturation=0.9, pattern=0.7, blur=0.3, noise=0.02,
        labels_hidden=True,
    ),
    "hands_clean": replace(_STUDIO, yaw_limit=(0.3, 1.2)),
    "hands_wild": replace(_STREET, yaw_limit=(0.3, 1.2)),
}  # fmt: skip
_FIGURES = {"body16": PERSON, "hand21": HAND}
"""The figure of each skeleton that can be drawn."""


@dataclass(frozen=True)
class RenderedChunk:
    """Consecutive images of a domain with their labels.

    Attributes:
        images: (B, H, W, 3) uint8.
        keypoints_px: (B, K, 2) float32 pixel coordinates; integers are pixel centres.
        visible: (B, K) bool; False where a joint lies outside the image, and, unless
            ``Look.labels_hidden``, where the body or an object hides it.
        complexity: (B,) float32, the prior's own difficulty in [0, 1], without meaning for given
            poses; only tests read it.
    """

    images: NDArray[np.uint8]
    keypoints_px: NDArray[np.float32]
    visible: NDArray[np.bool_]
    complexity: NDArray[np.float32]


def render_domain(
    domain: str,
    num: int,
    image_size: int,
    seed: int,
    backgrounds: Sequence[Path] | None = None,
    poses: Path | None = None,
    num_processes: int = 1,
) -> Iterator[RenderedChunk]:
    """Render the first ``num`` images of a domain, chunk by chunk, on the CPU.

    Each chunk is drawn on one core, so that the images are the same however many there are.

    Args:
        domain: A key of :data:`LOOKS`.
        num: Number of images.
        image_size: Side in pixels.
        seed: Seed of the domain; source and target differ by name even with equal seeds.
        backgrounds: Photographs to take backgrounds from, at least one; None draws them.
        poses: File of 3D poses, see :func:`trainables.data.render.material.read_poses`; None
            draws them from the prior.
        num_processes: Processes that may draw at once; few chunks are drawn in this one.

    Yields:
        Chunks of at most :data:`CHUNK` images in order.

    Raises:
        KeyError: For a domain that is not drawn.
        OSError, ValueError: If a photograph or the poses cannot be read, or a process that draws
            is killed.
    """
    given = None if poses is None else read_poses(poses)
    draw = partial(_render_chunk, domain, image_size, seed, backgrounds, given)
    for index, chunk in enumerate(in_order(draw, -(-num // CHUNK), num_processes)):
        count = min(CHUNK, num - index * CHUNK)
        yield RenderedChunk(
            chunk.images[:count],
            chunk.keypoints_px[:count],
            chunk.visible[:count],
            chunk.complexity[:count],
        )


def _render_chunk(
    domain: str,
    image_size: int,
    seed: int,
    photographs: Sequence[Path] | None,
    poses: Array | None,
    index: int,
) -> RenderedChunk:
    rng = np.random.default_rng((zlib.crc32(domain.encode()), seed, index))
    look, figure = LOOKS[domain], _FIGURES[DOMAINS[domain].skeleton]
    complexity = rng.beta(*look.complexity, CHUNK)
    low, high = look.yaw_limit
    if poses is None:
        joints = figure.sample_poses(rng, complexity, low + (high - low) * complexity)
    else:
        joints = rng.choice(poses, CHUNK)
    joints = _tumbled(joints, look.tumble, rng)
    frames = _photograph_frames(rng) if look.is_padded else np.ones((CHUNK, 2))
    drawn = draw_figures(figure, joints, image_size, frames, look, rng)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    if photographs is None:
        backgrounds = draw_backgrounds(look, image_size, rng, generator)
    else:
        backgrounds = photographic_backgrounds(photographs, image_size, CHUNK, rng)
    images = drawn.colour + (1 - drawn.cover) * backgrounds
    images, behind = add_occluders(images, drawn.keypoints_px, look, rng)
    images = add_camera_effects(images, look, rng, generator)
    if look.is_padded:
        images = images * _inside(frames, image_size)
    visible = in_frame(drawn.keypoints_px.numpy(), image_size, image_size)
    if not look.labels_hidden:
        visible &= ~(drawn.hidden | behind).numpy()
    return RenderedChunk(
        images=(images * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy(),
        keypoints_px=drawn.keypoints_px.numpy(),
        visible=visible,
        complexity=complexity.astype(np.float32),
    )


def _photograph_frames(rng: np.random.Generator) -> Array:
    """Width and height (CHUNK, 2) of photographs over their longer side."""
    shorter = rng.choice([2 / 3, 3 / 4], CHUNK, p=[0.8, 0.2])
    is_upright = rng.random(CHUNK) < 0.4
    one = np.ones(CHUNK)
    return np.where(is_upright[:, None], np.stack([shorter, one], 1), np.stack([one, shorter], 1))


def _inside(frames: Array, size: int) -> torch.Tensor:
    """Which pixels lie in the frames in the middle of the images, (CHUNK, 1, size, size)."""
    offset = np.abs(np.arange(size) - (size - 1) / 2)
    columns, rows = (offset < np.rint(frames[:, axis, None] * size) / 2 for axis in (0, 1))
    return torch.from_numpy(columns[:, None, None, :] & rows[:, None, :, None])


def _tumbled(joints: Array, share: float, rng: np.random.Generator) -> Array:
    """Poses (B, K, 3) of which a share is turned about the origin, each by its own angles."""
    num = len(joints)
    if share == 0:
        return joints
    is_turned = rng.random(num) < share
    pitch, roll = rng.uniform(-1.2, 1.2, num), rng.uniform(-np.pi, np.pi, num)
    turn = rotation_matrix(np.zeros(num), pitch * is_turned, roll * is_turned)
    return np.asarray(joints @ turn.transpose(0, 2, 1))
