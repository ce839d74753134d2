"""Intervals and tests for a mean over seeds, or a mean difference of paired seeds."""

import itertools
import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
MAX_EXACT = 8
"""Up to this many values all bootstrap samples are used; beyond it :data:`NUM_RESAMPLES`."""
NUM_RESAMPLES = 20_000


def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """95 % Student t interval of the mean of independent values.

    A percentile bootstrap of three to five seeds is too narrow; the t interval is exact for
    normal values and suitably wide for few of them (three seeds: 4.3 standard errors).

    Args:
        values: (n,) one value per seed.

    Returns:
        Lower and upper bound; NaN for fewer than two values, which show no spread.
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2:
        return float("nan"), float("nan")
    reach = scipy.stats.t.ppf((1 + LEVEL) / 2, len(array) - 1) * array.std(ddof=1)
    half = float(reach / np.sqrt(len(array)))
    mean = float(array.mean())
    return mean - half, mean + half


def mean_p_value(values: ArrayLike) -> float:
    """Two-sided p-value of Student's t test that a mean is zero.

    For paired differences it is the paired t test. It is below 0.05 exactly if
    :func:`mean_interval` excludes zero.

    Args:
        values: (n,) one value per seed.

    Returns:
        0 to 1; NaN for fewer than two values, and for equal values other than zero: a coarse
        metric on a small split often repeats values, which does not prove that the spread is 0.
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2:
        return float("nan")
    error = float(array.std(ddof=1) / np.sqrt(len(array)))
    mean = float(array.mean())
    if error <= 1e-9 * abs(mean):
        return 1.0 if mean == 0 else float("nan")
    return float(2 * scipy.stats.t.sf(abs(mean) / error, len(array) - 1))


def bootstrap_interval(values: ArrayLike) -> tuple[float, float]:
    """95 % bootstrap-t (studentized) interval of the mean of independent values.

    The bounds of the percentile and the BCa bootstrap are means of resampled values, so they lie
    between the smallest and the largest value: for symmetric values they can cover the mean with
    probability 1 - 2^(1-n) at most, 75 % for three and 93.75 % for five. The bootstrap-t
    resamples the t statistic instead and uses its quantiles in place of Student's; it follows
    skewness, which the t interval does not, and does not assume normal values. With three values
    one sample in nine repeats a single value and has no spread, more than the 5 % outside the
    interval: the interval is then unbounded.

    Up to :data:`MAX_EXACT` values the bootstrap distribution is computed exactly from all
    multisets of n values, beyond that from :data:`NUM_RESAMPLES` samples of a fixed seed. The same
    values thus always give the same interval.

    Args:
        values: (n,) one value per seed.

    Returns:
        Lower and upper bound; infinite for two and three values, NaN for fewer.
    """
    array = np.asarray(values, dtype=np.float64)
    num = len(array)
    if num < 2:
        return float("nan"), float("nan")
    mean, error = float(array.mean()), float(array.std(ddof=1) / math.sqrt(num))
    if np.ptp(array) == 0:
        return mean, mean
    rows, weights = _samples(num)
    statistics = _t_statistics(array[rows], mean)
    order = np.argsort(statistics, kind="stable")
    reached = np.cumsum(weights[order])
    outside = (1 - LEVEL) / 2
    # The tolerance keeps a rounded sum from moving a quantile to the next sample.
    low = statistics[order[np.searchsorted(reached, outside - 1e-12)]]
    high = statistics[order[np.searchsorted(reached, 1 - outside - 1e-12)]]
    return mean - float(high) * error, mean - float(low) * error


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment of the p-values of several tests.

    If the null hypothesis is rejected wherever an adjusted value is below 0.05, the probability
    of any false rejection is at most 5 %, however the tests depend on each other (Holm 1979, A
    simple sequentially rejective multiple test procedure).

    Args:
        p_values: Of one family of tests; NaN for a test that could not be done, which still counts
            as a member of the family.

    Returns:
        The adjusted p-values, in the same order; NaN stays NaN.
    """
    num = len(p_values)
    order = sorted(range(num), key=lambda i: (math.isnan(p_values[i]), p_values[i]))
    adjusted = list(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        if not math.isnan(p_values[index]):
            largest = max(largest, min(1.0, (num - rank) * p_values[index]))
            adjusted[index] = largest
    return adjusted


def _t_statistics(samples: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """(S,) t statistic of (S, n) samples; infinite for one without spread."""
    errors = samples.std(axis=1, ddof=1) / math.sqrt(samples.shape[1])
    errors[np.ptp(samples, axis=1) == 0] = 0.0  # the mean of equal values is rounded
    gaps = samples.mean(axis=1) - mean
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gaps == 0, 0.0, gaps / errors)


@cache
def _samples(num: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Indices (S, n) of the bootstrap samples, and their probabilities (S,)."""
    if num > MAX_EXACT:
        rng = np.random.default_rng(0)
        rows = rng.integers(0, num, size=(NUM_RESAMPLES, num))
        return rows, np.full(NUM_RESAMPLES, 1 / NUM_RESAMPLES)
    multisets = list(itertools.combinations_with_replacement(range(num), num))
    counts = [[sample.count(index) for index in range(num)] for sample in multisets]
    ways = [math.factorial(num) // math.prod(map(math.factorial, row)) for row in counts]
    return np.array(multisets), np.array(ways) / num**num
