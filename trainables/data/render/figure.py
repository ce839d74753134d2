"""Pictures of posed people and hands: mesh, camera, light and what they wear, batched."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.render.body_prior import sample_body_poses
from trainables.data.render.body_turns import body_turns
from trainables.data.render.hand_prior import sample_hand_poses
from trainables.data.render.hand_turns import hand_turns
from trainables.data.render.look import Look
from trainables.data.render.mesh import PosedMesh, load_mesh, pose_mesh
from trainables.data.render.outfit import Outfits, clothes_volume, draw_outfits, paint_outfits
from trainables.data.render.raster import rasterise
from trainables.data.render.shapes import as_tensor

Array = NDArray[np.float64]

SUPERSAMPLING = 2
"""Side of the grid of samples in each pixel."""
_BATCH = 25
"""Figures whose pixels are in memory at once."""


@dataclass(frozen=True)
class Figure:
    """Something that is drawn: its prior over poses and its mesh."""

    mesh: str
    """Name for :func:`trainables.data.render.mesh.load_mesh`."""
    sample_poses: Callable[..., Array]
    """(rng, complexity (B,), yaw_limit (B,)) to joints (B, K, 3) in metres, camera axes."""
    turns: Callable[[Array, np.random.Generator], Tensor]
    """(joints, rng) to turns (B, J, 3, 3) of the mesh's bones."""
    depth_m: tuple[float, ...]
    """(K,) metres that a joint lies at most below its own skin and clothes. It is hidden if
    something lies farther than that in front of it."""


def _person_turns(joints: Array, rng: np.random.Generator) -> Tensor:
    num = len(joints)
    head_yaw = rng.normal(0, 0.35, num).clip(-1, 1)
    foot_flex = rng.normal(0.1, 0.3, (num, 2)).clip(-0.3, 0.9)
    return body_turns(load_mesh("body"), *map(as_tensor, (joints, head_yaw, foot_flex)))


def _hand_turns(joints: Array, rng: np.random.Generator) -> Tensor:
    flex = rng.normal(0, 0.4, len(joints)).clip(-1, 1)
    return hand_turns(load_mesh("hand"), as_tensor(joints), as_tensor(flex))


_TRUNK = (2, 3, 6, 7, 8, 12, 13)
PERSON = Figure(
    "body",
    sample_body_poses,
    _person_turns,
    depth_m=tuple(0.22 if joint in _TRUNK else 0.13 for joint in range(16)),
)
HAND = Figure("hand", sample_hand_poses, _hand_turns, depth_m=(0.035,) * 21)


@dataclass(frozen=True)
class DrawnFigures:
    """Pictures of B figures, to be laid over backgrounds.

    Attributes:
        colour: (B, 3, S, S) in [0, 1], already multiplied with ``cover``.
        cover: (B, 1, S, S) share of each pixel that the figure covers.
        keypoints_px: (B, K, 2) in pixels; integers are pixel centres.
        hidden: (B, K) bool, joints that the figure itself hides.
    """

    colour: Tensor
    cover: Tensor
    keypoints_px: Tensor
    hidden: Tensor


def draw_figures(
    figure: Figure, joints: Array, size: int, frames: Array, look: Look, rng: np.random.Generator
) -> DrawnFigures:
    """Draw one figure for each pose.

    Args:
        figure: What is drawn.
        joints: (B, K, 3) poses in metres in the camera's axes.
        size: Side S of the images in pixels.
        frames: (B, 2) width and height of the part in the middle of each image that the figure
            must lie in, as shares of S.
        look: The domain's look.
        rng: Source of all randomness.
    """
    mesh, num = load_mesh(figure.mesh), len(joints)
    shape = as_tensor(
        rng.normal(0, look.shape_spread, (num, len(mesh.components))).clip(-2.5, 2.5)
    )
    outfits = draw_outfits(rng, num, look.saturation, look.pattern, look.folds)
    turns = figure.turns(joints, rng)
    direction = rng.normal(0, 1, (num, 3)) * (look.side_light, look.side_light, 0) + (0, -0.3, -1)
    light = as_tensor(direction / np.linalg.norm(direction, axis=1, keepdims=True))
    ambient = as_tensor(rng.uniform(*look.ambient, num))
    distance, share = rng.uniform(1.3, 5.0, num), rng.uniform(*look.figure_share, num)
    place = rng.uniform(-1, 1, (num, 2)) * look.off_centre
    drawn = []
    for first in range(0, num, _BATCH):
        rows = slice(first, first + _BATCH)
        own = outfits.rows(rows)
        posed = pose_mesh(mesh, shape[rows], turns[rows], clothes_volume(mesh, own))
        camera = (distance[rows], share[rows], place[rows], frames[rows])
        posed = _seen(posed, size, *map(as_tensor, camera))
        drawn.append(_drawn(figure, posed, own, size, light[rows], ambient[rows]))
    return DrawnFigures(*(torch.cat(parts) for parts in zip(*drawn, strict=True)))


