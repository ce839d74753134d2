"""The ledger: what happened in a study, one JSON line per event, in order.

It is the study's own record. MLflow, the terminal and the results all follow from it, so none
of them can disagree with another about what a trial did. Events:

    study     study, yaml, objective, goal, resources, ...      once, first
    trial     number, name, params, fields                       a trial was proposed
    epoch     number, step, num_steps, metrics, stages,          it reported
              digests, tags
    finished  number, state, reason, value                       it ended
    end       state, wall_s                                      once, last

``state`` of a trial is ``complete``, ``pruned``, ``failed`` or ``stopped`` (interrupted, or the
budget ran out); ``state`` of the study is ``complete`` or ``stopped``.
"""

import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Event = dict[str, Any]
TERMINAL_STATES = ("complete", "pruned", "failed", "stopped")


@dataclass
class TrialRecord:
    """What the ledger knows of one trial.

    Attributes:
        number: Optuna's trial number.
        name: Baseline name, or ``trial-<number>``.
        is_baseline: Whether the study's file asked for it.
        params: Searched parameters as Optuna knows them.
        fields: Flat fields of the trial's config.
        state: ``running`` or one of :data:`TERMINAL_STATES`.
        reason: Why it failed or stopped.
        step: Last reported epoch.
        num_steps: Epochs it would run for.
        metrics: Last reported metrics.
        value: Objective, if complete.
        stages: Stage name to whether it was found in the cache.
        digests: Content digests of the two domains.
    """

    number: int
    name: str
    is_baseline: bool
    params: dict[str, Any]
    fields: dict[str, Any]
    state: str = "running"
    reason: str | None = None
    step: int = 0
    num_steps: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    value: float | None = None
    stages: dict[str, bool] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)


class Ledger:
    """Append-only event file with the current state of every trial.

    Args:
        path: File to create; its folder exists.

    Raises:
        FileExistsError: If the file is already there.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("x", encoding="utf-8")
        self._lock = threading.Lock()
        self._subscribers: list[Callable[[Event], None]] = []
        self.trials: dict[int, TrialRecord] = {}

    def subscribe(self, subscriber: Callable[[Event], None]) -> None:
        """Call ``subscriber`` with every later event, in order, after it is on disk.

        A subscriber that raises is warned of and called no more.
        """
        self._subscribers.append(subscriber)

    def append(self, kind: str, **content: Any) -> None:
        """Write an event, update the trials, tell the subscribers."""
        event = {"event": kind, "time": time.time(), **content}
        line = json.dumps(event, allow_nan=False)
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()
            apply_event(self.trials, event)
        for subscriber in list(self._subscribers):
            try:
                subscriber(event)
            except Exception as error:  # whatever a view does, the study must go on and end well
                self._subscribers.remove(subscriber)
                warnings.warn(
                    f"{type(subscriber).__name__} is left out of the study: {error!r}",
                    RuntimeWarning,
                    stacklevel=2,
                )

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Force the file to disk and close it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def apply_event(trials: dict[int, TrialRecord], event: Event) -> None:
    """Bring the records up to date with one event."""
    match event["event"]:
        case "trial":
            trials[event["number"]] = TrialRecord(
                event["number"],
                event["name"],
                event["is_baseline"],
                event["params"],
                event["fields"],
            )
        case "epoch":
            record = trials[event["number"]]
            record.step, record.num_steps = event["step"], event["num_steps"]
            record.metrics = event["metrics"]
            record.stages, record.digests = event["stages"], event["digests"]
        case "finished":
            record = trials[event["number"]]
            record.state, record.reason = event["state"], event["reason"]
            record.value = event["value"]


def read_events(path: Path) -> Iterator[Event]:
    """Events of a ledger file.

    A last line without its line feed was being written when the driver died; it is left out,
    as it was never acknowledged.

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


def read_trials(path: Path) -> tuple[Event, dict[int, TrialRecord]]:
    """The description of a study and its trials as the ledger leaves them.

    Raises:
        FileNotFoundError: If there is no ledger.
        ValueError: If it is damaged or holds no study.
    """
    trials: dict[int, TrialRecord] = {}
    description: Event | None = None
    for event in read_events(path):
        if event["event"] == "study":
            description = event
        apply_event(trials, event)
    if description is None:
        raise ValueError(f"{path} holds no study")
    return description, trials
