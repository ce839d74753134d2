"""Ends a process that hangs, and writes down where it hung.

A trial that waits forever for a lock, a dead network drive or another process occupies its cores
forever. :mod:`faulthandler` watches from a thread that does not need the interpreter, so it also
ends a process that hangs inside a library.
"""

import faulthandler
from pathlib import Path

NOTE = "hung.txt"


class Watchdog:
    """Ends the process if it gives no sign of life for some seconds.

    Args:
        folder: Existing folder for the note (the traceback of the hung process).
        seconds: Longest time allowed; None never ends the process.
    """

    def __init__(self, folder: Path, seconds: float | None) -> None:
        self._seconds = seconds
        self._note = (folder / NOTE).open("w") if seconds is not None else None

    def watch(self) -> None:
        """Restart the count from 0: the process is alive."""
        if self._note is not None and self._seconds is not None:
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._note)

    def rest(self) -> None:
        """Pause the count: the process now waits for others."""
        if self._note is not None:
            faulthandler.cancel_dump_traceback_later()

    def close(self) -> None:
        """Stop counting and remove the empty note."""
        if self._note is not None:
            self.rest()
            self._note.close()
            Path(self._note.name).unlink(missing_ok=True)
            self._note = None
