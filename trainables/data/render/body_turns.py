"""Turns of the body's bones that bring its joints near given joints.

Any 3D pose can be drawn so: the directions between its joints decide, not its bone lengths. A
turn is found from two directions: that of the limb and one that fixes the twist about it, such as
the axis about which an elbow or a knee folds.
"""

import torch
from torch import Tensor

from trainables.data.render.mesh import Mesh
from trainables.data.render.rotations import about, aligned, frame, swung, unit

_STRAIGHT = 0.12
"""Sine of the angle below which a stretched limb no longer shows the axis about which it folds."""
_SHOULDER_FOLLOWS = 0.28
"""Share of an arm's elevation beyond 60 degrees that the collarbone and shoulder blade make."""


def body_turns(mesh: Mesh, joints: Tensor, head_yaw: Tensor, foot_flex: Tensor) -> Tensor:
    """Fit the bones of ``mesh`` to poses.

    Args:
        mesh: The body.
        joints: (B, 16, 3) joints of :data:`trainables.data.skeleton.BODY16` in the camera's axes;
            lengths do not matter, directions of zero length are not allowed.
        head_yaw: (B,) turn of the head about the neck's axis against the chest, radians.
        foot_flex: (B, 2) by how much the toes of the right and left foot point down from a right
            angle with the shin, radians.

    Returns:
        (B, J, 3, 3) turns for :func:`trainables.data.render.mesh.pose_mesh`.
    """
    rest = mesh.joints @ mesh.point_mean  # (16, 3)

    def axes(j: Tensor) -> dict[str, Tensor]:
        hips, shoulders = j[..., 3, :] - j[..., 2, :], j[..., 13, :] - j[..., 12, :]
        chest = (j[..., 12, :] + j[..., 13, :]) / 2
        return {
            "hips": hips,
            "shoulders": shoulders,
            "spine": chest - (j[..., 2, :] + j[..., 3, :]) / 2,
            "head": j[..., 9, :] - j[..., 8, :],
        }

    posed, resting = axes(joints), axes(rest)
    turns: dict[str, Tensor] = {}
    turns["pelvis"] = aligned((posed["hips"], posed["spine"]), (resting["hips"], resting["spine"]))
    chest = aligned((posed["shoulders"], posed["spine"]), (resting["shoulders"], resting["spine"]))
    turns["chest"] = chest
    middle = (turns["pelvis"] + chest) / 2
    turns["spine"] = frame(middle[..., 0], middle[..., 1])
    head = aligned((posed["head"], posed["shoulders"]), (resting["head"], resting["shoulders"]))
    turns["neck"] = frame(*((chest + head) / 2)[..., :2].unbind(-1))
    turns["head"] = about(unit(posed["head"]), head_yaw) @ head
    front = -chest[..., 2]  # where the chest looks
    for side, (ankle, knee, hip, wrist, elbow, shoulder) in enumerate(
        ((0, 1, 2, 10, 11, 12), (5, 4, 3, 15, 14, 13))
    ):
        name = ".R" if side == 0 else ".L"
        upper, lower = joints[:, elbow] - joints[:, shoulder], joints[:, wrist] - joints[:, elbow]
        upper_rest, lower_rest = rest[elbow] - rest[shoulder], rest[wrist] - rest[elbow]
        fold_rest = torch.linalg.cross(upper_rest, lower_rest)
        fold = _fold(upper, lower, swung(chest, upper_rest, upper) @ unit(fold_rest))
        turns["upperarm" + name] = aligned((upper, fold), (upper_rest, fold_rest))
        turns["forearm" + name] = aligned((lower, fold), (lower_rest, fold_rest))
        turns["hand" + name] = turns["fingers" + name] = turns["forearm" + name]
        elevation = torch.acos((unit(upper) * chest[..., 1]).sum(-1).clamp(-1, 1))
        lift = _SHOULDER_FOLLOWS * (elevation - torch.pi / 3).clamp(min=0)
        turns["clavicle" + name] = about(front, -lift if side == 0 else lift) @ chest

        thigh, shin = joints[:, knee] - joints[:, hip], joints[:, ankle] - joints[:, knee]
        thigh_rest, shin_rest = rest[knee] - rest[hip], rest[ankle] - rest[knee]
        across = torch.tensor([1.0, 0, 0])
        fold = _fold(thigh, shin, swung(turns["pelvis"], thigh_rest, thigh) @ across)
        turns["thigh" + name] = aligned((thigh, fold), (thigh_rest, across.expand_as(thigh_rest)))
        leg = aligned((shin, fold), (shin_rest, across.expand_as(shin_rest)))
        turns["shin" + name] = leg
        turns["foot" + name] = about(leg[..., 0], foot_flex[:, side]) @ leg
    return torch.stack([turns[bone] for bone in mesh.bones], 1)


def _fold(upper: Tensor, lower: Tensor, default: Tensor) -> Tensor:
    """The axis (B, 3) about which a limb folds; ``default`` for a stretched one."""
    seen = torch.linalg.cross(unit(upper), unit(lower))
    axis: Tensor = seen + _STRAIGHT * default
    return axis
