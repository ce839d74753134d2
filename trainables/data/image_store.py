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

import numpy as np
from numpy.typing import NDArray

from trainables.data.leeds import read_leeds
from trainables.data.photographs import load_padded
from trainables.data.rendered import LOOKS, figure_of, render_domain
from trainables.data.skeleton import BODY16, HAND21, Skeleton
from trainables.data.splits import split

_SKELETONS = {skeleton.name: skeleton for skeleton in (BODY16, HAND21)}


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
    """

    images: NDArray[np.uint8]
    keypoints_px: NDArray[np.float32]
    visible: NDArray[np.bool_]
    ids: tuple[str, ...]
    splits: Mapping[str, NDArray[np.int64]]
    skeleton: Skeleton
    digest: str

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""
        return int(self.images.shape[1])


def build_image_store(  # noqa: PLR0913, PLR0917 - a store depends on all of these
    folder: Path,
    role: str,
    domain: str,
    root: Path | None,
    num: int,
    image_size: int,
    seed: int,
    num_threads: int,
) -> None:
    """Render or decode a domain into ``folder``.

    Args:
        folder: Existing empty folder.
        role: ``source`` or ``target``: which splits to make.
        domain: A rendered domain, ``lsp`` or ``lspet``.
        root: Folder of the data set for domains on disk.
        num: Number of images; a smaller data set gives all it has.
        image_size: Side in pixels.
        seed: Seed of a rendered domain.
        num_threads: Decoding threads.

    Raises:
        FileNotFoundError, ValueError: If the data set is missing or damaged.
    """
    if domain in LOOKS:
        keypoints, visible = [], []
        # Not through a memory map: on a full disk, writing to one kills the process.
        with (folder / "images.npy").open("wb") as file:
            shape = (num, image_size, image_size, 3)
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for chunk in render_domain(domain, num, image_size, seed):
                file.write(np.ascontiguousarray(chunk.images).data)
                keypoints.append(chunk.keypoints_px)
                visible.append(chunk.visible)
        all_keypoints, all_visible = np.concatenate(keypoints), np.concatenate(visible)
        ids = tuple(f"{domain}/{seed}/{i:06d}" for i in range(num))
    else:
        if root is None:
            raise ValueError(f"domain {domain} needs the folder of its data set, got None")
        labels = read_leeds(domain, root, limit=num)
        pixels, all_keypoints = load_padded(
            labels.image_paths, labels.keypoints_px, image_size, num_threads
        )
        np.save(folder / "images.npy", pixels)
        all_visible = labels.visible
        ids = labels.ids
    np.save(folder / "keypoints_px.npy", all_keypoints)
    np.save(folder / "visible.npy", all_visible)
    description = {
        "domain": domain,
        "skeleton": (figure_of(domain).skeleton if domain in LOOKS else BODY16).name,
        "digest": _digest(folder, ids),
        "splits": {name: [ids[i] for i in rows] for name, rows in split(ids, role).items()},
        "ids": ids,
    }
    (folder / "store.json").write_text(json.dumps(description))


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
            skeleton=_SKELETONS[description["skeleton"]],
            digest=description["digest"],
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
