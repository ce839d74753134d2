"""Weights of the source samples in an epoch, and draws by them."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import TrialConfig
from trainables.registry import STRATEGIES
from trainables.sampling.difficulty_view import DifficultyView, TrainingClock, whole_samples


def epoch_weights(
    view: DifficultyView, trial: TrialConfig, clock: TrainingClock
) -> NDArray[np.float64]:
    """Weight of each source sample in an epoch: how often it is drawn, relative to the others.

    The hardest ``sampling.trim`` of the scored samples, rounded down, are never drawn, whatever
    the strategy and ``sampling.phase``. ``sampling.keep`` and the fractions of a curriculum refer
    to the samples that trimming leaves. Bins are computed before trimming, so the hardest bins
    lose members. Unscored samples are never trimmed and never chosen for their difficulty. In a
    phase that the strategy does not cover, all samples that are not trimmed are drawn.

    Args:
        view: Order and bins of the N source samples.
        trial: Settings; its strategy is one of :data:`trainables.registry.STRATEGIES`.
        clock: The epoch.

    Returns:
        (N,) weights, none negative, at least one positive.

    Raises:
        ValueError: If no sample would be drawn, or the strategy returns something else.
    """
    sampling = trial.sampling
    num_left = len(view.order) - whole_samples(len(view.order), sampling.trim)
    is_left = np.ones(view.num_samples)
    is_left[view.order[num_left:]] = 0.0
    if sampling.phase not in ("both", clock.phase):
        return is_left
    strategy = STRATEGIES[sampling.strategy].load()
    weights = np.asarray(strategy(replace(view, order=view.order[:num_left]), trial, clock), float)
    if weights.shape != is_left.shape or not (weights >= 0).all() or np.isinf(weights).any():
        raise ValueError(
            f"sampling.strategy {sampling.strategy!r} must return {view.num_samples} weights of "
            "at least 0"
        )
    weights = weights * is_left  # not in place: a strategy may keep its array
    if not weights.any():
        raise ValueError(f"sampling.strategy {sampling.strategy!r} leaves no source sample")
    return weights


def draw_indices(weights: NDArray[np.float64], num: int, generator: torch.Generator) -> Tensor:
    """Draw ``num`` sample indices with replacement, in proportion to the weights.

    The number of draws does not depend on the number of active samples, so all strategies train
    for the same number of steps.

    Args:
        weights: (N,) not negative, not all 0.
        num: Number of draws.
        generator: CPU generator.

    Returns:
        (num,) int64 indices.
    """
    if (weights < 0).any() or not weights.sum() > 0:
        raise ValueError("weights must not be negative and must not all be 0")
    edges = torch.from_numpy(np.cumsum(weights))
    draws = torch.rand(num, generator=generator, dtype=torch.float64) * edges[-1]
    last = int(np.flatnonzero(weights)[-1])  # a draw may round up to the last edge
    return torch.searchsorted(edges, draws, right=True).clamp_max(last)
