"""Studies started one after another beside four busy processes: each ends well or says why."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

NUM_STARTS = int(os.environ.get("POSEBINS_TEST_STARTS", "2"))
STUDY = """
name: busy
trainable: adaptation
metric: {name: target_val/pck_05, goal: maximize}
parameters:
  vae.kl_weight: {distribution: log_uniform_values, min: 1e-4, max: 1}
fixed: {adapt.epochs: 2}
budget: {run_cap: 2}
"""
DRIVER = """
import sys
from harness import run
from dataclasses import replace
from trainables.registry import TRAINABLES
noop = replace(TRAINABLES["adaptation"], code="tests.noop_trainable:NoopTrainable")
TRAINABLES["adaptation"] = noop
sys.exit(run.main(sys.argv[1:]))
"""
pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(0)]


@pytest.fixture
def busy():
    """Four processes that compute for ever."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    yield
    for process in processes:
        process.kill()
        process.wait()


def test_studies_on_a_busy_machine_end_well_or_with_one_sentence(
    busy, write_study, tmp_path, capsys
):
    path, codes = write_study(STUDY), []
    for index in range(NUM_STARTS):
        found = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", DRIVER, str(path), "--storage",
             str(tmp_path), "--set", f"name=busy-{index}"],
            cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        codes.append(found.returncode)
        lines = found.stderr.splitlines()
        assert "Traceback" not in found.stdout + found.stderr
        if found.returncode == 0:
            assert not [line for line in lines if not line.startswith("warning: ")], lines
        else:
            assert found.returncode == 4, found.stderr
            assert len(lines) == 1, lines
            assert lines[0].startswith("error: Ray did not start: ")
        with capsys.disabled():
            retried = "trying once more" in found.stdout
            print(f"start {index + 1}: {codes[-1]}{', in the second try' if retried else ''}")  # noqa: T201 - progress of a long test
