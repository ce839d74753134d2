"""Choices of checkpoints on recorded histories, and the measures of a validator."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from trainables.metrics.metric_keys import VALIDATORS
from trainables.metrics.selection import (
    choices,
    chosen_metrics,
    default_choice,
    meta_evaluation,
)


def history(**columns):
    """Checkpoints from columns; ``target`` is the target PCK, None leaves a value out."""
    keys = {
        name: "target_val/pck_05" if name == "target" else f"validator/{name}" for name in columns
    }
    return [
        {keys[name]: value for name, value in zip(columns, row, strict=True) if value is not None}
        for row in zip(*columns.values(), strict=True)
    ]


def test_the_default_is_the_best_mean_rank_near_the_best_source():
    # The first is best in all three but 3.1 points below the best source PCK.
    checkpoints = history(
        source_pck=[46.9, 47.0, 49.0, 50.0],
        equivariance=[90.0, 30.0, 40.0, 20.0],  # ranks of the last three: 2, 3, 1
        infomax=[9.0, 1.0, 3.0, 2.0],  #                                   1, 3, 2
        plausibility=[-0.1, -0.2, -0.9, -0.5],  #                          3, 1, 2
    )
    assert default_choice(checkpoints) == 2  # 7 against 6 and 5
    checkpoints[0]["validator/source_pck"] = 47.0  # exactly 3 below is near enough
    assert default_choice(checkpoints) == 0


def test_ranks_are_taken_among_the_checkpoints_that_are_left():
    # Left are the last two; over all four the second would have 4 + 3 + 1, the third 2 + 2 + 4.
    checkpoints = history(
        source_pck=[0.0, 50.0, 50.0, 0.0],
        equivariance=[3.0, 4.0, 2.0, 1.0],
        infomax=[1.0, 1.0, 2.0, 1.5],
        plausibility=[-2.0, -4.0, -1.0, -3.0],
    )
    assert default_choice(checkpoints) == 2
    assert default_choice(checkpoints[:2]) == 1


def test_equal_mean_ranks_go_to_the_later_checkpoint():
    checkpoints = history(
        source_pck=[50.0, 50.0, 50.0],
        equivariance=[30.0, 30.0, 20.0],  # 2.5, 2.5, 1
        infomax=[2.0, 1.0, 1.0],  #         3, 1.5, 1.5
        plausibility=[-2.0, -1.0, -3.0],  # 2, 3, 1
    )
    assert default_choice(checkpoints) == 0  # 7.5 against 7
    checkpoints[0]["validator/infomax"] = 1.0  # 2, 2, 2: 6.5 against 7.5
    assert default_choice(checkpoints) == 1
    assert default_choice([checkpoints[0]] * 3) == 2


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
@pytest.mark.parametrize("name", ["source_pck", "equivariance", "infomax", "plausibility"])
def test_the_default_is_the_last_where_a_value_is_missing(name, value):
    columns = {
        "source_pck": [50.0, 50.0, 50.0],
        "equivariance": [9.0, 1.0, 1.0],
        "infomax": [9.0, 1.0, 1.0],
        "plausibility": [9.0, 1.0, 1.0],
    }
    assert default_choice(history(**columns)) == 0
    columns[name][1] = value
    assert default_choice(history(**columns)) == 2
    assert default_choice([{}, {}]) == 1


def test_every_validator_chooses_its_best_and_the_oracle_the_best_on_the_target():
    columns = {name: [float(i == best) for i in range(9)] for best, name in enumerate(VALIDATORS)}
    chosen = choices(history(**columns, target=[1.0, 2.0, 9.0, 9.0, 3.0, 1.0, 1.0, 1.0, 1.0]))
    assert {name: chosen[name] for name in VALIDATORS} == {
        name: i for i, name in enumerate(VALIDATORS)
    }
    assert chosen["last"] == 8
    assert chosen["oracle_val"] == 3  # the later of two
    assert set(chosen) == {*VALIDATORS, "last", "default", "oracle_val"}


def test_checkpoints_without_a_value_are_passed_over_and_absent_validators_left_out():
    # Agreement exists from adaptation on.
    chosen = choices(
        history(agreement=[None, None, 80.0, 70.0], mmd=[math.nan, -1.0, -2.0, math.inf])
    )
    assert chosen == {"last": 3, "default": 3, "agreement": 2, "mmd": 1}


def test_label_free_choices_do_not_read_the_target_labels():
    rng = np.random.default_rng(0)
    checkpoints = [{f"validator/{name}": rng.random() for name in VALIDATORS} for _ in range(9)]
    blind = choices(checkpoints)
    seen = choices([c | {"target_val/pck_05": rng.random()} for c in checkpoints])
    seen.pop("oracle_val")
    assert seen == blind


def test_chosen_metrics_count_epochs_from_one_and_look_the_target_up():
    checkpoints = history(confidence=[0.3, 0.9, 0.5], target=[10.0, 20.0, 30.0])
    assert chosen_metrics(checkpoints) == {
        "chosen_epoch/last": 3.0,
        "chosen_pck_05/last": 30.0,
        "chosen_epoch/default": 3.0,
        "chosen_pck_05/default": 30.0,
        "chosen_epoch/confidence": 2.0,
        "chosen_pck_05/confidence": 20.0,
        "chosen_epoch/oracle_val": 3.0,
        "chosen_pck_05/oracle_val": 30.0,
    }


def test_an_epoch_without_a_target_pck_is_logged_without_it():
    checkpoints = history(confidence=[0.3, 0.9], target=[10.0, None])
    metrics = chosen_metrics(checkpoints)
    assert metrics["chosen_epoch/confidence"] == 2.0
    assert "chosen_pck_05/confidence" not in metrics
    assert metrics["chosen_epoch/oracle_val"] == 1.0


@pytest.mark.parametrize("function", [default_choice, choices, chosen_metrics])
def test_nothing_cannot_be_chosen_from(function):
    with pytest.raises(ValueError, match="at least one checkpoint, got none"):
        function([])


def test_regret_and_top_five_by_hand():
    result = meta_evaluation([1, 2, 3, 4, 5, 6, 7], [70, 60, 50, 10, 40, 20, 30])
    assert result.regret_at_1 == 40  # 70 - 30
    assert result.top5_mean == 30  # 30, 20, 40, 10, 50
    assert result.top5_worst == 10
    few = meta_evaluation([1, 2], [30, 20])
    assert (few.regret_at_1, few.top5_mean, few.top5_worst) == (10, 25, 20)


def test_weighted_spearman_by_hand():
    # Dense ranks 1 2 3 and 2 1 3 over 3: weights 4/9, 4/9, 1, in ninths 4, 4, 9.
    # Weighted ranks of v: 4, 4 + 4, 8 + 9 = 4, 8, 17; of t: 8, 4, 17.
    ranks_v, ranks_t, weights = np.array([4, 8, 17]), np.array([8, 4, 17]), np.array([4, 4, 9])
    mean_v, mean_t = (weights @ ranks / 17 for ranks in (ranks_v, ranks_t))
    covariance = weights @ ((ranks_v - mean_v) * (ranks_t - mean_t))
    variance = weights @ (ranks_v - mean_v) ** 2  # and that of t is the same
    result = meta_evaluation([0.1, 0.2, 0.3], [20, 10, 30])
    assert result.weighted_spearman == pytest.approx(covariance / variance)
    assert result.spearman == pytest.approx(0.5)


def test_weighted_ranks_of_equals_follow_the_reference():
    # Dense ranks 1 1 2 and 1 2 2 over 2: weights 1/4, 1, 1. Ranks of v: the equals weigh 5/4
    # together, so (2 + 1) / 2 times their mean of 5/8 = 15/16; then 5/4 + 1. Of t: 1/4; then
    # 1/4 + 3/2 times 1.
    weights = np.array([0.25, 1, 1])
    ranks = np.array([[0.9375, 0.9375, 2.25], [0.25, 1.75, 1.75]])
    centred = ranks - (ranks @ weights)[:, None] / 2.25
    covariance = (centred * weights) @ centred.T
    expected = covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1])
    assert meta_evaluation([1, 1, 2], [10, 20, 20]).weighted_spearman == pytest.approx(expected)


def test_the_order_of_bad_checkpoints_weighs_less_than_that_of_good_ones():
    target = np.arange(10.0)
    bad, good = target.copy(), target.copy()
    bad[[0, 1]], good[[8, 9]] = bad[[1, 0]], good[[9, 8]]
    swapped_bad, swapped_good = meta_evaluation(bad, target), meta_evaluation(good, target)
    assert swapped_bad.spearman == pytest.approx(swapped_good.spearman)
    assert swapped_bad.weighted_spearman > swapped_bad.spearman > swapped_good.weighted_spearman


pairs = st.lists(
    st.tuples(st.integers(-20, 20), st.integers(0, 20)), min_size=2, max_size=30
).filter(lambda rows: all(len(set(column)) > 1 for column in zip(*rows, strict=True)))


@given(pairs)
def test_spearman_agrees_with_scipy(rows):
    values, target = np.array(rows, dtype=float).T
    expected = scipy.stats.spearmanr(values, target).statistic
    assert meta_evaluation(values, target).spearman == pytest.approx(expected, abs=1e-9)


@given(pairs, st.integers(0, 1000))
def test_measures_depend_on_the_validators_order_alone(rows, seed):
    values, target = np.array(rows, dtype=float).T
    result = meta_evaluation(values, target)
    assert meta_evaluation(np.exp(values / 10) - 3, target) == result
    order = np.random.default_rng(seed).permutation(len(values))
    shuffled = meta_evaluation(values[order], target[order])
    assert vars(shuffled) == pytest.approx(vars(result), abs=1e-9)
    assert -1 <= result.weighted_spearman <= 1
    assert 0 <= result.regret_at_1 <= target.max() - target.min()
    assert result.top5_worst <= result.top5_mean <= target.max()


@given(pairs)
def test_the_opposite_validator_has_the_opposite_correlation(rows):
    values, target = np.array(rows, dtype=float).T
    opposite = meta_evaluation(-values, target).spearman
    assert opposite == pytest.approx(-meta_evaluation(values, target).spearman, abs=1e-9)


@given(pairs)
def test_the_target_itself_is_the_perfect_validator(rows):
    _, target = np.array(rows, dtype=float).T
    result = meta_evaluation(target, target)
    assert result.spearman == pytest.approx(1)
    assert result.weighted_spearman == pytest.approx(1)
    assert result.regret_at_1 == 0
    assert result.top5_worst == np.sort(target)[-5:].min()


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_count_as_the_least(broken):
    target = [10, 20, 30, 40]
    assert meta_evaluation([2, broken, 3, 5], target) == meta_evaluation([2, 2, 3, 5], target)


@pytest.mark.parametrize("values", [[1, 1, 1], [math.nan] * 3])
def test_a_constant_validator_has_no_correlation_and_the_worst_choice(values):
    result = meta_evaluation(values, [30, 10, 20])
    assert math.isnan(result.spearman)
    assert math.isnan(result.weighted_spearman)
    assert result.regret_at_1 == 20


def test_a_constant_target_has_no_correlation_and_no_regret():
    result = meta_evaluation([1, 2, 3], [20, 20, 20])
    assert math.isnan(result.spearman)
    assert math.isnan(result.weighted_spearman)
    assert result.regret_at_1 == 0
    assert math.isnan(meta_evaluation([1], [20]).spearman)


@pytest.mark.parametrize(
    ("values", "target", "message"),
    [
        ([], [], r"n >= 1, got \(0,\) and \(0,\)"),
        ([1, 2], [1], r"got \(2,\) and \(1,\)"),
        ([[1]], [[1]], r"got \(1, 1\)"),
        ([1, 2], [1, math.nan], "target_pck must be finite, got nan"),
    ],
)
def test_checkpoints_that_cannot_be_judged_are_refused(values, target, message):
    with pytest.raises(ValueError, match=message):
        meta_evaluation(values, target)
