"""From a teacher's heatmaps to labels for a student that sees another view of the image.

The teacher's maps of its own view are brought to the student in one of two ways, of which UDAPE
(Kim et al. 2022) does the second:

``coord``
    The arg max is taken in the teacher's view and the K coordinates are moved into the
    student's, where the labels are drawn afresh (:func:`pseudo_labels`).
``warp``
    The maps of both are resampled into the stored image, of which both views are warps, and
    compared there (:func:`warped_pseudo_labels`, :func:`compare_in_stored`).

Since labels are drawn afresh from an arg max in either way, the first loses nothing and resamples
nothing; it also learns from all that the student sees, not only from what lies within the stored
image.

Shapes: B images, K joints, maps of H x H cells, images of S x S pixels. Values of maps are logits
for the loss ``kl`` and learn to be the Gaussian itself for ``mse``. Matrices (B, 2, 3) lead from
pixels to pixels, of which centres are integers.
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
"""Logit of a cell that no probability may reach. Finite, so that 0 * log p is 0."""


@dataclass(frozen=True)
class PseudoLabels:
    """What the teacher tells the student, in one frame: the student's view or the stored image.

    Attributes:
        keypoints_px: (B, K, 2) in that frame, some possibly outside it.
        maps: (B, K, H, H) fresh Gaussians at the keypoints.
        confidence: (B, K) height of the teacher's peak, in [0, 1].
        weights: (B, K) 1 for labels to learn from, else 0.
    """

    keypoints_px: Tensor
    maps: Tensor
    confidence: Tensor
    weights: Tensor


def peak_confidence(maps: Tensor, loss: str) -> Tensor:
    """Height of each map's peak relative to a perfectly learned one, in [0, 1].

    For ``mse`` the peak itself: a perfect map is a Gaussian with peak 1. A network trained with
    ``kl`` learns normalised Gaussians, so its probability at the peak is compared with the peak
    of a normalised Gaussian, 1 / (2 pi sigma^2).

    Args:
        maps: (B, K, H, H).
        loss: ``kl`` or ``mse``.

    Returns:
        (B, K).
    """
    return _peak_heights(maps.float(), loss).clamp(0.0, 1.0)


def confident_mask(confidence: Tensor, keep: float, per_joint: bool) -> Tensor:
    """Which labels of a batch to trust: the most confident ``keep`` of them.

    Of n labels those are dropped that are no more confident than number floor((1 - keep) n) from
    below; UDAPE keeps half.

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
    """Decode the teacher, move the keypoints into the student's view, draw them afresh.

    Labels that fall outside the student's view get weight 0 but take part in the ranking: which
    labels are trusted then depends on the teacher alone, not on how the student's views happened
    to be drawn, and less than ``keep`` of all labels are learned from.

    Differs from the reference, which takes the arg max of maps warped into a common frame: see
    the module's docstring.

    Args:
        teacher_maps: (B, K, H, H) in the teacher's view.
        teacher_to_student: (B, 2, 3) matrix between the views.
        image_size: S of both views.
        keep: Fraction of labels to trust, in (0, 1].
        per_joint: See :func:`confident_mask`.
        loss: ``kl`` or ``mse``, see :func:`peak_confidence`.

    Returns:
        Labels in the student's view.
    """
    # Copying maps that have joints last is five times faster than decoding them as they are.
    teacher_maps = teacher_maps.float().contiguous()
    seen = to_pixels(peak_cells(teacher_maps), image_size / teacher_maps.shape[-1])
    # Autocast would multiply coordinates in a format that cannot hold 200.5.
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
    """Resample the teacher's maps into the stored image, decode them there, draw them afresh.

    For ``kl`` the softmax is taken before the warp, over all that the teacher sees. What is
    warped are heights relative to a perfectly learned peak in the teacher's own cells, so that
    confidence does not depend on the zoom of the view, and the arg max and the confidence are
    read from the same map. Cells of the stored image outside the teacher's view cannot be the
    arg max. A stored image of which the teacher sees nothing has confidence and weights 0.

    Differs from the reference: one bilinear resampling about the pixels' centre instead of three
    by nearest neighbour, and cells that the teacher does not see are told from zeros.

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
        # Joints last, as the sampler wants them.
        logits = maps.permute(0, 2, 3, 1)
        maps = logits.flatten(1, 2).softmax(1).view(logits.shape).permute(0, 3, 1, 2)
    warped, covered = _resample(maps, teacher_view, image_size)
    warped = warped.masked_fill_(~covered, -torch.inf).contiguous()
    keypoints = to_pixels(peak_cells(warped), image_size / size)
    heights = warped.amax((-2, -1)) / _perfect_peak(size, loss)
    # A map without a cell to choose from has nothing but -inf.
    weights = _trusted(heights, keep, per_joint) & torch.isfinite(heights)
    return _draw(keypoints, heights, weights, image_size, size)


def warp_to_stored(maps: Tensor, view: Tensor, image_size: int) -> tuple[Tensor, Tensor]:
    """Resample maps of a view back into the frame of the stored image; differentiable.

    One bilinear ``grid_sample`` for the batch. Counted from -1 to 1 between outer edges, image
    and maps share their coordinates, so the matrix in pixels needs no other conversion to cells;
    nor has it to be inverted, since sampling asks where a stored cell lies in the view.

    Args:
        maps: (B, K, H, H) in the view.
        view: (B, 2, 3) matrix from pixels of the stored image to pixels of the view.
        image_size: S of the stored image and the view.

    Returns:
        (B, K, H, H) float32 maps, zero where not covered, and (B, 1, H, H) bool, the cells whose
        centres lie within the view. Between the outermost centres of the view's cells and its
        edge, the outermost values continue.
    """
    warped, covered = _resample(maps, view, image_size)
    return warped * covered, covered


def compare_in_stored(
    student_maps: Tensor, student_view: Tensor, image_size: int, labels: PseudoLabels, loss: str
) -> tuple[Tensor, PseudoLabels]:
    """What a loss compares in the stored image: the student's maps and what is left of labels.

    Cells that the student does not see take part in neither: labels are zero there, the student's
    maps are zero for ``mse`` and have no probability for ``kl``, whose softmax thus runs over the
    cells that the student sees. A label whose keypoint lies outside the view loses its weight.

    Args:
        student_maps: (B, K, H, H) in the student's view; gradients reach them.
        student_view: (B, 2, 3) matrix from the stored image to the student's view.
        image_size: S.
        labels: Of :func:`warped_pseudo_labels`.
        loss: ``kl`` or ``mse``.

    Returns:
        (B, K, H, H) maps and the labels for them.
    """
    warped, covered = _resample(student_maps, student_view, image_size)
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
    """(B, K) peaks relative to a perfectly learned one; above 1 for an overconfident map.

    Labels are ranked by these: clamped, more than ``keep`` of them could be equal, and none
    would be above the quantile.
    """
    flat = maps.flatten(2)
    if loss == "kl":
        flat = flat.softmax(-1)
    return flat.amax(-1) / _perfect_peak(maps.shape[-1], loss)


def _resample(maps: Tensor, view: Tensor, image_size: int) -> tuple[Tensor, Tensor]:
    """As :func:`warp_to_stored`, but with the outermost values wherever not covered."""
    size = maps.shape[-1]
    edge = (image_size - 1) / 2  # from the centre of the image to its outermost pixel centres
    linear = view[:, :, :2]
    shift = (2 * (linear.sum(-1) * edge + view[:, :, 2]) + 1) / image_size - 1  # (B, 2)
    centres = (2 * torch.arange(size, device=view.device) + 1) / size - 1
    by_column = centres.view(1, 1, -1, 1) * linear[:, None, None, :, 0]  # (B, 1, H, 2)
    by_row = centres.view(1, -1, 1, 1) * linear[:, None, None, :, 1]  # (B, H, 1, 2)
    grid = by_column + (by_row + shift[:, None, None])
    covered = (grid.abs() <= 1).all(-1).unsqueeze(1)
    # With all joints of a cell side by side a CPU samples maps of 64 x 64 cells twice as fast.
    maps = maps.float().contiguous(memory_format=torch.channels_last)
    warped = F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return warped, covered
