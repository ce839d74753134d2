"""The manifest of an entry, ``stage.json``, and the check of its files against it.

It is written last. It holds the size and SHA-256 of every file, the inputs that the stage was
computed from, their key, and how long that took, when, where and with which version of the code.
"""

import errno
import hashlib
import json
import math
import os
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

from trainables.stages.digests import file_digest
from trainables.stages.protocol import StageError

MANIFEST = "stage.json"

_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ESTALE}
"""Errors of a missing file; ESTALE: another machine removed it."""


class StageDamagedError(Exception):
    """A stage's folder is not as it was published; one sentence with the path."""


@dataclass(frozen=True)
class FileRecord:
    """Size and content that a file must have.

    Attributes:
        size: Bytes.
        sha256: 64 hex digits.
    """

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Description of a finished stage.

    Attributes:
        stage: Name.
        key: :func:`stage_key` of the name and the inputs.
        inputs: Everything the content depends on.
        files: Path below the folder, with ``/``, to the size and content of the file.
        seconds: How long computing it took.
        host: Name of the machine that computed it.
        created: When it was finished, in seconds since the epoch.
        code_version: Version of this package, or ``not installed``.
    """

    stage: str
    key: str
    inputs: dict[str, Any]
    files: dict[str, FileRecord]
    seconds: float
    host: str
    created: float
    code_version: str

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(record.size for record in self.files.values())


def stage_key(stage: str, inputs: Mapping[str, Any]) -> str:
    """16 hex digits of the SHA-256 of a stage's name and inputs in canonical JSON.

    Raises:
        TypeError, ValueError: If JSON cannot hold the inputs.
    """
    # To JSON and back first: {10: ..., 9: ...} sorts differently from {"10": ..., "9": ...}.
    plain = json.loads(json.dumps([stage, inputs], allow_nan=False))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def write_manifest(folder: Path, stage: str, inputs: Mapping[str, Any], seconds: float) -> None:
    """Sync all files of a folder to disk and write their manifest.

    Raises:
        ValueError: If the folder holds a link, a device or already a manifest.
        OSError: If something cannot be read or written.
    """
    files = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if path == folder / MANIFEST or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise ValueError(f"{path} cannot be part of a stage: only files and folders can")
        _to_disk(path)
        if stat.S_ISREG(mode):
            record = FileRecord(path.stat().st_size, file_digest(path))
            files[path.relative_to(folder).as_posix()] = record
    manifest = Manifest(
        stage=stage,
        key=stage_key(stage, inputs),
        inputs=dict(inputs),
        files=files,
        seconds=round(seconds, 3),
        host=socket.gethostname(),
        created=time.time(),
        code_version=_code_version(),
    )
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1, allow_nan=False))
    _to_disk(folder / MANIFEST)
    _to_disk(folder)


def publish(partial: Path, folder: Path) -> None:
    """Rename a folder with its manifest to its final name, and sync that to disk.

    Raises:
        OSError: If it cannot be renamed; FileExistsError or ENOTEMPTY if the name is taken.
    """
    partial.rename(folder)
    _to_disk(folder.parent)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a stage's folder ``<stage>/<key>``.

    Raises:
        StageDamagedError: If it is missing, cannot be parsed or belongs to another stage.
        StageError: If it cannot be read for another reason.
    """
    path = folder / MANIFEST
    with reading(path):
        text = path.read_bytes()
    try:
        fields = json.loads(text)
        files = {name: FileRecord(**record) for name, record in fields.pop("files").items()}
        manifest = Manifest(files=files, **fields)
        key = stage_key(manifest.stage, manifest.inputs)
        is_sound = _is_sound(manifest)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StageDamagedError(f"{path} is not a manifest of a stage: {error!r}") from error
    if not is_sound:
        raise StageDamagedError(f"{path} is not a manifest of a stage: a value has a wrong type")
    if not manifest.key == key == folder.name or manifest.stage != folder.parent.name:
        raise StageDamagedError(f"{path} does not describe its folder: its inputs make {key}")
    return manifest


def verify(folder: Path, manifest: Manifest, *, with_digests: bool) -> None:
    """Check the files of a folder against its manifest.

    Args:
        folder: Of the stage.
        manifest: Its manifest.
        with_digests: Whether to compare the content, too, not only the sizes.

    Raises:
        StageDamagedError: If a file is missing or differs; names the first.
        StageError: If one cannot be read for another reason.
    """
    for name, record in manifest.files.items():
        with reading(folder / name):
            size = (folder / name).stat().st_size
        if size != record.size:
            raise StageDamagedError(
                f"{folder / name} is damaged: it has {size} bytes, not {record.size}"
            )
    for name, record in manifest.files.items() if with_digests else ():
        with reading(folder / name):
            digest = file_digest(folder / name)
        if digest != record.sha256:
            raise StageDamagedError(
                f"{folder / name} is damaged: its content does not match its SHA-256"
            )


def _code_version() -> str:
    try:
        return version("posebins")
    except PackageNotFoundError:  # run from the source folder
        return "not installed"


def _is_sound(manifest: Manifest) -> bool:
    numbers, texts = (manifest.seconds, manifest.created), (manifest.host, manifest.code_version)
    return (
        all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
        and all(isinstance(text, str) for text in texts)
        and isinstance(manifest.inputs, dict)
        and all(
            isinstance(record.size, int) and isinstance(record.sha256, str) and _is_below(name)
            for name, record in manifest.files.items()
        )
    )


def _is_below(name: str) -> bool:
    """Whether a path stays inside the folder it is relative to."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.parts != ()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn errors of reading a stage into :class:`StageDamagedError` or :class:`StageError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _MISSING:
            raise StageDamagedError(f"{path} is missing") from error
        raise StageError(f"{path} cannot be read: {error.strerror}") from error


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
