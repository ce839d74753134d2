"""Chooses the checkpoint to keep, and measures how good each way of choosing is.

A history is one mapping of flat metrics per checkpoint, in the order of training. The label-free
choices read only ``validator/*`` (:mod:`trainables.metrics.validators`). The target labels behind
``target_val/pck_05`` are used by the choice ``oracle_val``, which is reported separately, and
afterwards to measure each choice.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainables.metrics.metric_keys import VALIDATORS

Floats = NDArray[np.float64]
History = Sequence[Mapping[str, float]]

SOURCE_MARGIN = 3.0
"""Points of source PCK that a checkpoint may lie below the best and still be chosen."""
RANKED = ("equivariance", "infomax", "plausibility")
"""Validators whose mean rank decides the default choice. The first rewards the same pose in every
view of an image, the second penalises the same prediction for all images, the third penalises
poses that no person takes."""

TARGET_PCK = "target_val/pck_05"
TOP = 5


def default_choice(history: History) -> int:
    """Choose the checkpoint to keep without reading a target label.

    Checkpoints more than :data:`SOURCE_MARGIN` points below the best ``validator/source_pck``
    are dropped: they have forgotten the task. Of the remaining ones the checkpoint with the best
    mean rank of the :data:`RANKED` validators is chosen, in a tie the latest. Ranks are computed
    among the remaining checkpoints; equal values share the mean of their ranks.

    Args:
        history: Metrics of each checkpoint, at least one.

    Returns:
        Index from 0. The last checkpoint, if any lacks a finite value of one of the four
        validators: ranks over some of the checkpoints would favour those.

    Raises:
        ValueError: If the history is empty.
    """
    _require_checkpoints(history)
    source, *ranked = (_column(history, f"validator/{name}") for name in ("source_pck", *RANKED))
    if np.isnan([source, *ranked]).any():
        return len(history) - 1
    kept = np.flatnonzero(source >= source.max() - SOURCE_MARGIN)
    ranks = np.sum(
        [_weighted_ranks(values[kept], np.ones(len(kept))) for values in ranked], axis=0
    )
    return int(kept[_last_best(ranks)])


def choices(history: History) -> dict[str, int]:
    """The checkpoint that each way of choosing picks, as index from 0.

    Args:
        history: Metrics of each checkpoint, at least one.

    Returns:
        ``last``; ``default`` of :func:`default_choice`; each name of
        :data:`trainables.metrics.metric_keys.VALIDATORS`, by that validator alone;
        ``oracle_val``, by the target labels, an upper bound for the label-free choices. In a tie
        the latest. Checkpoints without a finite value are skipped; a name without any is left out.

    Raises:
        ValueError: If the history is empty.
    """
    _require_checkpoints(history)
    chosen = {"last": len(history) - 1, "default": default_choice(history)}
    keys = {name: f"validator/{name}" for name in VALIDATORS} | {"oracle_val": TARGET_PCK}
    for name, key in keys.items():
        values = _column(history, key)
        if not np.isnan(values).all():
            chosen[name] = _last_best(values)
    return chosen


def chosen_metrics(history: History) -> dict[str, float]:
    """Metrics of the choices, logged in the last epoch.

    Args:
        history: Metrics of epochs 1, 2, ..., at least one.

    Returns:
        ``chosen_epoch/<name>`` from 1 and ``chosen_pck_05/<name>``, the ``target_val/pck_05`` of
        that epoch in percent, for each name of :func:`choices`. The latter is left out where the
        epoch has none.

    Raises:
        ValueError: If the history is empty.
    """
    metrics = {}
    for name, index in choices(history).items():
        metrics[f"chosen_epoch/{name}"] = float(index + 1)
        pck = history[index].get(TARGET_PCK, math.nan)
        if math.isfinite(pck):
            metrics[f"chosen_pck_05/{name}"] = pck
    return metrics


@dataclass(frozen=True)
class MetaEvaluation:
    """How good a validator is on one task and method, measured with target labels.

    Attributes:
        spearman: Rank correlation of validator and target PCK in [-1, 1]; NaN if either is
            constant.
        weighted_spearman: The same, weighted towards the checkpoints that are good by either of
            the two: a random order of bad checkpoints costs little. NaN if either is constant.
        regret_at_1: Best target PCK minus that of the validator's first choice, in points, >= 0.
        top5_mean: Mean target PCK of its first five choices, of all if there are fewer.
        top5_worst: Lowest target PCK among these.
    """

    spearman: float
    weighted_spearman: float
    regret_at_1: float
    top5_mean: float
    top5_worst: float


def meta_evaluation(validator_values: ArrayLike, target_pck: ArrayLike) -> MetaEvaluation:
    """Compare a validator with the target PCK of the checkpoints that it was computed on.

    Source: Musgrave et al. 2022, "Three New Validators and a Large-Scale Benchmark Ranking for
    Unsupervised Domain Adaptation", and the file ``correlation`` of its code
    (KevinMusgrave/powerful-benchmarker): weights max(r_v, r_t)^2 of the dense ranks divided by
    their maximum; ranks are sums of weights, correlated by weight.
    Differs from the reference: constant input gives NaN, not an error; regret and the first
    five do not depend on the order of the checkpoints.

    Args:
        validator_values: (n,) higher is better. Values that are not finite count as the smallest
            finite one.
        target_pck: (n,) percent, finite.

    Returns:
        The measures; among checkpoints with the same value the worst counts as chosen first.

    Raises:
        ValueError: If there is no checkpoint, the shapes differ or a target PCK is not finite.
    """
    values = np.array(validator_values, dtype=np.float64)
    target = np.array(target_pck, dtype=np.float64)
    if values.ndim != 1 or values.shape != target.shape or len(values) == 0:
        raise ValueError(
            "validator_values and target_pck must be (n,) alike with n >= 1, got "
            f"{values.shape} and {target.shape}"
        )
    if not np.isfinite(target).all():
        raise ValueError(f"target_pck must be finite, got {target[~np.isfinite(target)][0]}")
    known = np.isfinite(values)
    values[~known] = values[known].min() if known.any() else 0.0

    dense = [np.unique(array, return_inverse=True)[1] + 1 for array in (values, target)]
    weights = np.maximum(*(ranks / ranks.max() for ranks in dense)) ** 2
    first = target[np.lexsort((target, -values))]  # by value, ties with the worst first
    return MetaEvaluation(
        spearman=_weighted_spearman(values, target, np.ones(len(values))),
        weighted_spearman=_weighted_spearman(values, target, weights),
        regret_at_1=float(target.max() - first[0]),
        top5_mean=float(first[:TOP].mean()),
        top5_worst=float(first[:TOP].min()),
    )


def _weighted_spearman(first: Floats, second: Floats, weights: Floats) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    ranks = np.stack([_weighted_ranks(values, weights) for values in (first, second)])
    covariance = np.cov(ranks, aweights=weights, ddof=0)
    correlation = covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1])
    return float(np.clip(correlation, -1, 1))


def _weighted_ranks(values: Floats, weights: Floats) -> Floats:
    """Sum of the weights of smaller values, plus (n + 1) / 2 times the mean weight of n equals.

    With weights of 1 these are ranks from 1, equal values sharing the mean rank.
    """
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    mass = np.bincount(group, weights)
    below = np.cumsum(mass) - mass
    return np.asarray((below + (counts + 1) / 2 * mass / counts)[group])


def _require_checkpoints(history: History) -> None:
    if not history:
        raise ValueError("a choice needs at least one checkpoint, got none")


def _column(history: History, key: str) -> Floats:
    """(n,) values of a metric; NaN where it is missing or not finite."""
    values = np.array([metrics.get(key, math.nan) for metrics in history], dtype=np.float64)
    return np.where(np.isfinite(values), values, math.nan)


def _last_best(values: Floats) -> int:
    return int(np.flatnonzero(values == np.nanmax(values))[-1])
