"""How a run's draws of source poses are spread over difficulty.

Bins, hard mining and curricula all decide how often a pose is drawn in each epoch. Averaged over
the epochs this is a distribution over the quantiles of difficulty, 0 (easiest) to 1 (hardest), in
which runs of different strategies, bin counts and pacings can be compared.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trainables.config import TrialConfig
from trainables.registry import STRATEGIES
from trainables.sampling.difficulty_view import DifficultyView, TrainingClock
from trainables.sampling.sampler import epoch_weights

NUM_CELLS = 360
"""Equal cells of the quantiles; every bin count up to 6, and 8, 9, 10 and 12, divides them."""


def difficulty_exposure(trial: TrialConfig) -> NDArray[np.float64]:
    """Share of a run's source draws in each cell of difficulty.

    Args:
        trial: Settings of the run.

    Returns:
        (NUM_CELLS,) shares, easiest first; they sum to 1. A choice that does not look at the
        scores is even.

    Example:
        >>> hardest = TrialConfig.from_flat({"sampling.strategy": "hardest"})
        >>> float(difficulty_exposure(hardest)[240:].sum().round(6))
        1.0
    """
    adapt, strategy = trial.adapt, trial.sampling.strategy
    num_epochs = adapt.pretrain_epochs + adapt.epochs
    if not STRATEGIES[strategy].reads_scores or (
        strategy == "curriculum" and trial.curriculum.order == "random"
    ):
        trial = replace(trial, sampling=replace(trial.sampling, strategy="all"))
    cells = np.arange(NUM_CELLS)
    view = DifficultyView(NUM_CELLS, cells, cells * trial.bins.count // NUM_CELLS)
    clocks = [TrainingClock(e, adapt.pretrain_epochs, num_epochs) for e in range(num_epochs)]
    weights = np.array([epoch_weights(view, trial, clock) for clock in clocks])  # (epochs, cells)
    shares: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return np.asarray(shares.mean(axis=0))
