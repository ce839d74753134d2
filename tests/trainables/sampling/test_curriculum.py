"""Curricula: who is active in each order and mode, by hand for nine samples and for any number.

A test's clock has one phase; its samples have ranks, 0 the easiest, and two more have no score.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.config import CurriculumConfig, Mode, Order, SamplingConfig, TrialConfig
from trainables.sampling.difficulty_view import DifficultyView, TrainingClock
from trainables.sampling.sampler import draw_indices, epoch_weights
from trainables.sampling.schedule import PACINGS

ORDERS = ["easy_to_hard", "hard_to_easy", "random"]
MODES = ["cumulative", "exclusive", "window"]
NUM_UNSCORED = 2


def view(num):
    """Samples in a mixed order, the unscored in between."""
    samples = np.random.default_rng(5).permutation(num + NUM_UNSCORED)
    return DifficultyView(len(samples), samples[:num], np.full(len(samples), -1))


def active(epoch, num_epochs, num=9, *, trim=0.0, seed=0, clock=None, phase="both", **curriculum):
    """Ranks of the active samples; the unscored count on from ``num``."""
    samples = view(num)
    trial = TrialConfig(
        sampling=SamplingConfig(strategy="curriculum", trim=trim, phase=phase),
        curriculum=CurriculumConfig(**curriculum),
        seed=seed,
    )
    weights = epoch_weights(samples, trial, clock or TrainingClock(epoch, 0, num_epochs))
    unscored = np.setdiff1d(np.arange(samples.num_samples), samples.order)
    return np.flatnonzero(weights[np.concatenate([samples.order, unscored])]).tolist()


def epochs(num_epochs, num=9, **fields):
    return [active(epoch, num_epochs, num, **fields) for epoch in range(num_epochs)]


def ranges(*bounds):
    return [list(range(first, end)) for first, end in bounds]


ALL = (0, 9 + NUM_UNSCORED)


def test_every_order_and_mode_of_the_configuration_is_covered():
    assert set(ORDERS) == set(Order.__args__)
    assert set(MODES) == set(Mode.__args__)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # The paper's VAE-CL, the defaults: easy, easy and medium, all.
        ({}, [(0, 3)] * 3 + [(0, 6)] * 3 + [ALL] * 3),
        ({"pacing": "linear"}, [(0, 3), (0, 4), (0, 5), (0, 6), (0, 7), (0, 8), ALL, ALL, ALL]),
        # Easy, medium, hard; a linear pacing passes the levels of step at the same times.
        ({"mode": "exclusive"}, [(0, 3)] * 3 + [(3, 6)] * 3 + [(6, 9)] * 3),
        (
            {"mode": "exclusive", "pacing": "linear"},
            [(0, 3)] * 3 + [(3, 6)] * 3 + [(6, 9)] * 3,
        ),
        # Two thirds are passed when half the rest is active: t^2 = 25/36, sqrt(t) = sqrt(2/6).
        (
            {"mode": "exclusive", "pacing": "quadratic"},
            [(0, 3)] * 5 + [(3, 6)] + [(6, 9)] * 3,
        ),
        ({"mode": "exclusive", "pacing": "root"}, [(0, 3)] * 2 + [(3, 6)] * 4 + [(6, 9)] * 3),
        # log is at 0.82 of the rest after an epoch; exponential at 0.19 after five of six.
        ({"mode": "exclusive", "pacing": "log"}, [(0, 3)] + [(3, 6)] * 5 + [(6, 9)] * 3),
        ({"mode": "exclusive", "pacing": "exponential"}, [(0, 3)] * 6 + [(6, 9)] * 3),
        # Bands end at its own levels, 1/3, 1.9/3 and 1: at 3, 5.7 and 9 samples.
        (
            {"mode": "exclusive", "pacing": "fixed_exponential"},
            [(0, 3)] * 3 + [(3, 5)] * 3 + [(5, 9)] * 3,
        ),
        # round(1 / 0.45) = 2 bands, the first 4.05 samples wide.
        ({"mode": "exclusive", "start_fraction": 0.45}, [(0, 4)] * 6 + [(4, 9)] * 3),
        ({"mode": "window"}, [(0, 3)] * 3 + [(3, 6)] * 3 + [(6, 9)] * 3),
        (
            {"mode": "window", "pacing": "linear"},
            [(0, 3), (1, 4), (2, 5), (3, 6), (4, 7), (5, 8), (6, 9), (6, 9), (6, 9)],
        ),
        # Half of nine are four samples, from the start, though a third is all that is let in.
        (
            {"mode": "window", "pacing": "linear", "window": 0.5},
            [(0, 4), (0, 4), (1, 5), (2, 6), (3, 7), (4, 8), (5, 9), (5, 9), (5, 9)],
        ),
        # One band or one window of everything is no curriculum.
        ({"mode": "exclusive", "start_fraction": 1.0}, [ALL] * 9),
        ({"mode": "window", "window": 1.0}, [ALL] * 9),
    ],
)
def test_the_active_samples_of_nine_epochs_are_those_counted_by_hand(fields, expected):
    assert epochs(9, **fields) == ranges(*expected)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("cumulative", [(6, 9), (3, 9), ALL]),
        ("exclusive", [(6, 9), (3, 6), (0, 3)]),
        ("window", [(6, 9), (3, 6), (0, 3)]),
    ],
)
def test_hard_to_easy_goes_the_other_way(mode, expected):
    assert epochs(3, mode=mode, order="hard_to_easy") == ranges(*expected)


@pytest.mark.parametrize(
    ("mode", "num", "expected"),
    [
        # 1/3 and 2/3 of one or two samples are none or one: never none are drawn.
        ("cumulative", 1, [(0, 3), (0, 3), (0, 3)]),
        ("cumulative", 2, [(0, 1), (0, 1), (0, 4)]),
        ("exclusive", 1, [(0, 3), (0, 3), (0, 3)]),
        ("exclusive", 2, [(0, 1), (0, 1), (1, 2)]),  # the second band is empty: passed over
        ("window", 2, [(0, 1), (0, 1), (1, 2)]),
    ],
)
def test_few_samples_leave_at_least_one_to_draw(mode, num, expected):
    assert epochs(3, num, mode=mode) == ranges(*expected)


def test_a_start_fraction_below_a_sample_makes_bands_of_one_sample():
    bands = epochs(10, 3, mode="exclusive", pacing="linear", start_fraction=1e-6, full_at=0.9)
    # 1 sample from the start; two are passed at 2/3 of the way, in the seventh epoch.
    assert bands == ranges(*[(0, 1)] * 6, *[(1, 2)] * 3, (2, 3))


def test_a_band_begins_on_time_despite_rounding():
    # Six bands of two; 1/6 + 5/6 * 1/5 is a little less than the 2/6 that pass the second.
    fields = {"mode": "exclusive", "start_fraction": 1 / 6, "full_at": 5 / 6}
    bands = ranges((0, 2), (2, 4), (4, 6), (6, 8), (8, 10), (10, 12))
    assert epochs(6, 12, pacing="linear", **fields) == bands
    assert epochs(6, 12, pacing="step", **fields) == bands


@pytest.mark.parametrize(
    ("order", "expected"),
    [("easy_to_hard", [(0, 3), (3, 6), (6, 9)]), ("hard_to_easy", [(6, 9), (3, 6), (0, 3)])],
)
def test_fractions_are_of_what_trimming_leaves(order, expected):
    # A tenth of ten is trimmed: thirds of the other nine.
    assert epochs(3, 10, trim=0.1, mode="exclusive", order=order) == ranges(*expected)


def test_a_complete_curriculum_draws_all_but_the_trimmed():
    assert active(2, 3, 10, trim=0.1) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11]


def test_the_random_order_is_the_same_in_every_epoch_and_mode_and_differs_between_seeds():
    easy, both, _ = epochs(3, order="random")
    assert set(easy) < set(both)
    first, second, third = epochs(3, order="random", mode="exclusive")
    assert (first, sorted(first + second)) == (easy, both)
    assert sorted(first + second + third) == list(range(9))
    assert len({tuple(active(0, 3, order="random", seed=seed)) for seed in range(40)}) > 20


def test_the_random_order_is_not_the_choice_of_the_random_strategy():
    in_order = DifficultyView(30, np.arange(30), np.full(30, -1))

    def first_third(seed, **sampling):
        trial = TrialConfig(
            sampling=SamplingConfig(**sampling),
            curriculum=CurriculumConfig(order="random"),
            seed=seed,
        )
        return set(np.flatnonzero(epoch_weights(in_order, trial, TrainingClock(0, 0, 3))))

    overlaps = [
        len(first_third(seed, strategy="curriculum") & first_third(seed, strategy="random"))
        for seed in range(60)
    ]
    assert 2.8 < np.mean(overlaps) < 3.9  # 10 / 3 expected, standard deviation 0.16


def test_the_random_order_does_not_know_the_scores():
    samples = view(30)
    trial = TrialConfig(
        sampling=SamplingConfig(strategy="curriculum"), curriculum=CurriculumConfig(order="random")
    )
    drawn = []
    for order in (samples.order, samples.order[::-1], np.sort(samples.order)):
        other = DifficultyView(samples.num_samples, order, samples.bin_index)
        weights = epoch_weights(other, trial, TrainingClock(0, 0, 3))
        drawn.append(np.flatnonzero(weights).tolist())
    assert drawn[0] == drawn[1] == drawn[2]


CURRICULA = st.fixed_dictionaries(
    {
        "pacing": st.sampled_from(PACINGS),
        "start_fraction": st.floats(0.01, 1),
        "full_at": st.floats(0.05, 1),
        "window": st.floats(0.01, 1),
    }
)
ANY_ORDER, ANY_MODE = st.sampled_from(ORDERS), st.sampled_from(MODES)
SIZES = st.integers(1, 40)
LENGTHS = st.integers(1, 12)


@given(
    fields=CURRICULA, order=ANY_ORDER, mode=ANY_MODE, num=SIZES, length=LENGTHS,
    trim=st.floats(0, 0.5),
)  # fmt: skip
def test_unscored_samples_join_only_where_everything_scored_is_active(
    fields, order, mode, num, length, trim
):
    num_left = num - int(num * trim + 1e-9)
    for ranks in epochs(length, num, trim=trim, order=order, mode=mode, **fields):
        scored = [rank for rank in ranks if rank < num]
        assert 1 <= len(scored) <= num_left
        assert max(scored) < num_left
        unscored = ranks[len(scored) :]
        assert unscored == ([num, num + 1] if len(scored) == num_left else [])


@given(fields=CURRICULA, mode=ANY_MODE, num=SIZES, length=LENGTHS, seed=st.integers(0, 9))
def test_all_orders_have_as_many_active_samples(fields, mode, num, length, seed):
    sizes = [
        [len(ranks) for ranks in epochs(length, num, order=order, mode=mode, seed=seed, **fields)]
        for order in ORDERS
    ]
    assert sizes[0] == sizes[1] == sizes[2]


@given(fields=CURRICULA, order=ANY_ORDER, num=SIZES, length=LENGTHS)
def test_cumulative_sets_are_nested(fields, order, num, length):
    sets = [set(ranks) for ranks in epochs(length, num, order=order, **fields)]
    assert all(early <= late for early, late in zip(sets, sets[1:], strict=False))


@given(fields=CURRICULA, order=ANY_ORDER, num=SIZES, length=LENGTHS)
def test_exclusive_bands_are_disjoint(fields, order, num, length):
    bands = {
        tuple(ranks) for ranks in epochs(length, num, order=order, mode="exclusive", **fields)
    }
    ranks = [rank for band in bands for rank in band]
    assert len(ranks) == len(set(ranks))


@given(
    pacing=st.sampled_from(["linear", "step", "fixed_exponential"]), order=ANY_ORDER, num=SIZES,
    start_fraction=st.floats(0.1, 1), full_at=st.floats(0.3, 0.9),
)  # fmt: skip
def test_exclusive_bands_cover_all_samples_if_there_are_epochs_enough(
    pacing, order, num, start_fraction, full_at
):
    bands = epochs(
        50, num, order=order, mode="exclusive", pacing=pacing,
        start_fraction=start_fraction, full_at=full_at,
    )  # fmt: skip
    assert set().union(*bands) >= set(range(num))


@given(fields=CURRICULA, order=ANY_ORDER, num=SIZES, length=LENGTHS)
def test_a_window_has_the_same_size_all_the_time(fields, order, num, length):
    sizes = {len(ranks) for ranks in epochs(length, num, order=order, mode="window", **fields)}
    expected = max(1, int(num * fields["window"] + 1e-9))
    assert sizes == {expected + NUM_UNSCORED * (expected == num)}


@given(fields=CURRICULA, order=ANY_ORDER, mode=ANY_MODE, first=LENGTHS, second=LENGTHS)
def test_a_curriculum_of_one_phase_runs_as_if_there_were_no_other(
    fields, order, mode, first, second
):
    fields |= {"order": order, "mode": mode}
    clocks = [TrainingClock(epoch, first, first + second) for epoch in range(first + second)]
    pretrain = [active(0, 1, phase="pretrain", clock=clock, **fields) for clock in clocks]
    adapt = [active(0, 1, phase="adapt", clock=clock, **fields) for clock in clocks]
    everything = list(range(*ALL))
    assert pretrain == epochs(first, **fields) + [everything] * second
    assert adapt == [everything] * first + epochs(second, **fields)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", ORDERS)
def test_every_curriculum_draws_the_same_number_of_active_samples(mode, order):
    for ranks in epochs(3, mode=mode, order=order):
        weights = np.isin(np.arange(ALL[1]), ranks).astype(float)
        drawn = draw_indices(weights, 600, torch.Generator().manual_seed(0))
        assert drawn.shape == (600,)
        assert set(drawn.tolist()) == set(ranks)
