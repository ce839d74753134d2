"""Order of trials: means over seeds, constraints, Pareto fronts worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.record.ledger import RunRecord
from harness.results.ranking import ranked_trials
from harness.spec import StudySpec
from trainables.metrics.metric_keys import WAIT_SHARE

PCK, EVALPOSE = "target_val/pck_05", "target_val/evalpose"


def spec(seeds=1, goals=("maximize",), **more):
    names = [PCK, EVALPOSE][: len(goals)]
    return StudySpec.model_validate(
        {
            "name": "s",
            "metrics": [{"name": n, "goal": g} for n, g in zip(names, goals, strict=True)],
            "parameters": {"vae.kl_weight": {"min": 0.1, "max": 1.0}},
            "budget": {"run_cap": 9},
            "seeds": seeds,
            **more,
        }
    )


def runs(*trials, state="complete"):
    """Runs of trials given as lists of metrics, one for each seed."""
    records = []
    for trial, seeds in enumerate(trials):
        for index, metrics in enumerate(seeds):
            named = dict(zip((PCK, EVALPOSE), metrics, strict=False))
            records.append(
                RunRecord(
                    number=trial * len(seeds) + index, trial=trial, trial_name=f"trial-{trial}",
                    seed=index, name=f"trial-{trial}-seed{index}", is_baseline=False, params={},
                    fields={"seed": index}, state=state, metrics=named, value=metrics[0],
                )
            )  # fmt: skip
    return records


def test_a_trial_is_as_good_as_the_mean_of_its_seeds():
    found = ranked_trials(spec(seeds=2), runs([[10.0], [20.0]], [[14.0], [18.0]]))
    assert [(s.number, s.name, s.means[PCK]) for s in found] == [
        (1, "trial-1", 16.0),
        (0, "trial-0", 15.0),
    ]
    # Two values, 2 apart: 16 -+ 12.706 * sqrt(2) / sqrt(2) * ... = 16 -+ 12.706 * 2
    assert found[0].interval == pytest.approx((16 - 25.412, 16 + 25.412), abs=0.01)


def test_a_trial_that_lacks_a_seed_or_failed_is_left_out():
    complete = runs([[10.0], [20.0]], [[14.0], [18.0]])
    assert len(ranked_trials(spec(seeds=2), complete[:3])) == 1
    complete[0].state = "failed"
    assert [s.number for s in ranked_trials(spec(seeds=2), complete)] == [1]


def test_a_trial_without_a_constraints_metric_is_left_out():
    limited = spec(constraints=[{"name": EVALPOSE, "min": 95}])
    found = ranked_trials(limited, runs([[10.0]], [[20.0, 96.0]]))
    assert [trial.number for trial in found] == [1]


def test_a_metric_that_a_seed_lacks_has_no_mean():
    (found,) = ranked_trials(spec(seeds=2), runs([[10.0, 90.0], [20.0]]))
    assert found.means == {PCK: 15.0}


def test_one_seed_has_no_interval():
    (found,) = ranked_trials(spec(), runs([[10.0]]))
    assert all(math.isnan(bound) for bound in found.interval)


@pytest.mark.parametrize(("goal", "first"), [("maximize", 1), ("minimize", 0)])
def test_the_goal_decides_the_order(goal, first):
    found = ranked_trials(spec(goals=(goal,)), runs([[10.0]], [[20.0]]))
    assert found[0].number == first
    assert [s.is_pareto for s in found] == [True, False]


def test_what_breaks_a_constraint_comes_last_and_is_not_optimal():
    limited = spec(
        metrics=[
            {"name": PCK, "goal": "maximize"},
            {"name": EVALPOSE, "goal": "maximize", "role": "report"},
        ],
        constraints=[{"name": EVALPOSE, "min": 95}],
    )
    found = ranked_trials(limited, runs([[10.0, 96.0]], [[20.0, 94.0]]))
    assert [s.number for s in found] == [0, 1]
    assert found[1].broken == (f"{EVALPOSE} >= 95 (it is 94)",)
    assert [s.is_pareto for s in found] == [True, False]


def test_what_trained_on_target_labels_is_no_result_and_not_on_the_front():
    both = spec(goals=("maximize", "maximize"))
    records = runs([[30.0, 9.0]], [[20.0, 8.0]], [[10.0, 9.0]])
    records[0].fields["adapt.method"] = "oracle"
    found = ranked_trials(both, records)
    assert [(t.number, t.is_result, t.is_pareto) for t in found] == [
        (0, False, False),
        (1, True, True),
        (2, True, True),
    ]


def test_the_front_holds_what_nothing_else_is_better_than():
    points = [[1.0, 9.0], [5.0, 5.0], [4.0, 5.0], [9.0, 1.0], [9.0, 0.0]]
    both = spec(goals=("maximize", "maximize"))
    found = ranked_trials(both, runs(*([point] for point in points)))
    assert sorted(s.number for s in found if s.is_pareto) == [0, 1, 3]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_equals_its_definition(points):
    both = spec(goals=("maximize", "minimize"))
    records = runs(*([[float(a), float(b)]] for a, b in points))
    for record in records:  # equal by chance
        record.fields["adapt.lr"] = record.trial / 100
    found = ranked_trials(both, records)
    expected = {
        i
        for i, (a, b) in enumerate(points)
        if not any((c, d) != (a, b) and c >= a and d <= b for c, d in points)
    }
    assert {s.number for s in found if s.is_pareto} == expected


def test_trials_with_equal_metrics_that_differ_in_their_choice_alone_are_one():
    pck = [5.0, 7.0, 7.0, 6.0, 7.0, 5.0, 7.0]
    records = runs(*([[value, value]] for value in pck))
    chosen = {"bins.count": 3, "bins.subset": [0, 1, 2], "sampling.strategy": "bins"}
    for number, record in enumerate(records):
        record.metrics[WAIT_SHARE] = number / 10  # a measured time
        record.is_baseline = number in (0, 6)
        record.fields |= {} if record.is_baseline else chosen
    records[2].fields |= {"adapt.lr": 0.1}  # equal by chance
    # The baseline 6 comes first, although its number is larger.
    assert {t.number: t.repeats for t in ranked_trials(spec(), records)} == {
        0: None, 1: 6, 2: None, 3: None, 4: 6, 5: 0, 6: None,
    }  # fmt: skip


def test_a_trial_that_repeats_another_is_not_pareto_optimal():
    found = ranked_trials(spec(), runs([[7.0]], [[7.0]]))
    assert {t.number: t.is_pareto for t in found} == {0: True, 1: False}


def test_searched_trials_that_are_the_same_training_are_one():
    records = runs([[7.0]], [[7.0]], [[7.0]])
    for record, count, subset in zip(records, (3, 6, 6), ([2], [4, 5], [3, 4]), strict=True):
        own = {"sampling.strategy": "bins", "bins.count": count, "bins.subset": subset}
        record.fields |= own
    assert {t.number: t.repeats for t in ranked_trials(spec(), records)} == {
        0: None, 1: 0, 2: None,
    }  # fmt: skip
