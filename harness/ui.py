"""``python -m harness.ui [STUDY]``: start MLflow's pages and say which address compares the runs.

The pages are served on this machine alone (127.0.0.1) until Ctrl-C. If ``MLFLOW_TRACKING_URI``
names a server, that one is used and nothing is started.

Exit codes: 0 the addresses are said, 2 bad input, 4 MLflow's server does not start, 130 ended by
Ctrl-C.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NoReturn

from harness.mlflow_tracking.cursor import load_cursor
from harness.mlflow_tracking.page import (
    DEFAULT_PORT,
    HOST,
    is_server,
    local_server,
    server_of,
    study_page,
)
from harness.mlflow_tracking.uri_check import check_tracking
from harness.record.masking import masked, masked_text, secrets_of
from harness.record.outage import OutageError
from harness.record.storage import Storage
from harness.spec import SpecError
from harness.spec.database import sqlite_file
from harness.terminal.command import DONE, ended, folder_argument, say

START_S = 300.0
"""Longest wait for the server, which takes seconds unless the machine is overloaded."""
END_S = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    return ended(lambda: _show(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness.ui",
        description="Start MLflow's pages on this machine and say at which address they compare "
        "the runs of a study. Ctrl-C ends them.",
    )
    parser.add_argument(
        "study", metavar="STUDY", nargs="?", help="name of a study (default: all of the storage)"
    )
    parser.add_argument(
        "--storage", type=folder_argument, default=Path("runs"), metavar="DIR",
        help="folder that holds the studies (default: runs)",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=int, metavar="N",
        help=f"port of the pages (default: {DEFAULT_PORT}, or a free one if that is in use)",
    )  # fmt: skip
    return parser


def _show(options: argparse.Namespace) -> int:
    storage = Storage(options.storage.resolve())
    pages = _pages(storage, options.study)
    uri = storage.mlflow_uri
    check_tracking(uri)
    if is_server(uri):
        _say_addresses(server_of(uri), pages)
        return DONE
    file = sqlite_file(uri)
    if file is not None and not file.is_file():
        raise SpecError(f"{masked(uri)} does not exist: no study has been recorded in it")
    port = _port(options.port)
    with tempfile.TemporaryFile() as log:  # it reports every step of its start
        process = _start(uri, port, log)
        try:
            _wait_until_ready(process, port)
            _say_addresses(local_server(port), pages)
            say(sys.stdout, "Ctrl-C ends the pages; what they show is kept.")
            process.wait()
            raise OutageError(f"MLflow's server ended with code {process.returncode}")
        except OutageError:
            log.seek(0)
            sys.stderr.write(masked_text(log.read().decode(errors="replace"), secrets_of(uri)))
            raise
        finally:
            _end(process)


def _pages(storage: Storage, study: str | None) -> dict[str, tuple[str, str]]:
    """Study name to MLflow's experiment and the study's id, of one study or of all."""
    shown = masked(storage.mlflow_uri)
    cursors = {name: load_cursor(path, shown) for name, path in storage.known(study).items()}
    recorded = {
        name: (cursor.experiment_id, cursor.study_id)
        for name, cursor in cursors.items()
        if cursor.experiment_id is not None
    }
    if not recorded:
        raise SpecError(
            f"{shown} has no runs of {', '.join(cursors)}; type the study's command again, which "
            "writes them"
        )
    return recorded


def _say_addresses(server: str, pages: dict[str, tuple[str, str]]) -> None:
    for name, (experiment_id, study_id) in pages.items():
        say(sys.stdout, f"{name}: {study_page(server, experiment_id, study_id)}")


def _port(given: int | None) -> int:
    """The port that is given, if it is free; else the default one or any that is free."""
    if given is not None:
        if not 0 < given < 2**16:
            raise SpecError(f"--port must be from 1 to 65535, got {given}")
        if not _is_free(given):
            raise SpecError(f"--port {given}: in use; leave it out to take a free one")
        return given
    return DEFAULT_PORT if _is_free(DEFAULT_PORT) else _any_free()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError:
            raise SpecError(
                f"--port {port}: not allowed for this user; name one from 1024 on"
            ) from None
        except OSError:
            return False
    return True


def _any_free() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _start(uri: str, port: int, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    signal.signal(signal.SIGTERM, _interrupt)
    # A session of its own, so that its end takes its workers along. The address of the database
    # is not an argument, which every user of the machine can read: it may hold a password.
    return subprocess.Popen(
        [
            sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port),
            "--workers", "1",
        ],
        stdout=log, stderr=log, start_new_session=True,
        env={
            **os.environ,
            "MLFLOW_BACKEND_STORE_URI": uri,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # else eight more processes
        },
    )  # fmt: skip


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int) -> None:
    started = time.monotonic()
    while process.poll() is None and time.monotonic() - started < START_S:
        try:
            urllib.request.urlopen(f"{local_server(port)}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise OutageError("MLflow's server did not start; its messages are above")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server with its workers."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            continue


if __name__ == "__main__":
    sys.exit(main())
