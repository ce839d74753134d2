"""Turns a teacher's heatmaps into labels for a student that sees another view of the image.

There are two ways to get from the teacher's view to the student's; UDAPE (Kim et al. 2022) uses
the second:

``coord``
    Take the arg max in the teacher's view, move the K coordinates into the student's view and
    draw new Gaussians there (:func:`pseudo_labels`).
``warp``
    Resample the maps of both views into the stored image, of which both are warps, and compare
    them there (:func:`warped_pseudo_labels`, :func:`compare_in_stored`).

Both draw new Gaussians at an arg max, so ``coord`` loses nothing by not resampling; it also learns
from everything that the student sees, not only from what lies within the stored image.

Shapes: B images, K joints, maps of H x H cells, images of S x S pixels. With the loss ``kl`` maps
are logits, with ``mse`` they approximate the Gaussian itself. Matrices (B, 2, 3) map pixels to
pixels; pixel centres are integers.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.data.augment import warp_keypoints
from trainables.data.frame import in_frame
from trainables.data.heatmaps import (
    default_sigma,
    gaussian_heatmaps,
    peak_cells,
    to_cells,
    to_pixels,
)
from trainables.distributed.collectives import gather, own_part

UNSEEN_LOGIT = -1e4
"""Logit of a cell with probability 0; finite, so that 0 * log p is 0."""


@dataclass(frozen=True)
class PseudoLabels:
    """Pseudo-labels in one frame: the student's view or the stored image.

    Attributes:
        keypoints_px: (B, K, 2) in that frame, some possibly outside it.
        maps: (B, K, H, H) new Gaussians at the keypoints.
        confidence: (B, K) in [0, 1]: height of the teacher's peak relative to a perfectly learned
            one. For ``mse`` that is the peak itself, as a perfect map is a Gaussian with peak 1.
            For ``kl`` it is the probability at the peak over the peak of a normalised Gaussian,
            1 / (2 pi sigma^2).
        weights: (B, K) 1 for labels to learn from, else 0.
    """

    keypoints_px: Tensor
    maps: Tensor
    confidence: Tensor
    weights: Tensor


def confident_mask(confidence: Tensor, keep: float, per_joint: bool) -> Tensor:
    """Mark the labels of a batch to trust: the most confident ``keep`` of them.

    Of n labels in rising order of confidence, the one at place floor((1 - keep) n), counted from
    1, is dropped with all that are not more confident than it; UDAPE keeps half.

    Args:
        confidence: (B, K).
        keep: Fraction in (0, 1].
        per_joint: Whether each joint keeps its own most confident labels. Over the whole batch,
            as in UDAPE, joints that are always harder (wrists, ankles) are hardly ever kept.

    Returns:
        (B, K) bool.
    """
    ranked = confidence if per_joint else confidence.reshape(-1, 1)
    # 0.3 * 10 labels are three, not the two that (1 - 0.7) * 10 = 2.9999999999999996 gives.
    num_dropped = int(round((1 - keep) * len(ranked), 6))
    if num_dropped == 0:
        return torch.ones_like(confidence, dtype=torch.bool)
    return confidence > ranked.kthvalue(num_dropped, dim=0).values


@torch.no_grad()
def pseudo_labels(
    teacher_maps: Tensor,
    teacher_to_student: Tensor,
    image_size: int,
    keep: float,
    per_joint: bool,
    loss: str,
) -> PseudoLabels:
    """Decode the teacher's maps, move the keypoints into the student's view, draw new Gaussians.

    Labels outside the student's view get weight 0 but take part in the ranking. Which labels are
    trusted then depends on the teacher alone, not on the random student views, and fewer than
    ``keep`` of all labels are learned from.

    Differs from the reference, which takes the arg max of maps warped into a common frame: see
    the module's docstring.

    Args:
        teacher_maps: (B, K, H, H) in the teacher's view.
        teacher_to_student: (B, 2, 3) matrix between the views.
        image_size: S of both views.
        keep: Fraction of labels to trust, in (0, 1].
        per_joint: See :func:`confident_mask`.
        loss: ``kl`` or ``mse``.

    Returns:
        Labels in the student's view.
    """
    # With the joints last in memory, copying the maps is five times as fast as decoding them.
    teacher_maps = teacher_maps.float().contiguous()
    seen = to_pixels(peak_cells(teacher_maps), image_size / teacher_maps.shape[-1])
    # Autocast would multiply coordinates in bfloat16, which cannot hold 200.5.
    with torch.autocast(seen.device.type, enabled=False):
        keypoints = warp_keypoints(seen, teacher_to_student)
    heights = _peak_heights(teacher_maps, loss)
    weights = _trusted(heights, keep, per_joint) & in_frame(keypoints, image_size, image_size)
    return _draw(keypoints, heights, weights, image_size, teacher_maps.shape[-1])


@torch.no_grad()
def warped_pseudo_labels(
    teacher_maps: Tensor,
    teacher_view: Tensor,
    image_size: int,
    keep: float,
    per_joint: bool,
    loss: str,
) -> PseudoLabels:
    """Resample the teacher's maps into the stored image, decode them, draw new Gaussians.

    For ``kl`` the softmax is taken before the warp, over all that the teacher sees. Confidences
    are peak heights in the teacher's own cells, so they do not depend on the zoom of the view, and
    they are read from the same map as the arg max. Cells of the stored image outside the teacher's
    view cannot be the arg max. If the teacher sees nothing of a stored image, confidences and
    weights are 0.

    Differs from the reference: one bilinear resampling about pixel centres instead of three by
    nearest neighbour, and cells that the teacher does not see are not mistaken for zeros.

    Args:
        teacher_maps: (B, K, H, H) in the teacher's view.
        teacher_view: (B, 2, 3) matrix from the stored image to the teacher's view.
        image_size: S of the stored image and the view.
        keep: Fraction of labels to trust, in (0, 1].
        per_joint: See :func:`confident_mask`.
        loss: ``kl`` or ``mse``.

    Returns:
        Labels in the stored image, where all keypoints are centres of cells.
    """
    size = teacher_maps.shape[-1]
    maps = teacher_maps.float()
    if loss == "kl":
        # Joints last, as warp_to_stored needs them.
        logits = maps.permute(0, 2, 3, 1)
        maps = logits.flatten(1, 2).softmax(1).view(logits.shape).permute(0, 3, 1, 2)
    warped, covered = warp_to_stored(maps, teacher_view, image_size)
    warped = warped.masked_fill_(~covered, -torch.inf).contiguous()
    keypoints = to_pixels(peak_cells(warped), image_size / size)
    heights = warped.amax((-2, -1)) / _perfect_peak(size, loss)
    # The map of an image that the teacher does not see is -inf everywhere.
    weights = _trusted(heights, keep, per_joint) & torch.isfinite(heights)
    return _draw(keypoints, heights, weights, image_size, size)


def warp_to_stored(maps: Tensor, view: Tensor, image_size: int) -> tuple[Tensor, Tensor]:
    """Resample maps of a view back into the frame of the stored image; differentiable.

    One bilinear ``grid_sample`` for the batch. In coordinates from -1 to 1 between the outer edges
    image and maps agree, so the matrix in pixels needs no conversion to cells. It is not inverted
    either, since sampling needs the place of a stored cell in the view.

    Args:
        maps: (B, K, H, H) in the view.
        view: (B, 2, 3) matrix from pixels of the stored image to pixels of the view.
        image_size: S of the stored image and the view.

    Returns:
        (B, K, H, H) float32 maps, and (B, 1, H, H) bool: which cells are covered, that is, have
        their centres within the view. Beyond the outermost cell centres of the view, also where
        not covered, the outermost values continue.
    """
    size = maps.shape[-1]
    edge = (image_size - 1) / 2  # from the centre of the image to its outermost pixel centres
    linear = view[:, :, :2]
    shift = (2 * (linear.sum(-1) * edge + view[:, :, 2]) + 1) / image_size - 1  # (B, 2)
    centres = (2 * torch.arange(size, device=view.device) + 1) / size - 1
    by_column = centres.view(1, 1, -1, 1) * linear[:, None, None, :, 0]  # (B, 1, H, 2)
    by_row = centres.view(1, -1, 1, 1) * linear[:, None, None, :, 1]  # (B, H, 1, 2)
    grid = by_column + (by_row + shift[:, None, None])
    covered = (grid.abs() <= 1).all(-1).unsqueeze(1)
    # With the joints of a cell side by side a CPU samples maps of 64 x 64 cells twice as fast.
    maps = maps.float().contiguous(memory_format=torch.channels_last)
    warped = F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return warped, covered


def compare_in_stored(
    student_maps: Tensor, student_view: Tensor, image_size: int, labels: PseudoLabels, loss: str
) -> tuple[Tensor, PseudoLabels]:
    """Bring the student's maps into the stored image and restrict the labels to what it sees.

    Cells that the student does not see contribute to no loss: labels are zero there, the student's
    maps are zero for ``mse`` and have probability 0 for ``kl``, whose softmax thus covers only the
    cells that the student sees. A label whose keypoint lies outside the view gets weight 0.

    Args:
        student_maps: (B, K, H, H) in the student's view; gradients reach them.
        student_view: (B, 2, 3) matrix from the stored image to the student's view.
        image_size: S.
        labels: From :func:`warped_pseudo_labels`.
        loss: ``kl`` or ``mse``.

    Returns:
        (B, K, H, H) maps and the labels for them.
    """
    warped, covered = warp_to_stored(student_maps, student_view, image_size)
    warped = warped.masked_fill_(~covered, UNSEEN_LOGIT if loss == "kl" else 0.0)
    peak = to_cells(labels.keypoints_px, image_size / warped.shape[-1]).round().long()
    index = peak[..., 1] * warped.shape[-1] + peak[..., 0]  # (B, K)
    seen = covered.flatten(1).gather(1, index)
    return warped, replace(labels, maps=labels.maps * covered, weights=labels.weights * seen)


def _trusted(heights: Tensor, keep: float, per_joint: bool) -> Tensor:
    """:func:`confident_mask` over the batch of all processes that share it."""
    return own_part(confident_mask(gather(heights), keep, per_joint))


def _draw(
    keypoints_px: Tensor, heights: Tensor, trusted: Tensor, image_size: int, heatmap_size: int
) -> PseudoLabels:
    cells = to_cells(keypoints_px, image_size / heatmap_size)
    return PseudoLabels(
        keypoints_px=keypoints_px,
        maps=gaussian_heatmaps(cells, heatmap_size, default_sigma(heatmap_size)),
        confidence=heights.clamp(0.0, 1.0),
        weights=trusted.float(),
    )


def _perfect_peak(heatmap_size: int, loss: str) -> float:
    """Highest value, or probability, of a perfectly learned map."""
    if loss == "mse":
        return 1.0
    return 1 / (2 * torch.pi * default_sigma(heatmap_size) ** 2)


def _peak_heights(maps: Tensor, loss: str) -> Tensor:
    """Heights (B, K) of the peaks relative to a perfectly learned one; above 1 if overconfident.

    Labels are ranked by the unclamped heights: clamped, so many could be equal that none would be
    above the quantile.
    """
    flat = maps.flatten(2)
    if loss == "kl":
        flat = flat.softmax(-1)
    return flat.amax(-1) / _perfect_peak(maps.shape[-1], loss)
