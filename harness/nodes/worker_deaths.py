"""Why a worker's process died, as far as anything tells.

Ray's own words for it are the same for a crash, a kill and an exit, and guess at memory first.
The worker's log has the signal of a crash; want of memory is claimed only if Ray or the kernel
says that it ended a process for it.
"""

import re
import shutil
from pathlib import Path

from harness.nodes.ray_private import worker_logs

_DIED = "worker process has died"
"""Ray's words for a process that ended without its doing."""
_SHORT_OF_MEMORY = "running low on memory"
"""Ray's words for what its own monitor of the memory ended."""
_TERMINATED = "The process receives a SIGTERM"
_CRASH = re.compile(r"\*\*\* (SIG[A-Z]+) received")
"""What Ray's handler of fatal signals leaves in the worker's log."""
_COUNTERS = (
    Path("/sys/fs/cgroup/memory.events"),
    Path("/sys/fs/cgroup/memory/memory.oom_control"),
    Path("/proc/vmstat"),
)
"""Where the kernel counts what it killed for want of memory: cgroup 2, cgroup 1, the machine."""
_LESS = "fewer runs at once, resources.parallel, need less"


class WorkerDeaths:
    """Tells deaths of workers in a sentence each; made before the first of them starts."""

    def __init__(self) -> None:
        self._num_killed = _killed_for_memory()

    def sentence(self, text: str, note: Path) -> str | None:
        """Why a worker died; None if the text tells of something else.

        Args:
            text: Of the error, as Ray writes it.
            note: Where the log of a worker that crashed is kept, as Ray's folder may be removed.
        """
        if _SHORT_OF_MEMORY in text:
            return f"Ray ended the worker's process as its machine ran short of memory ({_LESS})"
        if _DIED not in text:
            return None
        if _TERMINATED in text:
            return "the worker's process died of SIGTERM, which somebody sent to it"
        log = _log_of(text)
        if log is not None and (crash := _crash(log.read_text(errors="replace"))) is not None:
            note.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, note)
            return f"the worker's process died of {crash}; its log is in {note}"
        before, self._num_killed = self._num_killed, _killed_for_memory()
        if self._num_killed > before:
            return f"the kernel killed the worker's process for want of memory ({_LESS})"
        return (
            "the worker's process died without a trace, as after SIGKILL; want of memory is one "
            f"possible cause, which the kernel's log (dmesg) would name (then {_LESS})"
        )


def _log_of(text: str) -> Path | None:
    """The error log of the worker that Ray speaks of, if it ran on this machine."""
    pid = re.search(r"^\s*pid: (\d+)$", text, re.MULTILINE)
    address = re.search(r"^\s*ip: (\S+)$", text, re.MULTILINE)
    logs = worker_logs(address[1]) if address is not None else None
    if pid is None or logs is None:
        return None
    return next(logs.glob(f"worker-*-{pid[1]}.err"), None)


def _crash(log: str) -> str | None:
    """The signal, and what the C library said just before."""
    found = _CRASH.search(log)
    if found is None:
        return None
    said = [line for line in log[: found.start()].splitlines() if not line.startswith(":")]
    words = said[-1].strip() if said else ""
    return f"{found[1]} ({words})" if words and found[1] == "SIGABRT" else found[1]


def _killed_for_memory() -> int:
    """Processes that the kernel has killed for want of memory; 0 where it does not count them."""
    for path in _COUNTERS:
        if path.is_file():
            found = re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE)
            return int(found[1]) if found else 0
    return 0
