"""Locks of the stage cache: one for the process that computes an entry, one for its readers.

Both are the kernel's ``flock``, which the kernel releases when the holder dies, so that no lock is
ever stale. NFS version 4 and Lustre (mounted with ``flock``) share them between machines.

The computing process locks a separate file, ``.<key>.lock``, and removes it when it is done. A
lock on a file that was removed meanwhile protects nothing, so a lock counts only if the path still
names the locked file. Readers lock the entry's manifest, which is removed with the entry.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.record.lock_note import lock_holder, lock_note
from trainables.stages.protocol import StageError, stage_error


class ComputeLock:
    """The right to compute one entry; see :func:`try_compute_lock`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        _computing.add(descriptor)

    @property
    def is_held(self) -> bool:
        """Whether this process holds it."""
        return self._descriptor in _computing

    def release(self, *, leave_file: bool = False) -> None:
        """Remove the file and let another process compute; does nothing if it is not held."""
        if not self.is_held:
            return
        _computing.remove(self._descriptor)
        try:
            if not leave_file:
                self._path.unlink(missing_ok=True)  # before the lock ends and another takes it
        finally:
            os.close(self._descriptor)
            self._descriptor = _NONE


_NONE = -1
_computing: set[int] = set()
"""Descriptors of the locks that this process holds."""


def _leave_to_parent() -> None:
    """In a forked child: a lock must end with the computing process, not with its children."""
    while _computing:
        os.close(_computing.pop())


os.register_at_fork(after_in_child=_leave_to_parent)


def try_compute_lock(path: Path) -> ComputeLock | None:
    """Lock a file without waiting, and write into it who holds it.

    Args:
        path: File to lock, in an existing folder; created if missing.

    Returns:
        The lock, or None if another process or thread holds it.

    Raises:
        StageError: If the file cannot be written, or the file system has no locks.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise stage_error(error, f"{path} cannot be opened to lock") from error
    try:
        if _try_flock(descriptor, fcntl.LOCK_EX) and _names(path, descriptor):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, lock_note(), 0)
            return ComputeLock(path, descriptor)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError):
            raise stage_error(error, f"{path} cannot be locked") from error
        raise
    os.close(descriptor)
    return None


def lock_owner(path: Path) -> str:
    """The process that computes an entry, in words: its id, host and when it began."""
    try:
        return lock_holder(path.read_bytes())
    except OSError:  # the file was just removed
        return "another process"


def sweep_lock(path: Path) -> bool:
    """Remove the lock file of a dead process; returns whether there was one."""
    if not path.exists():
        return False
    try:
        lock = try_compute_lock(path)
    except StageError:  # in a read-only cache it may stay
        return False
    if lock is None:
        return False
    lock.release()
    return True


_in_use: dict[Path, dict[int, int]] = {}
"""Manifest to {inode: descriptor}: a manifest may have been replaced while it was in use."""
_in_use_mutex = threading.Lock()


def hold_in_use(manifest: Path) -> bool:
    """Keep an entry from being pruned until this process ends or releases it.

    Returns:
        Whether this call took the lock; False if the process already held it.

    Raises:
        OSError: If the manifest cannot be opened; FileNotFoundError if it does not exist.
    """
    with _in_use_mutex:
        while True:
            descriptor = os.open(manifest, os.O_RDONLY | os.O_CLOEXEC)
            inode = os.fstat(descriptor).st_ino
            if inode in _in_use.get(manifest, {}):
                os.close(descriptor)
                return False
            try:
                # Waits at most while the entry is being moved away.
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                is_there = _names(manifest, descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            if is_there:
                _in_use.setdefault(manifest, {})[inode] = descriptor
                return True
            os.close(descriptor)


def release_in_use(manifest: Path) -> None:
    """Stop using an entry in this process, so that it can be pruned."""
    with _in_use_mutex:
        for descriptor in _in_use.pop(manifest, {}).values():
            os.close(descriptor)


@contextmanager
def unused(manifest: Path) -> Iterator[bool]:
    """Whether no process uses an entry; if so, none can start to within the block.

    An entry without a manifest counts as unused.

    Raises:
        OSError: If the manifest cannot be opened for writing, which shared file systems require
            for an exclusive lock.
    """
    try:
        descriptor = os.open(manifest, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        yield True
        return
    try:
        yield _try_flock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def _try_flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            return False
        raise
    return True


def _names(path: Path, descriptor: int) -> bool:
    """Whether a path names an open file; opens it, as a shared file system may cache its names."""
    try:
        other = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return os.path.sameopenfile(other, descriptor)
    finally:
        os.close(other)
