"""A worker that gives no sign of life is ended, and its run goes on in another."""

import ctypes
import io
import os
import signal
import threading
from pathlib import Path

import pytest

from harness.record.ledger import read_events
from harness.record.storage import Storage
from harness.spec import load_spec
from harness.study import tune_adapters as search
from harness.study.follow import follow_study
from harness.study.launch import Launch
from tests.noop_trainable import SlowTrainable
from tests.repeatable_metrics import repeatable
from trainables.adaptation_trainable import AdaptationTrainable
from trainables.watchdog import Watchdog

HEARTBEAT_S = 20
"""Long enough for a worker to start in on a busy machine."""
STUDY = f"""
name: hung
trainable: adaptation
metric: {{name: target_val/pck_05, goal: maximize}}
method: random
fixed:
  data: {{num_source: 120, num_target: 120, image_size: 32, heatmap_size: 16}}
  net.width: 4
  vae.epochs: 3
  evaluation.bin_count: 3
  adapt: {{method: regda, pretrain_epochs: 1, epochs: 2, steps_per_epoch: 3, batch_size: 4}}
baselines:
  only: {{sampling.strategy: all}}
budget: {{run_cap: 1}}
failures: {{retries: 1, heartbeat_s: {HEARTBEAT_S}}}
resources: {{parallel: 1}}
"""

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of its threads and sockets
]


def wait_for_ever_in_python():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def wait_for_ever_in_a_library():
    ctypes.PyDLL(None).sleep(10_000)  # PyDLL: with the interpreter's lock held


def be_stopped():
    os.kill(os.getpid(), signal.SIGSTOP)


class HangingTrainable(AdaptationTrainable):
    """Hangs once in its second epoch, as the file of the environment says."""

    def setup(self, config):
        super().setup(config)
        self._watchdog.close()  # a step takes a tenth of a second, so waiting longer is waste
        self._watchdog = Watchdog(Path(config["folder"]), 3.0)

    def step(self):
        order = Path(os.environ["POSEBINS_TEST_HANGS"])
        if self._run.epoch == 1 and order.exists():
            how = order.read_text()
            order.unlink()
            self._run.run_epoch = globals()[how]
        return super().step()


def follow(write_study, storage, trainable, text=STUDY):
    spec = load_spec(write_study(text))
    result, _ = follow_study(spec, Launch(Storage(storage), trainable=trainable), io.StringIO())
    ledger = list(read_events(Storage(storage).ledger(result.study_name)))
    return result, ledger


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")

    def write(text):
        (folder / "study.yaml").write_text(text)
        return folder / "study.yaml"

    return curve(follow(write, folder, AdaptationTrainable)[1])


def curve(ledger):
    return [(e["step"], repeatable(e["metrics"])) for e in ledger if e["event"] == "epoch"]


@pytest.mark.parametrize(
    ("how", "noted"),
    [
        (wait_for_ever_in_python, True),
        (wait_for_ever_in_a_library, True),
        (be_stopped, False),  # not even its watchdog runs: the driver ends it
    ],
)
def test_a_worker_that_hangs_is_ended_and_its_trial_goes_on(
    write_study, tmp_path, monkeypatch, undisturbed, how, noted
):
    (tmp_path / "order").write_text(how.__name__)
    monkeypatch.setenv("POSEBINS_TEST_HANGS", str(tmp_path / "order"))
    monkeypatch.setattr(search, "GRACE_S", 0.0)
    result, ledger = follow(write_study, tmp_path, HangingTrainable)
    assert not (tmp_path / "order").exists(), "it has hung"
    assert [record.state for record in result.runs] == ["complete"], result.runs[0].reason
    assert curve(ledger) == undisturbed
    continued = [event for event in ledger if event["event"] == "continued"]
    assert [event["step"] for event in continued] == [1]
    folder = Storage(tmp_path).study("hung").run(0)
    notes = {note.name: note.read_text() for note in folder.glob("hung*")}
    if noted:
        assert list(notes) == ["hung-after-1.txt"]
        assert how.__name__ in notes["hung-after-1.txt"]
        where = folder / "hung-after-1.txt"
        assert continued[0]["why"] == f"the worker hung after epoch 1; where is in {where}"
    else:
        why = "the worker hung after epoch 1, so that it had to be killed"
        assert continued[0]["why"] == why


class AlwaysHangingTrainable(HangingTrainable):
    """Hangs whenever it comes to its second epoch."""

    def step(self):
        Path(os.environ["POSEBINS_TEST_HANGS"]).write_text(wait_for_ever_in_python.__name__)
        return super().step()


def test_a_trial_that_always_hangs_fails_and_says_where(write_study, tmp_path, monkeypatch):
    monkeypatch.setenv("POSEBINS_TEST_HANGS", str(tmp_path / "order"))
    result, ledger = follow(write_study, tmp_path, AlwaysHangingTrainable)
    assert [record.state for record in result.runs] == ["failed"]
    where = Storage(tmp_path).study("hung").run(0) / "hung-after-1.txt"
    assert result.runs[0].reason == f"the worker hung after epoch 1; where is in {where}"
    assert [step for step, _ in curve(ledger)] == [1]


def test_a_trial_that_takes_too_long_fails_with_a_sentence(write_study, tmp_path):
    text = STUDY.replace(f"heartbeat_s: {HEARTBEAT_S}", "timeout_s: 1").replace(
        "epochs: 2,", "epochs: 500,"
    )
    result, ledger = follow(write_study, tmp_path, SlowTrainable, text)
    assert [record.state for record in result.runs] == ["failed"]
    assert result.runs[0].reason == "took longer than failures.timeout_s, 1 s"
    assert len(curve(ledger)) <= 6
    assert not [event for event in ledger if event["event"] == "continued"], "not tried again"
