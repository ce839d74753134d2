"""What runs cost, from measurements that stand for real ones."""

import pytest

from harness.forecast import trial_pool
from harness.spec import load_study
from trainables.cost.measurement import Measurement

STUDY = """
name: s
metric: {name: target_val/pck_05, goal: maximize}
parameters: {sampling.strategy: {values: [all, hardest]}}
baselines:
  all: {sampling.strategy: all}
  random: {sampling.strategy: random}
fixed: {adapt: {pretrain_epochs: 1, epochs: 2, steps_per_epoch: 10}}
budget: {run_cap: 4}
"""


def measurement(told):
    return Measurement(
        device="cpu", stages={}, images_s={"source": 5.0}, images_bytes={"source": 100},
        vae_epoch_s=0.5, pretrain_step_s=[1.0], adapt_step_s=[2.0], evaluation_s=[3.0],
        stored_trainings=told,
    )  # fmt: skip


@pytest.fixture
def pool_of(write_study, tmp_path, monkeypatch):
    """The pool of the study when its measurements say so of its baselines' trainings."""

    def pool_of(*told, stages=("training",)):
        asked = []

        def measure(jobs, at_once, folder, say):
            asked.extend(job["given"] for job in jobs)
            return [[measurement(list(known)) for known in told] for _ in jobs]

        monkeypatch.setattr(trial_pool, "measure_configurations", measure)
        for stage in stages:
            (tmp_path / "stages" / stage).mkdir(parents=True)
        spec = load_study(write_study(STUDY))
        return asked, trial_pool.measured_pool(spec, tmp_path / "stages", 1, lambda text: None)

    return pool_of


def test_a_baseline_that_is_told_its_training_costs_no_step_of_it(pool_of):
    asked, pool = pool_of((False, True), (False, False))  # a process may not have looked
    assert [[f["sampling.strategy"] for f in given] for given in asked] == [["all", "random"]]
    assert [run.steps_s for run in pool.given] == [(13.0, 23.0, 23.0), (0.0, 0.0, 0.0)]
    assert all(run.is_baseline for run in pool.given)
    assert {run.steps_s for run in pool.drawn} == {(13.0, 23.0, 23.0)}


def test_without_any_stored_training_nobody_is_asked(pool_of):
    asked, pool = pool_of((), stages=())
    assert asked == [[]]
    assert {run.steps_s for run in pool.all} == {(13.0, 23.0, 23.0)}
