"""Intervals of means over few seeds: by hand, against slow references, and by simulation."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from trainables.metrics.intervals import (
    MAX_EXACT,
    bootstrap_interval,
    holm,
    mean_interval,
    mean_p_value,
)


def test_the_t_interval_of_three_seeds_is_that_of_the_tables():
    # The quantile is 4.3027, the standard error of the mean 1 / sqrt(3).
    assert mean_interval([10.0, 11.0, 12.0]) == pytest.approx((8.5159, 13.4841), abs=1e-4)
    assert np.isnan(mean_interval([1.0])).all()


def test_the_p_value_is_that_of_scipys_paired_test():
    first, second = [60.0, 51.0, 72.0, 80.5], [50.0, 40.0, 61.5, 60.0]
    gaps = np.subtract(first, second)
    assert mean_p_value(gaps) == pytest.approx(scipy.stats.ttest_rel(first, second).pvalue)
    assert math.isnan(mean_p_value([2.0, 2.0]))
    assert math.isnan(mean_p_value([0.1 + 0.2, 0.3, 0.3]))  # equal but for rounding
    assert mean_p_value([0.0, 0.0]) == 1.0
    assert math.isnan(mean_p_value([1.0]))


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=6))
def test_the_p_value_is_below_five_percent_where_the_interval_leaves_out_zero(values):
    low, high = mean_interval(values)
    p_value = mean_p_value(values)
    if not math.isnan(p_value) and abs(p_value - 0.05) > 1e-9:
        assert (p_value < 0.05) == (low > 0 or high < 0)


def _slow_bootstrap_interval(values):
    """Over every ordered sample, one by one."""
    num, mean = len(values), np.mean(values)
    error = np.std(values, ddof=1) / num**0.5
    found = []
    for sample in itertools.product(values, repeat=num):
        gap = np.mean(sample) - mean
        if len(set(sample)) == 1:
            found.append(math.copysign(math.inf, gap) if gap else 0.0)
        else:
            found.append(gap / (np.std(sample, ddof=1) / num**0.5))
    found.sort()
    low, high = (found[math.ceil(q * len(found)) - 1] for q in (0.025, 0.975))
    return mean - high * error, mean - low * error


@pytest.mark.parametrize("values", [[1.0, 2.5, 2.0, 7.0], [0.3, -1.0, 4.0, 0.1, 0.2]])
def test_the_bootstrap_is_that_over_every_ordered_sample(values):
    assert bootstrap_interval(values) == pytest.approx(_slow_bootstrap_interval(values))


def test_the_bootstrap_of_two_or_three_values_bounds_nothing():
    assert bootstrap_interval([1.0, 2.0, 4.0]) == (-math.inf, math.inf)
    assert bootstrap_interval([1.0, 2.0]) == (-math.inf, math.inf)
    assert np.isnan(bootstrap_interval([1.0])).all()
    assert bootstrap_interval([0.1, 0.1, 0.1]) == pytest.approx((0.1, 0.1))


def test_many_values_are_resampled_the_same_way_each_time():
    values = np.random.default_rng(3).normal(1, 2, MAX_EXACT + 12)
    found = bootstrap_interval(values)
    assert found == bootstrap_interval(values)
    assert found == pytest.approx(mean_interval(values), abs=0.25)


@given(
    st.lists(st.integers(-50, 50), min_size=4, max_size=5, unique=True),
    st.integers(-20, 20),
    st.integers(1, 9),
)
def test_the_bootstrap_moves_and_grows_with_its_values(values, shift, scale):
    low, high = bootstrap_interval(values)
    moved = bootstrap_interval([scale * value + shift for value in values])
    assert moved == pytest.approx((scale * low + shift, scale * high + shift), abs=1e-6)


_DRAWS = {
    "normal": lambda rng, size: rng.normal(size=size),
    "uniform": lambda rng, size: rng.uniform(-1, 1, size),
    "skewed": lambda rng, size: rng.exponential(size=size) - 1,
}


def _coverage(interval, draw, num, repeats=1000):
    """How often the interval holds the true mean, which is zero."""
    samples = _DRAWS[draw](np.random.default_rng(0), (repeats, num))
    bounds = [interval(sample) for sample in samples]
    return sum(low <= 0 <= high for low, high in bounds) / repeats


@pytest.mark.parametrize("num", [4, 5])
@pytest.mark.parametrize("draw", ["normal", "uniform", "skewed"])
def test_the_bootstrap_covers_as_often_as_it_says(draw, num):
    # 1000 repeats have a standard error of 0.7 %; skewed values are the hardest.
    least = 0.90 if draw == "skewed" else 0.93
    assert least <= _coverage(bootstrap_interval, draw, num) <= 0.975


def test_of_skewed_seeds_the_bootstrap_covers_more_than_the_t_interval():
    assert (
        _coverage(bootstrap_interval, "skewed", 5) > _coverage(mean_interval, "skewed", 5) + 0.02
    )


@pytest.mark.parametrize("num", [3, 5])
def test_the_t_interval_covers_normal_seeds_as_often_as_it_says(num):
    assert 0.935 <= _coverage(mean_interval, "normal", num) <= 0.965


def test_three_seeds_are_covered_always_rather_than_too_rarely():
    assert _coverage(bootstrap_interval, "normal", 3, repeats=200) == 1.0


def test_holm_multiplies_the_smallest_p_by_all_the_next_by_one_less_and_never_falls():
    # Sorted .01 .02 .03: times 3, 2, 1 is .03, .04, .03; the last is raised to .04.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_test_that_could_not_be_done_counts_in_holms_family():
    first, second = holm([math.nan, 0.02])
    assert math.isnan(first)
    assert second == pytest.approx(0.04)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_step_down_rule_rejects(p_values):
    rejected = set()
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if (len(p_values) - rank) * p_values[index] >= 0.05:
            break
        rejected.add(index)
    assert {i for i, p in enumerate(holm(p_values)) if p < 0.05} == rejected
