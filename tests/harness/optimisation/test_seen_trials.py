import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from harness.optimisation.seen_trials import NUM_BEST, NUM_NEWEST, SeenStudy, SeenTrials

VALUES = st.floats(-5, 5).map(lambda value: round(value, 1))
DIRECTIONS = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]


def frozen(number, state, value, step, violation):
    trial = optuna.trial.create_trial(
        state=state,
        value=value if state == TrialState.COMPLETE else None,
        intermediate_values={step: value} if state == TrialState.PRUNED and step else {},
        system_attrs={"constraints:c": violation} if violation else {},
    )
    trial.number = number
    return trial


@st.composite
def histories(draw):
    states = st.sampled_from([TrialState.COMPLETE] * 2 + [TrialState.PRUNED, TrialState.FAIL])
    number = draw(st.integers(0, 30))
    ended = [
        frozen(n, draw(states), draw(VALUES), draw(st.integers(0, 3)), draw(VALUES))
        for n in range(number)
    ]
    late = draw(st.sets(st.integers(0, 29), max_size=3))
    return ended, late


def running(trial: FrozenTrial) -> FrozenTrial:
    return frozen(trial.number, TrialState.RUNNING, 0.0, 0, 0.0)


@settings(max_examples=150)
@given(histories(), st.sampled_from(DIRECTIONS))
def test_the_best_that_tpe_finds_among_what_is_seen_are_those_of_all(history, direction):
    trials, _ = history
    study = optuna.create_study(direction=direction.name.lower())
    usable = {TrialState.COMPLETE, TrialState.PRUNED}
    everything = [trial for trial in trials if trial.state in usable]
    seen = SeenStudy(study, SeenTrials(direction, 4, 6).pick(trials)).get_trials(states=usable)
    expected, _ = _split_trials(study, everything, 4)
    found, _ = _split_trials(study, seen, 4)
    assert [trial.number for trial in found] == [trial.number for trial in expected]


@settings(max_examples=100)
@given(histories(), st.sampled_from(DIRECTIONS))
def test_a_driver_that_was_there_all_along_sees_what_a_new_one_sees(history, direction):
    """Trials end in another order than they start in; what is seen does not depend on when."""
    ended, late = history
    kept = SeenTrials(direction, 3, 4)
    for length in range(len(ended) + 1):
        now = [running(trial) if trial.number in late else trial for trial in ended[:length]]
        assert kept.pick(now) == SeenTrials(direction, 3, 4).pick(now)
    assert kept.pick(ended) == SeenTrials(direction, 3, 4).pick(ended)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_short_study_is_seen_whole_and_in_order(direction):
    trials = [frozen(n, TrialState.COMPLETE, n % 7, 0, 0.0) for n in range(NUM_NEWEST)]
    assert SeenTrials(direction).pick(trials) == trials


def test_tpe_counts_as_many_good_trials_among_the_seen_as_among_all():
    assert default_gamma(NUM_BEST + NUM_NEWEST) == default_gamma(100_000) == NUM_BEST


def test_a_running_trial_is_seen_however_old():
    trials = [frozen(n, TrialState.FAIL, 0.0, 0, 0.0) for n in range(50)]
    trials[3] = running(trials[3])
    assert [t.number for t in SeenTrials(DIRECTIONS[0], 2, 5).pick(trials)] == [3, *range(45, 50)]
