"""A data set of image files and labels as a domain: decoded, cropped and scaled in parallel."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.annotations import Annotations, Scan
from trainables.data.crop import Window, cropped, moved, person_window, whole_window
from trainables.data.domain import Domain, ImageRequest, LabelledImages
from trainables.data.frame import in_frame
from trainables.data.photograph_check import check_scan
from trainables.data.photographs import image_problems, read_image
from trainables.data.problems import DatasetError
from trainables.data.splits import split
from trainables.data.store_writer import BAD_SHARE

CHUNK = 256
"""Images that are decoded at a time: all that is held in memory."""


@dataclass(frozen=True)
class PhotographDomain(Domain):
    """A data set that a function reads.

    Attributes:
        scan: The reader: from a request to everything readable of the data set. It raises OSError
            or ValueError if nothing can be read.
        label_files: Globs of files in the data set's folder whose content is part of its digest.
        image_files: Globs of its images, whose names, sizes and times are part of the digest.
    """

    scan: Callable[[ImageRequest], Scan]
    label_files: tuple[str, ...] = ()
    image_files: tuple[str, ...] = field(default=("**/*.jpg", "**/*.png"))

    def images(self, request: ImageRequest) -> Iterator[LabelledImages]:
        """Yield the images, :data:`CHUNK` samples at a time.

        Raises:
            DatasetError: If labels are wrong, or too many images have no usable header.
        """
        return self.images_from(request, 0)

    def images_from(self, request: ImageRequest, first: int) -> Iterator[LabelledImages]:
        """Yield the images from sample ``first`` on; the others are not decoded."""
        scan = self.scan(request)
        refuse(scan)
        num, notes = len(scan.headers), tuple(_notes(scan.labels, request))
        with ThreadPoolExecutor(request.num_threads) as pool:
            for start in range(first, num, CHUNK):
                rows = np.arange(start, min(start + CHUNK, num))
                yield replace(_load(scan, rows, request, pool), notes=notes)

    def num_cores(self, request: ImageRequest) -> int:
        """All: images are decoded in threads."""
        return request.num_threads

    def digest(self, request: ImageRequest) -> str:
        """16 hex digits that change with a file of labels or an image's name, size or time.

        In an archive the time of an image is that of the archive.
        """
        root = request.folder
        if not root.is_dir():
            raise FileNotFoundError(f"{root} is not a folder")
        digest = hashlib.sha256()
        for pattern in self.label_files:
            for path in sorted(root.glob(pattern)):
                digest.update(f"{path.name}\n".encode() + path.read_bytes())
        for pattern in self.image_files:
            for path in sorted(root.glob(pattern)):
                status = path.stat()
                name = path.relative_to(root).as_posix()
                digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:16]

    def training_photographs(self, request: ImageRequest) -> list[Path]:
        """See :meth:`trainables.data.domain.Domain.training_photographs`."""
        labels = self.scan(request).labels
        rows = split(labels.ids, request.role, labels.published)["train"]
        if not len(rows):
            raise ValueError(f"none of its {len(labels.ids)} images is in the training split")
        return sorted({labels.image_paths[row] for row in rows})

    def check(self, request: ImageRequest) -> dict[str, int]:
        """See :func:`trainables.data.photograph_check.check_scan`."""
        return check_scan(self.scan(request), request, BAD_SHARE)


def refuse(scan: Scan) -> None:
    """Refuse wrong labels, and a data set that lacks too many images.

    Raises:
        DatasetError: With everything that is wrong.
    """
    problems = list(scan.problems)
    paths = scan.labels.image_paths
    bad = {path for path, h in zip(paths, scan.headers, strict=True) if isinstance(h, str)}
    if len(bad) > BAD_SHARE * len(set(paths)):
        problems += image_problems(paths, scan.headers)
    if problems:
        raise DatasetError(problems)


def _notes(labels: Annotations, request: ImageRequest) -> Iterator[str]:
    """What readers of results should know of the samples."""
    yield from (f"{count:,} left out: {why}" for why, count in labels.left_out.items())
    yield from labels.notes
    if request.crop == "person":
        if labels.boxes_px is not None:
            yield "cropped around the boxes of the data set"
        elif request.role == "target":
            yield "cropped around the labelled joints, a weak use of target labels"
        else:
            yield "cropped around the labelled joints"


def _load(
    scan: Scan, rows: NDArray[np.int64], request: ImageRequest, pool: ThreadPoolExecutor
) -> LabelledImages:
    """Decode and crop some samples."""
    labels, side = scan.labels.rows(rows), request.image_size
    images = np.zeros((len(rows), side, side, 3), np.uint8)
    keypoints = np.empty_like(labels.keypoints_px)
    skipped: dict[int, str] = {}

    def load(row: int) -> None:
        header = scan.headers[rows[row]]
        if isinstance(header, str):
            skipped[row] = header
            return
        try:
            image = read_image(labels.image_paths[row])
        except OSError as error:
            skipped[row] = error.strerror or str(error)
            return
        except ValueError as error:
            skipped[row] = str(error).rpartition(": ")[2]
            return
        window = _window(labels, row, image.shape[:2], request)
        images[row] = cropped(image, window, side)[..., ::-1]  # OpenCV's order is BGR
        keypoints[row] = moved(labels.keypoints_px[row], window, side)
        if labels.mirrored is not None and labels.mirrored[row]:
            images[row] = images[row, :, ::-1]
            keypoints[row, :, 0] = side - 1 - keypoints[row, :, 0]

    list(pool.map(load, range(len(rows))))
    left = np.array([row for row in range(len(rows)) if row not in skipped], dtype=np.int64)
    used = labels.rows(left)
    return LabelledImages(
        ids=used.ids,
        images=images[left],
        keypoints_px=keypoints[left],
        visible=used.visible & in_frame(keypoints[left], side, side),
        published=used.published,
        # By id, as several samples may show one image.
        skipped={labels.ids[row]: why for row, why in sorted(skipped.items())},
    )


def _window(labels: Annotations, row: int, size: tuple[int, int], request: ImageRequest) -> Window:
    height, width = size
    if request.crop == "image":
        return whole_window(width, height)
    if labels.boxes_px is not None:
        box = labels.boxes_px[row]
    else:
        points = labels.keypoints_px[row][labels.visible[row]]
        if len(points) == 0:
            return whole_window(width, height)
        box = np.concatenate([points.min(0), points.max(0)])
    return person_window(box, request.crop_scale, width, height)
