"""Waits for space on a full disk, so that nothing that a study has found is lost."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from trainables.full_disk import FULL_BYTES, is_no_space

LOOK_EVERY_S = 1.0

T = TypeVar("T")


class StillFullError(OSError):
    """The disk was still full when the wait was given up; the text is one sentence."""


class FullDisk:
    """Notices when the disk of a folder is full, and waits for space.

    Args:
        folder: Any existing folder on the disk.
        say: Receives one sentence each time the disk becomes full.
        gives_up: Returns whether to stop waiting.
    """

    def __init__(
        self,
        folder: Path,
        say: Callable[[str], None] = lambda text: None,
        gives_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self._folder, self._say, self._gives_up = folder, say, gives_up
        self._was_full = False
        self._last_look = 0.0

    def look(self) -> bool:
        """Whether the disk is full, by a check that is at most a second old."""
        now = time.monotonic()
        if now - self._last_look >= LOOK_EVERY_S:
            self._last_look = now
            self._note(shutil.disk_usage(self._folder).free < FULL_BYTES)
        return self._was_full

    def wait(self) -> None:
        """Wait until there is space or ``gives_up`` says to stop."""
        while self.look() and not self._gives_up():
            time.sleep(LOOK_EVERY_S)

    def insist(self, call: Callable[[], T]) -> T:
        """Repeat ``call`` until there is space for what it writes, and return its result.

        Raises:
            StillFullError: If there is no space and ``gives_up`` says to stop.
            OSError: If ``call`` fails for another reason.
        """
        while True:
            try:
                return call()
            except OSError as error:
                if not is_no_space(error):
                    raise
                if self._gives_up():
                    raise StillFullError(f"no space for {self._folder}") from error
            self._note(is_full=True)  # by a quota, or for a block this large
            time.sleep(LOOK_EVERY_S)

    def _note(self, is_full: bool) -> None:
        if is_full and not self._was_full:
            self._say(f"no space for {self._folder}; waiting until there is some")
        self._was_full = is_full


def write_whole(descriptor: int, content: bytes, *, synced: bool) -> None:
    """Append all of the content to a file, or nothing if that fails.

    Raises:
        OSError: If it cannot be written.
    """
    end = os.fstat(descriptor).st_size
    try:
        written = 0
        while written < len(content):
            written += os.write(descriptor, content[written:])
        if synced:
            os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, end)
        raise
