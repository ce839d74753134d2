"""Controls: predictions made without a network, for comparison with a network's.

If a metric scores one of these as high as a trained network, it cannot show that the network has
learned anything. They are reported beside PCK and every reading of EvalPose.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from trainables.data.skeleton import Skeleton


def mean_pose(keypoints_px: Tensor, visible: Tensor, image_size: int) -> Tensor:
    """The pose that a constant predictor learns from labelled poses.

    Args:
        keypoints_px: ``(N, K, 2)`` keypoints in pixels; NaN is allowed where not visible.
        visible: ``(N, K)`` bool.
        image_size: Side of the images in pixels; a joint that is visible in no pose is placed at
            the centre.

    Returns:
        ``(K, 2)`` means over the poses in which a joint is visible.
    """
    seen = visible.unsqueeze(-1)
    total = torch.where(seen, keypoints_px, 0.0).sum(0)
    count = seen.sum(0)
    return torch.where(count > 0, total / count.clamp_min(1), (image_size - 1) / 2)


def control_predictions(
    keypoints_px: Tensor,
    visible: Tensor,
    constant_poses_px: Mapping[str, Tensor],
    skeleton: Skeleton,
    image_size: int,
) -> dict[str, tuple[Tensor, Tensor]]:
    """The predictions of each control, and the joints that they are evaluated on.

    Args:
        keypoints_px: ``(N, K, 2)`` true keypoints in pixels; NaN is allowed where not visible.
        visible: ``(N, K)`` bool.
        constant_poses_px: Name to a ``(K, 2)`` pose from :func:`mean_pose`, of training poses.
        skeleton: Joint order.
        image_size: Side of the square images in pixels.

    Returns:
        Name in :data:`trainables.metrics.metric_keys.CONTROLS` to ``(N, K, 2)`` predictions and
        ``(N, K)`` bool: the visible joints; for ``swapped`` only those whose counterpart is also
        visible. A skeleton without left and right, like the hand's, has no ``swapped``.
    """
    middle = torch.full_like(keypoints_px, (image_size - 1) / 2)
    known = torch.where(visible.unsqueeze(-1), keypoints_px, middle)
    mirrored = torch.stack([image_size - 1 - known[..., 0], known[..., 1]], dim=-1)
    predictions = {
        "centre": (middle, visible),
        **{
            name: (pose.to(known).expand_as(known), visible)
            for name, pose in constant_poses_px.items()
        },
        "mirrored": (mirrored, visible),
    }
    mirror = list(skeleton.mirror)
    if mirror != sorted(mirror):
        predictions["swapped"] = (known[:, mirror], visible & visible[:, mirror])
    return predictions
