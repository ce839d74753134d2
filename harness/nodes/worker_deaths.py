"""Why a worker's process died, as far as there is evidence.

Ray has the same text for a crash, a kill and an exit, and guesses at memory first. Here a crash is
named by the signal in the worker's log, and lack of memory only if Ray or the kernel says that it
ended a process for it.
"""

import re
import shutil
from pathlib import Path

from harness.nodes.ray_private import worker_logs

_DIED = "worker process has died"
"""Ray's words for a process that Ray did not end."""
_SHORT_OF_MEMORY = "running low on memory"
"""Ray's words for a process that its own memory monitor ended."""
_TERMINATED = "The process receives a SIGTERM"
_CRASH = re.compile(r"\*\*\* (SIG[A-Z]+) received")
"""What Ray's handler of fatal signals writes into the worker's log."""
_COUNTERS = (
    Path("/sys/fs/cgroup/memory.events"),
    Path("/sys/fs/cgroup/memory/memory.oom_control"),
    Path("/proc/vmstat"),
)
"""Where the kernel counts processes it killed for lack of memory: cgroup 2, cgroup 1, machine."""
_LESS = "set resources.parallel to fewer runs"


class WorkerDeaths:
    """Explains deaths of workers; made before the first worker starts."""

    def __init__(self) -> None:
        self._num_killed = _killed_for_memory()

    def sentence(self, text: str, note: Path) -> str | None:
        """Why a worker died, in a sentence; None if the error is of another kind.

        Args:
            text: Ray's text of the error.
            note: File to copy a crashed worker's log to, as Ray's folder is removed later.
        """
        if _SHORT_OF_MEMORY in text:
            return f"Ray ended the worker's process, as its machine ran short of memory; {_LESS}"
        if _DIED not in text:
            return None
        if _TERMINATED in text:
            return "the worker's process died of SIGTERM, sent from outside"
        log = _log_of(text)
        if log is not None and (crash := _crash(log.read_text(errors="replace"))) is not None:
            note.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, note)
            return f"the worker's process died of {crash}; its log is in {note}"
        before, self._num_killed = self._num_killed, _killed_for_memory()
        if self._num_killed > before:
            return f"the kernel killed the worker's process for lack of memory; {_LESS}"
        return (
            "the worker's process died without a trace, as after SIGKILL; memory is one possible "
            f"cause: if the kernel's log (dmesg) names it, {_LESS}"
        )


def _log_of(text: str) -> Path | None:
    """The error log of the worker in Ray's text, if it ran on this machine."""
    pid = re.search(r"^\s*pid: (\d+)$", text, re.MULTILINE)
    address = re.search(r"^\s*ip: (\S+)$", text, re.MULTILINE)
    logs = worker_logs(address[1]) if address is not None else None
    if pid is None or logs is None:
        return None
    return next(logs.glob(f"worker-*-{pid[1]}.err"), None)


def _crash(log: str) -> str | None:
    """The signal, with the C library's last words before it."""
    found = _CRASH.search(log)
    if found is None:
        return None
    said = [line for line in log[: found.start()].splitlines() if not line.startswith(":")]
    words = said[-1].strip() if said else ""
    return f"{found[1]} ({words})" if words and found[1] == "SIGABRT" else found[1]


def _killed_for_memory() -> int:
    """Processes that the kernel has killed for lack of memory; 0 where it does not count them."""
    for path in _COUNTERS:
        if path.is_file():
            found = re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE)
            return int(found[1]) if found else 0
    return 0
