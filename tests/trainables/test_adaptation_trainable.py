"""The Ray shell without Ray: stages, reports, checkpoints, shared pre-training, reuse."""

import json
import shutil
import threading

import pytest
import torch

from harness.stage_cache.cache import DiskStageCache
from tests.repeatable_metrics import repeatable
from tests.small_disk import fill
from trainables.adaptation_trainable import AdaptationTrainable
from trainables.config import TrialConfig
from trainables.evaluation.predictions import PREDICTIONS, metrics_of, read_predictions
from trainables.stages.trial_stages import TrialStages

FIELDS = {
    "data.num_source": 120,
    "data.num_target": 120,
    "data.image_size": 32,
    "data.heatmap_size": 16,
    "net.width": 4,
    "vae.epochs": 2,
    "style.steps": 2,
    "style.encoder_steps": 2,
    "adapt.pretrain_epochs": 2,
    "adapt.epochs": 1,
    "adapt.steps_per_epoch": 2,
    "adapt.batch_size": 4,
    "evaluation.bin_count": 3,
}
SPANS = TrialStages.spans
METHODS = ["regda", "udape", "source_only", "oracle"]

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(autouse=True)
def only_pretraining(monkeypatch):
    """Trials here that are equal in everything are to share no more than pre-training."""
    monkeypatch.setattr(TrialStages, "spans", lambda *args: SPANS(*args)[-1:])