def _seen(
    posed: PosedMesh, size: int, distance: Tensor, share: Tensor, place: Tensor, frame: Tensor
) -> PosedMesh:
    """Put figures before a camera: x and y become pixels, z the distance in metres.

    Args:
        posed: Figures in metres.
        size: Side of the image in pixels.
        distance: (B,) of the camera over the figure's extent; above 0.5, small for a strong
            perspective.
        share: (B,) longer side of the box around the joints over the side of the image; less if
            the box would not fit into the frame.
        place: (B, 2) in [-1, 1]: where the box lies in the free room of the frame.
        frame: (B, 2) width and height over the side of the image.
    """
    low, high = posed.vertices.amin(1), posed.vertices.amax(1)
    extent = (high - low).amax(1)
    away = extent * distance
    middle = (low + high) / 2

    def flat(points: Tensor) -> Tensor:
        points = points - middle[:, None]
        depth = points[..., 2:] + away[:, None, None]
        return torch.cat([points[..., :2] / depth * away[:, None, None], depth], -1)

    vertices, joints = flat(posed.vertices), flat(posed.joints)
    low, high = joints[..., :2].amin(1), joints[..., :2].amax(1)
    box = high - low
    scale = torch.minimum(size * share / box.amax(1), (size * frame / box).amin(1))
    room = (size * frame - scale[:, None] * box) / 2
    shift = (size - 1) / 2 + place * room - scale[:, None] * (low + high) / 2
    for points in (vertices, joints):
        points[..., :2] = points[..., :2] * scale[:, None, None] + shift[:, None]
    return PosedMesh(vertices, posed.normals, joints)


def _drawn(
    figure: Figure, posed: PosedMesh, outfits: Outfits, size: int, light: Tensor, ambient: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    mesh, num = load_mesh(figure.mesh), len(posed.vertices)
    fine = size * SUPERSAMPLING
    # A pixel's centre lies in the middle of its samples.
    to_fine = torch.tensor([SUPERSAMPLING, SUPERSAMPLING, 1.0])
    shift = torch.tensor([(SUPERSAMPLING - 1) / 2, (SUPERSAMPLING - 1) / 2, 0.0])
    surface = rasterise(posed.vertices * to_fine + shift, mesh.faces, fine)
    image = surface.pixel // (fine * fine)
    corners = mesh.faces[surface.face]  # (N, 3)

    def at(values: Tensor) -> Tensor:
        return torch.bmm(surface.weights[:, None], values).squeeze(1)

    normals = at(posed.normals[image[:, None], corners])
    regions, rest = at(torch.cat([mesh.regions, mesh.mean], 1)[corners]).split(3, 1)
    colour, normals = paint_outfits(regions, rest, normals, outfits, image)
    diffuse = (normals * light[image]).sum(1).clamp(min=0)
    sky = 0.75 - 0.25 * normals[:, 1]  # less light comes from below
    shade = ambient[image] * sky + (1 - ambient[image]) * diffuse
    painted = torch.zeros(num * fine * fine, 4)
    painted[surface.pixel] = torch.cat([colour * shade[:, None], torch.ones(len(colour), 1)], 1)
    painted = painted.view(num, fine, fine, 4).permute(0, 3, 1, 2)
    painted = torch.nn.functional.avg_pool2d(painted, SUPERSAMPLING)
    depth = torch.full((num * fine * fine,), torch.inf)
    depth[surface.pixel] = surface.depth
    spot = (posed.joints[..., :2] * SUPERSAMPLING + shift[:2]).round().long()
    inside = ((spot >= 0) & (spot < fine)).all(-1)
    spot = spot.clamp(0, fine - 1)
    row = torch.arange(num)[:, None] * fine + spot[..., 1]
    front = depth[row * fine + spot[..., 0]]
    hidden = inside & (front < posed.joints[..., 2] - torch.tensor(figure.depth_m))
    return painted[:, :3], painted[:, 3:], posed.joints[..., :2], hidden
