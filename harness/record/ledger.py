"""The ledger: what happened in a study, one JSON line per event, in order.

It is the study's own record. Every event is written here before Optuna and MLflow get it, and
after a crash both are brought up to date from here. The terminal and the results follow it too, so
that no two of them can disagree about a run. Events:

    study      study, study_id, yaml, objectives, fingerprint, ...   once, first
    resume     a new driver continues the study                      any number of times
    run        number, trial, trial_name, seed, name, params,        a run started
               fields, ...
    epoch      number, step, num_steps, metrics, stages,             it reported
               digests, tags, flaw
    continued  number, step, why                                     it continues after that step
    finished   number, state, reason, value                          it ended
    duplicate  trial, of                                             a trial equals an earlier one
                                                                     and is not run
    end        state, reason, wall_s                                 the driver ended

A trial is one of Optuna's: a configuration. With ``seeds: n`` it has n runs that differ in their
seed alone: run ``number`` is ``trial * n`` plus the index of its seed. ``state`` of a run is
``complete``, ``pruned``, ``failed`` or ``stopped`` (interrupted, or the budget ran out; it
continues when the study does); ``state`` of the study is ``complete`` or ``stopped``.
"""

import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.record.full_disk import FullDisk, write_whole

Event = dict[str, Any]
TERMINAL_STATES = ("complete", "pruned", "failed", "stopped")
_SYNCED = ("study", "run", "finished", "end")
"""Events that are forced to disk at once. An epoch that a power failure loses is trained again."""


