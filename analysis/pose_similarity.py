r"""How alike the poses of two bins are: the mean EvalPose of all pairs (paper, Fig. 3b).

With N poses in a bin there are N squared pairs. The mean over them needs only N steps, as every
reading but one is a scalar product of vectors that belong to the poses:

.. math:: \frac{1}{N M} \sum_{i,j} u_i \cdot v_j
          = \Bigl(\frac{1}{N} \sum_i u_i\Bigr) \cdot \Bigl(\frac{1}{M} \sum_j v_j\Bigr)

``printed``: u is the vector of unsigned angles, divided by its length; ``cosines``: the same of
the angles' cosines; ``unit_signed``: u is (cos theta, sin theta) of all signed angles, divided by
the square root of their number, as cos(a - b) = cos a cos b + sin a sin b; ``unit_unsigned``: the
same of unsigned angles. ``within_20`` counts pairs of angles, which sorting does in N log N steps
per triplet. So all readings are exact and none is sampled.

This holds where every triplet enters: a pair of poses with missing joints has triplets of its own
and a length of its own. Poses with a triplet that is not visible or has a limb shorter than a
heatmap cell are therefore left out, and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.palette import FONT, new_figure
from trainables.data.skeleton import Skeleton
from trainables.metrics.evalpose import WITHIN_RAD, triplet_angles
from trainables.metrics.metric_keys import EvalPoseVariant

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BinSimilarity:
    """Mean EvalPose between the poses of bins.

    Attributes:
        percent: (B, B) symmetric. On the diagonal the mean over different poses of a bin. NaN
            where a bin has no pose, on the diagonal where it has one.
        num_poses: (B,) complete poses of each bin.
        num_left_out: Poses in a bin that have a missing joint or a limb too short for an angle.
        variant: Reading of EvalPose.
    """

    percent: Array
    num_poses: NDArray[np.int64]
    num_left_out: int
    variant: EvalPoseVariant


def bin_similarity(
    keypoints_px: NDArray[np.float32],
    visible: NDArray[np.bool_],
    bins: NDArray[np.int64],
    skeleton: Skeleton,
    min_limb_px: float,
    variant: EvalPoseVariant = "printed",
) -> BinSimilarity:
    """Mean EvalPose over all pairs of poses of every two bins.

    Args:
        keypoints_px: (N, K, 2) poses in pixels; NaN is allowed where not visible.
        visible: (N, K) joints that may be used.
        bins: (N,) bin of each pose from 0, -1 for none.
        skeleton: Triplets.
        min_limb_px: Shortest limb with a meaningful angle: one heatmap cell in image pixels.
        variant: Reading, see :mod:`trainables.metrics.evalpose`.

    Raises:
        ValueError: If no pose is complete.
    """
    angles = triplet_angles(torch.from_numpy(np.array(keypoints_px)).double(), skeleton.triplets)
    is_seen = np.stack([visible[:, list(triplet)].all(axis=1) for triplet in skeleton.triplets], 1)
    is_long = angles.shorter_limb.numpy() >= min_limb_px  # False for NaN
    is_complete = (is_seen & is_long).all(axis=1)
    if not (is_complete & (bins >= 0)).any():
        raise ValueError(f"no pose has all {len(skeleton.triplets)} triplets")
    signed = angles.signed_rad.numpy()
    members = [signed[is_complete & (bins == index)] for index in range(int(bins.max()) + 1)]
    totals = _close_pairs(members) if variant == "within_20" else _products(members, variant)
    counts = np.array([len(rows) for rows in members])
    pairs = np.outer(counts, counts).astype(float)
    # A pose is not compared with itself.
    own = np.array([_own_similarity(rows, variant).sum() for rows in members])
    totals[np.diag_indices_from(totals)] -= own
    pairs[np.diag_indices_from(pairs)] -= counts
    percent = np.full_like(totals, np.nan)
    np.divide(100 * totals, pairs, out=percent, where=pairs > 0)
    return BinSimilarity(percent, counts, int((~is_complete & (bins >= 0)).sum()), variant)


def similarity_heatmap(similarity: BinSimilarity, title: str = "") -> Figure:
    """Bins against bins; dark is unlike, as in the paper's Figure 3b.

    Args:
        similarity: From :func:`bin_similarity`.
        title: Title of the axes.
    """
    num = len(similarity.percent)
    figure = new_figure(4.6, width=5.6)
    axes = figure.subplots()
    # The values of a reading may lie close together: the colours span those that there are.
    image = axes.imshow(similarity.percent, cmap="viridis", origin="upper")
    bar = figure.colorbar(image, ax=axes, shrink=0.9)
    bar.set_label(f"mean EvalPose of pairs, {similarity.variant} (%)", fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT - 1)
    shown = np.arange(0, num, 1 if num <= 12 else 4)
    axes.set_xticks(shown, [str(index) for index in shown])
    axes.set_yticks(shown, [str(index) for index in shown])
    axes.tick_params(labelsize=FONT - 1)
    axes.set_xlabel("bin, 0 = easiest", fontsize=FONT)
    axes.set_ylabel("bin, 0 = easiest", fontsize=FONT)
    axes.set_title(title, fontsize=FONT + 1)
    if num <= 12:
        _write_values(axes, similarity.percent)
    return figure


def _write_values(axes: Axes, percent: Array) -> None:
    low, high = np.nanmin(percent), np.nanmax(percent)
    for (row, column), value in np.ndenumerate(percent):
        if not np.isnan(value):
            is_light = high > low and (value - low) / (high - low) > 0.6
            axes.text(
                column, row, f"{value:.1f}", ha="center", va="center", fontsize=FONT - 2,
                color="black" if is_light else "white",
            )  # fmt: skip


def _products(members: Sequence[Array], variant: EvalPoseVariant) -> Array:
    """(B, B) sums over all pairs of the scalar products of their vectors."""
    sums = np.array([_vectors(rows, variant).sum(axis=0) for rows in members])
    totals: Array = sums @ sums.T
    return totals


def _own_similarity(signed: Array, variant: EvalPoseVariant) -> Array:
    """(N,) similarity of each pose to itself: 1 but for a vector of zeros."""
    if variant == "within_20":
        return np.ones(len(signed))
    squares: Array = (_vectors(signed, variant) ** 2).sum(axis=1)
    return squares


def _vectors(signed: Array, variant: EvalPoseVariant) -> Array:
    """(N, D) vectors of the poses, whose scalar product is their similarity."""
    if variant in ("unit_signed", "unit_unsigned"):
        angles = signed if variant == "unit_signed" else np.abs(signed)
        circles: Array = np.hstack([np.cos(angles), np.sin(angles)])
        circles /= np.sqrt(signed.shape[1])
        return circles
    rows = np.abs(signed) if variant == "printed" else np.cos(signed)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    units: Array = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    return units


def _close_pairs(members: Sequence[Array]) -> Array:
    """(B, B) sums over all pairs of the share of their triplets that ``within_20`` counts."""
    num = len(members)
    totals: Array = np.zeros((num, num))
    ordered = [np.sort(np.abs(rows), axis=0) for rows in members]
    for a in range(num):
        for b in range(num):
            for column, others in zip(ordered[a].T, ordered[b].T, strict=True):
                upper = np.searchsorted(others, column + WITHIN_RAD, side="right")
                lower = np.searchsorted(others, column - WITHIN_RAD, side="left")
                totals[a, b] += (upper - lower).sum()
    totals /= members[0].shape[1]
    return totals
