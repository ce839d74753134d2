"""PCK, the percentage of correct keypoints, of a batch of predicted poses.

Called after decoding, with predictions and labels of one split; the figures and the search read
its results. :func:`pck_pooled` is the project's metric: it compares continuous coordinates, and
only the visibility mask decides which joints count. :func:`pck_ref` repeats the convention of the
transfer learning library (tllib) behind the published numbers, for comparison with them only.

Shapes: N poses, K joints of the skeleton. Coordinates are ``(x, y)`` with y down.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.data.heatmaps import peak_cells
from trainables.data.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class PckResult:
    """PCK in percent, at several levels.

    Attributes:
        per_joint: ``(K,)`` accuracy of each joint over the poses in which it is visible; NaN for
            a joint that is visible in none.
        groups: Group name to the mean of its joints' accuracies, without NaN; NaN for a group
            without a visible joint.
        all: Mean of the accuracies of ``skeleton.all_joints``, without NaN. For the body these
            are the 12 limb joints, without the head; on a fully visible set the mean equals the
            mean over the six groups of limbs.
        per_pose: ``(N,)`` correct share of the visible joints, all K counted, as in the paper's
            Fig. 4 and 5; NaN for a pose with none. Joints that a data set does not label are
            visible in none of its poses.
        num_visible: Number of visible keypoints over all poses and all K joints.
    """

    per_joint: Tensor
    groups: dict[str, float]
    all: float
    per_pose: Tensor
    num_visible: int


@dataclass(frozen=True, eq=False)
class PckRefResult:
    """PCK in percent by the convention of :func:`pck_ref`, from -100 to 100.

    Attributes:
        per_joint: ``(K,)`` means over the batches, weighted by batch size.
        groups: Group name to the mean over its joints.
        all: Mean over ``skeleton.all_joints``.
    """

    per_joint: Tensor
    groups: dict[str, float]
    all: float


def check_poses(
    predicted_px: Tensor, keypoints_px: Tensor, visible: Tensor, skeleton: Skeleton | None = None
) -> None:
    """Check the shapes of predictions and labels, without reading a value.

    Raises:
        ValueError: If ``predicted_px`` and ``keypoints_px`` are not ``(N, K, 2)`` with the K of
            the skeleton, or ``visible`` is not ``(N, K)`` bool. Numeric flags are refused because
            1 has a different meaning in different data sets.
    """
    shape = tuple(predicted_px.shape)
    if len(shape) != 3 or shape[2] != 2:
        raise ValueError(f"predicted_px must be (N, K, 2), got {shape}")
    if tuple(keypoints_px.shape) != shape:
        raise ValueError(
            f"keypoints_px must have shape {shape} too, got {tuple(keypoints_px.shape)}"
        )
    if tuple(visible.shape) != shape[:2] or visible.dtype != torch.bool:
        raise ValueError(
            f"visible must be {shape[:2]} bool, got {tuple(visible.shape)} {visible.dtype}"
        )
    if skeleton is not None and shape[1] != skeleton.num_joints:
        raise ValueError(
            f"predicted_px must have the {skeleton.num_joints} joints of {skeleton.name}, "
            f"got {shape[1]}"
        )


def count_unusable(predicted_px: Tensor, keypoints_px: Tensor, visible: Tensor) -> Tensor:
    """Count NaN and infinite coordinates, except in labels that are not visible.

    Shapes as for :func:`check_poses`. Returns an integer tensor ``()``, 0 for valid input.
    """
    labels = ~torch.isfinite(keypoints_px) & visible.unsqueeze(-1)
    return (~torch.isfinite(predicted_px)).sum() + labels.sum()


def correct_keypoints(
    predicted_px: Tensor,
    keypoints_px: Tensor,
    visible: Tensor,
    image_size: float,
    threshold: float = 0.05,
) -> Tensor:
    """Mark the keypoints that are predicted within a fraction of the image size.

    Args:
        predicted_px: ``(N, K, 2)`` predicted keypoints in pixels.
        keypoints_px: ``(N, K, 2)`` true keypoints in the same pixels, not rounded to heatmap
            cells; NaN is allowed where not visible.
        visible: ``(N, K)`` bool.
        image_size: Side of the square image in those pixels, > 0.
        threshold: Fraction of ``image_size``, > 0. The distance must be strictly smaller, at
            0.05 in an image of 256 px smaller than 12.8 px.

    Returns:
        ``(N, K)`` bool, False where not visible.

    Raises:
        ValueError: On a wrong shape, or an image size or threshold that is not positive.
    """
    check_poses(predicted_px, keypoints_px, visible)
    for name, value in (("image_size", image_size), ("threshold", threshold)):
        if not value > 0:
            raise ValueError(f"{name} must be > 0, got {value}")
    distance_px: Tensor = torch.linalg.vector_norm((predicted_px - keypoints_px).float(), dim=-1)
    return (distance_px < threshold * image_size) & visible


def pck_pooled(
    predicted_px: Tensor,
    keypoints_px: Tensor,
    visible: Tensor,
    skeleton: Skeleton,
    image_size: float,
    threshold: float = 0.05,
) -> PckResult:
    """Compute PCK in percent, pooled over all poses.

    The accuracy of a joint is the number of its correct keypoints over the number of its visible
    keypoints, so the result does not depend on batches. Reads the labels of all given poses.

    Args:
        predicted_px: ``(N, K, 2)`` predicted keypoints in pixels, finite.
        keypoints_px: ``(N, K, 2)`` true keypoints in the same pixels.
        visible: ``(N, K)`` bool.
        skeleton: Joint order, groups and the joints behind "All".
        image_size: Side of the square image in pixels, > 0.
        threshold: Fraction of the image size, > 0; PCK@0.05 in the paper.

    Returns:
        Percentages; tensors are on the device of the input.

    Raises:
        ValueError: If no joint of ``skeleton.all_joints`` is visible in any pose, a coordinate
            is not finite, or a shape is wrong.
    """
    check_poses(predicted_px, keypoints_px, visible, skeleton)
    correct = correct_keypoints(predicted_px, keypoints_px, visible, image_size, threshold)
    num_correct, num_visible = correct.sum(dim=0), visible.sum(dim=0)
    unusable = count_unusable(predicted_px, keypoints_px, visible).reshape(1)
    # A single transfer from the device for all counts.
    *counts, num_unusable = torch.cat([num_correct, num_visible, unusable]).tolist()
    num_joints = skeleton.num_joints
    correct_by_joint, visible_by_joint = counts[:num_joints], counts[num_joints:]
    if not any(visible_by_joint[j] for j in skeleton.all_joints):
        raise ValueError(
            f"PCK needs a visible joint of all_joints, got none in {len(visible)} poses"
        )
    if num_unusable:
        raise ValueError(f"coordinates must be finite, got {num_unusable} that are not")

    per_joint = [
        100.0 * num_hits / num_seen if num_seen else math.nan
        for num_hits, num_seen in zip(correct_by_joint, visible_by_joint, strict=True)
    ]
    return PckResult(
        per_joint=100.0 * num_correct / num_visible,
        groups={name: _mean_known(per_joint, joints) for name, joints in skeleton.groups.items()},
        all=_mean_known(per_joint, skeleton.all_joints),
        per_pose=100.0 * correct.sum(dim=1) / visible.sum(dim=1),
        num_visible=sum(visible_by_joint),
    )


def pck_ref(
    heatmaps_pred: Tensor,
    heatmaps_true: Tensor,
    batch_size: int = 32,
    *,
    skeleton: Skeleton,
    threshold: float = 0.05,
) -> PckRefResult:
    """Compute PCK in percent by the convention of the reference code, for parity.

    It differs from :func:`pck_pooled` in four ways. The true keypoints are decoded from a heatmap
    and thus quantised to cells. A joint counts if both its decoded true coordinates are > 1, which
    drops visible joints in the first two columns and rows. Accuracies are computed per batch and
    averaged weighted by batch size, not by the number of visible joints. A joint that counts
    nowhere in a batch enters that average with an accuracy of -1 (-100 %).

    Source: the function ``validate`` of tllib's
    ``examples/domain_adaptation/keypoint_detection/regda.py`` at commit ff067201, and the
    ``accuracy`` and ``group_accuracy`` it calls.
    Differs from the reference: input in which no joint counts raises instead of scoring -100.

    Args:
        heatmaps_pred: ``(N, K, S, S)`` predicted heatmaps.
        heatmaps_true: ``(N, K, S, S)`` target heatmaps; all zero where not visible.
        batch_size: Poses per batch, >= 1, in the given order; the last may be smaller.
        skeleton: Joint order, groups and the joints behind "All".
        threshold: Fraction of the heatmap size S, > 0; the distance must be strictly smaller.

    Raises:
        ValueError: If no joint counts in any pose, a shape is wrong, or ``batch_size`` is < 1.
    """
    shape, shape_true = tuple(heatmaps_pred.shape), tuple(heatmaps_true.shape)
    is_square = len(shape) == 4 and shape[1] == skeleton.num_joints and shape[2] == shape[3]
    if not is_square or shape_true != shape:
        raise ValueError(
            f"heatmaps must be (N, {skeleton.num_joints}, S, S), got {shape} and {shape_true}"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size must be >= 1, got {batch_size}")
    true_cells = _decode_argmax(heatmaps_true)
    counted = (true_cells > 1).all(dim=-1)
    if not counted.any():
        raise ValueError(f"PCK needs a true cell beyond (1, 1), got none in {shape[0]} poses")
    cells = _decode_argmax(heatmaps_pred)
    correct = correct_keypoints(cells, true_cells, counted, shape[3], threshold)

    num_correct, num_counted = (_sum_batches(mask, batch_size) for mask in (correct, counted))
    accuracy = torch.where(num_counted > 0, num_correct / num_counted.clamp_min(1), -1.0)
    weight = _sum_batches(torch.ones_like(counted), batch_size) / shape[0]  # (batches, K)
    per_joint = 100.0 * (weight * accuracy).sum(dim=0)
    values: list[float] = per_joint.tolist()
    return PckRefResult(
        per_joint=per_joint,
        groups={name: _mean_known(values, joints) for name, joints in skeleton.groups.items()},
        all=_mean_known(values, skeleton.all_joints),
    )


def per_bin_mean(values: Tensor, bin_index: Tensor, num_bins: int) -> Tensor:
    """Average per-pose values within each bin, in the unit of the values.

    For ``PckResult.per_pose`` this is the "average keypoint score" of the paper's Fig. 4, in
    which a pose with few visible joints weighs as much as any other.

    Args:
        values: ``(N,)`` floats; NaN marks a pose without a value, which is left out.
        bin_index: ``(N,)`` integers from 0 to ``num_bins - 1``. A pose with another index, such
            as -1 for a pose without a difficulty score, is in no bin; checking the range would
            wait for the device.
        num_bins: Number of bins, >= 1.

    Returns:
        ``(num_bins,)`` means; NaN for a bin without a value.

    Raises:
        ValueError: On a wrong shape or type, or ``num_bins`` < 1.
    """
    if num_bins < 1:
        raise ValueError(f"num_bins must be >= 1, got {num_bins}")
    if values.ndim != 1 or bin_index.shape != values.shape or bin_index.is_floating_point():
        raise ValueError(
            f"values and bin_index must be (N,) and (N,) integers, got {tuple(values.shape)} "
            f"and {tuple(bin_index.shape)} {bin_index.dtype}"
        )
    bins = torch.arange(num_bins, device=bin_index.device)
    # A mask instead of index_add, so that the order of summation is the same on every device.
    member = (bin_index == bins.unsqueeze(-1)) & ~values.isnan()  # (num_bins, N)
    return torch.where(member, values, 0.0).sum(dim=1) / member.sum(dim=1)


def _mean_known(values: Sequence[float], joints: Sequence[int]) -> float:
    known = [values[j] for j in joints if not math.isnan(values[j])]
    return math.fsum(known) / len(known) if known else math.nan


def _decode_argmax(heatmaps: Tensor) -> Tensor:
    """Decode ``(N, K, S, S)`` heatmaps to cells ``(N, K, 2)``; (0, 0) if the peak is <= 0."""
    peak = heatmaps.flatten(2).amax(dim=-1)
    return peak_cells(heatmaps) * (peak > 0).unsqueeze(-1)


def _sum_batches(mask: Tensor, batch_size: int) -> Tensor:
    """Sum a bool mask ``(N, K)`` over consecutive batches: ``(ceil(N / batch_size), K)``."""
    num_missing = -len(mask) % batch_size
    padded = F.pad(mask.to(torch.int64), (0, 0, 0, num_missing))
    return padded.view(-1, batch_size, mask.shape[1]).sum(dim=1)
