"""Turns of the hand's bones that bring its joints near given joints, as ``body_turns`` does."""

import torch
from torch import Tensor

from trainables.data.render.mesh import Mesh
from trainables.data.render.rotations import about, aligned, unit


def hand_turns(mesh: Mesh, joints: Tensor, wrist_flex: Tensor) -> Tensor:
    """Fit the bones of ``mesh`` to poses.

    Args:
        mesh: The hand.
        joints: (B, 21, 3) joints of :data:`trainables.data.skeleton.HAND21` in the camera's axes;
            lengths do not matter, directions of zero length are not allowed.
        wrist_flex: (B,) by how much the forearm turns from the palm about the axis across it,
            radians.

    Returns:
        (B, J, 3, 3) turns for :func:`trainables.data.render.mesh.pose_mesh`.
    """
    rest = mesh.joints @ mesh.point_mean  # (21, 3)

    def palm(j: Tensor) -> tuple[Tensor, Tensor]:
        return j[..., 9, :] - j[..., 0, :], j[..., 5, :] - j[..., 17, :]

    hand = aligned(palm(joints), palm(rest))
    across = unit(palm(joints)[1])
    turns = {"hand": hand, "forearm": about(across, wrist_flex) @ hand}
    for finger in range(5):
        parent = hand
        for bone in range(3):
            start = 1 + 4 * finger + bone
            along = joints[:, start + 1] - joints[:, start]
            along_rest = rest[start + 1] - rest[start]
            # The second direction is that across the palm, or out of it for the thumb, as the
            # bone before has turned it.
            hinge_rest = palm(rest)[1] if finger else torch.linalg.cross(*palm(rest))
            hinge = (parent @ hinge_rest[:, None]).squeeze(-1)
            parent = aligned((along, hinge), (along_rest, hinge_rest.expand_as(along_rest)))
            turns[f"finger{finger + 1}-{bone + 1}"] = parent
    return torch.stack([turns[bone] for bone in mesh.bones], 1)
