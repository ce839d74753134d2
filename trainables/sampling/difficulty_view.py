"""What a sampling strategy may look at: the difficulty of the samples and the epoch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


def whole_samples(num: int, share: float) -> int:
    """Number of samples in a share of ``num``, rounded down, safe against rounding errors."""
    return int(num * share + _EPSILON)
