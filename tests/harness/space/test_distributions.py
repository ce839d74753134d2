import math

import optuna
import pytest
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st

from harness.space.distributions import EDGE, Beta, Drawn, LogNormal, Normal, Weighted

optuna.logging.set_verbosity(optuna.logging.WARNING)

SHARES = st.floats(1e-4, 1 - 1e-4)
SHAPES = st.floats(0.2, 200)
LAWS = [Normal(-2, 3), LogNormal(0.5, 0.25), Beta(2, 5), Beta(0.5, 0.5), Beta(80, 3)]


class Fixed:
    """Answers every question with one number."""

    def __init__(self, share):
        self.share = share

    def suggest_float(self, name, low, high, **_):
        assert name == "x/quantile"
        return min(max(self.share, low), high)


@example(0.9375, 0.2, 0.998046875)  # the next float has a share that is 1e-6 larger
@given(SHAPES, SHAPES, SHARES)
def test_beta_agrees_with_scipy(a, b, share):
    quantile = Beta(a, b).quantile(share)
    assert quantile == pytest.approx(scipy.stats.beta.ppf(share, a, b), abs=1e-9)
    below = scipy.stats.beta.cdf(quantile, a, b)
    assert Beta(a, b).share_below(quantile) == pytest.approx(below, abs=1e-9)


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_the_quantile_undoes_the_share(law):
    for share in (0.001, 0.1, 0.5, 0.77, 0.999):
        assert law.share_below(law.quantile(share)) == pytest.approx(share, rel=1e-9)


def test_quantiles_by_hand():
    assert Normal(4, 2).quantile(0.5) == 4
    assert LogNormal(math.log(8), 1).quantile(0.5) == pytest.approx(8)
    assert Beta(1, 1).quantile(0.3) == pytest.approx(0.3)
    assert Beta(1, 2).quantile(0.75) == pytest.approx(0.5)  # the share below x is 1 - (1 - x)**2
    assert [Beta(3, 3).share_below(x) for x in (-1, 0, 1, 2)] == [0, 0, 1, 1]
    assert LogNormal(0, 1).share_below(-1) == 0
    assert LogNormal(0, 1e6).quantile(0.9) == math.inf


@given(st.floats(0, 1))
def test_a_drawn_value_comes_back_from_its_quantile(share):
    for law in LAWS:
        domain = Drawn(law)
        value = domain.suggest("x", Fixed(share))
        encoded = domain.encode("x", value)
        assert encoded is None or domain.suggest("x", Fixed(encoded["x/quantile"])) == value


@pytest.mark.parametrize("value", [0.1, 0.25, 3e-3, -1.5])
def test_a_written_value_is_encoded_exactly(value):
    encoded = Drawn(Normal(0, 1)).encode("x", value)
    assert Drawn(Normal(0, 1)).suggest("x", Fixed(encoded["x/quantile"])) == value


def test_a_value_beyond_the_law_is_not_encoded():
    assert Drawn(Normal(0, 1)).encode("x", 5.0) is None
    assert Drawn(Beta(2, 2)).encode("x", -0.1) is None
    assert Drawn(Normal(0, 1)).encode("x", True) is None
    assert Drawn(Normal(0, 1)).encode("x", "far") is None


def test_the_tails_are_cut_where_a_sampler_would_look():
    low, high = Drawn(Normal(0, 1)).probes()
    assert (low, high) == pytest.approx((-3.719, 3.719), abs=1e-3)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    Drawn(Normal(0, 1)).suggest("x", trial)
    assert trial.distributions == {
        "x/quantile": optuna.distributions.FloatDistribution(EDGE, 1 - EDGE)
    }


def test_steps_are_rounded_to_the_nearest_multiple():
    domain = Drawn(Normal(0, 1), 0.5)
    assert domain.suggest("x", Fixed(0.5)) == 0
    assert domain.suggest("x", Fixed(Normal(0, 1).share_below(0.74))) == 0.5
    assert domain.suggest("x", Fixed(Normal(0, 1).share_below(0.76))) == 1.0
    assert list(domain.options()) == [x / 2 for x in range(-7, 8)]
    assert Drawn(Normal(0, 1)).options() is None
    whole = Drawn(Normal(10, 2), 4).suggest("x", Fixed(0.5))
    assert (whole, type(whole)) == (8, int)  # 10 is as near to 12; ties go to the even multiple


@given(st.floats(0, 1))
@example(0.2)
@example(0.0)
@example(1.0)
def test_weighted_values_take_their_part_of_the_unit_interval(share):
    domain = Weighted(("a", None, (1, 2)), (0.2, 0.5, 0.3))
    expected = "a" if share < 0.2 else None if share < 0.7 else (1, 2)
    assert domain.suggest("x", Fixed(share)) == expected


def test_weighted_values_are_encoded_in_the_middle_of_their_part():
    domain = Weighted(("a", None, (1, 2)), (0.2, 0.5, 0.3))
    shares = [domain.encode("x", value)["x/quantile"] for value in domain.options()]
    assert shares == pytest.approx([0.1, 0.45, 0.85])
    assert domain.encode("x", "b") is None
    assert domain.describe() == "one of a (0.2), null (0.5), [1, 2] (0.3)"
