"""Keeps the process running that writes a study to MLflow, and says how far it has got.

The writer (``harness/mlflow_tracking/writer.py``) reads the ledger's file by itself, so an event
costs the driver nothing whatever MLflow does. What MLflow did not take is written when the study
is resumed.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from harness.mlflow_tracking.cursor import Cursor, load_cursor, num_events_from
from harness.mlflow_tracking.page import is_server, local_server, server_of, study_page
from harness.record.ledger import Event
from harness.record.masking import masked

RESTART_S = 30.0
WAIT_S = 300.0
"""Longest wait for the writer, which ends itself long before unless the machine is overloaded."""
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # A request is repeated by the writer, which first looks whether it arrived after all.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "GIT_PYTHON_REFRESH": "quiet",
    "OMP_NUM_THREADS": "1",
}
_REQUEST_TIMEOUT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Seconds instead of MLflow's 120, unless the user has set them."""


class MLflowTracker:
    """Ledger subscriber that keeps the writer running.

    Args:
        tracking_uri: Absolute SQLite URL or the address of a server.
        artifact_root: Folder for artifacts of an experiment created on a local database.
        ledger_path: The ledger, or where it will be; what MLflow lacks of it is written first.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path, ledger_path: Path) -> None:
        self.tracking_uri = tracking_uri
        self._ledger_path = ledger_path.absolute()
        self._order = {
            "tracking_uri": tracking_uri,
            "artifact_root": str(artifact_root.absolute()),
            "ledger_path": str(self._ledger_path),
        }
        self._final: Cursor | None = None
        self._started_at = time.monotonic()
        self._process = self._start()

    def __call__(self, event: Event) -> None:
        """Start the writer again if it has ended; returns at once."""
        if self._process.poll() is None or time.monotonic() < self._started_at + RESTART_S:
            return
        self._started_at = time.monotonic()
        self._hang_up()
        self._process = self._start()

    @property
    def run_ids(self) -> dict[int, str]:
        """Run number to its id in MLflow, as far as written."""
        return self._cursor().run_ids

    @property
    def summary_run_id(self) -> str | None:
        """MLflow run that stands for the whole study; None if it has none yet."""
        return self._cursor().summary_run_id

    @property
    def page(self) -> str | None:
        """Address that compares the study's runs; None if MLflow does not have it yet.

        Without a server of the user's it is the address that ``harness.ui`` serves by default.
        """
        cursor = self._cursor()
        if cursor.experiment_id is None:
            return None
        uri = self.tracking_uri
        server = server_of(uri) if is_server(uri) else local_server()
        return study_page(server, cursor.experiment_id, cursor.study_id)

    @property
    def num_unwritten(self) -> int:
        """Events of the ledger that MLflow does not have, and writes that it refused."""
        cursor = self._cursor()
        return num_events_from(self._ledger_path, cursor.offset) + cursor.num_refused

    @property
    def last_error(self) -> str:
        """Why MLflow does not have all events, without credentials."""
        code = self._process.poll()
        ended = "no answer" if code in (None, 0, 1) else f"its writer ended with code {code}"
        return self._cursor().last_error or ended

    def close(self) -> None:
        """Let the writer write the rest and end.

        Takes a few seconds at most if the store refuses, about 20 if it hangs, and up to
        :data:`harness.mlflow_tracking.writer.CLOSE_S` while it accepts events; on a busy machine
        also as long as MLflow takes to start.
        """
        self._hang_up()
        try:
            self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._final = self._cursor()

    def give_up(self) -> None:
        """Do not wait any longer; the rest is written when the study is resumed."""
        self._process.kill()
        self._process.wait()
        self._hang_up()
        self._final = self._cursor()

    def _start(self) -> "subprocess.Popen[bytes]":
        # A group of its own: a Ctrl-C at the terminal is the driver's to handle.
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.mlflow_tracking.writer"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**_REQUEST_TIMEOUT, **os.environ, **_SETTINGS}, process_group=0,
        )  # fmt: skip
        if process.stdin is not None:
            # Not as an argument, which every user of the machine can read: it may hold a password.
            with contextlib.suppress(BrokenPipeError):  # it ended at once; counted as unwritten
                process.stdin.write(json.dumps(self._order).encode() + b"\n")
                process.stdin.flush()
        return process

    def _hang_up(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def _cursor(self) -> Cursor:
        return self._final or load_cursor(self._ledger_path, masked(self.tracking_uri))
