"""SHA-256 of files, computed once per process as long as a file does not change.

A worker runs one trial after another on the same files, some of them gigabytes. A file is
identified by its device, inode, size, and the times of the last change of content and of inode:
a renamed file is the same, a rewritten one is not.
"""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

_Identity = tuple[int, int, int, int, int]

_known: dict[_Identity, str] = {}


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hex digits.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        identity = _identity(file)  # before reading: a change meanwhile gives another identity
        if identity not in _known:
            _known[identity] = hashlib.file_digest(file, "sha256").hexdigest()
    return _known[identity]


def _identity(file: BinaryIO) -> _Identity:
    status = os.fstat(file.fileno())
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,  # shows a change whose modification time was set back
    )
