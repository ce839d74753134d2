"""Poses of similar difficulty in bins of equal size."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

UNSCORED = -1
"""Bin index of poses without a score."""


def difficulty_order(scores: NDArray[np.float64], ids: Sequence[str]) -> NDArray[np.int64]:
    """Indices of the scored poses, easiest first.

    Equal scores are ordered by a hash of the sample's id, so that neither the order of the files
    nor that of the ids affects the bins.

    Args:
        scores: (N,) larger is harder, NaN for unscored poses.
        ids: N different sample ids.

    Returns:
        (M,) indices, M <= N poses that have a score.

    Raises:
        ValueError: If the lengths differ, a score is infinite or an id occurs twice.
    """
    if len(scores) != len(ids):
        raise ValueError(f"got {len(scores)} scores for {len(ids)} ids")
    if np.isinf(scores).any():
        raise ValueError("scores must be finite or NaN, got an infinite one")
    if len(set(ids)) != len(ids):
        raise ValueError("ids must differ, got one twice")
    digests = np.array([hashlib.sha256(i.encode()).hexdigest() for i in ids], dtype=np.str_)
    order = np.lexsort((digests, scores))  # by score, then digest; NaN comes last
    return order[: int(np.isfinite(scores).sum())]


def assign_bins(
    scores: NDArray[np.float64], ids: Sequence[str], num_bins: int
) -> NDArray[np.int64]:
    """Assign each pose to a bin by its rank; bin sizes differ by at most one.

    With quantile edges instead of ranks, ties would make bins of unequal size.

    Args:
        scores: (N,) larger is harder, NaN for unscored poses.
        ids: N different sample ids.
        num_bins: Number of bins, 2 to the number of scored poses.

    Returns:
        (N,) bin indices, easiest = 0; :data:`UNSCORED` where the score is NaN.

    Raises:
        ValueError: If there are fewer scored poses than bins, or fewer than 2 bins.
    """
    order = difficulty_order(scores, ids)
    if not 2 <= num_bins <= len(order):
        raise ValueError(f"num_bins must be from 2 to {len(order)} scored poses, got {num_bins}")
    bins = np.full(len(scores), UNSCORED, dtype=np.int64)
    for index, members in enumerate(np.array_split(order, num_bins)):
        bins[members] = index
    return bins
