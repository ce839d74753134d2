"""Label-free validators that compare two sets: Pose VAE scores, or features of two domains.

They belong with :mod:`trainables.metrics.validators` and follow the same rules: higher is better,
0 is the best value, and each can be gamed. The sets have N and M elements, of D features.
"""

import torch
from torch import Tensor


def plausibility(scores: Tensor, reference_scores: Tensor) -> float:
    """Negative 1-Wasserstein distance of Pose VAE scores to those of real poses, <= 0.

    W1 = integral of |F - G| over the score, F and G the empirical distribution functions; in
    the unit of the scores, squared normalised lengths. 0 for the same distribution.

    Source: difficulty scores of the paper's equation (2), applied to predictions.
    Gamed by: plausible poses that do not depend on the images. Biased if the target's poses are
    really harder than the source's.

    Args:
        scores: (N,) scores of predicted poses; NaN, for an unscored pose, is left out.
        reference_scores: (M,) scores of real poses, likewise.

    Raises:
        ValueError: If no pose of either is scored or a score is infinite.
    """
    first, second = _scored(scores, "scores"), _scored(reference_scores, "reference_scores")
    edges = torch.cat([first, second]).sort().values
    shares = [
        torch.searchsorted(values, edges[:-1], right=True).double() / len(values)
        for values in (first, second)
    ]
    return -float(((shares[0] - shares[1]).abs() * edges.diff()).sum())


def feature_mmd(first: Tensor, second: Tensor) -> float:
    """Negative maximum mean discrepancy of two sets of features, from -sqrt(2) to 0.

    MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y), the biased estimate, with
    k(a, b) = exp(-|a - b|^2 / (2 s^2)) and s^2 the median of the non-zero squared distances
    between points of both sets. 0 for equal sets, and if all points are the same.

    Source: Gretton et al. 2012, equation (5); bandwidth by the median heuristic.
    Gamed by: features that no longer distinguish images; blind to scale.

    Args:
        first: (N, D) finite.
        second: (M, D) finite.

    Raises:
        ValueError: If a set is empty, the widths differ or a feature is not finite.
    """
    _check_features(first, second)
    points = torch.cat([first, second]).double()
    # Not as a matrix product, which gives equal points a small distance.
    distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").square()
    apart = distance[distance > 0]
    if len(apart) == 0:
        return 0.0
    kernel = torch.exp(-distance / (2 * apart.median()))
    sign = torch.full((len(points), 1), 1 / len(first), dtype=kernel.dtype, device=kernel.device)
    sign[len(first) :] = -1 / len(second)
    return -float((sign.mT @ kernel @ sign).clamp_min(0).sqrt())


def coral(first: Tensor, second: Tensor) -> float:
    """Negative CORAL distance of two sets of features, <= 0.

    ||C_1 - C_2||_F^2 / (4 D^2), C the covariances (divided by the number of points minus one).
    0 for sets of equal covariance, even if their means differ; the covariance of a single point
    is 0.

    Source: Sun and Saenko 2016, equation (1).
    Gamed by: small features, as the distance grows with the fourth power of their scale.

    Args:
        first: (N, D) finite.
        second: (M, D) finite.

    Raises:
        ValueError: If a set is empty, the widths differ or a feature is not finite.
    """
    _check_features(first, second)
    difference = _covariance(first) - _covariance(second)
    return -float(difference.square().sum() / (4 * first.shape[1] ** 2))


def _covariance(features: Tensor) -> Tensor:
    centred = features.double() - features.double().mean(0)
    return centred.mT @ centred / max(len(features) - 1, 1)


def _scored(scores: Tensor, name: str) -> Tensor:
    """The sorted scores of the poses that have one, in double precision."""
    known = scores[~scores.isnan()].double().sort().values
    if len(known) == 0:
        raise ValueError(f"{name} must hold a scored pose, got none in {len(scores)}")
    if known.isinf().any():
        raise ValueError(f"{name} must be finite or NaN, got infinite ones")
    return known


def _check_features(first: Tensor, second: Tensor) -> None:
    shapes = tuple(first.shape), tuple(second.shape)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(f"features must be (N, D) and (M, D), got {shapes[0]} and {shapes[1]}")
    if first.numel() == 0 or second.numel() == 0:
        raise ValueError(f"features must not be empty, got {shapes[0]} and {shapes[1]}")
    if not (first.isfinite().all() and second.isfinite().all()):
        raise ValueError("features must be finite, got some that are not")