@dataclass
class RunRecord:
    """What the ledger knows of one run.

    Attributes:
        number: ``trial * seeds + seed index``.
        trial: Optuna's trial number.
        trial_name: Baseline name, or ``trial-<trial>``. In a confirmation, where each run is a
            baseline of its own, the name that all seeds of a finalist share.
        seed: Seed that it is trained with.
        name: Name of the trial, with the seed where there are several; see :func:`run_name`.
        is_baseline: Whether the study's file asked for it.
        params: Searched parameters as Optuna stores them, see :func:`searched_fields`.
        fields: Flat fields of its config.
        retry_of: Failed trial that this one tries again.
        state: ``running`` or one of :data:`TERMINAL_STATES`.
        reason: Why it failed or stopped.
        step: Last reported epoch.
        num_steps: Epochs of a full run.
        metrics: Last reported metrics.
        value: First objective, if complete.
        stages: Stage name to ``[outcome, key, seconds]``; outcome is ``hit``, ``miss`` or
            ``repaired``.
        digests: Content digests of the two domains.
        busy_s: Seconds that workers spent on it, up to its last event.
        seen_at: Time of that event.
        flaw: What is wrong with the last epoch; the run is about to fail.
    """

    number: int
    trial: int
    trial_name: str
    seed: int
    name: str
    is_baseline: bool
    params: dict[str, Any]
    fields: dict[str, Any]
    retry_of: int | None = None
    state: str = "running"
    reason: str | None = None
    step: int = 0
    num_steps: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    value: float | None = None
    stages: dict[str, list[Any]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    busy_s: float = 0.0
    seen_at: float = 0.0
    flaw: str | None = None

    @property
    def searched(self) -> dict[str, Any]:
        """Searched fields with the values that were trained; see :func:`searched_fields`."""
        return searched_fields(self.params, self.fields)


def run_name(trial_name: str, seed: int) -> str:
    """Name of one of several runs of a trial; :func:`trial_of` is the inverse."""
    return f"{trial_name}-seed{seed}"


def trial_of(name: str, seed: int) -> str:
    """Name of the trial of a run with this name and seed."""
    return name.removesuffix(run_name("", seed))


def searched_fields(params: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Searched fields of a trial with the values that were trained, in the order of the config.

    Optuna's own parameters may be a part of a field (``bins.subset/b03``), its quantile
    (``adapt.lr/quantile``) or a number that was rounded; users want the field.

    Args:
        params: Optuna's parameters.
        fields: Flat fields of the trial's config.
    """
    names = {name.partition("/")[0] for name in params}
    return {name: value for name, value in fields.items() if name in names}


class Ledger:
    """Append-only event file with the current state of every run.

    An existing file is continued: its events are applied first. A last line that a killed driver
    left unfinished is cut off, as nothing followed from it yet.

    Args:
        path: File to create or continue; its folder exists.

    Raises:
        ValueError: If the file is damaged before its last line; names the line.

    Attributes:
        runs: Number to what is known of the run.
        description: The ``study`` event; None before there is one.
        is_new: Whether the file held no event at the start.
        is_complete: Whether its last driver brought the study to its end.
        earlier_wall_s: Seconds that earlier drivers ran.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: dict[int, RunRecord] = {}
        self.description: Event | None = None
        self.is_complete = False
        self.earlier_wall_s = 0.0
        _cut_torn_line(path)
        self.is_new = not path.exists() or path.stat().st_size == 0
        self._read_back()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._disk = FullDisk(path.parent)
        self._lock = threading.Lock()
        self._subscribers: list[Callable[[Event], None]] = []

    def _read_back(self) -> None:
        first = last = None
        for event in [] if self.is_new else read_events(self.path):
            self.description = latest_description(self.description, event)
            self.is_complete = event["event"] == "end" and event["state"] == "complete"
            if event["event"] in ("study", "resume"):
                self.earlier_wall_s += 0.0 if first is None or last is None else last - first
                first = event["time"]
            last = event["time"]
            apply_event(self.runs, event)
        self.earlier_wall_s += 0.0 if first is None or last is None else last - first
        if not self.is_new and self.description is None:
            raise ValueError(f"{self.path} holds no study")

    def subscribe(self, subscriber: Callable[[Event], None]) -> None:
        """Call ``subscriber`` with every later event, in order, after it is written.

        A subscriber that raises causes a warning and is not called again.
        """
        self._subscribers.append(subscriber)

    def wait_for(self, disk: FullDisk) -> None:
        """Let an append that finds no space wait as this disk says."""
        self._disk = disk

    def append(self, kind: str, /, **content: Any) -> None:
        """Write an event, update the runs, call the subscribers.

        Raises:
            OSError: If the event cannot be written; a full disk is waited for. The file then ends
                with its last whole line.
        """
        event = {"event": kind, "time": time.time(), **content}
        line = json.dumps(event, allow_nan=False)
        with self._lock:
            self._write(line.encode() + b"\n", synced=kind in _SYNCED)
            self.description = latest_description(self.description, event)
            apply_event(self.runs, event)
        for subscriber in list(self._subscribers):
            try:
                subscriber(event)
            except Exception as error:  # a broken view must not end the study
                self._subscribers.remove(subscriber)
                warnings.warn(
                    f"{type(subscriber).__name__} failed and gets no more events: {error!r}",
                    RuntimeWarning,
                    stacklevel=2,
                )

    def _write(self, line: bytes, *, synced: bool) -> None:
        """Write a line whole; on a full disk, wait until there is space again."""
        self._disk.insist(lambda: write_whole(self._file, line, synced=synced))

    def epochs(self) -> Iterator[Event]:
        """Every epoch so far, in the order of the file."""
        return (event for event in read_events(self.path) if event["event"] == "epoch")

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Force the file to disk and close it."""
        os.fsync(self._file)
        os.close(self._file)


def apply_event(runs: dict[int, RunRecord], event: Event) -> None:
    """Bring the records up to date with one event."""
    if event["event"] == "run":
        runs[event["number"]] = RunRecord(
            number=event["number"],
            trial=event["trial"],
            trial_name=event["trial_name"],
            seed=event["seed"],
            name=event["name"],
            is_baseline=event["is_baseline"],
            params=event["params"],
            fields=event["fields"],
            retry_of=event.get("retry_of"),
            seen_at=event["time"],
        )
        return
    if event["event"] == "resume":  # the time without a driver is nobody's
        for running in runs.values():
            running.seen_at = event["time"]
        return
    record = runs.get(event.get("number", -1))
    if record is None:
        return
    match event["event"]:
        case "epoch":
            record.step, record.num_steps = event["step"], event["num_steps"]
            record.flaw = event.get("flaw")
            record.metrics = event["metrics"]
            record.stages, record.digests = event["stages"], event["digests"]
        case "continued":
            record.state, record.reason = "running", None
            record.seen_at = event["time"]
        case "finished":
            record.state, record.reason = event["state"], event["reason"]
            record.value = event["value"]
    record.busy_s += max(0.0, event["time"] - record.seen_at)
    record.seen_at = event["time"]


def latest_description(description: Event | None, event: Event) -> Event | None:
    """The description of a study after an event; a resume may change it."""
    if event["event"] == "study":
        return event
    if event["event"] == "resume" and description is not None:
        return {**description, **event, "event": "study", "time": description["time"]}
    return description


def _cut_torn_line(path: Path) -> None:
    """Cut a ledger after its last whole line."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        at, tail = end, b""
        while at > 0 and b"\n" not in tail:
            at = max(0, at - 65536)
            file.seek(at)
            tail = file.read(end - at)
        whole = at + tail.rfind(b"\n") + 1
        if whole < end:
            file.truncate(whole)


def read_events(path: Path) -> Iterator[Event]:
    """Events of a ledger file.

    An unfinished last line, which a killed driver left, is skipped.

    Raises:
        ValueError: If an earlier line is damaged; names the file and the line.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                return
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}:{number}: damaged event: {error.msg}") from error


def read_runs(path: Path) -> tuple[Event, dict[int, RunRecord]]:
    """The description of a study and its runs as the ledger leaves them.

    Raises:
        FileNotFoundError: If there is no ledger.
        ValueError: If it is damaged or holds no study.
    """
    runs: dict[int, RunRecord] = {}
    description: Event | None = None
    for event in read_events(path):
        description = latest_description(description, event)
        apply_event(runs, event)
    if description is None:
        raise ValueError(f"{path} holds no study")
    return description, runs
