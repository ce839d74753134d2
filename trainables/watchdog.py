"""Ends a process that hangs, and leaves a note of where it hung.

A trial that waits for ever for a lock, a dead network drive or another process holds its cores
for ever. :mod:`faulthandler` watches from a thread of its own that needs no interpreter, so it
also ends a process that hangs inside a library.
"""

import faulthandler
from pathlib import Path

NOTE = "hung.txt"


class Watchdog:
    """Counts the seconds in which a process gives no sign of life.

    Args:
        folder: Existing folder for the note.
        seconds: Longest that is allowed; None to never end the process.
    """

    def __init__(self, folder: Path, seconds: float | None) -> None:
        self._seconds = seconds
        self._note = (folder / NOTE).open("w") if seconds is not None else None

    def watch(self) -> None:
        """Start to count, from 0 again."""
        if self._note is not None and self._seconds is not None:
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._note)

    def rest(self) -> None:
        """Stop counting: the process waits for others now."""
        if self._note is not None:
            faulthandler.cancel_dump_traceback_later()

    def close(self) -> None:
        """Stop for good and remove the empty note."""
        if self._note is not None:
            self.rest()
            self._note.close()
            Path(self._note.name).unlink(missing_ok=True)
            self._note = None
