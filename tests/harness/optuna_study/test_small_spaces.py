"""Spaces whose configurations can be listed: all are tried, once, and then the study is over."""

import optuna
import pytest

from harness.optuna_study.suggestions import PATIENT_DUPLICATES
from harness.spec import load_spec
from tests.simulation import Simulation

PCK = "target_val/pck_05"
STUDY = f"""
name: t
trainable: adaptation
metric: {{name: {PCK}, goal: maximize}}
method: METHOD
parameters:
  sampling.strategy: {{values: STRATEGIES}}
early_terminate: {{type: none}}
budget: {{run_cap: 100}}
"""


def curve(fields, step):
    return {PCK: {"all": 1.0, "hardest": 2.0, "random": 3.0}[fields["sampling.strategy"]]}


@pytest.fixture
def driver(write_study, tmp_path):
    """Start a driver of a study in the one storage."""
    opened = []

    def start(text, **options):
        for simulation in opened:
            simulation.close()
        opened.append(Simulation(load_spec(write_study(text)), tmp_path, **options))
        return opened[-1]

    yield start
    opened[-1].close()


def stored(tmp_path):
    return optuna.load_study(study_name="t", storage=f"sqlite:///{tmp_path / 'optuna.db'}").trials


@pytest.mark.parametrize("strategies", ["[all]", "[all, hardest]", "[all, hardest, random]"])
@pytest.mark.parametrize("method", ["random", "tpe", "gp", "nsga2", "qmc"])
def test_every_configuration_is_tried_and_few_suggestions_repeat_one(
    driver, tmp_path, method, strategies
):
    text = STUDY.replace("METHOD", method).replace("STRATEGIES", strategies)
    study = driver(text)
    study.run(curve, num_steps=1)
    num = strategies.count(",") + 1
    tried = {record.fields["sampling.strategy"] for record in study.ledger.runs.values()}
    assert len(tried) == len(study.ledger.runs) == num
    assert study.bridge.is_exhausted
    assert len(stored(tmp_path)) <= num + (num - 1) * PATIENT_DUPLICATES


def test_a_study_that_has_tried_all_asks_for_nothing_when_it_is_started_again(driver, tmp_path):
    text = STUDY.replace("METHOD", "random").replace("STRATEGIES", "[all, hardest]")
    driver(text).run(curve, num_steps=1)
    before = len(stored(tmp_path))
    again = driver(text)
    assert again.bridge.is_over
    assert len(stored(tmp_path)) == before


def test_sixty_configurations_are_all_found_whatever_the_sampler_likes(driver):
    text = STUDY.replace("METHOD", "tpe").replace("STRATEGIES", "[all, hardest, random]")
    text = text.replace("early_terminate", "  vae.epochs: {min: 1, max: 20}\nearly_terminate")
    study = driver(text)
    study.run(curve, num_steps=1)
    assert len(study.ledger.runs) == 60


def test_failed_trials_of_a_space_that_is_used_up_can_be_tried_again(driver):
    text = STUDY.replace("METHOD", "random").replace("STRATEGIES", "[all, hardest]")
    study = driver(text)
    study.run(lambda fields, step: {PCK: float("nan")}, num_steps=1)
    assert {record.state for record in study.ledger.runs.values()} == {"failed"}
    again = driver(text, retry_failed=True)
    again.run(curve, num_steps=1)
    states = [record.state for record in again.ledger.runs.values()]
    assert states == ["failed"] * 2 + ["complete"] * 2


def test_a_grid_with_a_baseline_on_one_of_its_points_ends_at_its_last_point(driver, tmp_path):
    text = STUDY.replace("METHOD", "grid").replace("STRATEGIES", "[all, hardest]")
    study = driver(text + "baselines: {all: {sampling.strategy: all}}\n")
    study.run(curve, num_steps=1)
    assert len(study.ledger.runs) == 2
    assert len(stored(tmp_path)) == 3


BASELINES = """
baselines:
  first: {sampling.strategy: all}
  second: {sampling.strategy: hardest}
  third: {sampling.strategy: random}
"""


@pytest.mark.parametrize("parameters", ["", "parameters: {sampling.strategy: {values: [all]}}"])
def test_a_space_that_the_first_baseline_exhausts_does_not_end_the_others(driver, parameters):
    text = f"""
name: t
trainable: adaptation
metric: {{name: {PCK}, goal: maximize}}
method: random
fixed: {{adapt.epochs: 2}}
{parameters}{BASELINES}"""
    study = driver(text)
    study.run(curve, num_steps=1)
    assert [record.name for record in study.ledger.runs.values()] == ["first", "second", "third"]
