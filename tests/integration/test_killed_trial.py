"""A trial whose process is killed goes on from its last checkpoint and ends as if it had not."""

import io
import os
import signal
from pathlib import Path

import pytest

import trainables.checkpoint
from harness.ledger import read_events
from harness.spec import load_study
from harness.storage import Storage
from harness.study import follow_study
from trainables.adaptation_trainable import AdaptationTrainable

STUDY = """
name: killed
trainable: adaptation
metric: {{name: target_val/pck_05, goal: maximize}}
method: random
fixed:
  data: {{num_source: 120, num_target: 120, image_size: 32, heatmap_size: 16}}
  net.width: 4
  vae.epochs: 3
  style: {{steps: 3, encoder_steps: 3}}
  evaluation.bin_count: 3
  adapt: {{method: {method}, pretrain_epochs: 2, epochs: 2, steps_per_epoch: 3, batch_size: 4}}
  curriculum.pacing: step
baselines:
  only: {{sampling.strategy: curriculum}}
budget: {{run_cap: 1}}
failures: {{retries: 3}}
resources: {{parallel: 1}}
"""

pytestmark = [
    pytest.mark.faults,
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of its threads and sockets
]


class MortalTrainable(AdaptationTrainable):
    """Is killed once at each place named by a file in the folder of the environment."""

    def step(self):
        self._die_at(f"before-{self._run.epoch + 1}")
        result = super().step()
        self._die_at(f"after-{self._run.epoch}")
        return result

    def save_checkpoint(self, checkpoint_dir):
        place = f"saving-{self._run.epoch}"

        def to_disk(file):
            if file.name.endswith("last.pt.partial"):
                self._die_at(place)

        trainables.checkpoint._to_disk = to_disk
        super().save_checkpoint(checkpoint_dir)

    def _die_at(self, place):
        folder = Path(os.environ["POSEBINS_TEST_DEATHS"])
        if place.startswith("before"):
            with (folder / "started").open("a") as file:
                file.write(f"{self._run.epoch + 1}\n")
        if (folder / place).exists():
            (folder / place).unlink()
            os.kill(os.getpid(), signal.SIGKILL)


def reports(write_study, storage, method, deaths):
    """What a study of one trial reported by epoch, and the epochs that were started."""
    orders = storage / "deaths"
    orders.mkdir(parents=True)
    for place in deaths:
        (orders / place).touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POSEBINS_TEST_DEATHS", str(orders))
        spec = load_study(write_study(STUDY.format(method=method)))
        result, _ = follow_study(spec, Storage(storage), io.StringIO(), trainable=MortalTrainable)
    assert [record.state for record in result.trials] == ["complete"], result.trials[0].reason
    ledger = Storage(storage).ledger(result.study_name)
    events = [event for event in read_events(ledger) if event["event"] == "epoch"]
    started = [int(line) for line in (orders / "started").read_text().split()]
    assert [path.name for path in orders.iterdir()] == ["started"], "every death has been died"
    return [(event["step"], event["metrics"]) for event in events], started


@pytest.mark.parametrize(
    ("method", "deaths", "started"),
    [
        ("regda", ["after-2"], [1, 2, 2, 3, 4]),
        ("regda", ["saving-3"], [1, 2, 3, 3, 4]),
        ("udape", ["before-3"], [1, 2, 3, 3, 4]),
        ("udape", ["saving-1", "after-3", "before-4"], [1, 1, 2, 3, 3, 4, 4]),
    ],
)
def test_a_killed_trial_reports_what_an_undisturbed_one_does(
    write_study, tmp_path, method, deaths, started
):
    expected, _ = reports(write_study, tmp_path / "undisturbed", method, [])
    found, epochs = reports(write_study, tmp_path / "killed", method, deaths)
    assert found == expected
    assert [step for step, _ in found] == [1, 2, 3, 4]
    assert epochs == started  # it went on where it was, and did not start again
