"""The study in MLflow: one parent run, one child run per trial.

One thread writes, in the order of the ledger's events; training never waits for it. MLflow's
cost is per transaction (a ``log_batch`` of a thousand metrics costs as much as six single ones),
so what has gathered for a run goes out as one batch. A server that fails is asked again until the
study ends; what it did not take by then is counted, and still is in the ledger.

MLflow is imported by the thread, as its import and its first database migration take seconds.
"""

import json
import logging
import os
import queue
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from harness.ledger import Event

EXPERIMENT = "posebins"
FLUSH_S = 1.0
RETRY_S = 2.0
CLOSE_TIMEOUT_S = 60.0
_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "stopped": "KILLED", "failed": "FAILED"}
_MAX_METRICS, _MAX_PARAMS = 1000, 100
_BARS = ("final/", "chosen_pck_05/", "chosen_epoch/")
"""Metrics that a trial has once, at its end."""


class MLflowTracker:
    """Ledger subscriber that writes to MLflow.

    Args:
        tracking_uri: Absolute SQLite URL or the address of a server.
        artifact_root: Folder for artifacts of an experiment created on a local database.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path) -> None:
        self.tracking_uri = tracking_uri
        self.run_ids: dict[int, str] = {}
        self.parent_run_id: str | None = None
        self.num_unwritten = 0
        self.last_error = "no answer"
        self._artifact_root = artifact_root
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._deadline: float | None = None
        self._thread = threading.Thread(target=self._run, name="mlflow-writer", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Take an event; returns at once."""
        self._events.put(event)

    def close(self) -> None:
        """Write what is left and stop; gives up after :data:`CLOSE_TIMEOUT_S`."""
        self._deadline = time.monotonic() + CLOSE_TIMEOUT_S
        self._events.put(None)
        self._thread.join(CLOSE_TIMEOUT_S + 30)

    def give_up(self) -> None:
        """Do not wait any longer; what is unwritten stays unwritten."""
        self._deadline = 0.0

    def _run(self) -> None:
        # A server that is down must not hold the writer for MLflow's default of four minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        writer: _RunWriter | None = None
        pending: list[Event] = []
        is_open = True
        while is_open or pending:
            is_open = self._gather(pending, is_open)
            try:
                writer = writer or _RunWriter(self.tracking_uri, self._artifact_root, self)
                writer.write(pending)
            except Exception as error:  # MLflow lets its client's and database's through
                self.last_error = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
                self.num_unwritten = len(pending)
                if self._deadline is not None and time.monotonic() > self._deadline:
                    return
                time.sleep(RETRY_S)
            else:
                self.num_unwritten = 0

    def _gather(self, pending: list[Event], is_open: bool) -> bool:
        """Move queued events to ``pending``, waiting at most a flush interval for more."""
        until = time.monotonic() + FLUSH_S
        while is_open and (wait := until - time.monotonic()) > 0:
            try:
                event = self._events.get(timeout=wait)
            except queue.Empty:
                break
            if event is None:
                return False
            pending.append(event)
        return is_open


class RunIds(Protocol):
    """Where the writer leaves the ids of the runs it made."""

    parent_run_id: str | None
    run_ids: dict[int, str]


