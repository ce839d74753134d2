"""Writes an image store as a stream: no more than a chunk of images is in memory.

After each chunk a line of the journal says how far the files are valid. A writer that is killed is
continued from there; at the end the journal becomes a part of ``store.json``.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from trainables.data.domain import ImageRequest, LabelledImages
from trainables.data.problems import DatasetError, Problem
from trainables.data.skeleton_file import skeleton_of
from trainables.data.splits import SPLITS, membership
from trainables.registry import DOMAINS

STORE_VERSION = 3
HEADER_BYTES = 128
"""Of each array's file: room for any number of samples, which is known only at the end."""
BAD_SHARE = 0.01
"""Share of images that may be unusable; more is an error, fewer are skipped and named."""

_JOURNAL = "journal.jsonl"
_IDS = "ids.txt"


def write_store(
    folder: Path,
    domain: str,
    request: ImageRequest,
    on_progress: Callable[[int], None] = lambda num: None,
) -> None:
    """Render or decode a domain into a folder; continue if a killed writer has begun it.

    Args:
        folder: Existing folder, empty or of a writer that asked for the same.
        domain: One of :data:`trainables.registry.DOMAINS`.
        request: Which images, and for which role: that decides which splits there are.
        on_progress: Called after each chunk with the number of samples that are done.

    Raises:
        DatasetError: If more than :data:`BAD_SHARE` of the images cannot be used.
        OSError, ValueError: If the data set is missing or damaged, or the domain yields something
            else than a :class:`LabelledImages` says.
    """
    entry = DOMAINS[domain]
    skeleton = skeleton_of(domain, request.options)
    begun = json.dumps({
        "version": STORE_VERSION, "domain": domain, "role": request.role, "num": request.num,
        "request": f"{replace(request, num_threads=1)} {skeleton}",
    })  # fmt: skip
    with _Files(folder, begun, request, skeleton.num_joints) as files:
        for chunk in entry.load().images_from(request, files.num_seen):
            _check_chunk(chunk, domain, request.image_size, skeleton.num_joints)
            files.append(chunk)
            on_progress(files.num_seen)
        skipped = files.skipped
        _check_share(skipped, files.num_seen, domain)
        if files.num_rows == 0:
            raise ValueError(f"domain {domain} has no images")
    ids = (folder / _IDS).read_text().splitlines()
    if len(set(ids)) != len(ids):
        raise ValueError(f"domain {domain}: ids must differ, got one twice")
    np.save(folder / "ids.npy", np.array([name.encode() for name in ids]))
    description = {
        "version": STORE_VERSION,
        "domain": domain,
        "skeleton": skeleton.name,
        "joints": skeleton.definition(),
        "role": request.role,
        "crop": request.crop,
        "crop_scale": request.crop_scale,
        "options": request.reading,
        "digest": hashlib.sha256("\n".join(files.digests).encode()).hexdigest()[:16],
        "chunks": list(zip(files.sizes, files.digests, strict=True)),
        "splits": list(SPLITS[request.role]),
        "notes": [*files.notes, *_skipped_note(skipped, files.num_seen)],
    }
    (folder / "store.json").write_text(json.dumps(description))
    (folder / _JOURNAL).unlink()
    (folder / _IDS).unlink()


class Written(NamedTuple):
    """How far the writer of a store has come."""

    domain: str
    role: str
    num_seen: int
    """Samples that are written or skipped."""
    num_wanted: int
    """Samples that were asked for; the data set may have fewer."""


def written_so_far(folder: Path) -> Written | None:
    """How far the writer of a store has come; None if nothing is being written into the folder."""
    try:
        whole, _, _ = (folder / _JOURNAL).read_text().rpartition("\n")
        first, *chunks = map(json.loads, whole.splitlines())
        num_seen = sum(chunk["rows"] + len(chunk["skipped"]) for chunk in chunks)
        return Written(first["domain"], first["role"], num_seen, first["num"])
    except (OSError, ValueError, TypeError, KeyError):
        return None  # not begun, just finished, or of another version


def check_store(folder: Path) -> None:
    """Read a whole store and compare it with the digests of its chunks.

    Raises:
        OSError, ValueError: If a file is missing or differs.
    """
    description = json.loads((folder / "store.json").read_text())
    arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS]
    ids, first = np.load(folder / "ids.npy"), 0
    for size, expected in description["chunks"]:
        rows = slice(first, first := first + size)
        found = _digest([name.decode() for name in ids[rows]], *(a[rows] for a in arrays))
        if found != expected:
            raise ValueError(f"{folder}: samples {rows.start} to {rows.stop - 1} have changed")


_ARRAYS = ("images", "keypoints_px", "visible", "split")


