"""Data sets in zip and tar archives, read in place.

:func:`archive_root` makes a path of a data set's root that readers use like any other: members of
archives look as if they had been unpacked into the folder. Nothing is written to disk. Zip files
and uncompressed tar files can be read so; a compressed tar file would have to be decompressed from
its beginning for every image.
"""

import errno
import io
import os
import re
import stat
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any, NamedTuple

_READABLE = (".zip", ".tar")
_COMPRESSED = (".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")


def archive_root(root: Path) -> Path:
    """A data set's root whose archives can be read like folders.

    Args:
        root: A folder, an archive, or a folder in an archive such as ``lsp.zip/lsp``. The archives
            that lie in a folder itself, not in its own folders, are read as if unpacked there; a
            file that is there wins over a member of the same name.

    Returns:
        ``root`` itself if there are no archives.

    Raises:
        ValueError: If an archive cannot be read, is compressed as a whole, or has a member that is
            neither file nor folder or would lie outside its folder; names it.
    """
    if root.is_dir():
        files = sorted(path for path in root.iterdir() if path.is_file())
        archives = [path for path in files if path.name.lower().endswith(_READABLE)]
        if not archives and not any(path.is_dir() for path in root.iterdir()):
            _refuse_compressed(files)
        return _mounted(root, archives, root) if archives else root
    place = next((path for path in (root, *root.parents) if path.is_file()), None)
    if place is None:
        return root
    _refuse_compressed([place])
    return _mounted(place, [place], root) if place.name.lower().endswith(_READABLE) else root


def _refuse_compressed(files: Sequence[Path]) -> None:
    for path in files:
        if path.name.lower().endswith(_COMPRESSED):
            raise ValueError(
                f"{path} is compressed as a whole, so that no image can be read without all "
                "before it; unpack it or make an uncompressed .tar of it"
            )


class _Member(NamedTuple):
    """A file in an archive: where its bytes are, or how a zip file compresses them."""

    archive: Path
    start: int
    size: int
    info: zipfile.ZipInfo | None


@dataclass
class _Index:
    """The members of some archives by their names below a root.

    Attributes:
        stamp: Names, sizes and times of the archives when they were read.
        members: Name to file.
        folders: Names of all folders; the root is ``.``.
        twice: Names that several members have, to where these are.
        open_zips: Zip files that are read from; each has a lock of its own for threads.
    """

    stamp: tuple[tuple[str, int, int], ...]
    members: dict[str, _Member] = field(default_factory=dict)
    folders: set[str] = field(default_factory=lambda: {"."})
    twice: dict[str, str] = field(default_factory=dict)
    open_zips: dict[Path, zipfile.ZipFile] = field(default_factory=dict)


_INDICES: dict[str, _Index] = {}
"""Root to what its archives hold; paths find theirs here, as Python 3.11 has no paths that carry
anything along."""
_LOCK = threading.Lock()


def _mounted(place: Path, archives: Sequence[Path], root: Path) -> Path:
    """Read the archives below ``place`` unless they are known; ``root`` as a path into them."""
    states = [(path, path.stat()) for path in archives]
    stamp = tuple((path.name, state.st_size, state.st_mtime_ns) for path, state in states)
    with _LOCK:
        known = _INDICES.get(str(place))
        if known is None or known.stamp != stamp:
            index = _Index(stamp)
            for path in archives:
                try:
                    (_add_zip if path.name.lower().endswith(".zip") else _add_tar)(index, path)
                except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
                    raise ValueError(f"{path} is no readable archive: {error}") from error
            _INDICES[str(place)] = index
    return ArchivePath(root)


def _add_zip(index: _Index, path: Path) -> None:
    opened = zipfile.ZipFile(path)
    index.open_zips[path] = opened
    for info in opened.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        is_plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
        _add(index, info.filename, is_plain, info.is_dir(), _Member(path, 0, info.file_size, info))


def _add_tar(index: _Index, path: Path) -> None:
    with tarfile.open(path, "r:") as opened:
        for info in opened:
            is_plain = (info.isreg() and not info.issparse()) or info.isdir()
            member = _Member(path, info.offset_data, info.size, None)
            _add(index, info.name, is_plain, info.isdir(), member)


def _add(index: _Index, name: str, is_plain: bool, is_folder: bool, member: _Member) -> None:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not is_plain:
        raise ValueError(
            f"{member.archive} has the member {name!r}; all must be files and folders below its "
            "top, without links; unpack it or pack it anew"
        )
    inside = "/".join(parts)
    folder = inside if is_folder else inside.rpartition("/")[0]
    while folder and folder not in index.folders:
        index.folders.add(folder)
        folder = folder.rpartition("/")[0]
    if is_folder:
        return
    if (other := index.members.get(inside)) is not None:
        index.twice[inside] = f"{other.archive.name} and {member.archive.name}"
    index.members[inside] = member


