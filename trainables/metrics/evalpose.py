r"""EvalPose, the similarity of two poses by the angles between their limbs.

Unlike PCK it needs no threshold and ignores the position, size and rotation of a pose: it compares
the angles of a fixed set of keypoint triplets (paper, section 2.4 and Fig. 3c).

Notation:
    ===========  =====================================================================
    N, K, T      poses, joints, triplets of the skeleton
    (a, b, c)    a triplet of joints with the vertex b
    v1, v2       limbs a - b and c - b
    theta        signed interior angle from v1 to v2, atan2(v1 x v2, v1 . v2), in
                 [-pi, pi]; its magnitude is the angle of the paper
    Theta        the angles of one pose over its valid triplets
    ===========  =====================================================================

The paper can be read in several ways, called variants here; all are means over images x 100:
    ``printed``: equation (3) as printed, the cosine of the vectors of unsigned angles. Because
    the angles are never negative it cannot come near 0, and it is blind to mirroring.

    ``cosines``: equation (3) of the vectors of cos theta, as if arccos had been left out. From
    -100 to 100. Of the readings that allow the paper's low values of single images, it comes
    closest to the published numbers. Blind to mirroring.

    ``within_20``: share of the triplets whose unsigned angles differ by at most 20 degrees; blind
    to mirroring.

    ``unit_signed``: equation (3) of signed angles embedded as (cos, sin), which is
    mean_j cos(theta_j - theta'_j). From -100 to 100; a mirrored pose loses.

    ``unit_unsigned``: the same with unsigned angles; blind to mirroring.

``docs/evalpose.md`` shows what each of them detects and which one to trust.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from trainables.data.skeleton import MIN_TRIPLETS, Skeleton, Triplet
from trainables.metrics.metric_keys import EvalPoseVariant
from trainables.metrics.pck import check_poses, count_unusable

WITHIN_RAD = math.radians(20)
"""Largest difference of two angles that ``within_20`` counts as equal."""


@dataclass(frozen=True, eq=False)
class TripletAngles:
    """Angles and limb lengths of the triplets of a batch of poses.

    Attributes:
        signed_rad: ``(N, T)`` signed interior angles in radians, in [-pi, pi], positive from x
            towards y; 0 if a limb has length zero.
        shorter_limb: ``(N, T)`` length of the shorter limb of each triplet, in the unit of the
            poses.
    """

    signed_rad: Tensor
    shorter_limb: Tensor


class TooFewTripletsError(ValueError):
    """No image has enough valid triplets for a score."""


@dataclass(frozen=True, eq=False)
class EvalPoseResult:
    """EvalPose in percent, and how much of the input it is based on.

    Attributes:
        mean: Mean over the scored images.
        per_pose: ``(N,)`` score of each image; NaN for a skipped image.
        num_scored: Images with at least ``MIN_TRIPLETS`` (3) valid triplets.
        num_skipped: The other images.
        coverage: Share of all N * T triplets that entered a score, from 0 to 1.
        num_degenerate: Scored triplets with a predicted limb of length zero.
    """

    mean: float
    per_pose: Tensor
    num_scored: int
    num_skipped: int
    coverage: float
    num_degenerate: int


def triplet_angles(poses: Tensor, triplets: tuple[Triplet, ...]) -> TripletAngles:
    """Measure the signed interior angle of every triplet, in radians.

    It uses ``atan2`` instead of the paper's arccos, because ``atan2`` does not divide by lengths
    that may be zero, is precise near 0 and pi, and gives the sign.

    Args:
        poses: ``(N, K, 2)`` floating point, in any unit.
        triplets: T joint index triplets ``(a, b, c)`` with the vertex b.

    Returns:
        Angles and limb lengths ``(N, T)``, NaN where a joint is NaN.
    """
    # Stacked views: an index tensor would have to be copied to the device first.
    a, b, c = (
        torch.stack([poses[:, triplet[i]] for triplet in triplets], dim=1) for i in range(3)
    )
    v1, v2 = a - b, c - b  # (N, T, 2)
    dot = (v1 * v2).sum(dim=-1)
    cross = v1[..., 0] * v2[..., 1] - v1[..., 1] * v2[..., 0]
    return TripletAngles(
        signed_rad=torch.atan2(cross, dot),
        shorter_limb=torch.minimum(
            torch.linalg.vector_norm(v1, dim=-1), torch.linalg.vector_norm(v2, dim=-1)
        ),
    )


def evalpose_readings(
    predicted_px: Tensor,
    keypoints_px: Tensor,
    visible: Tensor,
    skeleton: Skeleton,
    variants: Sequence[EvalPoseVariant],
    *,
    min_limb_px: float,
) -> dict[EvalPoseVariant, EvalPoseResult]:
    """Compute EvalPose between predicted and true poses, in percent, in several readings.

    Equation (3): ``EvalPose = Theta_1 . Theta_2 / (|Theta_1| |Theta_2|)`` for each image over
    its valid triplets. A triplet is valid if its three true joints are visible and both true
    limbs are at least ``min_limb_px`` long, whatever the prediction. Images with fewer than three
    valid triplets are skipped and counted.

    A predicted limb of length zero has no angle: its triplet contributes 0 to the dot product or
    to the mean over its image's valid triplets. (With the angle pi / 2, from a dot product of 0,
    ``printed`` would give 92 to all joints on one point.) A vector of zeros has no direction and
    scores 0.

    Args:
        predicted_px: ``(N, K, 2)`` predicted keypoints in pixels, finite.
        keypoints_px: ``(N, K, 2)`` true keypoints in pixels, not rounded to heatmap cells; NaN is
            allowed where not visible.
        visible: ``(N, K)`` bool.
        skeleton: Joint order and triplets.
        variants: Readings to compute; see the module's docstring.
        min_limb_px: Shortest true limb with a meaningful angle, > 0: one heatmap cell in image
            pixels, that is image size / heatmap size.

    Returns:
        Scores and counts of each variant; ``printed`` and ``within_20`` are in [0, 100].

    Raises:
        TooFewTripletsError: If no image can be scored.
        ValueError: If a coordinate is not finite, a shape is wrong, the variant is unknown or
            ``min_limb_px`` is not positive.
    """
    check_poses(predicted_px, keypoints_px, visible, skeleton)
    for variant in variants:
        if variant not in get_args(EvalPoseVariant):
            allowed = ", ".join(get_args(EvalPoseVariant))
            raise ValueError(f"variant must be one of {allowed}, got {variant!r}")
    if not min_limb_px > 0:
        raise ValueError(f"min_limb_px must be > 0, got {min_limb_px}")
    true = triplet_angles(_as_float(keypoints_px), skeleton.triplets)
    predicted = triplet_angles(_as_float(predicted_px), skeleton.triplets)

    seen = torch.stack(
        [visible[:, a] & visible[:, b] & visible[:, c] for a, b, c in skeleton.triplets], dim=1
    )
    valid = seen & (true.shorter_limb >= min_limb_px)  # (N, T)
    scored = valid.sum(dim=1) >= MIN_TRIPLETS
    degenerate = predicted.shorter_limb == 0
    per_pose = {
        variant: torch.where(
            scored,
            100.0 * _SIMILARITY[variant](true.signed_rad, predicted.signed_rad, valid, degenerate),
            torch.nan,
        )
        for variant in variants
    }

    entered = valid & scored.unsqueeze(-1)
    counts = [
        scored.sum(),
        entered.sum(),
        (entered & degenerate).sum(),
        count_unusable(predicted_px, keypoints_px, visible),
    ]
    num_scored, num_entered, num_degenerate, num_unusable = torch.stack(counts).tolist()
    if num_unusable:
        raise ValueError(f"coordinates must be finite, got {num_unusable} that are not")
    if not num_scored:
        raise TooFewTripletsError(
            f"EvalPose needs an image with {MIN_TRIPLETS} valid triplets, "
            f"got none in {len(visible)} images"
        )
    return {
        variant: EvalPoseResult(
            mean=float(scores.nanmean()),
            per_pose=scores,
            num_scored=num_scored,
            num_skipped=len(visible) - num_scored,
            coverage=num_entered / valid.numel(),
            num_degenerate=num_degenerate,
        )
        for variant, scores in per_pose.items()
    }


def _as_float(poses: Tensor) -> Tensor:
    # Decoded cells may be integers, and half precision cannot hold a product of two limbs.
    return poses.to(torch.promote_types(poses.dtype, torch.float32))


def _printed(true: Tensor, predicted: Tensor, valid: Tensor, degenerate: Tensor) -> Tensor:
    """Cosine ``(N,)`` of the vectors of unsigned angles, equation (3)."""
    return _cosine(true.abs(), predicted.abs(), valid, degenerate)


def _cosines(true: Tensor, predicted: Tensor, valid: Tensor, degenerate: Tensor) -> Tensor:
    """Cosine ``(N,)`` of the vectors of the angles' cosines."""
    return _cosine(true.cos(), predicted.cos(), valid, degenerate)


