"""Images of one domain, decoded or rendered once, shared by every trial through the disk.

A store is a folder of plain arrays, opened as memory maps:

    images.npy        (N, S, S, 3) uint8
    keypoints_px.npy  (N, K, 2) float32, integers are pixel centres
    visible.npy       (N, K) bool
    ids.npy           (N,) sample ids, encoded
    split.npy         (N,) int8, index of each sample's split
    store.json        version, domain, skeleton, names of the splits, digests of chunks, notes

The trials of a node thus share the pages of its page cache, and nothing is unpickled.
:mod:`trainables.data.store_writer` writes them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.skeleton import Skeleton
from trainables.data.store_writer import STORE_VERSION


@dataclass(frozen=True)
class ImageStore:
    """An opened store; the module's docstring describes the arrays.

    Attributes:
        images: Memory map.
        keypoints_px: (N, K, 2).
        visible: (N, K).
        encoded_ids: (N,) bytes.
        splits: Split name to indices.
        skeleton: Joint order.
        digest: 16 hex digits over all arrays and ids.
        notes: What readers of results should know of the images.
    """

    images: NDArray[np.uint8]
    keypoints_px: NDArray[np.float32]
    visible: NDArray[np.bool_]
    encoded_ids: NDArray[np.bytes_]
    splits: Mapping[str, NDArray[np.int64]]
    skeleton: Skeleton
    digest: str
    notes: tuple[str, ...] = ()

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""
        return int(self.images.shape[1])

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """N sample ids; decoded at the first use, which takes a second for a million."""
        return tuple(name.decode() for name in self.encoded_ids.tolist())


def open_image_store(folder: Path) -> ImageStore:
    """Open a store in milliseconds, whatever its size, without reading its images.

    Raises:
        ValueError: If a file is missing, damaged or of another version; nothing in them can run
            code.
    """
    try:
        description = json.loads((folder / "store.json").read_text())
        if description["version"] != STORE_VERSION:
            raise ValueError(f"its version is {description['version']}, not {STORE_VERSION}")
        images, keypoints, visible, ids, membership = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("images", "keypoints_px", "visible", "ids", "split")
        )
        store = ImageStore(
            images=images,
            keypoints_px=keypoints,
            visible=visible,
            encoded_ids=ids,
            splits={
                name: np.flatnonzero(membership == index)
                for index, name in enumerate(description["splits"])
            },
            skeleton=Skeleton.of_names(description["skeleton"], description["joints"]),
            digest=description["digest"],
            notes=tuple(description["notes"]),
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder} is not a readable image store: {error!r}") from error
    arrays = (images, keypoints, visible, ids, membership)
    if any(array.shape[:1] != images.shape[:1] for array in arrays):
        raise ValueError(f"{folder} is not a readable image store: its files differ in length")
    return store
