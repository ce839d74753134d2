"""Content-addressed cache of the stages that trials share.

A stage's key is a hash of its name and of everything its content depends on. Its folder
``<stage>/<key>`` is renamed into place once it is complete, synced to disk and has a manifest;
readers check it against the manifest before they use it. On a miss one process computes the stage
and the others wait for it; a damaged entry is computed again.

Files of an entry are removed, never overwritten: a process that still maps those of a damaged
entry keeps them (on NFS only processes of the machine that removes them).
"""

import logging
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.record.quantities import size_text
from harness.stage_cache.entry import DiskStageEntry, Place, beside
from harness.stage_cache.locks import (
    ComputeLock,
    hold_in_use,
    lock_owner,
    release_in_use,
    sweep_lock,
    try_compute_lock,
)
from harness.stage_cache.manifest import (
    MANIFEST,
    StageDamagedError,
    publish,
    stage_key,
    write_manifest,
)
from trainables.full_disk import FULL_BYTES, is_no_space
from trainables.stages import protocol
from trainables.stages.protocol import Outcome, StageFullError, WaitStoppedError

_log = logging.getLogger(__name__)

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.01, 0.5
"""Pauses while another process computes a stage; each is half as long again as the last."""
_SPACE_WAIT_S = 2.0
"""Pause between two checks whether a full disk has space again."""


@dataclass(frozen=True)
class DiskStageCache:
    """Stages under one folder; picklable, as trials get it in their config.

    Attributes:
        root: Absolute folder; entries are ``<root>/<stage>/<key>/``.
        on_wait: Called with a sentence when the cache waits for space on the disk or for another
            process, and again for each further process; None writes the sentence to the log.
        waits_for_space: Whether :meth:`get` waits on a full disk for as long as it takes and tries
            again, where it would raise.
    """

    root: Path
    on_wait: Callable[[str], None] | None = None
    waits_for_space: bool = False

    def get(
        self, stage: str, inputs: Mapping[str, Any], compute: Callable[[Path], None]
    ) -> DiskStageEntry:
        """See :meth:`trainables.stages.protocol.StageCache.get`.

        Raises:
            StageError: If the stage cannot be read, written or locked.
            StageFullError: If the disk is full and ``waits_for_space`` is False.
            Any error of ``compute``; nothing is kept then.
        """
        while True:
            try:
                with self.claim(stage, inputs) as claim:
                    return claim.entry or claim.publish(compute)
            except StageFullError as error:
                if not self.waits_for_space:
                    raise
                self._say(f"{error}; waiting until there is space")
            self._wait_for_space()

    def _wait_for_space(self) -> None:
        time.sleep(_SPACE_WAIT_S)  # in any case: a quota may be used up, or the stage be large
        exists = next(path for path in (self.root, *self.root.parents) if path.exists())
        while shutil.disk_usage(exists).free < FULL_BYTES:
            time.sleep(_SPACE_WAIT_S)

    def claim(
        self,
        stage: str,
        inputs: Mapping[str, Any],
        should_stop: Callable[[], bool] | None = None,
    ) -> "DiskStageClaim":
        """See :meth:`trainables.stages.protocol.StageCache.claim`.

        Raises:
            WaitStoppedError: If ``should_stop`` returned True.
            StageError: If the stage cannot be read or locked.
            StageFullError: If there is no space for a lock file.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", stage):
            raise ValueError(
                "name of a stage must be 1 to 64 letters, digits, _ and -, "
                f"the first a letter or digit, got {stage!r}"
            )
        place = Place(self.root / stage, stage_key(stage, inputs))
        place.create_parent()
        wait_s, owner = _FIRST_WAIT_S, ""
        while (entry := place.find()) is None:
            if (lock := try_compute_lock(place.lock)) is not None:
                return self._claim(place, inputs, lock)
            if should_stop is not None and should_stop():
                raise WaitStoppedError(f"stopped waiting for stage {stage}/{place.key}")
            if (now := lock_owner(place.lock)) != owner:
                owner = now
                self._say(f"waiting for stage {stage}/{place.key}, which {owner} computes")
            time.sleep(wait_s)
            wait_s = min(1.5 * wait_s, _LONGEST_WAIT_S)
        sweep_lock(place.lock)
        return DiskStageClaim(place, dict(inputs), None, entry)

    def release(self, entry: DiskStageEntry) -> None:
        """Stop using an entry, so that it can be pruned before this process ends."""
        release_in_use(entry.path / MANIFEST)

    def _claim(
        self, place: Place, inputs: Mapping[str, Any], lock: ComputeLock
    ) -> "DiskStageClaim":
        entry: DiskStageEntry | None = None
        try:
            entry = place.open()  # another process may have published it before we got the lock
        except StageDamagedError as error:
            _log.warning("%s; the stage is computed again", error)
        except BaseException:
            lock.release()
            raise
        if entry is not None:
            lock.release()
        return DiskStageClaim(place, dict(inputs), lock, entry)

    def _say(self, sentence: str) -> None:
        if self.on_wait is None:
            _log.info(sentence)
        else:
            self.on_wait(sentence)


class DiskStageClaim:
    """A stage or the right to compute it; see :class:`trainables.stages.protocol.StageClaim`."""

    def __init__(
        self,
        place: Place,
        inputs: dict[str, Any],
        lock: ComputeLock | None,
        entry: DiskStageEntry | None,
    ) -> None:
        self._place, self._inputs, self._lock = place, inputs, lock
        self._start = time.monotonic()
        self.entry = entry

    def publish(
        self, fill: Callable[[Path], None], seconds: float | None = None
    ) -> DiskStageEntry:
        """See :meth:`trainables.stages.protocol.StageClaim.publish`.

        Raises:
            ValueError: If the stage is finished or the claim was released.
            StageFullError: If the disk is full.
            Any error of ``fill``; nothing is kept, and the claim stays.
        """
        place = self._place
        if self.entry is not None or self._lock is None or not self._lock.is_held:
            raise ValueError(f"{place.folder} is not claimed: it is finished, or was released")
        was_damaged = place.clear()
        partial = beside(place.folder)
        try:
            partial.mkdir()
            fill(partial)
            took = time.monotonic() - self._start if seconds is None else seconds
            write_manifest(partial, place.stage, self._inputs, took)
            publish(partial, place.folder)
        except BaseException as error:
            sentence = _disk_full(error, partial, place.folder)
            shutil.rmtree(partial, ignore_errors=True)  # the next publisher removes the rest
            if sentence is not None:
                raise StageFullError(sentence) from error
            raise
        hold_in_use(place.folder / MANIFEST)
        outcome: Outcome = "repaired" if was_damaged else "miss"
        self.entry = DiskStageEntry(place.folder, place.key, outcome, round(took, 3))
        self.release()
        return self.entry

    def release(self) -> None:
        """Let another process compute the stage; does nothing if it is finished."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> "DiskStageClaim":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _disk_full(error: BaseException, partial: Path, folder: Path) -> str | None:
    """A sentence if an error means that the disk, or the user's share of it, is full."""
    free = shutil.disk_usage(folder.parent).free
    if not is_no_space(error):
        # NumPy's errors have no number, and PyTorch's are not OSErrors.
        is_unnamed = (
            type(error) in {OSError, RuntimeError} and getattr(error, "errno", None) is None
        )
        if not is_unnamed or free >= FULL_BYTES:
            return None
    written = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
    return (
        f"no space for {folder}: the disk was full after {size_text(written)} of it, "
        f"{size_text(free)} are free"
    )


if TYPE_CHECKING:

    def _keeps_to_the_protocol(cache: DiskStageCache) -> protocol.StageCache:
        return cache
