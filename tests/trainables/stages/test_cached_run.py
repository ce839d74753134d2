"""A run reuses training from the cache or stores its own there, and ends alike."""

import resource
import shutil

import numpy as np
import pytest

from harness.stage_cache.cache import DiskStageCache
from tests.repeatable_metrics import repeatable
from tests.same_state import assert_same
from tests.small_disk import fill
from trainables.config import TrialConfig
from trainables.evaluation.predictions import metrics_of
from trainables.stages.cached_run import CachedRun
from trainables.stages.trial_stages import TrialStages, start_run

TINY = {
    "data.num_source": 60,
    "data.num_target": 60,
    "data.image_size": 32,
    "data.heatmap_size": 16,
    "net.width": 4,
    "vae.epochs": 2,
    "vae.hidden_dim": 8,
    "adapt.pretrain_epochs": 2,
    "adapt.epochs": 2,
    "adapt.steps_per_epoch": 2,
    "adapt.batch_size": 4,
    "evaluation.bin_count": 3,
    "bins.count": 4,
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Every stage but pre-training."""
    cache = DiskStageCache(tmp_path_factory.mktemp("stages"))
    assert TrialStages(TrialConfig.from_flat(TINY), cache, 1, False).lineage
    return cache


def cached(cache, stages=("pretrain",), fields=(), read_test=False, **options):
    """A list that grows with each epoch that is trained, and the run, which reports no times."""
    trial = TrialStages(TrialConfig.from_flat(TINY | dict(fields)), cache, 1, read_test)
    run, trained = start_run(trial, 1, 1), []
    train = run.run_epoch

    def run_epoch():
        trained.append(run.epoch + 1)
        return repeatable(train())

    run.run_epoch = run_epoch
    spans = [span for span in trial.spans(1) if span.stage in stages]
    return trained, CachedRun(run, cache, spans, **options)


@pytest.fixture
def own_cache(cache, tmp_path):
    shutil.copytree(cache.root, tmp_path / "stages")
    return DiskStageCache(tmp_path / "stages")


def test_what_is_reused_is_not_trained(own_cache):
    (first, one), (second, two) = cached(own_cache), cached(own_cache)
    expected = [one.run_epoch() for _ in range(4)]
    assert [two.run_epoch() for _ in range(4)] == expected
    assert (first, second) == ([1, 2, 3, 4], [3, 4])
    assert two.is_done
    assert_same(one.state_dict()["run"], two.state_dict()["run"])
    assert_same(one.best, two.best)


def test_while_a_pretraining_is_reused_there_is_no_state_to_save(own_cache):
    _, one = cached(own_cache)
    for _ in range(2):
        one.run_epoch()
    _, two = cached(own_cache)
    two.run_epoch()
    assert not two.has_state
    with pytest.raises(ValueError, match="no state of epoch 1, which was not trained"):
        two.state_dict()
    two.run_epoch()
    assert two.has_state


def test_a_trial_that_loses_patience_trains_and_stores_nothing(own_cache):
    _, holder = cached(own_cache)
    expected = [holder.run_epoch()]
    signs = []
    trained, waiter = cached(own_cache, patience_s=0.2, while_waiting=lambda: signs.append(1))
    assert waiter.run_epoch() == expected[0]
    assert signs, "it gave signs of life"
    assert "another trial" in waiter.tags["pretrain"]
    waiter.run_epoch()
    assert (trained, waiter.lineage) == ([1, 2], {})
    holder.run_epoch()
    assert holder.lineage["pretrain"][0] == "miss"


def test_a_state_that_cannot_be_written_is_no_end_of_the_trial(own_cache):
    _, run = cached(own_cache)
    run.run_epoch()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        run.run_epoch()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert run.lineage == {}
    assert "not stored for other trials" in run.tags["pretrain"]
    _, other = cached(own_cache)
    assert [other.run_epoch() for _ in range(2)]
    assert other.lineage["pretrain"][0] == "miss"


WHOLE = ("training", "pretrain")


def run_all(run):
    return [run.run_epoch() for _ in range(run.total_epochs - run.epoch)]


def test_a_whole_training_is_reused_with_its_best_network_and_predictions(own_cache):
    (first, one), (second, two) = (cached(own_cache, WHOLE) for _ in range(2))
    expected = run_all(one)
    assert {name: stage[0] for name, stage in one.lineage.items()} == {
        "pretrain": "miss",
        "training": "miss",
    }
    assert run_all(two) == expected
    assert (first, second) == ([1, 2, 3, 4], [])
    assert two.lineage == {"training": ["hit", *one.lineage["training"][1:]]}
    assert two.is_done
    assert_same(two.best, one.best)
    assert two.predictions.ids.tolist() == one.predictions.ids.tolist()
    np.testing.assert_array_equal(two.predictions.confidence, one.predictions.confidence)
    repeated = metrics_of(two.predictions)
    assert repeated == pytest.approx({name: expected[-1][name] for name in repeated}, abs=1e-4)


def test_the_seconds_of_a_whole_training_count_a_reused_pretraining(own_cache):
    _, one = cached(own_cache)
    run_all(one)
    _, two = cached(own_cache, WHOLE)
    run_all(two)
    assert two.lineage["pretrain"][0] == "hit"
    assert two.lineage["training"][2] > two.lineage["pretrain"][2]


@pytest.mark.parametrize(
    "fields",
    [{"adapt.regda.margin": 2.0}, {"adapt.epochs": 3}, {"vae.kl_weight": 0.5}, {"seed": 1}],
)
def test_a_training_that_differs_in_any_setting_is_not_reused(own_cache, fields):
    run_all(cached(own_cache, WHOLE)[1])
    _, other = cached(own_cache, WHOLE, fields)
    run_all(other)
    assert other.lineage["training"][0] == "miss"


def test_a_training_that_may_not_read_the_test_split_reuses_none_that_did(own_cache):
    found = []
    for read_test in (True, False):
        _, run = cached(own_cache, WHOLE, read_test=read_test)
        found.append(any(name.startswith("target_test") for name in run_all(run)[-1]))
        assert run.lineage["training"][0] == "miss"
    assert found == [True, False]


def test_a_training_by_other_code_is_not_reused(own_cache, monkeypatch):
    run_all(cached(own_cache, WHOLE)[1])
    monkeypatch.setattr("trainables.stages.cache_keys.code_digest", lambda: "another")
    _, other = cached(own_cache, WHOLE)
    run_all(other)
    assert other.lineage["training"][0] == "miss"


def test_a_whole_training_is_not_waited_for_and_both_find_the_same(own_cache):
    _, one = cached(own_cache, WHOLE)
    expected = [one.run_epoch() for _ in range(3)]  # pre-training is published, the rest is not
    trained, two = cached(own_cache, WHOLE)
    assert run_all(two)[:3] == expected
    assert trained == [3, 4]
    assert list(two.tags) == ["training"]
    assert "another trial" in two.tags["training"]
    run_all(one)
    assert one.lineage["training"][0] == "miss"


def test_a_training_that_is_stopped_stores_only_its_pretraining(own_cache):
    _, one = cached(own_cache, WHOLE)
    for _ in range(3):
        one.run_epoch()
    one.close()
    trained, two = cached(own_cache, WHOLE)
    run_all(two)
    assert trained == [3, 4]
    assert {name: stage[0] for name, stage in two.lineage.items()} == {
        "pretrain": "hit",
        "training": "miss",
    }


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_training_that_resumes_stores_all_of_it(own_cache, epochs):
    _, first = cached(own_cache, WHOLE)
    expected = [first.run_epoch() for _ in range(epochs)]
    state, best = first.state_dict(), first.best
    first.close()
    _, again = cached(own_cache, WHOLE)
    again.load_state_dict(state)
    again.best = best
    expected += run_all(again)
    assert again.lineage["training"][0] == "miss"
    trained, reusing = cached(own_cache, WHOLE)
    assert run_all(reusing) == expected
    assert trained == []
    assert_same(reusing.best, again.best)


def test_what_began_with_other_inputs_is_not_stored_for_others(own_cache):
    _, first = cached(own_cache, WHOLE)
    first.run_epoch()
    state, best = first.state_dict(), first.best
    first.close()
    for inputs in state["inputs"].values():
        inputs["numerics"] = {**inputs["numerics"], "threads": 2}
    _, again = cached(own_cache, WHOLE)
    again.load_state_dict(state)
    again.best = best
    run_all(again)
    assert again.lineage == {}
    trained, _ = other = cached(own_cache, WHOLE)
    run_all(other[1])
    assert trained == [1, 2, 3, 4]


def test_a_run_that_reuses_all_of_its_training_ends_where_its_last_state_says(own_cache):
    run_all(cached(own_cache, WHOLE)[1])
    _, reusing = cached(own_cache, WHOLE)
    reusing.run_epoch()
    with pytest.raises(ValueError, match="no state of epoch 1, which was not trained"):
        reusing.state_dict()
    run_all(reusing)
    _, again = cached(own_cache, WHOLE)
    again.load_state_dict(reusing.state_dict())
    assert again.is_done


@pytest.mark.faults
def test_on_a_full_disk_a_run_trains_for_itself(cache, small_disk):
    """Its checkpoints are another matter; the stages that it needs are elsewhere."""
    full = DiskStageCache(small_disk / "stages")
    stages = TrialStages(TrialConfig.from_flat(TINY), cache, 1, False)
    run = CachedRun(start_run(stages, 1, 1), full, stages.spans(1))
    fill(small_disk)
    assert run_all(run)
    assert run.lineage == {}
    assert all(tag.startswith("not stored for other trials: ") for tag in run.tags.values())
    assert set(run.tags) == {"training", "pretrain"}
