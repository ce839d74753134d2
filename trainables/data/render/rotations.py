"""Rotations of bones, from directions and from axes."""

import torch
from torch import Tensor


def frame(along: Tensor, across: Tensor) -> Tensor:
    """Right-handed axes in the columns of (..., 3, 3).

    The first points along ``along``, the second along the part of ``across`` at right angles to
    it; the two must not be parallel.
    """
    first = unit(along)
    second = unit(across - (across * first).sum(-1, keepdim=True) * first)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)


def aligned(posed: tuple[Tensor, Tensor], resting: tuple[Tensor, Tensor]) -> Tensor:
    """The rotation (..., 3, 3) that brings two directions at rest to two posed ones.

    Args:
        posed: (..., 3) each, not parallel and in any length; the first is met exactly, the second
            as far as the angle between the two allows.
        resting: (3,) or (..., 3) each, likewise.
    """
    return frame(*posed) @ frame(*resting).transpose(-1, -2)


def about(axis: Tensor, angle: Tensor) -> Tensor:
    """Rotations (B, 3, 3) about unit axes (B, 3) by angles (B,) in radians (Rodrigues)."""
    x, y, z = axis.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    sine, cosine = torch.sin(angle)[:, None, None], torch.cos(angle)[:, None, None]
    return torch.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)


def swung(parent: Tensor, rest: Tensor, posed: Tensor) -> Tensor:
    """Rotations (B, 3, 3): ``parent``, then the shortest one that brings a limb to ``posed``.

    Args:
        parent: (B, 3, 3) rotation of the bone that the limb hangs on.
        rest: (3,) direction of the limb at rest.
        posed: (B, 3) its posed direction.
    """
    start, end = unit((parent @ rest[:, None]).squeeze(-1)), unit(posed)
    axis = torch.linalg.cross(start, end)
    sine = axis.norm(dim=-1)
    angle = torch.atan2(sine, (start * end).sum(-1))
    return about(axis / sine.clamp(min=1e-6)[:, None], angle) @ parent


def unit(vectors: Tensor) -> Tensor:
    """Vectors (..., 3) at length 1."""
    return torch.nn.functional.normalize(vectors, dim=-1)
