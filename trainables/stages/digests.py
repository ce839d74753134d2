"""SHA-256 of files, computed once per process for a file that stays as it is.

A worker serves one trial after another from the same files, some of gigabytes. What tells a file
apart is the file system's: device, inode, size, and the times of the last change of content and
of inode. A renamed file is the same file; one that was written to is another.
"""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

_Identity = tuple[int, int, int, int, int]

_known: dict[_Identity, str] = {}


def file_digest(path: Path) -> str:
    """64 hex digits of the SHA-256 of a file's content.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        identity = _identity(file)  # before it is read: if it changes meanwhile, it is another
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
        status.st_ctime_ns,  # a change whose modification time was set back shows here
    )
