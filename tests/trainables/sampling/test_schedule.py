"""Pacing: values by hand for each formula, and what all of them promise."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainables.config import Pacing
from trainables.sampling.schedule import PACINGS, Levels, active_fraction

STEPWISE = ["step", "fixed_exponential"]
CONTINUOUS = ["exponential", "quadratic", "linear", "root", "log"]  # the slowest first
ANY_PACING = st.sampled_from(CONTINUOUS + STEPWISE)
SHARE = st.floats(0, 1)
POSITIVE_SHARE = st.floats(0.001, 1)


def test_every_pacing_of_the_configuration_is_covered():
    assert set(CONTINUOUS + STEPWISE) == set(PACINGS) == set(Pacing.__args__)


@pytest.mark.parametrize(
    ("pacing", "progress", "start_fraction", "full_at", "expected"),
    [
        # VAE-CL: easy, easy and medium, all.
        ("step", 0.0, 1 / 3, 2 / 3, 1 / 3),
        ("step", 0.333, 1 / 3, 2 / 3, 1 / 3),
        ("step", 1 / 3, 1 / 3, 2 / 3, 2 / 3),
        ("step", 0.666, 1 / 3, 2 / 3, 2 / 3),
        ("step", 2 / 3, 1 / 3, 2 / 3, 1.0),
        ("step", 1.0, 1 / 3, 2 / 3, 1.0),
        # Four levels: 1/4, 1/2, 3/4, 1.
        ("step", 0.3, 0.25, 0.9, 0.5),
        ("step", 0.29, 0.25, 0.9, 0.25),
        ("step", 0.6, 0.25, 0.9, 0.75),
        # Five levels; 3 / 5 / 0.8 * 4 is a little less than 3 in floating point.
        ("step", 3 / 5, 0.2, 0.8, 0.8),
        # round(1 / 0.4) = 2 levels; there are never fewer unless b is 1.
        ("step", 0.49, 0.4, 0.5, 0.4),
        ("step", 0.5, 0.4, 0.5, 1.0),
        ("step", 0.4, 0.8, 0.5, 0.8),
        ("step", 0.0, 1.0, 0.5, 1.0),
        ("linear", 0.0, 0.2, 0.5, 0.2),
        ("linear", 0.25, 0.2, 0.5, 0.6),
        ("linear", 0.4, 0.2, 0.8, 0.6),
        ("linear", 0.5, 0.2, 0.5, 1.0),
        # A quarter and nine sixteenths of the rest, 0.8.
        ("quadratic", 0.0, 0.2, 0.5, 0.2),
        ("quadratic", 0.25, 0.2, 0.5, 0.4),
        ("quadratic", 0.6, 0.2, 0.8, 0.65),
        # 0.6 + 0.4 * 1/2, at a quarter of the way; 0.2 + 0.8 * 3/5 at 9/25 of it.
        ("root", 0.0, 0.6, 1.0, 0.6),
        ("root", 0.25, 0.6, 1.0, 0.8),
        ("root", 0.18, 0.2, 0.5, 0.68),
        ("root", 0.3, 0.6, 0.3, 1.0),
        # (e^5 - 1) / (e^10 - 1) = 1 / (e^5 + 1) = 0.0066928509.
        ("exponential", 0.0, 0.2, 0.5, 0.2),
        ("exponential", 0.25, 0.2, 0.5, 0.2053542807),
        # (e^9 - 1) / (e^10 - 1) = 0.3678507.
        ("exponential", 0.9, 0.5, 1.0, 0.68392535),
        # At t = e^-1 - e^-10, e^-5 - e^-10: 0.9 and 0.5 of the rest.
        ("log", 0.0, 0.2, 0.5, 0.2),
        ("log", math.exp(-1) - math.exp(-10), 0.2, 1.0, 0.92),
        ("log", 0.5 * (math.exp(-5) - math.exp(-10)), 0.2, 0.5, 0.6),
        # 1 + ln(1 + e^-10) / 10 is more than 1 just before a: clipped.
        ("log", 0.99999, 0.2, 1.0, 1.0),
        # 0.25, 0.475, 0.9025, 1: ceil(ln 4 / ln 1.9) = 3 growths.
        ("fixed_exponential", 0.0, 0.25, 0.6, 0.25),
        ("fixed_exponential", 0.19, 0.25, 0.6, 0.25),
        ("fixed_exponential", 0.2, 0.25, 0.6, 0.475),
        ("fixed_exponential", 0.4, 0.25, 0.6, 0.9025),
        ("fixed_exponential", 0.6, 0.25, 0.6, 1.0),
        ("fixed_exponential", 0.3, 1.0, 0.6, 1.0),
    ],
)
def test_fractions_are_those_computed_by_hand(pacing, progress, start_fraction, full_at, expected):
    assert active_fraction(pacing, progress, start_fraction, full_at) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("pacing", "sizes"),
    [
        ("linear", [10, 32, 55, 77, 100]),
        ("quadratic", [10, 15, 32, 60, 100]),
        ("root", [10, 55, 73, 87, 100]),
        ("exponential", [10, 10, 10, 17, 100]),
        ("log", [10, 87, 93, 97, 100]),
    ],
)
def test_sizes_of_a_hundred_samples_are_those_of_the_reference(pacing, sizes):
    # Wu et al.'s formulas with total_step = 4, total_data = 100, a = 1, b = 0.1; step 0 to 4.
    fractions = [active_fraction(pacing, step / 4, 0.1, 1.0) for step in range(5)]
    assert [int(100 * fraction + 1e-9) for fraction in fractions] == sizes


@given(pacing=ANY_PACING, b=POSITIVE_SHARE, a=POSITIVE_SHARE, times=st.tuples(SHARE, SHARE))
def test_fractions_never_fall_and_stay_between_b_and_1(pacing, b, a, times):
    early, late = (active_fraction(pacing, t, b, a) for t in sorted(times))
    assert b <= early <= late <= 1


@given(pacing=ANY_PACING, b=POSITIVE_SHARE, a=POSITIVE_SHARE)
def test_training_starts_with_b(pacing, b, a):
    assert active_fraction(pacing, 0.0, b, a) == pytest.approx(b)


@given(pacing=ANY_PACING, b=POSITIVE_SHARE, a=POSITIVE_SHARE, rest=SHARE)
@example(pacing="fixed_exponential", b=1.9**-2, a=2 / 3, rest=0.0)
def test_all_data_is_active_from_a_on(pacing, b, a, rest):
    # Exactly 1: not a sample is to be missing for a rounding error.
    assert active_fraction(pacing, a + (1 - a) * rest, b, a) == 1
    assert active_fraction(pacing, a, b, a) == 1
    assert active_fraction(pacing, 1.0, b, a) == 1


@given(b=st.floats(0.01, 0.9), t=st.floats(0.01, 0.99))
def test_continuous_pacings_never_change_their_order(b, t):
    fractions = [active_fraction(pacing, t, b, 1.0) for pacing in CONTINUOUS]
    assert fractions == sorted(set(fractions))


@given(pacing=st.sampled_from(CONTINUOUS), b=POSITIVE_SHARE, a=st.floats(0.1, 1), t=SHARE)
def test_only_progress_relative_to_a_matters(pacing, b, a, t):
    expected = active_fraction(pacing, t, b, 1.0)
    assert active_fraction(pacing, a * t, b, a) == pytest.approx(expected)


@pytest.mark.parametrize("num_epochs", [3, 6, 9, 12, 30, 60, 99])
def test_the_papers_thirds_switch_at_whole_epochs(num_epochs):
    fractions = [
        active_fraction("step", epoch / num_epochs, 1 / 3, 2 / 3) for epoch in range(num_epochs)
    ]
    third = num_epochs // 3
    expected = [1 / 3] * third + [2 / 3] * third + [1.0] * third
    assert fractions == pytest.approx(expected)


@pytest.mark.parametrize(
    ("pacing", "start_fraction", "expected"),
    [
        ("step", 0.25, [0.25, 0.5, 0.75, 1.0]),
        ("linear", 0.25, [0.25, 0.5, 0.75, 1.0]),
        ("log", 1 / 3, [1 / 3, 2 / 3, 1.0]),
        # round(1 / 0.3) = 3 levels, round(1 / 0.4) = 2.
        ("step", 0.3, [0.3, 0.65, 1.0]),
        ("step", 0.4, [0.4, 1.0]),
        ("step", 0.9, [0.9, 1.0]),
        ("step", 1.0, [1.0]),
        ("fixed_exponential", 0.25, [0.25, 0.475, 0.9025, 1.0]),
        ("fixed_exponential", 1 / 1.9, [1 / 1.9, 1.0]),
        ("fixed_exponential", 1.0, [1.0]),
    ],
)
def test_levels_are_those_computed_by_hand(pacing, start_fraction, expected):
    levels = Levels(pacing, start_fraction)
    assert len(levels) == len(expected)
    assert list(levels) == pytest.approx(expected)


@given(pacing=ANY_PACING, b=POSITIVE_SHARE)
def test_levels_rise_from_b_to_1(pacing, b):
    levels = list(Levels(pacing, b))
    assert levels[0] == pytest.approx(b)
    assert levels[-1] == 1
    assert levels == sorted(set(levels))


@given(pacing=st.sampled_from(STEPWISE), b=st.floats(0.02, 1), a=POSITIVE_SHARE, progress=SHARE)
def test_a_stepwise_pacing_stops_at_its_levels_alone(pacing, b, a, progress):
    assert active_fraction(pacing, progress, b, a) in list(Levels(pacing, b))


def test_levels_of_a_vanishing_start_are_as_many_as_there_may_be_samples():
    assert len(Levels("step", 1e-300)) == 1_000_000


@pytest.mark.parametrize("index", [-1, 4])
def test_levels_beyond_the_ends_are_refused(index):
    with pytest.raises(IndexError, match=f"index must be from 0 to 3, got {index}"):
        Levels("step", 0.25)[index]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("quad", 0.5, 0.5, 0.5), "pacing must be one of linear, quadratic, .*, got 'quad'"),
        (("quad", 1.0, 0.5, 0.5), "pacing must be one of linear, quadratic, .*, got 'quad'"),
        (("linear", -0.1, 0.5, 0.5), r"progress must be in \[0, 1\], got -0.1"),
        (("linear", 1.1, 0.5, 0.5), r"progress must be in \[0, 1\], got 1.1"),
        (("linear", math.nan, 0.5, 0.5), r"progress must be in \[0, 1\], got nan"),
        (("linear", 0.5, 0.0, 0.5), r"must be in \(0, 1\], got 0.0 and 0.5"),
        (("linear", 0.5, 0.5, 1.5), r"must be in \(0, 1\], got 0.5 and 1.5"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        active_fraction(*arguments)