def _cosine(true: Tensor, predicted: Tensor, valid: Tensor, degenerate: Tensor) -> Tensor:
    a = torch.where(valid, true, 0.0)
    b = torch.where(valid & ~degenerate, predicted, 0.0)
    norms = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    cosine: Tensor = (a * b).sum(dim=1) / norms.clamp_min(torch.finfo(norms.dtype).tiny)
    return cosine.clamp_max(1.0)  # rounding must not report more than 100 %


def _within_20(true: Tensor, predicted: Tensor, valid: Tensor, degenerate: Tensor) -> Tensor:
    """Share ``(N,)`` of the valid triplets whose unsigned angles are close."""
    is_close = (true.abs() - predicted.abs()).abs() <= WITHIN_RAD
    entered = (valid & ~degenerate & is_close).to(true.dtype)
    return entered.sum(dim=1) / valid.sum(dim=1).clamp_min(1)


def _unit_signed(true: Tensor, predicted: Tensor, valid: Tensor, degenerate: Tensor) -> Tensor:
    """Mean cosine ``(N,)`` of the differences of the angles over the valid triplets."""
    cosines = torch.where(valid & ~degenerate, torch.cos(true - predicted), 0.0)
    return cosines.sum(dim=1) / valid.sum(dim=1).clamp_min(1)


def _unit_unsigned(true: Tensor, predicted: Tensor, valid: Tensor, degenerate: Tensor) -> Tensor:
    """The same ``(N,)`` for unsigned angles."""
    return _unit_signed(true.abs(), predicted.abs(), valid, degenerate)


_Similarity = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
_SIMILARITY: dict[EvalPoseVariant, _Similarity] = {
    "printed": _printed,
    "cosines": _cosines,
    "within_20": _within_20,
    "unit_signed": _unit_signed,
    "unit_unsigned": _unit_unsigned,
}
