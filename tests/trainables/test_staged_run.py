"""A run takes its pre-training from the cache or leaves it there, and ends alike."""

import resource
import shutil

import pytest
import torch

from harness.stage_store.cache import StageCache
from trainables.config import TrialConfig
from trainables.staged_run import StagedRun
from trainables.trial_run import TrialStages, start_run

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
    cache = StageCache(tmp_path_factory.mktemp("stages"))
    assert TrialStages(TrialConfig.from_flat(TINY), cache, 1, False).lineage
    return cache


def assert_same(a, b, at=""):
    assert type(a) is type(b), at
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), at
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), at
        for name in a:
            assert_same(a[name], b[name], f"{at}/{name}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), at
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{at}/{index}")
    else:
        assert a == b, at


def staged(cache, **options):
    """A list that grows with each epoch that is trained, and the run."""
    stages = TrialStages(TrialConfig.from_flat(TINY), cache, 1, False)
    run, trained = start_run(stages, 1, 1), []
    train = run.run_epoch

    def run_epoch():
        trained.append(run.epoch + 1)
        return train()

    run.run_epoch = run_epoch
    return trained, StagedRun(run, cache, stages.pretraining_inputs(1), 2, **options)


@pytest.fixture
def own_cache(cache, tmp_path):
    shutil.copytree(cache.root, tmp_path / "stages")
    return StageCache(tmp_path / "stages")


def test_what_is_told_is_not_trained(own_cache):
    (first, one), (second, two) = staged(own_cache), staged(own_cache)
    expected = [one.run_epoch() for _ in range(4)]
    assert [two.run_epoch() for _ in range(4)] == expected
    assert (first, second) == ([1, 2, 3, 4], [3, 4])
    assert two.is_done
    assert_same(one.state_dict()["run"], two.state_dict()["run"])
    assert_same(one.best, two.best)


def test_while_a_pretraining_is_told_there_is_no_state_to_save(own_cache):
    _, one = staged(own_cache)
    for _ in range(2):
        one.run_epoch()
    _, two = staged(own_cache)
    two.run_epoch()
    assert not two.is_at_its_epoch
    with pytest.raises(ValueError, match="no state of epoch 1, which was not trained"):
        two.state_dict()
    two.run_epoch()
    assert two.is_at_its_epoch


def test_who_loses_patience_trains_and_leaves_nothing(own_cache):
    _, holder = staged(own_cache)
    expected = [holder.run_epoch()]
    signs = []
    trained, waiter = staged(own_cache, patience_s=0.2, while_waiting=lambda: signs.append(1))
    assert waiter.run_epoch() == expected[0]
    assert signs, "it gave signs of life"
    assert "beside another" in waiter.tags["pretraining"]
    waiter.run_epoch()
    assert (trained, waiter.lineage) == ([1, 2], {})
    holder.run_epoch()
    assert holder.lineage["pretrain"][0] == "miss"


def test_a_state_that_cannot_be_written_is_no_end_of_the_trial(own_cache):
    _, run = staged(own_cache)
    run.run_epoch()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        run.run_epoch()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert run.lineage == {}
    assert "not kept for other trials" in run.tags["pretraining"]
    _, other = staged(own_cache)
    assert [other.run_epoch() for _ in range(2)]
    assert other.lineage["pretrain"][0] == "miss"
