"""A run whose process is killed goes on from its last checkpoint and ends as if it had not."""

import io
import os
import random
import shutil
import signal
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.record.ledger import read_events
from harness.record.storage import Storage
from harness.spec import load_spec
from harness.study import limits
from harness.study.follow import follow_study
from harness.study.launch import Launch
from tests.repeatable_metrics import repeatable
from trainables import checkpoint
from trainables.adaptation_trainable import AdaptationTrainable

STUDY = """
name: killed
trainable: adaptation
metric: {name: target_val/pck_05, goal: maximize}
method: random
fixed:
  data: {num_source: 120, num_target: 120, image_size: 32, heatmap_size: 16}
  net.width: 4
  vae.epochs: 3
  style: {steps: 3, encoder_steps: 3}
  evaluation.bin_count: 3
  adapt: {pretrain_epochs: 2, epochs: 2, steps_per_epoch: 3, batch_size: 4}
  curriculum.pacing: step
  sampling.strategy: curriculum
baselines:
  regda: {adapt.method: regda}
  udape: {adapt.method: udape}
failures: {retries: 40, heartbeat_s: 240}
resources: {parallel: 2}
"""
NUM_EPOCHS = 4
REPEATING = ("before", "saving")
"""Places at which the epoch is not in a checkpoint yet, so that it is trained again."""
PLACES = (*REPEATING, "renamed", "after")
A_STEP_S = 0.15

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(900),  # twenty starts of a process that imports PyTorch
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of its threads and sockets
]


class MortalTrainable(AdaptationTrainable):
    """Is killed once at each place of a run that a file in the environment's folder names.

    ``before-3``: as epoch 3 starts; ``saving-3``: inside the write of its checkpoint;
    ``renamed-3``: as that has got its name; ``after-3``: before it is reported;
    ``timed-3-0.05``: so many seconds after it started.
    """

    def setup(self, config):
        self._deaths = Path(os.environ["POSEBINS_TEST_DEATHS"]) / config["fields"]["adapt.method"]
        to_disk, sync_folder = checkpoint._to_disk, checkpoint._sync_folder

        def mortal_to_disk(file):
            if file.name.endswith("last.pt"):
                self._die_at(f"saving-{self._run.epoch}")
            to_disk(file)

        def mortal_sync_folder(folder):
            if Path(folder) == Path(config["folder"]):
                self._die_at(f"renamed-{self._run.epoch}")
            sync_folder(folder)

        checkpoint._to_disk, checkpoint._sync_folder = mortal_to_disk, mortal_sync_folder
        super().setup(config)

    def step(self):
        if self._unreported is None:
            epoch = self._run.epoch + 1
            with (self._deaths / "started").open("a") as file:
                file.write(f"{epoch}\n")
            self._die_at(f"before-{epoch}")
            for order in self._deaths.glob(f"timed-{epoch}-*"):
                delay_s = float(order.name.split("-")[2])
                threading.Timer(delay_s, self._die_at, [order.name]).start()
        result = super().step()
        self._die_at(f"after-{self._run.epoch}")
        return result

    def _die_at(self, place):
        order = self._deaths / place
        if order.exists():
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(STUDY)
    return path


def follow(path, storage, trainable=AdaptationTrainable):
    """Run or go on with the study; returns its result and its events."""
    spec = load_spec(path)
    result, _ = follow_study(spec, Launch(Storage(storage), trainable=trainable), io.StringIO())
    return result, list(read_events(Storage(storage).ledger("killed")))


def curves(events):
    """Trial and epoch to metrics; each is there once."""
    reported = [event for event in events if event["event"] == "epoch"]
    found = {(event["number"], event["step"]): repeatable(event["metrics"]) for event in reported}
    assert len(found) == len(reported)
    return found


@pytest.fixture(scope="module")
def undisturbed(write, tmp_path_factory):
    result, events = follow(write, tmp_path_factory.mktemp("undisturbed"))
    assert [record.state for record in result.runs] == ["complete", "complete"]
    assert len(curves(events)) == 2 * NUM_EPOCHS
    return curves(events)


