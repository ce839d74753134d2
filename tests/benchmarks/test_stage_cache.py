"""What shared stages save: CPU time of a study's workers against trials that share nothing.

The study runs as it is. Then each of its trials runs again for as many epochs with a cache of its
own, so it computes its images, Pose VAEs and pre-training itself; the metrics must be the same
ones. CPU time, as waiting for another trial's stage costs a core nothing.
"""

import io
import json
import os
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from harness.record.ledger import read_events
from harness.record.storage import Storage
from harness.spec import load_spec
from harness.stage_cache.cache import DiskStageCache
from harness.study.follow import follow_study
from harness.study.launch import Launch
from tests.conftest import ROOT
from trainables.adaptation_trainable import AdaptationTrainable

YAML = ROOT / "search_spaces" / "bins.yaml"
CPU_FOLDER = "POSEBINS_TEST_CPU"

pytestmark = [pytest.mark.benchmark, pytest.mark.filterwarnings("ignore")]  # Ray's own


class MeasuredTrainable(AdaptationTrainable):
    """Writes down the CPU seconds of its calls, into the folder that the environment names."""

    def setup(self, config):
        started = time.process_time()
        super().setup(config)
        self._write_down(started)

    def step(self):
        started = time.process_time()
        result = super().step()
        self._write_down(started)
        return result

    def _write_down(self, started):
        with (Path(os.environ[CPU_FOLDER]) / str(os.getpid())).open("a") as file:
            file.write(f"{time.process_time() - started}\n")


@pytest.fixture
def cpu_seconds(tmp_path, monkeypatch):
    """CPU seconds of the workers since the last call."""
    folder = tmp_path / "cpu"
    folder.mkdir()
    monkeypatch.setenv(CPU_FOLDER, str(folder))

    def cpu_seconds():
        lines = [line for path in folder.iterdir() for line in path.read_text().split()]
        for path in folder.iterdir():
            path.unlink()
        return sum(map(float, lines))

    return cpu_seconds


def run_study(storage, text, name):
    """A study's trials that trained, with what each reported by epoch."""
    path = storage.parent / f"{name}.yaml"
    path.write_text(text.replace("name: bins\n", f"name: {name}\n"))
    launch = Launch(Storage(storage), trainable=MeasuredTrainable)
    result, _ = follow_study(load_spec(path), launch, io.StringIO())
    assert result.state == "complete"
    reported = {record.number: [] for record in result.runs}
    for event in read_events(Storage(storage).ledger(result.study_name)):
        if event["event"] == "epoch":
            reported[event["number"]].append(event["metrics"])
    return [(record, reported[record.number]) for record in result.runs]


def run_alone(record, reported, folder):
    """The same trial with nothing there: it must report the same."""
    trainable = MeasuredTrainable(
        {
            "fields": record.fields,
            "cache": DiskStageCache(folder / "stages"),
            "folder": str(folder),
            "num_threads": 1,
            "image_threads": 1,
            "num_replicas": 1,
            "read_test": False,
            "plugins": (),
            "heartbeat_s": None,
        }
    )
    found = [trainable.train()["metrics"] for _ in reported]
    trainable.stop()
    shutil.rmtree(folder)
    assert found == reported, record.name


def outcomes(trials):
    """Of every stage: how often it was there and how often not."""
    counts = Counter(
        f"{name}: {stage[0]}" for record, _ in trials for name, stage in record.stages.items()
    )
    return dict(sorted(counts.items()))


@pytest.mark.timeout(5400)
@pytest.mark.parametrize("steps", [10, 50])
def test_two_studies_over_the_same_domains(tmp_path, cpu_seconds, steps):
    torch.set_num_threads(1)
    text = YAML.read_text()
    assert "steps_per_epoch: 50" in text
    text = text.replace("steps_per_epoch: 50", f"steps_per_epoch: {steps}")
    first = run_study(tmp_path / "runs", text, "first")
    seconds = {"first": cpu_seconds()}
    other = text.replace("method: tpe", "method: random")
    second = run_study(tmp_path / "runs", other, "second")
    seconds["second"] = cpu_seconds()
    for name, trials in (("first", first), ("second", second)):
        for record, reported in trials:
            run_alone(record, reported, tmp_path / "alone")
        seconds[f"{name}_alone"] = cpu_seconds()
    print(
        json.dumps(
            {
                "benchmark": "stage_cache",
                "steps_per_epoch": steps,
                "trials": [len(first), len(second)],
                "epochs": [sum(len(r) for _, r in trials) for trials in (first, second)],
                "cpu_s": {name: round(value, 1) for name, value in seconds.items()},
                "first_study_less": round(seconds["first_alone"] / seconds["first"], 2),
                "second_study_less": round(seconds["second_alone"] / seconds["second"], 2),
                "first_stages": outcomes(first),
                "second_stages": outcomes(second),
            }
        )
    )
