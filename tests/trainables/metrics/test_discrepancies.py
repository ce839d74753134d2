"""Discrepancies of two sets: known values, agreement with scipy and loops, degenerate sets."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.metrics.discrepancies import coral, feature_mmd, plausibility


def test_plausibility_is_minus_the_distance_the_scores_have_to_move():
    real = torch.tensor([1.0, 2.0, 3.0])
    assert plausibility(real, real) == 0
    assert plausibility(real + 0.5, real) == pytest.approx(-0.5)
    assert plausibility(real - 0.5, real) == pytest.approx(-0.5)  # too easy is as bad as too hard
    # {0} to {0, 0, 0, 4}: a quarter has to move by 4.
    assert plausibility(torch.zeros(1), torch.tensor([0.0, 0.0, 0.0, 4.0])) == pytest.approx(-1)


def test_unscored_poses_are_left_out():
    scores = torch.tensor([math.nan, 1.0, 2.0])
    assert plausibility(scores, torch.tensor([2.0, math.nan, 1.0])) == 0


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 30))
def test_plausibility_agrees_with_scipy(seed, num, num_real):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 9, num) * rng.choice([0.5, 1.3])  # with ties
    real = rng.gamma(2, 2, num_real)
    expected = -scipy.stats.wasserstein_distance(scores, real)
    result = plausibility(torch.from_numpy(scores), torch.from_numpy(real))
    assert result == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "real", "message"),
    [
        ([math.nan], [1.0], r"scores must hold a scored pose, got none in 1"),
        ([1.0], [], "reference_scores must hold a scored pose, got none in 0"),
        ([math.inf], [1.0], "scores must be finite or NaN"),
    ],
)
def test_plausibility_of_nothing_is_refused(scores, real, message):
    with pytest.raises(ValueError, match=message):
        plausibility(torch.tensor(scores), torch.tensor(real))


def mmd_loops(first, second):
    """The biased estimate pair by pair."""
    points = [*first, *second]
    squared = [float(((a - b) ** 2).sum()) for a in points for b in points]
    apart = sorted(d for d in squared if d > 0)
    median = apart[(len(apart) - 1) // 2]  # the lower of the middle two, as torch takes it

    def mean(left, right):
        kernel = [
            math.exp(-float(((a - b) ** 2).sum()) / (2 * median)) for a in left for b in right
        ]
        return sum(kernel) / len(kernel)

    squared_mmd = mean(first, first) + mean(second, second) - 2 * mean(first, second)
    return math.sqrt(max(squared_mmd, 0))


def test_mmd_of_two_points_by_hand():
    # One distance, which is the median: MMD^2 = 1 + 1 - 2 exp(-1/2).
    result = feature_mmd(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    assert result == pytest.approx(-math.sqrt(2 - 2 * math.exp(-0.5)))


@pytest.mark.parametrize("seed", range(3))
def test_mmd_agrees_with_the_loops(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(7, 3)), rng.normal(0.5, 2, size=(5, 3))
    result = feature_mmd(torch.from_numpy(first), torch.from_numpy(second))
    assert result == pytest.approx(-mmd_loops(first, second), rel=1e-9)


def random_features(seed, shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("discrepancy", [feature_mmd, coral])
def test_a_set_does_not_differ_from_itself(discrepancy):
    features = random_features(0, (40, 6)) * 100
    assert discrepancy(features, features) == pytest.approx(0, abs=1e-6)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    assert discrepancy(features, features[order]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("discrepancy", [feature_mmd, coral])
def test_sets_further_apart_are_worse_and_the_order_does_not_matter(discrepancy):
    first, second = random_features(0, (40, 6)), random_features(1, (30, 6))
    near, far = discrepancy(first, 1.5 * second), discrepancy(first, 4 * second)
    assert far < near < 0
    assert discrepancy(4 * second, first) == pytest.approx(far)


def test_mmd_is_blind_to_scale_and_sees_a_shift_and_coral_the_other_way_round():
    first, second = random_features(0, (40, 6)), random_features(1, (30, 6)) + 1
    assert feature_mmd(10 * first, 10 * second) == pytest.approx(feature_mmd(first, second))
    assert coral(10 * first, 10 * second) == pytest.approx(1e4 * coral(first, second))
    assert feature_mmd(first, first + 5) < -0.5
    assert coral(first, first + 5) == pytest.approx(0, abs=1e-9)


def test_mmd_stays_above_its_bound():
    apart = feature_mmd(torch.zeros(50, 2), torch.full((50, 2), 1e6))
    assert -math.sqrt(2) <= apart < -0.5


@pytest.mark.parametrize("discrepancy", [feature_mmd, coral])
def test_collapsed_features_do_not_differ(discrepancy):
    assert discrepancy(torch.ones(4, 3), torch.ones(5, 3)) == 0


def test_coral_by_hand():
    # Covariances [[2, 2], [2, 2]] and 0: squared norm 16, divided by 4 * 2^2.
    first = torch.tensor([[0.0, 0.0], [2.0, 2.0]])
    assert coral(first, torch.ones(3, 2)) == pytest.approx(-1)
    assert coral(first, torch.ones(1, 2)) == pytest.approx(-1)  # a single point has none


@pytest.mark.parametrize("discrepancy", [feature_mmd, coral])
@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(2, 3), r"not be empty, got \(0, 3\) and \(2, 3\)"),
        (torch.zeros(2, 3), torch.zeros(2, 4), r"got \(2, 3\) and \(2, 4\)"),
        (torch.zeros(2), torch.zeros(2), r"got \(2,\) and \(2,\)"),
        (torch.full((1, 1), math.inf), torch.zeros(2, 1), "finite"),
    ],
)
def test_sets_that_are_none_are_refused(discrepancy, first, second, message):
    with pytest.raises(ValueError, match=message):
        discrepancy(first, second)
