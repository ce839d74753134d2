"""Importances of searched parameters: a planted cause comes first, conditional ones count."""

import random

import optuna
import pytest

from harness.record.ledger import RunRecord
from harness.results.importance import MIN_TRIALS, parameter_importances
from harness.results.ranking import ranked_trials
from harness.space.suggester import RandomSuggester
from harness.spec import StudySpec
from trainables.config import TrialConfig

PCK = "target_val/pck_05"
PARAMETERS = {
    "sampling.strategy": {"values": ["all", "hardest"]},
    "sampling.keep": {"min": 0.1, "max": 0.9, "when": {"sampling.strategy": "hardest"}},
    "adapt.lr": {"min": 0.001, "max": 0.1, "distribution": "log_uniform_values"},
}


class _Noted(RandomSuggester):
    """Remembers what it suggested, as Optuna does."""

    def __init__(self, seed):
        super().__init__(random.Random(seed))
        self.params = {}

    def suggest_categorical(self, name, choices):
        self.params[name] = super().suggest_categorical(name, choices)
        return self.params[name]

    def suggest_float(self, name, *bounds, **more):
        self.params[name] = super().suggest_float(name, *bounds, **more)
        return self.params[name]


def _spec(goal="maximize"):
    return StudySpec.model_validate(
        {
            "name": "s",
            "metrics": [{"name": PCK, "goal": goal}],
            "parameters": PARAMETERS,
            "budget": {"run_cap": 300},
        }
    )


def _trials(spec, value, num=200):
    """Complete trials with random parameters, whose objective is a function of their fields."""
    records = []
    for number in range(num):
        noted = _Noted(number)
        fields = TrialConfig.from_flat(spec.space.suggest(noted)).to_flat()
        result = value(fields)
        records.append(
            RunRecord(
                number=number, trial=number, trial_name=f"trial-{number}", seed=0,
                name=f"trial-{number}", is_baseline=False, params=noted.params, fields=fields,
                state="complete", metrics={PCK: result}, value=result,
            )
        )  # fmt: skip
    return ranked_trials(spec, records)


def _keep_of_hardest(fields):
    return fields["sampling.keep"] if fields["sampling.strategy"] == "hardest" else 0.0


@pytest.mark.parametrize("sign", [1, -1])
def test_a_conditional_parameter_that_decides_comes_first(sign):
    spec = _spec("maximize" if sign == 1 else "minimize")
    found = parameter_importances(spec, _trials(spec, lambda f: sign * _keep_of_hardest(f)))
    assert next(iter(found)) == "sampling.keep"
    assert set(found) == set(PARAMETERS)
    assert sum(found.values()) == pytest.approx(1)
    assert found["adapt.lr"] < 0.2


def test_a_parameter_of_all_trials_that_decides_comes_first():
    spec = _spec()
    found = parameter_importances(spec, _trials(spec, lambda f: -f["adapt.lr"]))
    assert next(iter(found)) == "adapt.lr"
    assert found["adapt.lr"] > 0.8


def test_a_baseline_outside_the_space_counts_with_the_parameters_that_it_was_asked_for():
    spec = _spec()
    trials = _trials(spec, _keep_of_hardest)
    record = trials[0].runs[0]
    record.params.pop("sampling.strategy")  # as if the baseline had set it to what is no choice
    record.params.pop("sampling.keep", None)
    record.fields["sampling.strategy"] = "easiest"
    assert next(iter(parameter_importances(spec, trials))) == "sampling.keep"


def test_of_few_trials_nothing_is_told():
    spec = _spec()
    trials = _trials(spec, _keep_of_hardest, MIN_TRIALS)
    assert parameter_importances(spec, trials[:-1]) == {}
    assert parameter_importances(spec, trials)


def test_optunas_log_level_stays_as_it_was():
    level = optuna.logging.get_verbosity()
    spec = _spec()
    parameter_importances(spec, _trials(spec, _keep_of_hardest, MIN_TRIALS))
    assert optuna.logging.get_verbosity() == level