class _Files:
    """The files of a store that is being written, and what its journal says of them."""

    def __init__(self, folder: Path, begun: str, request: ImageRequest, num_joints: int) -> None:
        self._folder = folder
        self._begun = begun
        self._role, side = request.role, request.image_size
        self._shapes = {
            "images": ("|u1", (side, side, 3)),
            "keypoints_px": ("<f4", (num_joints, 2)),
            "visible": ("|b1", (num_joints,)),
            "split": ("|i1", ()),
        }
        self._lines: list[dict[str, Any]] = []
        self._open: dict[str, BinaryIO] = {}

    def __enter__(self) -> "_Files":
        path = self._folder / _JOURNAL
        path.touch()
        # The last line of a killed writer may be cut short.
        whole, end, _ = path.read_text().rpartition("\n")
        first, *lines = whole.splitlines() or [self._begun]
        if first != self._begun:
            raise ValueError(f"{self._folder} holds the beginning of another store ({first})")
        self._lines = [json.loads(line) for line in lines]
        last = self._lines[-1] if self._lines else {"ends": {}}
        with ExitStack() as opened:
            self._journal = opened.enter_context(path.open("r+"))
            self._journal.truncate(len((whole + end).encode()))
            self._journal.seek(0, 2)
            if not whole:
                self._journal.write(f"{self._begun}\n")
            for name in (*(f"{array}.npy" for array in _ARRAYS), _IDS):
                mode = "r+b" if self._lines else "w+b"
                file = cast(BinaryIO, (self._folder / name).open(mode))
                self._open[name] = opened.enter_context(file)
                file.truncate(last["ends"].get(name, 0 if name == _IDS else HEADER_BYTES))
                file.seek(0, 2)
            self._closing = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        with self._closing:  # closes all files, also if the disk is full
            if kind is not None:
                return
            for name, (dtype, shape) in self._shapes.items():
                file = self._open[f"{name}.npy"]
                file.seek(0)
                _write_header(file, dtype, (self.num_rows, *shape))

    def append(self, chunk: LabelledImages) -> None:
        """Write a chunk, then the line of the journal that makes it count."""
        parts = membership(chunk.ids, self._role, chunk.published)
        arrays = (chunk.images, chunk.keypoints_px, chunk.visible, parts)
        for name, array in zip(_ARRAYS, arrays, strict=True):
            self._open[f"{name}.npy"].write(np.ascontiguousarray(array).data)
        self._open[_IDS].write("".join(f"{name}\n" for name in chunk.ids).encode())
        for file in self._open.values():
            file.flush()
        line = {
            "rows": len(chunk.ids),
            "skipped": dict(chunk.skipped),
            "notes": list(chunk.notes),
            "digest": _digest(chunk.ids, *arrays),
            "ends": {name: file.tell() for name, file in self._open.items()},
        }
        self._lines.append(line)
        self._journal.write(json.dumps(line) + "\n")
        self._journal.flush()

    @property
    def num_rows(self) -> int:
        return sum(self.sizes)

    @property
    def num_seen(self) -> int:
        """Samples that were written or skipped."""
        return self.num_rows + len(self.skipped)

    @property
    def sizes(self) -> list[int]:
        return [line["rows"] for line in self._lines]

    @property
    def digests(self) -> list[str]:
        return [line["digest"] for line in self._lines]

    @property
    def notes(self) -> list[str]:
        return list(dict.fromkeys(note for line in self._lines for note in line["notes"]))

    @property
    def skipped(self) -> dict[str, str]:
        return {name: why for line in self._lines for name, why in line["skipped"].items()}


def _write_header(file: BinaryIO, kind: str, shape: tuple[int, ...]) -> None:
    """Write the header of a .npy file of version 1.0, always :data:`HEADER_BYTES` long."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    length = HEADER_BYTES - 10
    file.write(b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little"))
    file.write(text.ljust(length - 1).encode("latin1") + b"\n")


def _digest(ids: Any, *arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256("\n".join(ids).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _check_share(skipped: dict[str, str], total: int, domain: str) -> None:
    if len(skipped) > BAD_SHARE * total:
        cases = tuple(f"{name}: {why}" for name, why in skipped.items())
        raise DatasetError([Problem(
            f"{len(skipped):,} of {total:,} images of {domain} cannot be used; at most "
            f"{BAD_SHARE:.0%} may be unusable", cases,
        )])  # fmt: skip


def _skipped_note(skipped: dict[str, str], total: int) -> Iterator[str]:
    if skipped:
        names = ", ".join(f"{name}: {why}" for name, why in list(skipped.items())[:5])
        yield f"{len(skipped):,} of {total:,} images are skipped, as unusable ({names})"


def _check_chunk(chunk: LabelledImages, domain: str, side: int, num_joints: int) -> None:
    """Refuse what a domain must not yield, before it fails somewhere else."""
    num = len(chunk.ids)
    for name, array, kind, shape in (
        ("images", chunk.images, np.uint8, (num, side, side, 3)),
        ("keypoints_px", chunk.keypoints_px, np.float32, (num, num_joints, 2)),
        ("visible", chunk.visible, np.bool_, (num, num_joints)),
    ):
        if array.dtype != kind or array.shape != shape:
            raise ValueError(
                f"domain {domain}: {name} must be {np.dtype(kind)} of shape {shape}, got "
                f"{array.dtype} of shape {array.shape}"
            )
    if chunk.published is not None and len(chunk.published) != num:
        raise ValueError(f"domain {domain}: published must be None or a split for each sample")
    if not np.isfinite(chunk.keypoints_px).all():
        raise ValueError(f"domain {domain}: keypoints_px must be finite")
    if any("\n" in name for name in chunk.ids):
        raise ValueError(f"domain {domain}: ids must be of one line")