class _RunWriter:
    """Turns events into MLflow calls; used by the writer thread alone."""

    def __init__(self, tracking_uri: str, artifact_root: Path, ids: RunIds) -> None:
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(tracking_uri)
        self._ids = ids
        self._reported: set[str] = set()
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        if experiment is not None:
            self._experiment_id = experiment.experiment_id
        else:
            location = artifact_root.as_uri() if tracking_uri.startswith("sqlite") else None
            self._experiment_id = self._client.create_experiment(EXPERIMENT, location)

    def write(self, pending: list[Event]) -> None:
        """Write events and remove them from the list as they are done."""
        while pending:
            event = pending[0]
            if event["event"] == "epoch":
                self._write_epochs(pending)
                continue
            getattr(self, f"_write_{event['event']}")(event)
            del pending[0]

    def _write_study(self, event: Event) -> None:
        tags = {
            "mlflow.note.content": f"```yaml\n{event['yaml']}\n```",
            "study": event["study"],
            "stage": "study",
            "objective": event["objective"],
            "git_commit": git_commit(),
        }
        if self._ids.parent_run_id is None:
            run = self._client.create_run(self._experiment_id, tags=tags, run_name=event["study"])
            self._ids.parent_run_id = run.info.run_id
        self._study = event
        self._log_params(self._ids.parent_run_id, event["fixed"])

    def _write_trial(self, event: Event) -> None:
        number = event["number"]
        if number not in self._ids.run_ids:
            tags = {
                "mlflow.parentRunId": str(self._ids.parent_run_id),
                "study": self._study["study"],
                "stage": "trial",
                "trial": str(number),
                "baseline": event["name"] if event["is_baseline"] else "",
                "seed": str(event["fields"]["seed"]),
                "config": json.dumps(event["fields"]),
            }
            run = self._client.create_run(
                self._experiment_id, tags=tags, run_name=f"{event['name']}#{number}"
            )
            self._ids.run_ids[number] = run.info.run_id
        # Beside what varies: what a baseline's ``parity`` sets and the study's fields do not.
        fixed = self._study["fixed"]
        own = {n: v for n, v in event["fields"].items() if n not in fixed or v != fixed[n]}
        self._log_params(self._ids.run_ids[number], own)

    def _write_epochs(self, pending: list[Event]) -> None:
        """One batch per run of all epochs at the head of the list."""
        from mlflow.entities import Metric

        count = next((i for i, e in enumerate(pending) if e["event"] != "epoch"), len(pending))
        by_run: dict[str, list[Any]] = {}
        for event in pending[:count]:
            run_id = self._ids.run_ids[event["number"]]
            at = int(event["time"] * 1000)
            batch = by_run.setdefault(run_id, [])
            for name, value in event["metrics"].items():
                # A metric whose only step is 0 is drawn as a bar, others as a curve.
                step = 0 if name.startswith(_BARS) else event["step"]
                batch.append(Metric(name, value, at, step))
        for event in pending[:count]:
            self._log_once(self._ids.run_ids[event["number"]], event)
        for run_id, batch in by_run.items():
            for start in range(0, len(batch), _MAX_METRICS):
                self._client.log_batch(run_id, metrics=batch[start : start + _MAX_METRICS])
        del pending[:count]

    def _write_finished(self, event: Event) -> None:
        run_id = self._ids.run_ids[event["number"]]
        tags = {"state": event["state"], "pruned": str(event["state"] == "pruned").lower()}
        if event["reason"]:
            tags["reason"] = event["reason"][:8000]
        from mlflow.entities import RunTag

        self._client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        self._client.set_terminated(run_id, _STATUS[event["state"]])

    def _write_end(self, event: Event) -> None:
        if self._ids.parent_run_id is None:
            return
        self._client.set_tag(self._ids.parent_run_id, "state", event["state"])
        status = "FINISHED" if event["state"] == "complete" else "KILLED"
        self._client.set_terminated(self._ids.parent_run_id, status)

    def _log_params(self, run_id: str, fields: dict[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(name, _text(value)) for name, value in fields.items()]
        for start in range(0, len(params), _MAX_PARAMS):
            self._client.log_batch(run_id, params=params[start : start + _MAX_PARAMS])

    def _log_once(self, run_id: str, event: Event) -> None:
        """Data sets and tags of a run, which are known from its first report on."""
        if run_id in self._reported or not event["digests"]:
            return
        from mlflow.entities import Dataset, DatasetInput, InputTag

        for name, value in event["tags"].items():
            self._client.set_tag(run_id, name, value)
        fixed = self._study["fixed"]
        inputs = []
        for role, digest in event["digests"].items():
            name = str(fixed.get(f"data.{role}", role))
            source = json.dumps({"root": fixed.get(f"data.{role}_root"), "domain": name})
            dataset = Dataset(name, digest, "local", source)
            inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", role)]))
        self._client.log_inputs(run_id, inputs)
        self._reported.add(run_id)


def _text(value: Any) -> str:
    """A parameter as MLflow shows it; lists without spaces so that they compare equal."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)


def git_commit() -> str:
    """Commit of the working folder, with ``+changes`` if it is modified; empty outside git."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        return commit + ("+changes" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*arguments: str) -> str:
    found = subprocess.run(
        ["git", *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return found.stdout.strip()
