"""A Ray of the study's own on this machine: started with patience, removed without a trace.

Ray gives its processes half a minute to come up; on a busy machine they take longer. A start that
fails is cleaned up and tried once more with a longer limit.
"""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.nodes.ray_private import (
    Processes,
    environment,
    loopback_only,
    node_lookup,
    own_sessions,
    start_local,
)
from harness.record.outage import OutageError

OBJECT_STORE_BYTES = 200 * 2**20
"""Ray's shared memory. Runs exchange small dictionaries: Ray's default, a third of the machine's
memory, would be wasted."""

RECONNECT_TIMEOUT_S = 15
"""How long Ray's processes wait for a lost store to come back. A local store never does: if it
alone was killed, the driver should not hang for Ray's default of a minute."""

START_LIMITS_S = (30, 180)
"""How long Ray's processes may take to come up, at the first and at the second try."""

WORKER_LIMIT_S = 300
"""How long a worker may take to come up; Ray's 60 s are too short on a busy machine."""

LONGEST_FOLDER = 40
"""Longest path of Ray's folder, in bytes: the path of a socket in it, with what Ray appends, has
at most 104 bytes on macOS and 107 on Linux."""

_NEEDED = ("gcs_server", "raylet")
"""Programs without which Ray does not run."""


class _StartError(Exception):
    """Ray did not start; the text says why."""


class LocalRay:
    """Starts Ray and, at the end, removes its folder."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def start(self, say: Callable[[str], None], gives_up: Callable[[], bool]) -> None:
        """Start Ray and wait until it runs.

        Args:
            say: Shows a line to the user.
            gives_up: Whether to stop waiting; called while Ray starts.

        Raises:
            OutageError: If it did not start in two tries, or ``gives_up`` returned True.
        """
        for limit_s in START_LIMITS_S:
            self._folder = _short_folder()
            try:
                with own_sessions() as processes, loopback_only():
                    try:
                        _init(self._folder, limit_s, processes, gives_up)
                        return
                    except BaseException:
                        _end(processes)
                        raise
            except Exception as error:  # Ray raises plain exceptions too
                reason = _reason(error, self._folder, limit_s)
                self.remove_folder()
                if gives_up():
                    break
                if limit_s != START_LIMITS_S[-1]:
                    say(f"Ray did not start ({reason}); trying once more, for up to "
                        f"{START_LIMITS_S[-1]} s")  # fmt: skip
        raise OutageError(
            f"Ray did not start: {reason}; run the same command again when the machine is less "
            "busy, or has more memory and space in /dev/shm"
        )

    def remove_folder(self) -> None:
        """Remove Ray's files, after it has ended."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def _short_folder() -> Path:
    """A new private folder among the temporary files or, if their path is long, in /tmp.

    Job schedulers give each job its own temporary folder; its path may be too long for a socket.
    """
    parent = tempfile.gettempdir()
    if len(os.fsencode(parent)) + len("/ray-12345678") > LONGEST_FOLDER:
        parent = "/tmp"
    return Path(tempfile.mkdtemp(prefix="ray-", dir=parent))


def _init(folder: Path, limit_s: int, processes: Processes, gives_up: Callable[[], bool]) -> None:
    def patient(find: Callable[..., Any]) -> Callable[..., Any]:
        """Ask for ``limit_s`` whether the node is registered, where Ray asks for half a minute."""

        def patiently_find(*arguments: Any) -> Any:
            deadline = time.monotonic() + limit_s
            while True:
                try:
                    return find(*arguments)
                except RuntimeError:
                    for process in processes:
                        name = Path(process.args[0]).name  # type: ignore[index, arg-type]
                        if name in _NEEDED and process.poll() is not None:
                            raise _StartError(f"its {name} ended by itself") from None
                    if gives_up() or time.monotonic() > deadline:
                        raise _StartError(_late(limit_s)) from None
                    time.sleep(0.5)

        return patiently_find

    with node_lookup(patient), environment(RAY_gcs_server_port_wait_time_s=str(limit_s)):
        start_local(
            folder / "r",
            {
                "gcs_rpc_server_reconnect_timeout_s": RECONNECT_TIMEOUT_S,
                "worker_register_timeout_seconds": WORKER_LIMIT_S,
                "agent_register_timeout_ms": WORKER_LIMIT_S * 1000,
                # Otherwise Ray starts a Python process for each CPU, which no run ever uses.
                "prestart_worker_first_driver": False,
            },
            num_cpus=len(os.sched_getaffinity(0)),
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=OBJECT_STORE_BYTES,
        )


def _end(processes: Processes) -> None:
    """Kill what a failed start leaves: each process leads a session with its children in it."""
    import ray

    ray.shutdown()
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _reason(error: Exception, folder: Path, limit_s: int) -> str:
    """Why Ray did not start, in a few words."""
    if isinstance(error, _StartError):
        errors = [
            line.partition("] ")[2] or line
            for log in ("gcs_server.err", "gcs_server.out", "raylet.err", "raylet.out")
            for path in folder.glob(f"r/session_2*/logs/{log}")
            for line in path.read_text(errors="replace").splitlines()
            if " C " in line or " E " in line
        ]
        return f"{error}: {errors[-1]}" if errors else str(error)
    if "timed out" in str(error).lower():
        return _late(limit_s)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].partition(". ")[0].rstrip(".") if lines else type(error).__name__


def _late(limit_s: int) -> str:
    return f"its processes were not up after {limit_s} s"