@pytest.fixture
def whole_trainings(monkeypatch):
    """Trials that are equal in everything share it, as they do."""
    monkeypatch.setattr(TrialStages, "spans", SPANS)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Everything but pre-training, for every method."""
    root = tmp_path_factory.mktemp("stages")
    trial = TrialConfig.from_flat(FIELDS | {"adapt.method": "udape"})
    assert TrialStages(trial, DiskStageCache(root), 1, False).lineage
    return root


@pytest.fixture
def new_cache(prepared, tmp_path):
    """A cache in which pre-training is still to be done."""

    def new_cache(name="stages"):
        shutil.copytree(prepared, tmp_path / name)
        return DiskStageCache(tmp_path / name)

    return new_cache


@pytest.fixture
def cache(new_cache):
    return new_cache()


@pytest.fixture
def start(tmp_path):
    """Start a trial, in a folder of its own unless one is named; all are stopped at the end."""
    started = []

    def start(cache, folder=None, **named):
        folder = tmp_path / (folder or f"trial-{len(started)}")
        started.append(AdaptationTrainable(config(cache, folder, **named)))
        return started[-1]

    yield start
    for trainable in started:
        trainable.stop()


def config(cache, folder, num_replicas=1, heartbeat_s=None, **fields):
    named = {name.replace("__", "."): value for name, value in fields.items()}
    return {
        "fields": TrialConfig.from_flat(FIELDS | named).to_flat(),
        "cache": cache,
        "folder": str(folder),
        "num_threads": 1,
        "image_threads": 1,
        "num_replicas": num_replicas,
        "read_test": False,
        "plugins": (),
        "heartbeat_s": heartbeat_s,
    }


def finish(trainable):
    results = []
    while not results or not results[-1]["done"]:
        results.append(trainable.train())
    return results


def reports(results):
    return [(result["step"], repeatable(result["metrics"])) for result in results]


def outcomes(results):
    """How pre-training came about, as reported with each epoch."""
    return [result["stages"].get("pretrain", [None])[0] for result in results]


def entries(cache):
    return [path for path in (cache.root / "pretrain").glob("[0-9a-f]*") if path.is_dir()]


def checkpoints(tmp_path, folder):
    return sorted(path.name for path in (tmp_path / folder).glob("epoch-*"))


def predicted(folder):
    """What the file of predictions says, as the metrics that follow from it."""
    return metrics_of(read_predictions(folder / PREDICTIONS))


def test_only_udape_with_style_needs_the_style_stage_and_says_what_encoder_it_has(cache, start):
    found = {}
    for method, alpha in (("regda", 1.0), ("udape", 0.0), ("udape", 1.0)):
        trainable = start(cache, adapt__method=method, adapt__udape__style_alpha=alpha)
        result = trainable.train()
        trainable.stop()
        style = {name: tag for name, tag in result["tags"].items() if "style" in name}
        found[method, alpha] = ("style" in result["stages"], style)
    assert found == {
        ("regda", 1.0): (False, {}),
        ("udape", 0.0): (False, {}),
        ("udape", 1.0): (True, {"style_encoder": "trained on both domains"}),
    }


def test_a_reused_process_starts_the_next_trial_afresh(new_cache, start, tmp_path):
    expected = reports(finish(start(new_cache("one"), seed=1)))
    reused = start(other := new_cache("two"), adapt__method="udape")
    reused.train()
    assert reused.reset_config(config(other, tmp_path / "next", seed=1))
    assert reports(finish(reused)) == expected


def test_a_checkpoint_holds_the_best_network_beside_the_last_state(cache, start, tmp_path):
    trainable = start(cache, "trial")
    trainable.train()
    (checkpoint,) = (tmp_path / "trial").glob("epoch-*")
    names = sorted(path.name for path in checkpoint.iterdir())
    assert names == ["best.pt", "digests.json", "last.pt", "result.pt"]
    assert torch.load(checkpoint / "best.pt", weights_only=True)["epoch"] == 1


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_trial_that_restarts_reports_its_last_epoch_and_resumes(new_cache, start, epochs):
    expected = reports(finish(start(new_cache("one"))))
    first = start(two := new_cache("two"), "trial")
    for _ in range(epochs):
        first.train()
    first.stop()
    assert reports(finish(start(two, "trial"))) == expected[epochs - 1 :]


def test_what_the_last_network_predicted_lies_beside_the_checkpoints(cache, start, tmp_path):
    trainable = start(cache, "trial")
    trainable.train()
    assert not (tmp_path / "trial" / PREDICTIONS).exists()
    last = finish(trainable)[-1]
    found = predicted(tmp_path / "trial")
    assert "final/pck_bin/00" in found
    assert found == pytest.approx({name: last["metrics"][name] for name in found}, abs=1e-4)


@pytest.mark.faults
def test_on_a_full_disk_predictions_are_left_out_with_a_tag(cache, start, small_disk):
    trainable = start(cache, small_disk / "trial")
    trainable.train()
    fill(small_disk)
    last = finish(trainable)[-1]
    assert last["tags"]["predictions"] == "no space"
    assert not list((small_disk / "trial").glob("*predictions*"))


def test_a_damaged_checkpoint_is_skipped_and_reported(new_cache, start, tmp_path):
    expected = reports(finish(start(new_cache("one"))))
    first = start(two := new_cache("two"), "trial")
    for _ in range(2):
        first.train()
    first.stop()
    (tmp_path / "trial" / "epoch-00002" / "last.pt").write_bytes(b"")
    again = finish(start(two, "trial"))
    assert reports(again) == expected
    assert "epoch-00002/last.pt does not match" in again[-1]["tags"]["damaged_checkpoints"]


@pytest.mark.parametrize("method", METHODS)
def test_pretraining_from_the_cache_is_reported_like_ones_own_and_ends_alike(
    new_cache, start, tmp_path, method
):
    trained = finish(start(cache := new_cache(), adapt__method=method))
    reused = finish(start(cache, "reused", adapt__method=method, vae__kl_weight=0.5))
    assert outcomes(trained) == [None, "miss", "miss"]
    assert outcomes(reused) == ["hit", "hit", "hit"]
    assert reused[0]["stages"]["pretrain"][1:] == trained[-1]["stages"]["pretrain"][1:]
    for (_, one), (_, two) in zip(reports(trained), reports(reused), strict=True):
        # Another Pose VAE: it reports its own code, and nothing else depends on it.
        first, second = (
            {name: v for name, v in metrics.items() if not name.startswith("vae/")}
            for metrics in (one, two)
        )
        assert first == second
    # No state is written that was not trained: the first is that of the last reused epoch.
    assert checkpoints(tmp_path, "reused") == ["epoch-00002", "epoch-00003"]


def test_methods_share_their_pretraining_unless_they_see_other_images_in_it(cache, start):
    methods = ["source_only", "regda", "oracle", "udape"]
    assert [outcomes(finish(start(cache, adapt__method=m)))[-1] for m in methods] == [
        "miss", "hit", "miss", "miss",
    ]  # fmt: skip
    plain = start(cache, adapt__method="udape", adapt__udape__style_alpha=0.0)
    assert outcomes(finish(plain))[-1] == "hit"


def test_a_training_that_is_all_pretraining_is_reused_to_its_end(cache, start, tmp_path):
    fields = {"adapt__method": "source_only", "adapt__epochs": 0}
    trained, reused = (finish(start(cache, name, **fields)) for name in ("one", "two"))
    assert outcomes(reused) == ["hit", "hit"]
    assert reports(reused) == reports(trained)
    assert predicted(tmp_path / "two") == predicted(tmp_path / "one")
    assert "chosen_pck_05/kept" in reused[-1]["metrics"]


def test_without_pretraining_nothing_is_shared(cache, start):
    assert outcomes(finish(start(cache, adapt__pretrain_epochs=0))) == [None]
    assert entries(cache) == []


def test_a_replay_trains_its_pretraining_anew(cache, start, monkeypatch):
    trained = finish(start(cache))
    monkeypatch.setattr(AdaptationTrainable, "shares_training", False)
    anew = finish(start(cache))
    assert outcomes(anew) == [None, None, None]
    assert reports(anew) == reports(trained)


def test_a_trial_killed_while_reusing_pretraining_reuses_it_again(cache, start):
    expected = reports(finish(start(cache)))
    start(cache, "trial").train()  # and no more of it
    assert reports(finish(start(cache, "trial"))) == expected


def test_a_trial_that_restarts_in_its_pretraining_stores_all_of_it(cache, start):
    first = start(cache, "trial")
    expected = [first.train()]
    first.stop()
    expected += finish(start(cache, "trial"))[1:]
    reused = finish(start(cache))
    assert outcomes(reused) == ["hit"] * 3
    assert reports(reused) == reports(expected)


def test_a_trial_that_restarts_does_not_wait_for_one_that_trains_by_then(cache, start, new_cache):
    expected = reports(finish(start(new_cache("other"))))
    first = start(cache, "trial")
    first.train()
    first.stop()
    start(cache).train()  # may store it now
    again = finish(start(cache, "trial"))
    assert reports(again) == expected
    assert outcomes(again) == [None, None, None]
    assert "another trial" in again[-1]["tags"]["pretrain"]
    assert entries(cache) == []


def in_background(trainable):
    found = []
    thread = threading.Thread(target=lambda: found.extend(finish(trainable)), daemon=True)
    thread.start()
    return thread, found


@pytest.mark.parametrize("end", ["stopped", "finished"])
def test_a_waiting_trial_reuses_or_takes_over(cache, start, tmp_path, end):
    holder, waiter = start(cache), start(cache, "waiter")
    started = [holder.train()]
    thread, found = in_background(waiter)
    thread.join(0.2)
    assert found == []
    assert checkpoints(tmp_path, "waiter") == []
    if end == "stopped":
        holder.stop()  # as when it is pruned
    else:
        started += finish(holder)
    thread.join(60)
    assert outcomes(found) == (["hit"] * 3 if end == "finished" else [None, "miss", "miss"])
    assert reports(found)[: len(started)] == reports(started)


def test_a_reused_process_lets_others_pretrain(cache, start, tmp_path):
    holder = start(cache)
    holder.train()
    holder.reset_config(config(cache, tmp_path / "next", seed=1))
    assert outcomes(finish(start(cache))) == [None, "miss", "miss"]


def test_a_trial_that_fails_lets_others_pretrain(cache, start, monkeypatch):
    holder = start(cache)
    holder.train()
    with monkeypatch.context() as patch:
        patch.setattr(type(holder._run._run), "run_epoch", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            holder.train()
    assert outcomes(finish(start(cache))) == [None, "miss", "miss"]


def test_a_damaged_pretraining_is_trained_again(cache, start):
    expected = finish(start(cache))
    (entry,) = entries(cache)
    content = bytearray((entry / "last.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (entry / "last.pt").unlink()
    (entry / "last.pt").write_bytes(content)
    again = finish(start(cache))
    assert reports(again) == reports(expected)
    assert outcomes(again) == [None, "repaired", "repaired"]
    assert outcomes(finish(start(cache))) == ["hit"] * 3


@pytest.mark.usefixtures("whole_trainings")
def test_an_equal_trial_reuses_all_of_it_and_writes_a_checkpoint_of_the_last_epoch_alone(
    cache, start, tmp_path
):
    trained, reused = finish(start(cache, "one")), finish(start(cache, "two"))
    assert reports(reused) == reports(trained)
    assert reused[-1]["stages"]["training"] == ["hit", *trained[-1]["stages"]["training"][1:]]
    assert checkpoints(tmp_path, "two") == ["epoch-00003"]
    best = [
        torch.load(tmp_path / trial / "epoch-00003" / "best.pt", weights_only=True)
        for trial in ("one", "two")
    ]
    assert best[0]["epoch"] == best[1]["epoch"]
    assert all(map(torch.equal, best[0]["net"].values(), best[1]["net"].values()))
    assert predicted(tmp_path / "two") == predicted(tmp_path / "one")
    # A restarted trial reports its last epoch again.
    assert reports(finish(start(cache, "two"))) == reports(trained)[-1:]


@pytest.mark.usefixtures("whole_trainings")
def test_a_trial_killed_while_reusing_a_training_reuses_it_again(cache, start):
    expected = reports(finish(start(cache)))
    start(cache, "trial").train()  # and no more of it
    assert reports(finish(start(cache, "trial"))) == expected


@pytest.mark.slow
def test_a_trial_of_two_processes_shares_resumes_and_leaves_none_behind(
    cache, start, new_cache, tmp_path
):
    alone = finish(start(new_cache("other")))
    two = start(cache, "trial", num_replicas=2)
    trained = [two.train()]
    assert two.reset_config(config(cache, tmp_path / "trial", num_replicas=2))
    trained += finish(two)[1:]
    processes = two._run._run._processes
    two.stop()
    assert not any(process.is_alive() for process in processes)
    assert not torch.distributed.is_initialized()
    for one, other in zip(alone, trained, strict=True):
        assert one["metrics"].keys() == other["metrics"].keys()
        (loss,) = (name for name in one["metrics"] if name.startswith("train/source_kl"))
        assert other["metrics"][loss] == pytest.approx(one["metrics"][loss], rel=1e-3)
    reused = start(cache, num_replicas=2)
    assert reports(finish(reused)) == reports(trained)
    reused.stop()
    assert not torch.distributed.is_initialized()
    assert json.loads((entries(cache)[0] / "stage.json").read_text())


def test_a_batch_that_cannot_be_shared_equally_is_refused(cache, start):
    with pytest.raises(ValueError, match=r"multiple of the 3 processes of a trial, got 4"):
        start(cache, num_replicas=3)
    assert not torch.distributed.is_initialized()
