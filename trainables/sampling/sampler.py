"""Which source samples an epoch draws, and with which weights."""

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
    """What a strategy may know of the source samples.

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
    """Where an epoch stands in the training.

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
        """Share done, in [0, 1), of the epochs a strategy of this ``sampling.phase`` covers."""
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

    VAE-HM is the last ``keep`` of the order in both phases; its controls are the first
    ``keep`` and a random ``keep`` that stays the same over the training.

    The hardest ``trim`` of the scored samples, rounded down, are never active: under no strategy
    and in neither phase, whatever ``sampling.phase`` says. ``keep`` and the fractions of a
    curriculum are of what trimming left; bins are those of all scored samples, so the hardest
    lose members. Unscored samples are never trimmed and never chosen for their difficulty: they
    are active under ``all``, in a phase the strategy does not cover, and while a curriculum
    draws from everything scored, which ``exclusive`` and ``window`` do only with one band or a
    window of 1.

    Args:
        view: Order and bins of the source samples.
        sampling: Strategy.
        curriculum: Order, mode and pacing, read by the curriculum strategy.
        subset: Bins of the ``bins`` strategy.
        clock: The epoch.
        seed: Seed of the ``random`` control's choice and, in a stream of its own, of a
            curriculum's random order.

    Returns:
        (N,) weights, at least one of them 1.

    Raises:
        ValueError: If nothing would be left to draw.
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
    """The samples in the order in which a curriculum activates them, the same in every epoch."""
    match name:
        case "easy_to_hard":
            return order
        case "hard_to_easy":
            return order[::-1]
        case "random":
            # Sorted first: the control must not know the scores, not even through the VAE's seed.
            rng = np.random.default_rng(derive_seed(seed, "curriculum", "order"))
            return rng.permutation(np.sort(order))


def _active_range(
    curriculum: CurriculumConfig, progress: float, num_samples: int
) -> tuple[int, int]:
    """First index and end of the active samples in a curriculum's order.

    With g the active fraction of the pacing at this time:
        cumulative  the first g
        window      the ``window`` that ends at g, or the first ``window`` while g is smaller
        exclusive   the newest band of the order that g covers wholly. Bands end at the levels
                    of the pacing: for ``step`` and ``fixed_exponential`` those it stops at, for
                    the others those of ``step``; the first has width b.
    An exclusive curriculum thus draws what ``step`` adds at each level (Bengio et al. 2009's
    one-pass, against the cumulative baby-step), and a linear one passes at the same times. A
    pacing that gains more than a band from one epoch to the next skips bands.

    Returns:
        0 <= first < end <= num_samples; 0 and 1 even of no samples.
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
            # Levels closer than a sample make empty bands, which are passed over.
            band = bisect_left(levels, end, key=size)
            return size(levels[band - 1]) if band > 0 else 0, end


def _whole(num: int, share: float) -> int:
    """A share of a number of samples, rounded down but for floating-point error."""
    return int(num * share + _EPSILON)


def draw_indices(weights: NDArray[np.float64], num: int, generator: torch.Generator) -> Tensor:
    """Draw ``num`` sample indices with replacement, in proportion to the weights.

    The number of draws does not depend on how many samples are active, so every strategy
    trains for the same number of steps.

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
