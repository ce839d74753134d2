"""Says how far the images are that workers render or decode before a run can train."""

import time
from collections.abc import Callable
from pathlib import Path

from harness.stage_cache.entry import unfinished
from trainables.data.store_writer import written_so_far

LOOK_EVERY_S = 2.0
SAY_EVERY_S = 10.0


class ImageProgress:
    """Reads how far workers are from what they have written, on whatever node they are.

    Args:
        root: Folder of the stage cache.
        say: Receives a sentence for each data set that grows, at most every :data:`SAY_EVERY_S`.
        clock: Tells seconds.
    """

    def __init__(
        self,
        root: Path,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root, self._say, self._clock = root, say, clock
        self._last_look = -LOOK_EVERY_S
        self._said: dict[Path, tuple[float, int]] = {}

    def look(self) -> None:
        """Look, unless the last look was a moment ago."""
        now = self._clock()
        if now - self._last_look < LOOK_EVERY_S:
            return
        self._last_look = now
        said = {}
        for folder in unfinished(self._root, "images"):
            found = written_so_far(folder)
            if found is None:
                continue
            since, num = self._said.get(folder, (now, found.num_seen))
            if now - since >= SAY_EVERY_S and found.num_seen > num:
                rate = (found.num_seen - num) / (now - since)
                self._say(
                    f"{found.role} images of {found.domain}: {found.num_seen:,} of up to "
                    f"{found.num_wanted:,}, {rate:,.0f} images/s"
                )
                since, num = now, found.num_seen
            said[folder] = since, num
        self._said = said
