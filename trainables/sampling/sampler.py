"""Weights of the source samples in an epoch, and draws by them."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import CurriculumConfig, Order, SamplingConfig
from trainables.sampling.schedule import Levels, active_fraction
from trainables.seeding import derive_seed

_EPSILON = 1e-9


@dataclass(frozen=True)
class DifficultyView:
    """What a strategy may know about the source samples.

    Attributes:
        num_samples: N.
        order: (M,) indices of the scored samples, easiest first; M <= N.
        bin_index: (N,) bin of each sample, -1 for unscored ones.
    """

    num_samples: int
    order: NDArray[np.int64]
    bin_index: NDArray[np.int64]


@dataclass(frozen=True)
class TrainingClock:
    """Position of an epoch in the training.

    Attributes:
        epoch: Index from 0 over both phases.
        pretrain_epochs: Length of the first phase.
        total_epochs: Length of both.
    """

    epoch: int
    pretrain_epochs: int
    total_epochs: int

    @property
    def phase(self) -> str:
        """``pretrain`` or ``adapt``."""
        return "pretrain" if self.epoch < self.pretrain_epochs else "adapt"

    def progress(self, phase: str) -> float:
        """Fraction, in [0, 1), of the epochs of a ``sampling.phase`` that are done."""
        first = self.pretrain_epochs if phase == "adapt" else 0
        last = self.pretrain_epochs if phase == "pretrain" else self.total_epochs
        return (self.epoch - first) / (last - first)


def epoch_weights(
    view: DifficultyView,
    sampling: SamplingConfig,
    curriculum: CurriculumConfig,
    subset: tuple[int, ...] | None,
    clock: TrainingClock,
    seed: int,
) -> NDArray[np.float64]:
    """Weight of each source sample in an epoch: 1 for active samples, 0 for the others.

    VAE-HM draws from the last ``keep`` of the order in both phases. Its controls draw from the
    first ``keep`` and from a random ``keep`` that stays the same over the training.

    The hardest ``trim`` of the scored samples, rounded down, are never active, whatever the
    strategy and ``sampling.phase``. ``keep`` and the fractions of a curriculum refer to the
    samples that trimming leaves. Bins are computed before trimming, so the hardest bins lose
    members. Unscored samples are never trimmed and never chosen for their difficulty. They are
    active under ``all``, in a phase that the strategy does not cover, and while a curriculum draws
    from all scored samples (with ``exclusive`` or ``window``: only if there is one band, or a
    window of 1).

    Args:
        view: Order and bins of the source samples.
        sampling: Strategy.
        curriculum: Order, mode and pacing, read by the curriculum strategy.
        subset: Bins of the ``bins`` strategy.
        clock: The epoch.
        seed: Seed of the ``random`` control's choice and, in a separate stream, of a curriculum's
            random order.

    Returns:
        (N,) weights, at least one of them 1.

    Raises:
        ValueError: If no sample would be active.
    """
    num_left = len(view.order) - _whole(len(view.order), sampling.trim)
    order = view.order[:num_left]
    untrimmed = np.ones(view.num_samples)
    untrimmed[view.order[num_left:]] = 0.0
    if sampling.strategy == "all" or sampling.phase not in ("both", clock.phase):
        return untrimmed
    num_kept = max(1, _whole(len(order), sampling.keep))
    match sampling.strategy:
        case "hardest":
            active = order[-num_kept:]
        case "easiest":
            active = order[:num_kept]
        case "random":
            active = np.random.default_rng(seed).permutation(order)[:num_kept]
        case "bins":
            active = np.flatnonzero(np.isin(view.bin_index, subset or ()) & (untrimmed > 0))
        case "curriculum":
            first, end = _active_range(
                curriculum, clock.progress(sampling.phase), num_samples=len(order)
            )
            active = _curriculum_order(order, curriculum.order, seed)[first:end]
            if 0 < len(active) == len(order):
                return untrimmed
    if len(active) == 0:
        raise ValueError(f"sampling.strategy {sampling.strategy!r} leaves no source sample")
    weights = np.zeros(view.num_samples)
    weights[active] = 1.0
    return weights


def _curriculum_order(order: NDArray[np.int64], name: Order, seed: int) -> NDArray[np.int64]:
    """The samples in the order in which a curriculum activates them; the same in every epoch."""
    match name:
        case "easy_to_hard":
            return order
        case "hard_to_easy":
            return order[::-1]
        case "random":
            # Sorted first: the control must not depend on the scores, nor on the VAE's seed.
            rng = np.random.default_rng(derive_seed(seed, "curriculum", "order"))
            return rng.permutation(np.sort(order))


def _active_range(
    curriculum: CurriculumConfig, progress: float, num_samples: int
) -> tuple[int, int]:
    """First index and end of the active samples in a curriculum's order.

    With g the active fraction that the pacing gives at this progress:
        cumulative  the first g
        window      the ``window`` that ends at g, or the first ``window`` while g is smaller
        exclusive   the newest band that g covers completely. Bands end at the levels of the
                    pacing (``step`` and ``fixed_exponential``), or else at the levels of
                    ``step``; the first band has width b.
    So an exclusive curriculum draws the samples that ``step`` adds at each level (one-pass of
    Bengio et al. 2009, in contrast to the cumulative baby-step), and with linear pacing it changes
    bands at the same times. A pacing that grows by more than a band per epoch skips bands.

    Returns:
        0 <= first < end <= num_samples; 0 and 1 if there are no samples.
    """
    b = curriculum.start_fraction
    fraction = active_fraction(curriculum.pacing, progress, b, curriculum.full_at)

    def size(share: float) -> int:
        return max(1, _whole(num_samples, share))

    match curriculum.mode:
        case "cumulative":
            return 0, size(fraction)
        case "window":
            end = size(max(fraction, curriculum.window))
            return end - size(curriculum.window), end
        case "exclusive":
            levels = Levels(curriculum.pacing, b)
            end = size(levels[bisect_right(levels, fraction + _EPSILON) - 1])
            # Levels less than a sample apart make empty bands; skip them.
            band = bisect_left(levels, end, key=size)
            return size(levels[band - 1]) if band > 0 else 0, end


def _whole(num: int, share: float) -> int:
    """Number of samples in a share of ``num``, rounded down, safe against rounding errors."""
    return int(num * share + _EPSILON)


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
