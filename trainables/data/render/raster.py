"""Which triangle of a mesh is seen in each pixel: a z-buffer in plain torch, batched.

Pixels are candidates of a triangle if they lie in its bounding box. Triangles are treated in
groups whose boxes have about the same size, so that few candidates are wasted. For every
candidate inside its triangle an integer is made, depth in the high bits and triangle in the low
ones. A pixel keeps the smallest, whatever the order, so the result does not depend on threads.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_DEPTH_LEVELS = 1 << 30
_FACE_BITS = 24
_BOX_SIDES = (2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256, 512)
"""Largest sides of the boxes of a group, in pixels."""


@dataclass(frozen=True)
class Surface:
    """The N pixels that figures cover in a batch of images.

    Attributes:
        pixel: (N,) int64, index ``(image * H + y) * W + x``.
        face: (N,) int64, the triangle that is nearest to the camera.
        weights: (N, 3) float32, its barycentric coordinates at the pixel's centre, corrected for
            perspective.
        depth: (N,) float32, in the unit of the vertices' depth.
    """

    pixel: Tensor
    face: Tensor
    weights: Tensor
    depth: Tensor


def rasterise(vertices: Tensor, faces: Tensor, size: int) -> Surface:
    """Find the nearest front-facing triangle of each pixel.

    Args:
        vertices: (B, V, 3) float32: x and y in pixels, where integers are pixel centres, and the
            depth, positive and larger farther from the camera.
        faces: (F, 3) int64 vertices of each triangle, counter-clockwise as seen from outside; at
            most 2^24.
        size: Side H = W of the images in pixels.

    Returns:
        The covered pixels in increasing order.
    """
    corners = vertices[:, faces]  # (B, F, 3, 3)
    a, b, c = corners[..., :2].unbind(2)  # (B, F, 2)
    area = _cross(c - a, b - a)
    low = corners[..., :2].amin(2).ceil().clamp(min=0)
    high = corners[..., :2].amax(2).floor().clamp(max=size - 1)
    extent = (high - low).amax(-1) + 1
    extent = torch.where((area > 0) & ((high - low).amin(-1) >= 0), extent, torch.zeros(()))
    nearest, farthest = vertices[..., 2].aminmax()
    to_level = (_DEPTH_LEVELS - 1) / (farthest - nearest).clamp(min=1e-6)
    free = torch.iinfo(torch.int64).max
    buffer = torch.full((len(vertices) * size * size,), free)
    smaller = 0
    for side in (*_BOX_SIDES, size):  # no box is larger than the image
        image, face = ((extent > smaller) & (extent <= side)).nonzero(as_tuple=True)
        smaller = side
        if len(image) == 0:
            continue
        steps = torch.arange(side, dtype=torch.float32)
        first = low[image, face]
        x, y = first[:, 0, None] + steps, first[:, 1, None] + steps  # (T, side)
        inside, depth = _inside(corners[image, face], x, y)
        x, y = x.long(), y.long()
        inside &= (x < size)[:, None, :] & (y < size)[:, :, None]
        pixel = (image[:, None, None] * size + y[:, :, None]) * size + x[:, None, :]
        level = ((depth - nearest) * to_level).long().clamp(0, _DEPTH_LEVELS - 1)
        key = (level << _FACE_BITS) | face[:, None, None]
        buffer.scatter_reduce_(0, pixel[inside], key[inside], "amin")
    pixel = (buffer != free).nonzero().squeeze(1)
    face = buffer[pixel] & ((1 << _FACE_BITS) - 1)
    chosen = corners[pixel // (size * size), face]  # (N, 3, 3)
    point = torch.stack([pixel % size, pixel // size % size], 1).float()
    weights = _barycentric(chosen[..., :2], point) / chosen[..., 2]
    depth = 1 / weights.sum(1)
    return Surface(pixel, face, weights * depth[:, None], depth)


def _inside(corners: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Which points (T, H, W) of grids x (T, W), y (T, H) triangles contain, and their depths."""
    a, b, c = corners.unbind(1)  # (T, 3)
    weights, total = [], _cross(c[:, :2] - a[:, :2], b[:, :2] - a[:, :2])
    for start, end in ((c, b), (a, c), (b, a)):
        dx, dy = (end - start)[:, 0, None], (end - start)[:, 1, None]
        along_y = dx * (y - start[:, 1, None])  # (T, H)
        along_x = dy * (x - start[:, 0, None])  # (T, W)
        weights.append(along_y[:, :, None] - along_x[:, None, :])
    inside = (weights[0] >= 0) & (weights[1] >= 0) & (weights[2] >= 0)
    # One over the depth is linear on the screen.
    at_a, at_b, at_c = ((1 / (corner[:, 2] * total))[:, None, None] for corner in (a, b, c))
    return inside, 1 / (weights[0] * at_a + weights[1] * at_b + weights[2] * at_c)


def _barycentric(corners: Tensor, point: Tensor) -> Tensor:
    """Coordinates (N, 3) of points (N, 2) in triangles (N, 3, 2), linear on the screen."""
    a, b, c = corners.unbind(1)
    total = _cross(b - a, c - a)
    weights = [_cross(c - b, point - b), _cross(a - c, point - c), _cross(b - a, point - a)]
    return torch.stack(weights, 1) / total[:, None]


def _cross(u: Tensor, v: Tensor) -> Tensor:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
