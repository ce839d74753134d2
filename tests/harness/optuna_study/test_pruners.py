import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.optuna_study.pruners import Brackets, Pruning, RungPruner, hyperband
from harness.spec.early_terminate import EarlyTerminate
from tests.reference.wandb_sweeps import bands, is_stopped

CURVES = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), max_size=25)


def brackets_rule(shortest, longest, eta):
    return EarlyTerminate(type="hyperband_brackets", min_iter=shortest, max_iter=longest, eta=eta)


def decisions(brackets, goal, curves):
    """At which report each of some trials, one after the other, is stopped; None if never."""
    pruning, stops = Pruning(brackets, goal), []
    for trial, curve in enumerate(curves):
        stopped = None
        for step, value in enumerate(curve, start=1):
            if stopped is None and pruning.report(trial, float(value), step, may_prune=True):
                stopped = step
        pruning.close(trial, None if stopped else float(curve[-1]), pruned=stopped is not None)
        stops.append(stopped)
    return stops


@settings(max_examples=60)
@given(CURVES, st.sampled_from([(1, 9, 3), (2, 6, 2), (1, 10, 3), (1, 8, 2), (3, 3, 2)]))
def test_the_brackets_decide_as_optunas_hyperband(curves, rule):
    shortest, longest, eta = rule
    whole = optuna.pruners.HyperbandPruner(shortest, longest, eta)
    expected = decisions(Brackets([whole], study_name="a study"), "maximize", curves)
    found = hyperband(brackets_rule(*rule), longest, "a study")
    assert decisions(found, "maximize", curves) == expected


def test_trials_are_spread_over_the_brackets_by_their_shares():
    brackets = hyperband(brackets_rule(1, 9, 3), 9, "s")
    assert list(brackets.shares) == [9, 5, 3]
    counts = [0, 0, 0]
    for trial in range(1700):
        counts[brackets.of(trial)] += 1
    assert counts == pytest.approx([900, 500, 300], rel=0.15)


def test_trials_shorter_than_the_first_rung_are_all_in_one_bracket_that_stops_none():
    rule = EarlyTerminate(type="hyperband_brackets", min_iter=9)
    curves = [[5.0, 4.0], [1.0, 1.0], [0.0, 0.0]]
    assert decisions(hyperband(rule, 2, "s"), "maximize", curves) == [None] * 3


def test_a_trial_that_may_not_be_pruned_is_compared_with_all_the_same():
    pruning = Pruning(hyperband(brackets_rule(1, 2, 2), 2, "s"), "maximize")
    first = [n for n in range(20) if pruning._brackets.of(n) == 0][:2]
    assert not pruning.report(first[0], 5.0, 1, may_prune=False)
    assert pruning.report(first[1], 1.0, 1, may_prune=True)


@pytest.mark.parametrize(
    ("words", "rungs"),
    [
        ({"max_iter": 10, "s": 2}, (1, 3)),
        ({"max_iter": 20, "s": 2}, (2, 6)),
        ({"max_iter": 50, "s": 3}, (1, 5, 16)),
        ({"max_iter": 27, "s": 9}, (1, 3, 9)),
        ({"max_iter": 10, "s": 2, "eta": 2.5}, (1, 4)),
        ({"min_iter": 3}, (3, 9, 27)),
        ({"min_iter": 3, "eta": 1.5}, (3, 4, 6)),
        ({"min_iter": 2, "max_iter": 10, "s": 2}, (1, 3)),
    ],
)
def test_rungs_of_hyperband(words, rungs):
    rule = EarlyTerminate(type="hyperband", **words)
    assert rule.rungs[: len(rungs)] == rungs
    assert list(rule.rungs[:9]) == bands(words)[:9]
    assert "max_iter" not in words or rule.rungs == rungs


RULES = st.fixed_dictionaries(
    {"max_iter": st.integers(4, 12), "s": st.integers(1, 3)},
    optional={"eta": st.sampled_from([2, 3, 1.5, 2.5]), "strict": st.booleans()},
) | st.fixed_dictionaries(
    {"min_iter": st.integers(1, 4)},
    optional={"eta": st.sampled_from([2, 3, 1.5, 2.5]), "strict": st.booleans()},
)


@settings(max_examples=150)
@given(
    RULES,
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=60),
    st.sampled_from(["maximize", "minimize"]),
)
def test_hyperband_stops_whom_wandb_stops_whatever_the_order_of_reports(words, events, goal):
    rule = EarlyTerminate(type="hyperband", **words)
    pruning = Pruning(Brackets([RungPruner(rule)], study_name="s"), goal)
    losses, stopped = [[] for _ in range(6)], set()
    for run, loss in events:
        if run in stopped:
            continue
        losses[run].append(loss)
        value = float(loss if goal == "minimize" else -loss)
        stops = pruning.report(run, value, len(losses[run]), may_prune=True)
        assert stops == is_stopped(words, losses, run)
        if stops:
            stopped.add(run)
            pruning.close(run, None, pruned=True)
