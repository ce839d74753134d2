"""Where one stage lies: its folder, what is beside it, and opening it, checked and in use."""

import contextlib
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from harness.record.full_disk import NO_SPACE
from harness.stage_cache.locks import hold_in_use, release_in_use
from harness.stage_cache.manifest import (
    MANIFEST,
    StageDamagedError,
    read_manifest,
    reading,
    verify,
)
from trainables.stages.protocol import Outcome, StageError, StageFullError


@dataclass(frozen=True)
class DiskStageEntry:
    """A finished stage; see :class:`trainables.stages.protocol.StageEntry`."""

    path: Path
    key: str
    outcome: Outcome
    seconds: float

    @property
    def hit(self) -> bool:
        """Whether it was there already."""
        return self.outcome == "hit"


@dataclass(frozen=True)
class Place:
    """Where one stage lies.

    Attributes:
        parent: Folder of all stages of the name.
        key: Of the stage.
    """

    parent: Path
    key: str

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return self.parent.name

    @property
    def folder(self) -> Path:
        """Its folder, once it is finished."""
        return self.parent / self.key

    @property
    def lock(self) -> Path:
        """The file that the process locks which computes it."""
        return lock_path(self.folder)

    def create_parent(self) -> None:
        """Create the folder of all stages of the name.

        Raises:
            StageError: If it cannot be.
        """
        try:
            self.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            kind = StageFullError if error.errno in NO_SPACE else StageError
            raise kind(f"{self.parent} cannot be created: {error.strerror}") from error

    def find(self) -> DiskStageEntry | None:
        """The entry, checked and in use from now on; None if it is missing or damaged."""
        try:
            return self.open()
        except StageDamagedError:
            return None

    def open(self) -> DiskStageEntry | None:
        """The entry, checked and in use from now on; None if it is missing.

        Raises:
            StageDamagedError: If it is damaged.
            StageError: If it cannot be read for another reason.
        """
        manifest_path = self.folder / MANIFEST
        is_new = False
        try:
            with reading(self.folder):
                self.folder.lstat()
        except StageDamagedError:
            return None
        try:
            with reading(manifest_path):
                is_new = hold_in_use(manifest_path)
            manifest = read_manifest(self.folder)
            verify(self.folder, manifest, with_digests=True)
        except StageDamagedError:
            if is_new:
                release_in_use(manifest_path)
            raise
        with contextlib.suppress(OSError):  # of a cache that can only be read nothing is pruned
            os.utime(manifest_path)
        return DiskStageEntry(self.folder, self.key, "hit", manifest.seconds)

    def clear(self) -> bool:
        """Remove a damaged entry and what killed processes left; returns if there was an entry.

        Only for the holder of the lock.
        """
        was_there = os.path.lexists(self.folder)
        if was_there:
            self.folder.rename(beside(self.folder))
        for abandoned in self.parent.glob(f".{self.key}.*"):
            if abandoned != self.lock:
                remove(abandoned)
        return was_there


def lock_path(folder: Path) -> Path:
    """The file that the process locks which computes a stage's folder."""
    return folder.with_name(f".{folder.name}.lock")


def beside(folder: Path) -> Path:
    """A fresh hidden name beside a stage's folder, for what is not, or no longer, the stage."""
    return folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")


def remove(path: Path) -> None:
    """Remove a folder, or a file that is where one should be.

    On NFS a folder with files that are still in use stays, under its hidden name, for a later
    call to remove.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
