"""The processes that measure: they answer, fail in one sentence and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from harness.forecast.measuring import measure_configurations
from harness.yaml.text import SpecError
from tests.conftest import ROOT
from tests.trainables.cost.test_measure import SMALL

JOB = {"trainable": "pose_vae", "fields": SMALL, "vaes": [], "num_threads": 1, "gpus": 0.0}


def left_behind(folder):
    """What is in a folder beside PyTorch's own cache, which it makes as it likes."""
    return [path for path in folder.iterdir() if not path.name.startswith("torchinductor")]


def measuring_processes():
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process.cmdline()[-1:] == ["harness.forecast.measuring"]
    ]


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.mark.slow
def test_each_job_is_measured_and_spare_processes_repeat_the_first(tmp_path, temporary):
    other = {**JOB, "fields": {**SMALL, "vae.hidden_dim": 8}}
    said = []
    measured = measure_configurations([JOB, other, JOB], 2, tmp_path / "stages", said.append)
    assert [len(group) for group in measured] == [2, 1, 1]
    assert said == ["measured 2 of 3 configurations"]
    assert measuring_processes() == []
    assert left_behind(temporary) == []
    assert not (tmp_path / "stages").exists()  # a dry run writes nothing


@pytest.mark.slow
def test_an_error_comes_out_as_one_sentence(tmp_path, temporary):
    fields = {**SMALL, "data.target": "lspet", "data.target_root": "/nowhere"}
    with pytest.raises(SpecError, match=r"^a run cannot be measured: /nowhere is not a folder$"):
        measure_configurations([JOB | {"fields": fields}], 1, tmp_path / "stages")
    assert measuring_processes() == []
    assert left_behind(temporary) == []


PARENT = """
import sys
from pathlib import Path
from harness.forecast.measuring import measure_configurations
from tests.harness.forecast.test_measuring import JOB
fields = {**JOB["fields"], "data.num_source": 1000000, "data.image_size": 512,
          "data.heatmap_size": 128}
measure_configurations([{**JOB, "fields": fields}], 1, Path(sys.argv[1]))
"""


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.faults
def test_a_measuring_process_dies_with_its_parent(tmp_path, temporary):
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PARENT, str(tmp_path / "stages")], cwd=ROOT
    )
    found = []

    def has_started():
        found[:] = measuring_processes()
        return found and list(temporary.glob("*/0"))

    wait_for(has_started)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not any(process.is_running() for process in found))


@pytest.mark.faults
def test_a_measuring_process_that_is_killed_is_named(tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PARENT, str(tmp_path / "stages")],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(measuring_processes)
    measuring_processes()[0].kill()
    _, errors = parent.communicate(timeout=20)
    sentence = "its process died of SIGKILL"
    assert errors.strip().endswith(f"a run cannot be measured: {sentence}")