def deaths(seed):
    """Ten deaths of a run: at seven of the named places, and at three random times."""
    rng = random.Random(seed)
    named = rng.sample([f"{p}-{epoch}" for p in PLACES for epoch in range(1, NUM_EPOCHS + 1)], 7)
    epochs = rng.sample(range(1, NUM_EPOCHS + 1), 3)
    return named + [f"timed-{epoch}-{rng.uniform(0, A_STEP_S):.3f}" for epoch in epochs]


def test_trials_killed_twenty_times_report_what_undisturbed_ones_do(
    write, undisturbed, tmp_path, monkeypatch, capsys
):
    orders = {method: deaths(seed) for seed, method in enumerate(("regda", "udape"))}
    for method, places in orders.items():
        folder = tmp_path / "deaths" / method
        folder.mkdir(parents=True)
        for place in places:
            (folder / place).touch()
    monkeypatch.setenv("POSEBINS_TEST_DEATHS", str(tmp_path / "deaths"))
    result, events = follow(write, tmp_path, MortalTrainable)
    assert [record.state for record in result.runs] == ["complete", "complete"]
    assert curves(events) == undisturbed
    for number, (method, places) in enumerate(orders.items()):
        folder = tmp_path / "deaths" / method
        # A timed death that came after the end of its process was not died.
        left = {path.name for path in folder.iterdir()} - {"started"}
        assert all(place.startswith("timed") for place in left), left
        continued = [e for e in events if e["event"] == "continued" and e["number"] == number]
        assert len(continued) == len(places) - len(left)
        assert all("worker's process died" in event["why"] for event in continued)
        started = [int(line) for line in (folder / "started").read_text().split()]
        assert started == sorted(started), "it never went back further than the epoch it was in"
        trained = Counter(started)
        for epoch in range(1, NUM_EPOCHS + 1):
            must = sum(f"{place}-{epoch}" in places for place in REPEATING)
            may = must + sum(place.startswith(f"timed-{epoch}-") for place in places)
            assert must <= trained[epoch] - 1 <= may, f"{method}: epoch {epoch}"
        with capsys.disabled():
            print(f"\n{method} killed {len(continued)} times: {places}, not {left or 'left'}")


def newest(folder, back=0):
    return sorted(folder.glob("epoch-*"))[-1 - back]


def flip_a_byte(checkpoint):
    path = checkpoint / "last.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def stopped(write, tmp_path_factory):
    """A storage whose study was stopped after epoch 2 of its first run."""
    storage = tmp_path_factory.mktemp("stopped")
    ledger = Storage(storage).ledger("killed")

    def monotonic():
        is_over = ledger.exists() and (0, 2) in curves(read_events(ledger))
        return 7200.0 if is_over else 0.0

    path = storage / "study.yaml"
    path.write_text(STUDY.replace("parallel: 2", "parallel: 1") + "budget: {hours: 1}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "time", SimpleNamespace(monotonic=monotonic))
        result, _ = follow(path, storage)
    assert [record.state for record in result.runs] == ["stopped"]
    return storage


@pytest.mark.parametrize("num_damaged", [1, 2])
def test_damaged_checkpoints_are_passed_over_and_recorded(
    write, undisturbed, stopped, tmp_path, num_damaged
):
    """Every other kind of damage is in ``tests/trainables/test_checkpoint.py``."""
    storage = tmp_path / "storage"
    shutil.copytree(stopped, storage)
    folder = Storage(storage).study("killed").run(0)
    damaged = [newest(folder, back) for back in range(num_damaged)]
    for path in damaged:
        flip_a_byte(path)
    result, events = follow(write, storage)
    assert [record.state for record in result.runs] == ["complete", "complete"]
    assert curves(events) == undisturbed
    last = [e for e in events if e["event"] == "epoch" and e["number"] == 0][-1]
    for path in damaged:
        assert str(path) in last["tags"]["damaged_checkpoints"]
