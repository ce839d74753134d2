"""Bins of equal size: by hand, and for any scores."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.sampling.bins import UNSCORED, assign_bins, difficulty_order


def ids_of(num):
    return [f"sample/{i}" for i in range(num)]


def bins_of(scores, num_bins):
    return assign_bins(np.array(scores, dtype=float), ids_of(len(scores)), num_bins).tolist()


# Few different values, so that ties are common; some samples unscored.
SCORES = st.lists(
    st.one_of(st.integers(0, 5).map(float), st.floats(-10, 10), st.just(math.nan)),
    min_size=2,
    max_size=60,
).filter(lambda scores: sum(not math.isnan(s) for s in scores) >= 2)


@pytest.mark.parametrize(
    ("scores", "num_bins", "expected"),
    [
        ([0.4, 0.1, 0.3, 0.2], 2, [1, 0, 1, 0]),
        ([0.4, 0.1, 0.3, 0.2], 4, [3, 0, 2, 1]),
        # Seven in three: the first bin has one more.
        ([7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 3, [2, 2, 1, 1, 0, 0, 0]),
        # Ranks, not edges between 1 and 100: the gap does not matter.
        ([1.0, 2.0, 3.0, 100.0], 2, [0, 0, 1, 1]),
        ([math.nan, 2.0, math.nan, 1.0], 2, [UNSCORED, 1, UNSCORED, 0]),
        ([-5.0, 5.0, 0.0], 3, [0, 2, 1]),
    ],
)
def test_bins_are_those_computed_by_hand(scores, num_bins, expected):
    assert bins_of(scores, num_bins) == expected


def test_unscored_is_minus_one():
    assert UNSCORED == -1


@given(scores=SCORES, data=st.data())
def test_bins_are_equal_in_size_and_ordered_by_score(scores, data):
    scores = np.array(scores)
    scored = ~np.isnan(scores)
    num_bins = data.draw(st.integers(2, int(scored.sum())))
    bins = assign_bins(scores, ids_of(len(scores)), num_bins)
    assert (bins[~scored] == UNSCORED).all()
    sizes = np.bincount(bins[scored], minlength=num_bins)
    assert len(sizes) == num_bins
    assert sizes.max() - sizes.min() <= 1
    for b in range(num_bins - 1):
        assert scores[bins == b].max() <= scores[bins == b + 1].min()


@given(scores=SCORES, data=st.data())
def test_a_samples_bin_does_not_depend_on_the_order_of_the_samples(scores, data):
    order = data.draw(st.permutations(range(len(scores))))
    ids = ids_of(len(scores))
    bins = dict(zip(ids, assign_bins(np.array(scores), ids, 2), strict=True))
    moved = [ids[i] for i in order]
    again = assign_bins(np.array(scores)[order], moved, 2)
    assert dict(zip(moved, again, strict=True)) == bins


@given(scores=SCORES)
def test_the_order_lists_every_scored_sample_once_easiest_first(scores):
    scores = np.array(scores)
    order = difficulty_order(scores, ids_of(len(scores)))
    assert sorted(order.tolist()) == np.flatnonzero(~np.isnan(scores)).tolist()
    assert (np.diff(scores[order]) >= 0).all()


def test_ties_are_ordered_by_the_hash_of_the_id():
    ids = ids_of(20)
    by_hash = sorted(range(20), key=lambda i: hashlib.sha256(ids[i].encode()).hexdigest())
    assert difficulty_order(np.zeros(20), ids).tolist() == by_hash
    assert by_hash != list(range(20))


def test_ties_change_with_the_ids_alone():
    other = [f"other/{i}" for i in range(20)]
    first = difficulty_order(np.zeros(20), ids_of(20))
    second = difficulty_order(np.zeros(20), other)
    assert first.tolist() != second.tolist()


def test_scores_decide_before_hashes():
    scores = np.arange(20.0)[::-1]
    assert difficulty_order(scores, ids_of(20)).tolist() == list(range(19, -1, -1))


@pytest.mark.parametrize(
    ("scores", "ids", "message"),
    [
        ([1.0, 2.0], ["a"], "got 2 scores for 1 ids"),
        ([1.0, math.inf], ["a", "b"], "finite or NaN"),
        ([1.0, -math.inf], ["a", "b"], "finite or NaN"),
        ([1.0, 2.0], ["a", "a"], "ids must differ"),
    ],
)
def test_impossible_samples_are_refused(scores, ids, message):
    with pytest.raises(ValueError, match=message):
        difficulty_order(np.array(scores), ids)


@pytest.mark.parametrize("num_bins", [-1, 0, 1, 4])
def test_impossible_numbers_of_bins_are_refused(num_bins):
    scores = [1.0, 2.0, math.nan, 3.0]
    with pytest.raises(ValueError, match=f"from 2 to 3 scored poses, got {num_bins}"):
        bins_of(scores, num_bins)
