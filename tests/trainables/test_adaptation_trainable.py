"""The Ray shell without Ray: stages, reports, checkpoints, reuse, several processes."""

import pytest
import torch

from harness.stages import StageCache
from trainables.adaptation_trainable import AdaptationTrainable
from trainables.config import TrialConfig

FIELDS = {
    "data.num_source": 120,
    "data.num_target": 120,
    "data.image_size": 32,
    "data.heatmap_size": 16,
    "net.width": 4,
    "vae.epochs": 2,
    "style.steps": 2,
    "style.encoder_steps": 2,
    "adapt.pretrain_epochs": 1,
    "adapt.epochs": 1,
    "adapt.steps_per_epoch": 2,
    "adapt.batch_size": 4,
    "evaluation.bin_count": 3,
}

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return StageCache(tmp_path_factory.mktemp("stages"))


def config(cache, num_replicas=1, **fields):
    named = {name.replace("__", "."): value for name, value in fields.items()}
    return {
        "fields": TrialConfig.from_flat(FIELDS | named).to_flat(),
        "cache": cache,
        "num_threads": 1,
        "num_replicas": num_replicas,
        "read_test": False,
    }


def finish(trainable):
    results = []
    while not results or not results[-1]["done"]:
        results.append(trainable.train())
    return [result["metrics"] for result in results]


def test_only_udape_with_style_needs_the_style_stage_and_says_what_encoder_it_has(cache):
    found = {}
    for method, alpha in (("regda", 1.0), ("udape", 0.0), ("udape", 1.0)):
        trainable = AdaptationTrainable(
            config(cache, adapt__method=method, adapt__udape__style_alpha=alpha)
        )
        result = trainable.train()
        found[method, alpha] = ("style" in result["stages"], result["tags"])
        trainable.stop()
    assert found == {
        ("regda", 1.0): (False, {}),
        ("udape", 0.0): (False, {}),
        ("udape", 1.0): (True, {"style_encoder": "trained on both domains"}),
    }


def test_a_reused_process_starts_the_next_trial_afresh(cache, tmp_path):
    alone = AdaptationTrainable(config(cache, seed=1))
    expected = finish(alone)
    reused = AdaptationTrainable(config(cache, adapt__method="udape"))
    reused.train()
    assert reused.reset_config(config(cache, seed=1))
    assert finish(reused) == expected


def test_a_checkpoint_holds_the_best_network_beside_the_last_state(cache, tmp_path):
    trainable = AdaptationTrainable(config(cache))
    trainable.train()
    trainable.save_checkpoint(str(tmp_path))
    expected = finish(trainable)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.pt", "digests.json", "last.pt"]
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    assert best["epoch"] == 1
    other = AdaptationTrainable(config(cache))
    other.load_checkpoint(str(tmp_path))
    assert finish(other) == expected


@pytest.mark.slow
def test_a_trial_of_two_processes_reports_checkpoints_and_leaves_none_behind(cache, tmp_path):
    alone = finish(AdaptationTrainable(config(cache)))
    trainable = AdaptationTrainable(config(cache, num_replicas=2))
    found = [trainable.train()["metrics"]]
    trainable.save_checkpoint(str(tmp_path))
    assert trainable.reset_config(config(cache, num_replicas=2))
    trainable.load_checkpoint(str(tmp_path))
    found += finish(trainable)
    processes = trainable._run._processes
    trainable.stop()
    assert not any(process.is_alive() for process in processes)
    assert not torch.distributed.is_initialized()
    for one, two in zip(alone, found, strict=True):
        assert one.keys() == two.keys()
        assert two["train/source_kl"] == pytest.approx(one["train/source_kl"], rel=1e-3)


def test_a_batch_that_cannot_be_shared_equally_is_refused(cache):
    with pytest.raises(ValueError, match=r"multiple of the 3 processes of a trial, got 4"):
        AdaptationTrainable(config(cache, num_replicas=3))
    assert not torch.distributed.is_initialized()
