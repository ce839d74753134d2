"""Real drivers, started as a user starts them, and what a storage holds of a study afterwards."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import psutil

from harness.mlflow_tracking.metric_sections import ledger_metric
from harness.record.ledger import read_events
from tests.conftest import ROOT
from tests.repeatable_metrics import TIMES, repeatable

# Under nohup the tests ignore SIGHUP, and the drivers that they start would do so, too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

MEASURED = {"stages/seconds_saved", "stages/seconds_spent", *TIMES}
"""Metrics that are times, which no second run repeats."""

STUDY = """
name: tiny
trainable: adaptation
metric: {name: target_val/pck_05, goal: maximize}
method: tpe
parameters:
  vae.kl_weight: {distribution: log_uniform_values, min: 1e-4, max: 1}
  sampling.strategy: {values: [all, hardest, curriculum]}
fixed:
  data: {num_source: 120, num_target: 120, image_size: 32, heatmap_size: 16}
  net.width: 4
  vae.epochs: 3
  evaluation.bin_count: 3
  adapt: {method: regda, pretrain_epochs: 1, epochs: 4, steps_per_epoch: 8, batch_size: 4}
baselines:
  all: {sampling.strategy: all}
early_terminate: {type: successive_halving, min_iter: 2, eta: 2}
budget: {run_cap: 5}
failures: {retries: 3}
resources: {parallel: 1}
"""
"""Five trials of five epochs, some of them pruned: ten seconds to start, five to run."""


def command(process: psutil.Process) -> str:
    """Command line of a process; empty if it has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


class Driver:
    """A running ``python -m harness.run``, in a process group of its own; killed at the exit.

    Args:
        study: File of the study.
        storage: Folder.
        arguments: Further arguments.

    Attributes:
        process: The process.
        lines: What it has said so far, standard error included.
    """

    def __init__(self, study: Path, storage: Path, *arguments: str) -> None:
        self.lines: list[str] = []
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.run", str(study), "--no-report",
             "--storage", str(storage), *arguments],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            self.lines.extend(iter(output.readline, ""))

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_for(self, words: str, limit_s: float = 120) -> bool:
        """Wait for a line that holds the words; False if the driver ends without it."""
        deadline = time.monotonic() + limit_s
        while not any(words in line for line in list(self.lines)):
            if self.process.poll() is not None:
                self._reader.join(5)
                return words in self.output
            assert time.monotonic() < deadline, f"never said {words!r}:\n{self.output}"
            time.sleep(0.01)
        return True

    def family(self, *, with_agents: bool = True) -> list[psutil.Process]:
        """Every process that it has started and that those have.

        Args:
            with_agents: Ray's two agents too, which hold nothing of a study and notice only after
                a minute that a driver was killed.
        """
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [p for p in children if with_agents or "Agent" not in command(p)]

    def kill(self) -> bool:
        """End it with SIGKILL; False if it had ended by itself."""
        was_alive = self.process.poll() is None
        self.process.kill()
        self.process.wait(10)
        return was_alive

    def end(self, limit_s: float = 200) -> int:
        """Wait for its end and return the exit code."""
        code = self.process.wait(limit_s)
        self._reader.join(10)
        return code

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self._reader.join(10)


def run_to_the_end(study: Path, storage: Path, *arguments: str) -> str:
    """Run a study that must end well; returns what it said."""
    with Driver(study, storage, *arguments) as driver:
        assert driver.end() == 0, driver.output
        return driver.output


def events(storage: Path, name: str = "tiny") -> list[dict[str, Any]]:
    """A study's ledger; asserts that no epoch is in it twice."""
    found = list(read_events(storage / "studies" / name / "events.jsonl"))
    steps = [(event["number"], event["step"]) for event in found if event["event"] == "epoch"]
    assert len(steps) == len(set(steps)), "an epoch is there twice"
    return found


def outcome(storage: Path, name: str = "tiny", database: str | None = None) -> dict[str, Any]:
    """What a study has come to, in the ledger, Optuna and MLflow; nothing that is a time.

    Args:
        storage: Folder.
        name: Name of the study.
        database: URL of Optuna's; None for that of the storage.
    """
    ledger = events(storage, name)
    url = database or f"sqlite:///{storage / 'optuna.db'}"
    study = optuna.load_study(study_name=name, storage=url)
    return {
        "runs": {
            event["number"]: (event["name"], event["params"], event["fields"])
            for event in ledger
            if event["event"] == "run"
        },
        "curves": {
            (event["number"], event["step"]): repeatable(event["metrics"])
            for event in ledger
            if event["event"] == "epoch"
        },
        "ends": {
            event["number"]: (event["state"], event["reason"], event["value"])
            for event in ledger
            if event["event"] == "finished"
        },
        "optuna": [
            (trial.number, trial.state.name, trial.params, trial.values, trial.intermediate_values)
            for trial in study.get_trials(deepcopy=False)
        ],
        "mlflow": mlflow_runs(storage),
    }


def mlflow_runs(storage: Path) -> dict[str, Any]:
    """Run's number, or ``study``, to its MLflow run; asserts that each is there once.

    Read from the database itself, where a point that was written twice is there twice.
    """
    with closing(sqlite3.connect(storage / "mlflow.db")) as database:
        runs = database.execute("SELECT run_uuid, status, experiment_id FROM runs").fetchall()
        columns: dict[str, dict[str, Any]] = defaultdict(dict)
        for table in ("tags", "params"):
            columns[table] = defaultdict(dict)
            for run, key, value in database.execute(f"SELECT run_uuid, key, value FROM {table}"):
                columns[table][run][key] = value
        points = defaultdict(list)
        for run, *point in database.execute(
            "SELECT run_uuid, key, step, value FROM metrics ORDER BY timestamp"
        ):
            if ledger_metric(point[0]) not in MEASURED:
                points[run].append(tuple(point))
    found: dict[str, Any] = {}
    for run, state, _ in runs:
        tags = columns["tags"][run]
        name = tags.get("run", "study")
        assert name not in found, f"two MLflow runs of {name}"
        found[name] = (state, tags["state"], columns["params"][run], sorted(points[run]))
    assert len({experiment for _, _, experiment in runs}) == 1, "one experiment for all"
    return found


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Two outcomes are the same; part by part, as pytest shows the whole of a big dictionary."""
    for part, content in expected.items():
        assert found[part] == content, part


def assert_nothing_runs(storage: Path, name: str = "tiny") -> None:
    """Every run has ended, everywhere."""
    found = outcome(storage, name)
    assert set(found["ends"]) == set(found["runs"])
    assert "RUNNING" not in {trial[1] for trial in found["optuna"]}
    assert "RUNNING" not in {run[0] for run in found["mlflow"].values()}
    assert set(found["mlflow"]) == {"study", *map(str, found["runs"])}
