"""The process that keeps MLflow up to date with a ledger.

A process of its own, so that MLflow's import, its memory and its failures are not the driver's.
It reads its order from standard input. When the input ends, because the driver closed it or died,
it writes what is left and ends. The cursor's file says how far it got.
"""

import contextlib
import fcntl
import json
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.mlflow_tracking.cursor import MAX_READ_BYTES, cursor_path, load_cursor, read_from
from harness.record.masking import masked, masked_text, secrets_of

if TYPE_CHECKING:
    from harness.mlflow_tracking.runs import RunWriter

FLUSH_S = 1.0
RETRY_S, MAX_RETRY_S = 1.0, 15.0
CLOSE_RETRY_S = 3.0
"""How long a store that fails at once is tried again after the end of the input."""
STUCK_S, CLOSE_S = 18.0, 60.0
"""Limits after the end of the input. ``STUCK_S``: how long one write may wait for an answer; time
in which this process computes is not counted. ``CLOSE_S``: how long all writes together may take,
counted from the first one, as MLflow's import and a new database take long on a busy machine."""
COMPUTES = 0.02
"""Share of a core from which on the process counts as computing; the watch itself takes less."""
NICENESS = 10
"""Training comes first where both want the core."""
MAX_ERROR = 300
"""Characters of an error that are kept, half from each end: the cause is often the last."""


@dataclass
class Ending:
    """When the writer must end.

    Attributes:
        due: Set when the writer is to end.
        since: Monotonic time of that.
        seen_alive: Monotonic time of the last step forward.
        first_write: Monotonic time at which MLflow was ready; None before.
    """

    due: threading.Event
    since: float = 0.0
    seen_alive: float = 0.0
    first_write: float | None = None

    def watch(self) -> None:
        """Wait for the end of the standard input, then end the process in time."""
        while os.read(0, 4096):
            pass
        self.since = time.monotonic()
        self.due.set()
        looked_at, computed_s = self.since, time.process_time()
        while True:
            time.sleep(0.5)
            now, cpu_s = time.monotonic(), time.process_time()
            if cpu_s - computed_s > COMPUTES * (now - looked_at):
                self.seen_alive = now
            looked_at, computed_s = now, cpu_s
            is_stuck = now - max(self.since, self.seen_alive) > STUCK_S
            is_late = (
                self.first_write is not None and now - max(self.since, self.first_write) > CLOSE_S
            )
            if is_stuck or is_late:
                os._exit(1)  # what is unwritten is in the ledger for the next writer

    def note_progress(self) -> None:
        """Note that the writer has made a step forward."""
        self.seen_alive = time.monotonic()

    def is_over(self) -> bool:
        """Whether a failing store is not tried again."""
        return self.due.is_set() and time.monotonic() - self.since > CLOSE_RETRY_S


class LedgerFollower:
    """Brings MLflow up to date with a ledger, again and again.

    Args:
        tracking_uri: Database or server.
        artifact_root: Folder for artifacts of an experiment created on a local database.
        ledger_path: The ledger; need not exist yet.
        ending: When to end.
    """

    def __init__(
        self, tracking_uri: str, artifact_root: Path, ledger_path: Path, ending: Ending
    ) -> None:
        self._place = (tracking_uri, artifact_root, ledger_path)
        self._path = ledger_path
        self._ending = ending
        self._uri = masked(tracking_uri)
        self._secrets = secrets_of(tracking_uri)
        self._runs: RunWriter | None = None
        self._num_bytes = MAX_READ_BYTES

    def follow(self) -> None:
        """Write until the input has ended and nothing is left, or the store fails."""
        wait = RETRY_S
        while True:
            is_last = self._ending.due.is_set()  # before reading: all is in the ledger by then
            try:
                has_written = self._write_next()
            except Exception as error:  # MLflow passes on those of its client and database
                self._runs = None  # a new one looks up what has arrived
                # A store that fails now and then gets less at once, in the end one event.
                self._num_bytes = max(self._num_bytes // 8, 1)
                self._keep_error(error)
                if self._ending.is_over():
                    return
                _pause(self._ending.due, wait)
                wait = min(2 * wait, MAX_RETRY_S)
            else:
                wait = RETRY_S
                self._num_bytes = min(self._num_bytes * 2, MAX_READ_BYTES)
                if not has_written:
                    if is_last:
                        return
                    self._ending.due.wait(FLUSH_S)

    def _write_next(self) -> bool:
        """Write the next part of the ledger and move the cursor; False if there is none."""
        if self._runs is None:
            first, _ = read_from(self._path, 0, max_bytes=1)
            if not first:
                return False
            from harness.mlflow_tracking.database import create_database
            from harness.mlflow_tracking.runs import RunWriter

            self._ending.note_progress()
            create_database(self._place[0])
            cursor = load_cursor(self._path, self._uri)
            self._runs = RunWriter(*self._place, first[0], cursor)
            self._ending.note_progress()
            self._ending.first_write = self._ending.first_write or time.monotonic()
        events, offset = read_from(self._path, self._runs.cursor.offset, self._num_bytes)
        if not events:
            return False
        if not self._runs.cursor.num_refused:  # else it says what was refused
            self._runs.cursor.last_error = None
        self._runs.write(events, offset)
        cursor = self._runs.cursor
        cursor.last_error = cursor.last_error and self._shown(cursor.last_error)
        cursor.save(cursor_path(self._path))
        self._ending.note_progress()
        return True

    def _keep_error(self, error: Exception) -> None:
        cursor = load_cursor(self._path, self._uri)
        lines = str(error).splitlines() or [""]
        text = f"{type(error).__name__}: {lines[0]}"
        if self._shown(text) != cursor.last_error:
            cursor.last_error = self._shown(text)
            with contextlib.suppress(OSError):  # a full disk; the next failure tries again
                cursor.save(cursor_path(self._path))

    def _shown(self, text: str) -> str:
        text, half = masked_text(text, self._secrets), MAX_ERROR // 2
        return text if len(text) <= MAX_ERROR else f"{text[:half]} ... {text[-half:]}"


def _pause(due: threading.Event, seconds: float) -> None:
    """Wait, but only until the end becomes due; half a second at most once it is."""
    if due.is_set():
        time.sleep(min(seconds, 0.5))
    else:
        due.wait(seconds)


def _lock(ledger_path: Path) -> int:
    """Wait until no other writer follows the ledger, as one of a killed driver still may."""
    file = os.open(ledger_path.with_name("mlflow.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def main() -> None:
    """Read the order from the standard input and follow the ledger."""
    # These stop the driver, which writes its last events and then closes the input.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    order: dict[str, Any] = json.loads(_read_line())
    ending = Ending(threading.Event())
    threading.Thread(target=ending.watch, daemon=True).start()
    ledger_path = Path(order["ledger_path"])
    _lock(ledger_path)
    artifact_root = Path(order["artifact_root"])
    LedgerFollower(order["tracking_uri"], artifact_root, ledger_path, ending).follow()
    os._exit(0)  # without waiting for MLflow's threads


def _read_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        block = os.read(0, 1)
        if not block:
            os._exit(0)  # the driver died before it said anything
        line += block
    return line


if __name__ == "__main__":
    main()
