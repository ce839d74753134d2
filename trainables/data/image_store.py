"""Images of one domain, decoded or rendered once, shared by every trial through the disk.

A store is a folder of plain arrays:

    images.npy        (N, H, W, 3) uint8, opened as a memory map
    keypoints_px.npy  (N, K, 2) float32, integers are pixel centres
    visible.npy       (N, K) bool
    store.json        ids, splits, skeleton, digest

The trials of a node thus share the pages of its page cache, and nothing is unpickled.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from trainables.data.domain import SKELETONS, ImageRequest, LabelledImages
from trainables.data.skeleton import Skeleton
from trainables.data.splits import split
from trainables.registry import DOMAINS


@dataclass(frozen=True)
class ImageStore:
    """An opened store; the module's docstring describes the arrays.

    Attributes:
        images: Memory map.
        keypoints_px: (N, K, 2).
        visible: (N, K).
        ids: N sample ids.
        splits: Split name to indices.
        skeleton: Joint order.
        digest: 16 hex digits over all arrays and ids.
        notes: What readers of results should know of the images.
    """

    images: NDArray[np.uint8]
    keypoints_px: NDArray[np.float32]
    visible: NDArray[np.bool_]
    ids: tuple[str, ...]
    splits: Mapping[str, NDArray[np.int64]]
    skeleton: Skeleton
    digest: str
    notes: tuple[str, ...] = ()

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""
        return int(self.images.shape[1])


def build_image_store(folder: Path, domain: str, request: ImageRequest) -> None:
    """Render or decode a domain into ``folder``.

    Args:
        folder: Existing empty folder.
        domain: One of :data:`trainables.registry.DOMAINS`.
        request: Which images, and for which role: that decides which splits there are.

    Raises:
        OSError, ValueError: If the data set is missing or damaged.
    """
    entry, side = DOMAINS[domain], request.image_size
    skeleton = SKELETONS[entry.skeleton]
    ids: list[str] = []
    notes: list[str] = []
    keypoints, visible = [], []
    # Not through a memory map: on a full disk, writing to one kills the process.
    with (folder / "images.npy").open("wb") as file:
        _write_header(file, 0, side)
        for chunk in entry.load().images(request):
            _check_chunk(chunk, domain, side, skeleton.num_joints)
            file.write(np.ascontiguousarray(chunk.images).data)
            ids += chunk.ids
            notes += chunk.notes
            keypoints.append(chunk.keypoints_px)
            visible.append(chunk.visible)
        file.seek(0)
        _write_header(file, len(ids), side)
    if not ids:
        raise ValueError(f"domain {domain} has no images")
    np.save(folder / "keypoints_px.npy", np.concatenate(keypoints))
    np.save(folder / "visible.npy", np.concatenate(visible))
    description = {
        "domain": domain,
        "skeleton": skeleton.name,
        "digest": _digest(folder, ids),
        "splits": {n: [ids[i] for i in rows] for n, rows in split(ids, request.role).items()},
        "ids": ids,
        "notes": notes,
    }
    (folder / "store.json").write_text(json.dumps(description))


def _write_header(file: BinaryIO, num: int, side: int) -> None:
    """Write a header of always the same length, so that the number can be filled in at the end."""
    shape = f"({num}, {side}, {side}, 3)"
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    file.write(b"\x93NUMPY\x01\x00\x76\x00" + text.ljust(117).encode("latin1") + b"\n")


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
    if not np.isfinite(chunk.keypoints_px).all():
        raise ValueError(f"domain {domain}: keypoints_px must be finite")


def open_image_store(folder: Path) -> ImageStore:
    """Open a store without reading its images.

    Raises:
        ValueError: If a file is missing or damaged; nothing in them can run code.
    """
    try:
        description = json.loads((folder / "store.json").read_text())
        ids = tuple(description["ids"])
        position = {sample: i for i, sample in enumerate(ids)}
        store = ImageStore(
            images=np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False),
            keypoints_px=np.load(folder / "keypoints_px.npy", allow_pickle=False),
            visible=np.load(folder / "visible.npy", allow_pickle=False),
            ids=ids,
            splits={
                name: np.array([position[sample] for sample in members], dtype=np.int64)
                for name, members in description["splits"].items()
            },
            skeleton=SKELETONS[description["skeleton"]],
            digest=description["digest"],
            notes=tuple(description["notes"]),
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder} is not a readable image store: {error!r}") from error
    arrays = (store.images, store.keypoints_px, store.visible)
    if any(array.shape[:1] != (len(ids),) for array in arrays):
        raise ValueError(f"{folder} is not a readable image store: its files differ in length")
    return store


def _digest(folder: Path, ids: Sequence[str]) -> str:
    digest = hashlib.sha256("\n".join(ids).encode())
    for name in ("images.npy", "keypoints_px.npy", "visible.npy"):
        with (folder / name).open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()[:16]
