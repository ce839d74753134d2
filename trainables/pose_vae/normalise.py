"""Normalises poses to the input coordinates of the Pose VAE.

The score of equation (2) is a squared length. Without a common scale it would mostly rank people
by their size in the image, so the default divides by the tight box of the pose.
"""

import torch
from torch import Tensor

_MIN_SIDE_PX = 1.0
"""Poses smaller than a pixel have no shape; they are divided by this instead of by zero."""


def normalise_poses(
    keypoints_px: Tensor, visible: Tensor, norm: str, image_size: int, torso: tuple[int, ...]
) -> Tensor:
    """Bring poses to a common place and scale.

    Args:
        keypoints_px: (N, K, 2) pixels.
        visible: (N, K) bool.
        norm: ``bbox`` centres the box of the visible joints and divides by its longer side;
            ``raw`` divides by the image side (the paper read literally); ``root`` centres the mid
            hip and divides by the torso length, and is meaningless for poses whose torso joints
            are not all visible.
        image_size: Side of the image in pixels, for ``raw``.
        torso: Joint indices (hip, hip, shoulder, shoulder), for ``root``.

    Returns:
        (N, K, 2); invisible joints are 0.

    Raises:
        ValueError: If ``norm`` is unknown.
    """
    mask = visible.unsqueeze(-1)
    if norm == "raw":
        return torch.where(mask, keypoints_px / image_size, 0.0)
    if norm == "bbox":
        infinity = torch.inf
        low = torch.where(mask, keypoints_px, infinity).amin(1)
        high = torch.where(mask, keypoints_px, -infinity).amax(1)
        any_visible = visible.any(1, keepdim=True)
        low, high = torch.where(any_visible, low, 0.0), torch.where(any_visible, high, 0.0)
        centre = (low + high) / 2
        side = (high - low).amax(1)
    elif norm == "root":
        hip = keypoints_px[:, torso[:2]].mean(1)
        centre = hip
        side = (keypoints_px[:, torso[2:]].mean(1) - hip).norm(dim=-1)
    else:
        raise ValueError(f"vae.norm must be bbox, raw or root, got {norm!r}")
    scaled = (keypoints_px - centre.unsqueeze(1)) / side.clamp_min(_MIN_SIDE_PX).view(-1, 1, 1)
    return torch.where(mask, scaled, 0.0)


def pose_vae_inputs(
    keypoints_px: Tensor,
    visible: Tensor,
    joints: Tensor,
    norm: str,
    image_size: int,
    torso: tuple[int, ...],
) -> tuple[Tensor, Tensor]:
    """Inputs of a Pose VAE that covers some joints of the skeleton.

    With ``norm`` ``root``, a pose without its four torso joints has no scale: all of its joints
    are masked, so it gets no score.

    Args:
        keypoints_px: (N, K, 2) pixels.
        visible: (N, K) bool; not changed.
        joints: (K,) bool, the J joints of the Pose VAE.
        norm: See :func:`normalise_poses`.
        image_size: Side of the image in pixels.
        torso: Four joint indices.

    Returns:
        (N, J, 2) normalised poses and (N, J) float mask, 1 for joints that count.
    """
    counted = visible & joints
    if norm == "root":
        counted = counted & counted[:, list(torso)].all(1, keepdim=True)
    poses = normalise_poses(keypoints_px, counted, norm, image_size, torso)
    return poses[:, joints], counted[:, joints].float()
