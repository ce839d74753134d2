"""From a teacher's heatmaps to labels for a student that sees another view of the image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.data.augment import warp_keypoints
from trainables.data.heatmaps import (
    default_sigma,
    gaussian_heatmaps,
    peak_cells,
    to_cells,
    to_pixels,
)


@dataclass(frozen=True)
class PseudoLabels:
    """What the teacher tells the student.

    Attributes:
        keypoints_px: (B, K, 2) in the student's view.
        maps: (B, K, H, H) fresh Gaussians at the keypoints.
        confidence: (B, K) height of the teacher's peak, in [0, 1].
        weights: (B, K) 1 for labels to learn from, else 0.
    """

    keypoints_px: Tensor
    maps: Tensor
    confidence: Tensor
    weights: Tensor


def peak_confidence(logits: Tensor) -> Tensor:
    """Height of each map's peak relative to a perfectly learned one, in [0, 1].

    A network trained with the spatial KL loss learns normalised Gaussians, so its probability at
    the peak is compared with the peak of a normalised Gaussian, 1 / (2 pi sigma^2).

    Args:
        logits: (B, K, H, H).

    Returns:
        (B, K).
    """
    sigma = default_sigma(logits.shape[-1])
    highest = logits.flatten(2).softmax(-1).amax(-1)
    return (highest * (2 * torch.pi * sigma**2)).clamp_max(1.0)


def confident_mask(confidence: Tensor, keep: float, per_joint: bool) -> Tensor:
    """Which labels of a batch to trust: the most confident ``keep`` of them.

    Args:
        confidence: (B, K).
        keep: Fraction in (0, 1].
        per_joint: Whether each joint keeps its own most confident labels. Over the whole batch,
            as in UDAPE, joints that are always harder (wrists, ankles) are hardly ever kept.

    Returns:
        (B, K) bool; strictly above the (1 - keep) quantile, everything for ``keep`` 1.
    """
    if keep >= 1:
        return torch.ones_like(confidence, dtype=torch.bool)
    if per_joint:
        k = max(1, int((1 - keep) * confidence.shape[0]))
        return confidence > confidence.kthvalue(k, dim=0, keepdim=True).values
    k = max(1, int((1 - keep) * confidence.numel()))
    return confidence > confidence.flatten().kthvalue(k).values


def pseudo_labels(
    teacher_logits: Tensor,
    teacher_to_student: Tensor,
    image_size: int,
    keep: float,
    per_joint: bool,
) -> PseudoLabels:
    """Decode the teacher, move the keypoints into the student's view, draw them afresh.

    UDAPE (Kim et al. 2022) warps heatmaps back to a common frame by three nearest-neighbour
    resamplings and takes the arg max there. Since the labels are drawn afresh from the arg max
    anyway, moving the K coordinates is exact and needs no resampling. Labels that fall outside
    the student's view are dropped.

    Args:
        teacher_logits: (B, K, H, H) in the teacher's view.
        teacher_to_student: (B, 2, 3) matrix between the views, in pixels.
        image_size: Side of the views in pixels.
        keep: Fraction of labels to trust.
        per_joint: See :func:`confident_mask`.
    """
    size = teacher_logits.shape[-1]
    stride = image_size / size
    seen = to_pixels(peak_cells(teacher_logits), stride)
    keypoints = warp_keypoints(seen, teacher_to_student)
    cells = to_cells(keypoints, stride)
    inside = ((cells >= -0.5) & (cells < size - 0.5)).all(-1)
    confidence = peak_confidence(teacher_logits)
    weights = confident_mask(confidence, keep, per_joint) & inside
    return PseudoLabels(
        keypoints_px=keypoints,
        maps=gaussian_heatmaps(cells, size, default_sigma(size)),
        confidence=confidence,
        weights=weights.float(),
    )


def occlude_confident_joints(
    images: Tensor,
    labels: PseudoLabels,
    probability: float,
    threshold: float,
    generator: torch.Generator,
) -> Tensor:
    """Adaptive occlusion: hide one confidently known joint behind a patch of the same image.

    The window is centred on the joint where the student's view has it; the reference un-warps
    the image, pastes and warps it back, which displaces the window and blurs the image twice.

    Args:
        images: (B, 3, S, S) student images.
        labels: Pseudo-labels in the student's view.
        probability: Chance that an image with a confident joint is occluded.
        threshold: Confidence from which a joint counts as known.
        generator: CPU generator.

    Returns:
        (B, 3, S, S) new images.
    """
    batch, _, size, _ = images.shape
    device = images.device
    half = max(1, round(size * 10 / 256))  # 20 x 20 pixels of a 256-pixel image
    draws = torch.rand((batch, 4), generator=generator).to(device)
    known = (labels.confidence >= threshold) & (labels.weights > 0)
    scores = torch.rand(known.shape, generator=generator).to(device) * known
    joint = scores.argmax(1)  # a random known joint
    chosen = known.any(1) & (draws[:, 0] < probability)
    centre = labels.keypoints_px[torch.arange(batch, device=device), joint]
    pixel = torch.arange(size, device=device)
    inside_x = (pixel - centre[:, :1]).abs() <= half  # (B, S)
    inside_y = (pixel - centre[:, 1:]).abs() <= half
    window = inside_y.unsqueeze(2) & inside_x.unsqueeze(1) & chosen.view(-1, 1, 1)
    # The patch comes from the image shifted by a random offset, wrapped around.
    shift = (draws[:, 1:3] * size).long()
    rows = (pixel + shift[:, :1]) % size
    columns = (pixel + shift[:, 1:]) % size
    index = torch.arange(batch, device=device).view(-1, 1, 1)
    patch = images.permute(0, 2, 3, 1)[index, rows.unsqueeze(2), columns.unsqueeze(1)]
    return torch.where(window.unsqueeze(1), patch.permute(0, 3, 1, 2), images)
