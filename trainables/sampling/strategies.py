"""The built-in sampling strategies: which source samples an epoch draws from.

A strategy is a function of the samples that ``sampling.trim`` leaves, the trial's settings and the
epoch. It returns the weight of each of the N samples, at least 0 and in proportion to how often
the sample is drawn; samples that are trimmed get 0 afterwards, whatever it returns.
"""

from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import NDArray

from trainables.config import CurriculumConfig, Order, TrialConfig
from trainables.sampling.difficulty_view import DifficultyView, TrainingClock, whole_samples
from trainables.sampling.schedule import Levels, active_fraction
from trainables.seeding import derive_seed

_EPSILON = 1e-9

Weights = NDArray[np.float64]


def all_samples(view: DifficultyView, trial: TrialConfig, clock: TrainingClock) -> Weights:
    """Every sample, unscored ones included."""
    return np.ones(view.num_samples)


def hardest(view: DifficultyView, trial: TrialConfig, clock: TrainingClock) -> Weights:
    """VAE-HM: the last ``sampling.keep`` of the samples in the order of difficulty."""
    return _only(view, view.order[-_num_kept(view, trial) :])


def easiest(view: DifficultyView, trial: TrialConfig, clock: TrainingClock) -> Weights:
    """Control for VAE-HM: the first ``sampling.keep``."""
    return _only(view, view.order[: _num_kept(view, trial)])


def random(view: DifficultyView, trial: TrialConfig, clock: TrainingClock) -> Weights:
    """Control for VAE-HM: a random ``sampling.keep``, the same in every epoch."""
    rng = np.random.default_rng(derive_seed(trial.seed, "sampling", "random"))
    return _only(view, rng.permutation(view.order)[: _num_kept(view, trial)])


def bins(view: DifficultyView, trial: TrialConfig, clock: TrainingClock) -> Weights:
    """The samples in the bins ``bins.subset``."""
    return _only(view, np.flatnonzero(np.isin(view.bin_index, trial.bins.subset or ())))


def curriculum(view: DifficultyView, trial: TrialConfig, clock: TrainingClock) -> Weights:
    """VAE-CL: a growing or moving part of the samples in order, see :class:`CurriculumConfig`.

    Once all scored samples are active, so are the unscored ones (with ``exclusive`` or
    ``window``: only if there is one band, or a window of 1).
    """
    progress = clock.progress(trial.sampling.phase)
    first, end = _active_range(trial.curriculum, progress, num_samples=len(view.order))
    active = _curriculum_order(view.order, trial.curriculum.order, trial.seed)[first:end]
    if 0 < len(active) == len(view.order):
        return np.ones(view.num_samples)
    return _only(view, active)


def _num_kept(view: DifficultyView, trial: TrialConfig) -> int:
    return max(1, whole_samples(len(view.order), trial.sampling.keep))


def _only(view: DifficultyView, active: NDArray[np.int64]) -> Weights:
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
        return max(1, whole_samples(num_samples, share))

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
