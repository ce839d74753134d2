"""Pacing: values by hand for each formula, and what all of them promise."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainables.config import Pacing
from trainables.sampling.schedule import active_fraction

PACINGS = ["linear", "root", "step", "fixed_exponential"]
ANY_PACING = st.sampled_from(PACINGS)
SHARE = st.floats(0, 1)
POSITIVE_SHARE = st.floats(0.001, 1)


def test_every_pacing_of_the_configuration_is_covered():
    assert set(PACINGS) == set(Pacing.__args__)


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
        ("root", 0.0, 0.6, 1.0, 0.6),
        ("root", 0.25, 0.6, 1.0, math.sqrt(0.36 + 0.64 / 4)),
        ("root", 0.5, 0.0001, 1.0, math.sqrt(0.5)),
        ("root", 0.3, 0.6, 0.3, 1.0),
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


@given(pacing=ANY_PACING, b=POSITIVE_SHARE, a=POSITIVE_SHARE, times=st.tuples(SHARE, SHARE))
def test_fractions_never_fall_and_stay_between_b_and_1(pacing, b, a, times):
    early, late = (active_fraction(pacing, t, b, a) for t in sorted(times))
    assert b * (1 - 1e-12) <= early <= late <= 1


@given(pacing=ANY_PACING, b=POSITIVE_SHARE, a=POSITIVE_SHARE)
def test_training_starts_with_b(pacing, b, a):
    assert active_fraction(pacing, 0.0, b, a) == pytest.approx(b)


@given(pacing=ANY_PACING, b=POSITIVE_SHARE, a=POSITIVE_SHARE, rest=SHARE)
@example(pacing="fixed_exponential", b=1.9**-2, a=2 / 3, rest=0.0)
def test_all_data_is_active_from_a_on(pacing, b, a, rest):
    # Exactly 1: samples without a score join only then.
    assert active_fraction(pacing, a + (1 - a) * rest, b, a) == 1
    assert active_fraction(pacing, a, b, a) == 1
    assert active_fraction(pacing, 1.0, b, a) == 1


@given(b=st.floats(0.01, 0.9), t=st.floats(0.01, 0.99))
def test_root_is_ahead_of_linear(b, t):
    assert active_fraction("root", t, b, 1.0) > active_fraction("linear", t, b, 1.0)


@pytest.mark.parametrize("num_epochs", [3, 6, 9, 12, 30, 60, 99])
def test_the_papers_thirds_switch_at_whole_epochs(num_epochs):
    fractions = [
        active_fraction("step", epoch / num_epochs, 1 / 3, 2 / 3) for epoch in range(num_epochs)
    ]
    third = num_epochs // 3
    expected = [1 / 3] * third + [2 / 3] * third + [1.0] * third
    assert fractions == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("quad", 0.5, 0.5, 0.5), "pacing must be linear, root, step or .*, got 'quad'"),
        (("quad", 1.0, 0.5, 0.5), "pacing must be linear, root, step or .*, got 'quad'"),
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
