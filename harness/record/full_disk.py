"""A disk that is full for a while: the driver says so and waits, rather than lose what it has."""

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
    """The disk was still full when waiting for space was given up; carries a sentence."""


class FullDisk:
    """Looks after the disk of a folder.

    Args:
        folder: Existing folder on it.
        say: Told in a sentence when the disk is found full, once each time.
        gives_up: Asked whether to wait no longer.
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
        """Whether the disk is full; asks the file system once a second."""
        now = time.monotonic()
        if now - self._last_look >= LOOK_EVERY_S:
            self._last_look = now
            self._note(shutil.disk_usage(self._folder).free < FULL_BYTES)
        return self._was_full

    def wait(self) -> None:
        """Return when there is space, or waiting is given up."""
        while self.look() and not self._gives_up():
            time.sleep(LOOK_EVERY_S)

    def insist(self, call: Callable[[], T]) -> T:
        """What ``call`` returns once there is space for what it writes.

        Raises:
            StillFullError: If it fails for want of space and waiting is given up.
            OSError: If it fails for another reason.
        """
        while True:
            try:
                return call()
            except OSError as error:
                if not is_no_space(error):
                    raise
                if self._gives_up():
                    raise StillFullError(f"no space for {self._folder}") from error
            self._note(is_full=True)  # a quota, or a block that is larger than what is left
            time.sleep(LOOK_EVERY_S)

    def _note(self, is_full: bool) -> None:
        if is_full and not self._was_full:
            self._say(f"no space for {self._folder}; waiting until there is some")
        self._was_full = is_full


def write_whole(descriptor: int, content: bytes, *, synced: bool) -> None:
    """Append to a file all of the content or, if that fails, nothing of it.

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
