"""Sampling: who is active under each strategy and phase, and what is drawn.

The orders and modes of a curriculum are in test_curriculum.py.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from trainables import registry
from trainables.config import CurriculumConfig, SamplingConfig, TrialConfig
from trainables.config.trial_config import BinsConfig
from trainables.sampling.bins import assign_bins, difficulty_order
from trainables.sampling.difficulty_view import DifficultyView, TrainingClock
from trainables.sampling.sampler import draw_indices, epoch_weights

STRATEGIES = ["all", "hardest", "easiest", "random", "bins", "curriculum"]
PRETRAIN, TOTAL = 3, 9
NUM = 14


def view():
    """Twelve scored samples, sample i of rank 11 - i, then two unscored ones; four bins."""
    scores = np.array([*range(11, -1, -1), math.nan, math.nan], dtype=float)
    ids = [f"sample/{i}" for i in range(NUM)]
    return DifficultyView(NUM, difficulty_order(scores, ids), assign_bins(scores, ids, 4))


def active(epoch=0, subset=None, seed=0, curriculum=None, clock=None, **sampling):
    trial = TrialConfig(
        bins=BinsConfig(8, subset),
        sampling=SamplingConfig(**sampling),
        curriculum=curriculum or CurriculumConfig(),
        seed=seed,
    )
    weights = epoch_weights(view(), trial, clock or TrainingClock(epoch, PRETRAIN, TOTAL))
    assert weights.shape == (NUM,)
    assert set(weights.tolist()) <= {0.0, 1.0}
    return np.flatnonzero(weights).tolist()


EVERYTHING = list(range(NUM))
EASIEST, MIDDLE, HARDEST = [8, 9, 10, 11], [4, 5, 6, 7], [0, 1, 2, 3]


def test_every_strategy_of_the_configuration_is_covered():
    assert set(STRATEGIES) == set(registry.STRATEGIES)


@pytest.mark.parametrize(
    ("sampling", "subset", "expected"),
    [
        ({"strategy": "all"}, None, EVERYTHING),
        ({"strategy": "hardest"}, None, HARDEST),  # VAE-HM: the last third
        ({"strategy": "easiest"}, None, EASIEST),
        ({"strategy": "hardest", "keep": 0.5}, None, [0, 1, 2, 3, 4, 5]),
        ({"strategy": "hardest", "keep": 0.2}, None, [0, 1]),  # 2.4 samples: rounded down
        ({"strategy": "hardest", "keep": 0.01}, None, [0]),  # never none
        ({"strategy": "easiest", "keep": 1.0}, None, list(range(12))),
        ({"strategy": "bins"}, (0,), [9, 10, 11]),
        ({"strategy": "bins"}, (1, 3), [0, 1, 2, 6, 7, 8]),
    ],
)
def test_static_strategies_choose_the_same_samples_in_every_epoch(sampling, subset, expected):
    for epoch in range(TOTAL):
        assert active(epoch, subset, **sampling) == expected


@pytest.mark.parametrize(("num", "kept"), [(12, 4), (13, 4), (14, 4), (15, 5), (3000, 1000)])
def test_vae_hm_is_the_last_whole_third(num, kept):
    order = np.random.default_rng(0).permutation(num)
    samples = DifficultyView(num, order, np.zeros(num, dtype=np.int64))
    trial = TrialConfig(sampling=SamplingConfig(strategy="hardest"))
    weights = epoch_weights(samples, trial, TrainingClock(0, PRETRAIN, TOTAL))
    assert set(np.flatnonzero(weights)) == set(order[-kept:])


def test_a_strategy_may_keep_and_return_the_same_array(monkeypatch):
    kept = np.ones(NUM)
    kept.flags.writeable = False
    entry = SimpleNamespace(load=lambda: lambda view, trial, clock: kept)
    monkeypatch.setitem(registry.STRATEGIES, "all", entry)
    trial = TrialConfig(sampling=SamplingConfig(strategy="all", trim=0.25))
    weights = epoch_weights(view(), trial, TrainingClock(0, PRETRAIN, TOTAL))
    assert 0 < np.count_nonzero(weights) < NUM
    assert kept.all()


def test_the_random_third_stays_the_same_over_the_training():
    chosen = [active(epoch, strategy="random") for epoch in range(TOTAL)]
    assert all(samples == chosen[0] for samples in chosen)
    assert len(chosen[0]) == 4


def test_the_random_third_differs_from_seed_to_seed_and_reaches_every_scored_sample():
    chosen = [active(seed=seed, strategy="random") for seed in range(40)]
    assert len({tuple(samples) for samples in chosen}) > 30
    counts = np.bincount(np.concatenate(chosen), minlength=NUM)
    assert counts[:12].min() > 3  # 13.3 expected of each
    assert not counts[12:].any()


def test_the_random_third_is_not_chosen_for_its_difficulty():
    hard = [sample < 6 for seed in range(60) for sample in active(seed=seed, strategy="random")]
    assert 0.4 < np.mean(hard) < 0.6


@pytest.mark.parametrize("strategy", ["hardest", "easiest", "random", "bins"])
@pytest.mark.parametrize(
    ("phase", "epochs_with_all"),
    [("both", []), ("pretrain", range(PRETRAIN, TOTAL)), ("adapt", range(PRETRAIN))],
)
def test_the_other_phase_draws_from_all_samples(strategy, phase, epochs_with_all):
    for epoch in range(TOTAL):
        samples = active(epoch, (0,), strategy=strategy, phase=phase)
        assert (samples == EVERYTHING) is (epoch in epochs_with_all)


# A quarter of the twelve scored samples, the hardest three; samples 12 and 13 have no score.
ALL_BUT_TRIMMED = list(range(3, NUM))


@pytest.mark.parametrize(
    ("sampling", "subset", "expected"),
    [
        ({"strategy": "all"}, None, ALL_BUT_TRIMMED),
        ({"strategy": "hardest"}, None, [3, 4, 5]),  # a third of nine
        ({"strategy": "easiest"}, None, [9, 10, 11]),
        ({"strategy": "easiest", "keep": 1.0}, None, list(range(3, 12))),
        ({"strategy": "bins"}, (2, 3), [3, 4, 5]),  # bin 3 is trimmed altogether
    ],
)
def test_no_strategy_draws_what_is_trimmed(sampling, subset, expected):
    for epoch in range(TOTAL):
        assert active(epoch, subset, trim=0.25, **sampling) == expected


def test_the_random_third_is_chosen_among_what_trimming_leaves():
    chosen = [active(seed=seed, strategy="random", trim=0.25) for seed in range(40)]
    assert {len(samples) for samples in chosen} == {3}
    assert set().union(*chosen) == set(range(3, 12))


def test_a_curriculum_is_complete_without_what_is_trimmed():
    samples = [active(epoch, strategy="curriculum", trim=0.25) for epoch in (0, 3, 6)]
    assert samples == [[9, 10, 11], [6, 7, 8, 9, 10, 11], ALL_BUT_TRIMMED]


@pytest.mark.parametrize(("trim", "num"), [(0.0, 0), (0.08, 0), (1 / 12, 1), (0.2, 2), (0.5, 6)])
def test_the_number_of_trimmed_samples_is_rounded_down(trim, num):
    assert active(strategy="all", trim=trim) == list(range(num, NUM))


@pytest.mark.parametrize("strategy", ["hardest", "easiest", "random", "bins", "curriculum"])
def test_trimming_holds_in_the_phase_without_the_strategy_too(strategy):
    for epoch in range(PRETRAIN):
        assert active(epoch, (0,), strategy=strategy, phase="adapt", trim=0.25) == ALL_BUT_TRIMMED


def test_bins_of_which_trimming_leaves_nothing_are_refused():
    with pytest.raises(ValueError, match="'bins' leaves no source sample"):
        active(0, (3,), strategy="bins", trim=0.25)


@pytest.mark.parametrize(
    ("phase", "sizes"),
    [
        # Over both phases of 3 + 6 epochs: thirds of nine.
        ("both", [4, 4, 4, 8, 8, 8, NUM, NUM, NUM]),
        # Its own clock in each phase: thirds of three, then all.
        ("pretrain", [4, 8, NUM, *[NUM] * 6]),
        # All in the first phase, then thirds of six.
        ("adapt", [NUM] * 3 + [4, 4, 8, 8, NUM, NUM]),
    ],
)
def test_the_curriculum_runs_over_the_phases_it_covers(phase, sizes):
    samples = [active(epoch, strategy="curriculum", phase=phase) for epoch in range(TOTAL)]
    assert [len(chosen) for chosen in samples] == sizes
    by_size = {4: EASIEST, 8: sorted(EASIEST + MIDDLE), NUM: EVERYTHING}
    assert all(chosen == by_size[len(chosen)] for chosen in samples)


def test_the_curriculum_follows_its_pacing():
    linear = CurriculumConfig(pacing="linear", start_fraction=0.25, full_at=0.75)
    sizes = [
        len(active(curriculum=linear, clock=TrainingClock(epoch, 0, 4), strategy="curriculum"))
        for epoch in range(4)
    ]
    assert sizes == [3, 6, 9, NUM]


def test_a_curriculum_starts_with_at_least_one_sample():
    tiny = CurriculumConfig(pacing="linear", start_fraction=0.001, full_at=1.0)
    assert active(curriculum=tiny, strategy="curriculum") == [11]


@pytest.mark.parametrize(
    ("epoch", "pretrain", "total", "phase", "progress"),
    [
        (0, 3, 9, "pretrain", {"both": 0.0, "pretrain": 0.0}),
        (2, 3, 9, "pretrain", {"both": 2 / 9, "pretrain": 2 / 3}),
        (3, 3, 9, "adapt", {"both": 1 / 3, "adapt": 0.0}),
        (8, 3, 9, "adapt", {"both": 8 / 9, "adapt": 5 / 6}),
        (0, 0, 4, "adapt", {"both": 0.0, "adapt": 0.0}),
        (3, 4, 4, "pretrain", {"both": 0.75, "pretrain": 0.75}),
    ],
)
def test_the_clock_knows_phase_and_progress(epoch, pretrain, total, phase, progress):
    clock = TrainingClock(epoch, pretrain, total)
    assert clock.phase == phase
    for name, value in progress.items():
        assert clock.progress(name) == pytest.approx(value)


def test_a_strategy_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match="'bins' leaves no source sample"):
        active(0, (7,), strategy="bins")


@pytest.mark.parametrize("strategy", ["hardest", "easiest", "random", "curriculum"])
def test_poses_without_any_score_leave_nothing_to_choose_from(strategy):
    nothing = DifficultyView(4, np.array([], dtype=np.int64), np.full(4, -1))
    trial = TrialConfig(sampling=SamplingConfig(strategy=strategy))
    with pytest.raises(ValueError, match="leaves no source sample"):
        epoch_weights(nothing, trial, TrainingClock(0, PRETRAIN, TOTAL))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_draws_the_same_number_of_active_samples(strategy):
    samples = active(0, (0,), strategy=strategy)
    weights = np.isin(np.arange(NUM), samples).astype(float)
    drawn = draw_indices(weights, 2400, generator())
    assert drawn.shape == (2400,)
    assert drawn.dtype == torch.int64
    assert set(drawn.tolist()) == set(samples)


def test_frequencies_follow_the_weights():
    weights = np.array([0.0, 1.0, 2.0, 0.0, 5.0, 0.0])
    num = 40_000
    counts = np.bincount(draw_indices(weights, num, generator()).numpy(), minlength=6)
    expected = num * weights / weights.sum()
    assert (counts[weights == 0] == 0).all()
    deviation = np.sqrt(expected * (1 - weights / weights.sum()))
    assert (np.abs(counts - expected) <= 4 * deviation).all()


def test_draws_are_with_replacement_and_repeatable():
    weights = np.array([0.0, 3.0, 1.0])
    first = draw_indices(weights, 100, generator(1))
    assert torch.equal(first, draw_indices(weights, 100, generator(1)))
    assert not torch.equal(first, draw_indices(weights, 100, generator(2)))


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-53, 1.0])
@pytest.mark.parametrize(
    ("weights", "first", "last"),
    [([0.0, 0.0, 1.0, 1.0, 0.0], 2, 3), ([1.0], 0, 0), ([0.1] * 10 + [0.0], 0, 9)],
)
def test_the_ends_of_the_random_range_stay_on_active_samples(
    weights, first, last, draw, monkeypatch
):
    monkeypatch.setattr(
        torch, "rand", lambda num, **_: torch.full((num,), draw, dtype=torch.float64)
    )
    expected = first if draw == 0 else last
    assert draw_indices(np.array(weights), 2, generator()).tolist() == [expected, expected]


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -0.5], [math.nan, 1.0], []])
def test_impossible_weights_are_refused(weights):
    with pytest.raises(ValueError, match="must not be negative and must not all be 0"):
        draw_indices(np.array(weights), 3, generator())