class ArchivePath(PosixPath):
    """A file or folder that is in an archive or beside it; made by :func:`archive_root`.

    Only what readers need works on members: ``open`` for reading, ``read_bytes``, ``read_text``,
    ``stat``, ``exists``, ``is_file``, ``is_dir``, ``iterdir``, ``glob``, and all that needs no
    file. May be used by several threads, and in other processes, which read the archives anew.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        place = next(p for p in (self, *self.parents) if str(p) in _INDICES)
        return _reopened, (str(place), str(self))

    def _found(self) -> tuple[_Index, str, bool]:
        """The index, the name in it, and whether there is a real file or folder of this name."""
        for place in (self, *self.parents):
            index = _INDICES.get(str(place))
            if index is not None:
                name = str(PurePosixPath(*self.parts[len(place.parts) :]))
                # An archive that is a root is a folder, although there is a file of its name.
                return index, name, os.path.exists(str(self)) and name != "."
        raise FileNotFoundError(f"{self} is in no archive that was opened")

    def is_file(self) -> bool:
        """Whether it is a file or the member of an archive."""
        index, name, is_real = self._found()
        return super().is_file() if is_real else name in index.members

    def is_dir(self) -> bool:
        """Whether it is a folder, in an archive or beside it."""
        index, name, is_real = self._found()
        return (is_real and super().is_dir()) or name in index.folders

    def exists(self) -> bool:
        """Whether it is a file or folder."""
        return self.is_file() or self.is_dir()

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Size of a file in an archive; its times are those of the archive."""
        index, name, is_real = self._found()
        if is_real or name == ".":
            return super().stat(follow_symlinks=follow_symlinks)
        member = self._member(index, name)
        of_archive = member.archive.stat()
        values = list(of_archive)
        values[stat.ST_SIZE] = member.size
        times = {key: getattr(of_archive, key) for key in ("st_mtime_ns", "st_atime_ns")}
        return os.stat_result(values, times)

    def open(self, mode: str = "r", buffering: int = -1, *text: Any, **of_text: Any) -> Any:
        """Open for reading, like any file; a member is never written."""
        index, name, is_real = self._found()
        if is_real:
            return super().open(mode, buffering, *text, **of_text)
        member = self._member(index, name)
        if mode not in ("r", "rt", "rb"):
            raise ValueError(f"{self} is in an archive and can only be read")
        if name in index.twice:
            raise ValueError(f"{self} is in an archive twice ({index.twice[name]}); keep one")
        file = self._content(index, member)
        return file if mode == "rb" else io.TextIOWrapper(file, *text, **of_text)

    def iterdir(self) -> Generator["ArchivePath", None, None]:
        """Yield what is in a folder."""
        index, name, is_real = self._found()
        inside = PurePosixPath(name)
        names = {PurePosixPath(other).name for other in (*index.members, *index.folders - {"."})
                 if PurePosixPath(other).parent == inside}  # fmt: skip
        if is_real or os.path.isdir(str(self)):
            names |= set(os.listdir(str(self)))
        yield from (self / other for other in sorted(names))

    def glob(self, pattern: str) -> Generator["ArchivePath", None, None]:
        """Yield the files, not folders, whose names below this folder match."""
        index, name, _ = self._found()
        start = "" if name == "." else f"{name}/"
        regex = re.compile("".join(
            "(?:[^/]+/)*" if part == "**" else _segment(part) + "/" for part in pattern.split("/")
        ).removesuffix("/"))  # fmt: skip
        real = Path(str(self)).glob(pattern) if os.path.isdir(str(self)) else ()
        found = {str(path.relative_to(str(self))) for path in real if path.is_file()}
        for member in index.members:
            if member.startswith(start) and regex.fullmatch(member[len(start) :]):
                found.add(member[len(start) :])
        yield from (self / other for other in sorted(found))

    def _member(self, index: _Index, name: str) -> _Member:
        if name not in index.members:
            raise FileNotFoundError(errno.ENOENT, "no such file in the archive", str(self))
        return index.members[name]

    def _content(self, index: _Index, member: _Member) -> io.BufferedIOBase:
        info, start = member.info, member.start
        if info is None:
            return io.BufferedReader(_Part(member.archive, start, member.size))
        try:
            if info.compress_type != zipfile.ZIP_STORED:
                return io.BytesIO(index.open_zips[member.archive].read(info))
            with index.open_zips[member.archive].open(info):  # checks its header
                pass
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise OSError(f"{self} cannot be read: {error}") from error
        with member.archive.open("rb") as file:
            header = os.pread(file.fileno(), 30, info.header_offset)
        lengths = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        start = info.header_offset + len(header) + sum(lengths)
        return io.BufferedReader(_Part(member.archive, start, member.size))


def _segment(pattern: str) -> str:
    """The regular expression of a part of a glob between slashes."""
    return "".join({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)) for char in pattern)


class _Part(io.RawIOBase):
    """Some consecutive bytes of a file, with a handle of its own."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._start, self._size, self._at = start, size, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move from the start, the place or the end (0, 1, 2); returns the place."""
        self._at = max(0, (0, self._at, self._size)[whence] + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read from the place on; returns the number of bytes."""
        num = max(0, min(len(buffer), self._size - self._at))
        data = os.pread(self._file.fileno(), num, self._start + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _reopened(place: str, path: str) -> ArchivePath:
    """A path that another process has sent."""
    if place not in _INDICES:
        archive_root(Path(place))
    return ArchivePath(path)
