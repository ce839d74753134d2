"""The contract with the private parts of Optuna: a version that moves one is named here."""

import optuna
import pytest
from optuna.trial import TrialState

from harness.optuna_study.optuna_private import (
    PRIVATE_ATTRIBUTES,
    PRIVATE_NAMES,
    live_trial,
    private,
    queued_params,
    requeue,
    trial_id,
)


@pytest.fixture
def study():
    return optuna.create_study(storage=optuna.storages.InMemoryStorage())


@pytest.mark.parametrize(("module", "name"), PRIVATE_NAMES)
def test_this_optuna_has_every_private_name(module, name):
    private(module, name)


def test_a_name_that_optuna_has_moved_is_one_clear_sentence():
    with pytest.raises(AttributeError) as caught:
        private("optuna.samplers", "CmaEsSampler._gone")
    for word in ("Optuna 5.", "optuna.samplers.CmaEsSampler._gone", "optuna_private.py"):
        assert word in str(caught.value)


def test_the_objects_of_this_optuna_have_every_private_attribute(study):
    trial = study.ask()
    objects = {"study": study, "trial": trial, "frozen trial": study.trials[0]}
    for kind, names in PRIVATE_ATTRIBUTES.items():
        for name in names:
            assert hasattr(objects[kind], name), (
                f"Optuna {optuna.__version__} has no {name} on a {kind}: adapt optuna_private.py"
            )


def test_a_trial_is_found_again_requeued_and_asked_for_with_its_values(study):
    study.enqueue_trial({"x": 0.25})
    trial = study.ask()
    assert queued_params(trial) == {"x": 0.25}
    frozen = study.trials[0]
    assert trial_id(frozen) == trial_id(trial) == trial_id(live_trial(study, frozen))
    requeue(study, trial)
    assert study.trials[0].state == TrialState.WAITING
    again = study.ask()
    assert again.number == trial.number
    assert again.suggest_float("x", 0, 1) == 0.25
    assert queued_params(study.ask()) == {}
