"""Which source samples an epoch draws, and with which weights."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import CurriculumConfig, SamplingConfig
from trainables.sampling.schedule import active_fraction


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
    ``keep`` and a random ``keep`` that stays the same over the training. Unscored samples are
    never chosen for their difficulty; ``all`` and a curriculum that has become complete
    include them.

    Args:
        view: Order and bins of the source samples.
        sampling: Strategy.
        curriculum: Pacing, read by the curriculum strategy.
        subset: Bins of the ``bins`` strategy.
        clock: The epoch.
        seed: Seed of the ``random`` control's choice.

    Returns:
        (N,) weights, at least one of them 1.

    Raises:
        ValueError: If nothing would be left to draw.
    """
    everything = np.ones(view.num_samples)
    if sampling.phase not in ("both", clock.phase):
        return everything
    num_kept = max(1, int(len(view.order) * sampling.keep + 1e-9))
    match sampling.strategy:
        case "all":
            return everything
        case "hardest":
            active = view.order[-num_kept:]
        case "easiest":
            active = view.order[:num_kept]
        case "random":
            active = np.random.default_rng(seed).permutation(view.order)[:num_kept]
        case "bins":
            active = np.flatnonzero(np.isin(view.bin_index, subset or ()))
        case "curriculum":
            fraction = active_fraction(
                curriculum.pacing,
                clock.progress(sampling.phase),
                curriculum.start_fraction,
                curriculum.full_at,
            )
            if fraction >= 1:
                return everything
            active = view.order[: max(1, int(len(view.order) * fraction + 1e-9))]
    if len(active) == 0:
        raise ValueError(f"sampling.strategy {sampling.strategy!r} leaves no source sample")
    weights = np.zeros(view.num_samples)
    weights[active] = 1.0
    return weights


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
