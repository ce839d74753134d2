"""One entry of the stage cache: its folder, the names beside it, and how it is opened."""

import contextlib
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from harness.stage_cache.locks import hold_in_use, release_in_use
from harness.stage_cache.manifest import (
    MANIFEST,
    StageDamagedError,
    read_manifest,
    reading,
    verify,
)
from trainables.stages.protocol import Outcome, stage_error


@dataclass(frozen=True)
class DiskStageEntry:
    """A finished stage; see :class:`trainables.stages.protocol.StageEntry`."""

    path: Path
    key: str
    outcome: Outcome
    seconds: float


@dataclass(frozen=True)
class Place:
    """The place of one entry.

    Attributes:
        parent: Folder of all entries of the stage.
        key: Key of the entry.
    """

    parent: Path
    key: str

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return self.parent.name

    @property
    def folder(self) -> Path:
        """Folder of the entry, once it is finished."""
        return self.parent / self.key

    @property
    def lock(self) -> Path:
        """Lock file of the process that computes the entry."""
        return lock_path(self.folder)

    def create_parent(self) -> None:
        """Create the folder of all entries of the stage.

        Raises:
            StageError: If it cannot be created.
        """
        try:
            self.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise stage_error(error, f"{self.parent} cannot be created") from error

    def find(self) -> DiskStageEntry | None:
        """Open the entry; None on a miss, or if it is damaged."""
        try:
            return self.open()
        except StageDamagedError:
            return None

    def open(self) -> DiskStageEntry | None:
        """Check the entry and use it from now on; None on a miss.

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
        with contextlib.suppress(OSError):  # from a read-only cache nothing is pruned
            os.utime(manifest_path)
        return DiskStageEntry(self.folder, self.key, "hit", manifest.seconds)

    def clear(self) -> bool:
        """Remove a damaged entry and the remains of killed processes; the caller holds the lock.

        Returns:
            Whether there was an entry.
        """
        was_there = os.path.lexists(self.folder)
        if was_there:
            self.folder.rename(beside(self.folder))
        for abandoned in self.parent.glob(f".{self.key}.*"):
            if abandoned != self.lock:
                remove(abandoned)
        return was_there


def lock_path(folder: Path) -> Path:
    """Lock file of the process that computes a stage's folder."""
    return folder.with_name(f".{folder.name}.lock")


def beside(folder: Path) -> Path:
    """A fresh hidden name beside a stage's folder, for an entry that is unfinished or removed."""
    return folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")


def unfinished(root: Path, stage: str) -> list[Path]:
    """Folders of entries that processes compute, or computed before they were killed."""
    return [path for path in sorted((root / stage).glob(".*")) if path.is_dir()]


def remove(path: Path) -> None:
    """Remove a folder, or a file in its place.

    On NFS a folder with files in use stays under its hidden name until a later call removes it.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
