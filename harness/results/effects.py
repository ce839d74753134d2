r"""What training on poses of a range of difficulty does to the objective.

Every complete trial of a study is one observation: its objective, and how its draws were spread
over difficulty (:mod:`trainables.sampling.exposure`). With :math:`s_j` the share of a trial's
draws in range j and H the entropy of its draws, relative to an even spread, least squares fits

.. math:: y = \sum_j \beta_j s_j + \gamma H + \text{method}

The effect of a range is what the fit predicts for an even spread over all ranges, minus what it
predicts for an even spread over all others: what including the range does. The entropy separates
which poses are drawn from how varied they are: without it a narrow choice would count against
the range that it chose. Trials that are the same training, such as the hardest third and bin 2 of
3, are one observation. Intervals are Student's, each for itself; they
hold the seeds' noise and what the model does not describe, such as the order of a curriculum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from harness.results.ranking import RankedTrial
from harness.spec import StudySpec
from trainables.config import TrialConfig
from trainables.metrics.intervals import LEVEL
from trainables.sampling.exposure import NUM_CELLS, difficulty_exposure

DEFAULT_RANGES = 3
"""Ranges where a study searches no bins: easy, medium and hard, as in the paper."""
MIN_SPARE = 3
"""Fewest trials beyond the number of coefficients; fewer give intervals of no use."""


@dataclass(frozen=True)
class DifficultyEffect:
    """What including a range of difficulty does to the objective.

    Attributes:
        start: Lower end of the range, a quantile of difficulty in [0, 1].
        end: Upper end.
        effect: Change of the objective, in its points.
        low: Lower end of its 95 % interval.
        high: Upper end.
        runs: Runs that the estimate rests on.
    """

    start: float
    end: float
    effect: float
    low: float
    high: float
    runs: int

    @property
    def is_shown(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def difficulty_effects(spec: StudySpec, trials: Sequence[RankedTrial]) -> list[DifficultyEffect]:
    """The effect of every range of difficulty, easiest first.

    The ranges are the bins of the coarsest division that the study's trials use, or thirds. The
    oracle is left out, as it does not train on the source; other methods get a level of their own.

    Args:
        spec: The study.
        trials: Its complete trials.

    Returns:
        One for each range; none if the trials do not differ enough in what they draw, or are too
        few, to tell.
    """
    used = [
        (TrialConfig.from_flat(trial.runs[0].fields), trial)
        for trial in trials
        if trial.is_evidence
    ]
    if spec.trainable != "adaptation" or not used:
        return []
    counts = [config.bins.count for config, _ in used if config.sampling.strategy == "bins"]
    return fitted_effects(
        np.array([difficulty_exposure(config) for config, _ in used]),
        [config.adapt.method for config, _ in used],
        np.array([trial.means[spec.objective.name] for _, trial in used]),
        min(counts, default=DEFAULT_RANGES),
        sum(len(trial.runs) for _, trial in used),
    )


def fitted_effects(
    exposure: NDArray[np.float64],
    methods: Sequence[str],
    values: NDArray[np.float64],
    num_ranges: int,
    num_runs: int,
) -> list[DifficultyEffect]:
    """Effects of equal ranges of difficulty, from observations.

    Args:
        exposure: (N, NUM_CELLS) shares of the draws of each trial, rows sum to 1.
        methods: N names; each has a level of its own.
        values: (N,) objective.
        num_ranges: K, number of ranges.
        num_runs: Runs behind the N trials.

    Returns:
        K effects, easiest first; none if the trials do not determine them.
    """
    edges = np.linspace(0, NUM_CELLS, num_ranges + 1).round().astype(int)
    shares = np.add.reduceat(exposure, edges[:-1], axis=1)  # (N, K)
    levels = np.array(
        [[method == other for other in sorted(set(methods))[1:]] for method in methods]
    )
    design = np.column_stack([shares, _relative_entropy(exposure), levels.astype(float)])
    even = np.diff(edges) / NUM_CELLS  # (K,)
    contrasts = np.zeros((num_ranges, design.shape[1]))
    for j in range(num_ranges):
        without = np.where(np.arange(num_ranges) == j, 0.0, even)
        contrasts[j, :num_ranges] = even - without / without.sum()
        contrasts[j, num_ranges] = -np.log(
            without.sum()
        )  # entropy of all minus that of the others
    _, singular, rows = np.linalg.svd(design, full_matrices=False)
    spanned = rows[singular > 1e-9 * singular[0]]  # directions that the observations tell
    is_told = np.allclose(contrasts @ spanned.T @ spanned, contrasts, atol=1e-6)
    spare = len(values) - len(spanned)
    if not is_told or spare < MIN_SPARE:
        return []
    inverse = np.linalg.pinv(design)
    coefficients = inverse @ values
    residuals = values - design @ coefficients
    variances = ((contrasts @ inverse) ** 2).sum(axis=1) * (residuals @ residuals) / spare
    reach = scipy.stats.t.ppf((1 + LEVEL) / 2, spare) * np.sqrt(variances)
    effects = contrasts @ coefficients
    return [
        DifficultyEffect(
            start=float(edges[j] / NUM_CELLS),
            end=float(edges[j + 1] / NUM_CELLS),
            effect=float(effects[j]),
            low=float(effects[j] - reach[j]),
            high=float(effects[j] + reach[j]),
            runs=num_runs,
        )
        for j in range(num_ranges)
    ]


def _relative_entropy(exposure: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) entropy of each row minus that of an even one: the logarithm of what it covers."""
    logs = np.log(exposure * exposure.shape[1], where=exposure > 0, out=np.zeros_like(exposure))
    return np.asarray(-(exposure * logs).sum(axis=1))
