"""A data set of image files and labels as a domain: decoded, cropped and scaled in parallel."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trainables.data.annotations import Annotations, Scan
from trainables.data.crop import Window, cropped, moved, person_window, whole_window
from trainables.data.domain import Domain, ImageRequest, LabelledImages
from trainables.data.frame import in_frame
from trainables.data.photograph_check import check_scan
from trainables.data.photographs import image_problems, read_image
from trainables.data.problems import DatasetError

CHUNK = 256
"""Images that are decoded at a time: all that is held in memory."""
BAD_SHARE = 0.01
"""Share of images that may be unusable; more is an error, fewer are skipped and named."""


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
        """Yield the usable images, :data:`CHUNK` at a time.

        Raises:
            DatasetError: If labels are wrong or more than :data:`BAD_SHARE` of the images cannot
                be used.
        """
        scan = self.scan(request)
        labels, bad = usable(scan)
        notes = list(_notes(labels, request))
        with ThreadPoolExecutor(request.num_threads) as pool:
            for first in range(0, len(labels.ids), CHUNK):
                rows = np.arange(first, min(first + CHUNK, len(labels.ids)))
                chunk, broken = _load(labels.rows(rows), request, pool)
                bad |= broken
                if chunk.ids:
                    yield chunk
        total = len(set(scan.labels.image_paths))
        if len(bad) > BAD_SHARE * total:
            raise DatasetError(image_problems(list(bad), list(bad.values()), total))
        if bad:
            names = ", ".join(f"{path.name}: {why}" for path, why in list(bad.items())[:5])
            notes.append(
                f"{len(bad):,} of {total:,} images cannot be used and are skipped ({names})"
            )
        yield LabelledImages.nothing(
            labels.keypoints_px.shape[1], request.image_size, tuple(notes)
        )

    def digest(self, request: ImageRequest) -> str:
        """16 hex digits that change with a file of labels or an image's name, size or time."""
        root = request.root
        if root is None or not root.is_dir():
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

    def check(self, request: ImageRequest) -> dict[str, int]:
        """See :func:`trainables.data.photograph_check.check_scan`."""
        return check_scan(self.scan(request), request, BAD_SHARE)


def usable(scan: Scan) -> tuple[Annotations, dict[Path, str]]:
    """The samples whose images have a usable header, and the reasons of the others.

    Raises:
        DatasetError: If labels are wrong or more than :data:`BAD_SHARE` of the images cannot be
            used; lists all of them.
    """
    bad = {
        path: header
        for path, header in zip(scan.labels.image_paths, scan.headers, strict=True)
        if isinstance(header, str)
    }
    problems = list(scan.problems)
    if len(bad) > BAD_SHARE * len(set(scan.labels.image_paths)):
        problems += image_problems(scan.labels.image_paths, scan.headers)
    if problems:
        raise DatasetError(problems)
    rows = [row for row, header in enumerate(scan.headers) if not isinstance(header, str)]
    return scan.labels.rows(np.array(rows, dtype=np.int64)), bad


def _notes(labels: Annotations, request: ImageRequest) -> Iterator[str]:
    """What readers of results should know of the samples."""
    yield from (f"{count:,} left out: {why}" for why, count in labels.left_out.items())
    if request.crop == "person":
        if labels.boxes_px is not None:
            yield "cropped around the boxes of the data set"
        elif request.role == "target":
            yield "cropped around the labelled joints, a weak use of target labels"
        else:
            yield "cropped around the labelled joints"


def _load(
    labels: Annotations, request: ImageRequest, pool: ThreadPoolExecutor
) -> tuple[LabelledImages, dict[Path, str]]:
    """Decode and crop some samples; those that cannot be decoded come back with the reason."""
    side = request.image_size
    images = np.zeros((len(labels.ids), side, side, 3), np.uint8)
    keypoints = np.empty_like(labels.keypoints_px)
    bad: dict[int, str] = {}

    def load(row: int) -> None:
        try:
            image = read_image(labels.image_paths[row])
        except (OSError, ValueError) as error:
            bad[row] = str(error).rpartition(": ")[2]
            return
        window = _window(labels, row, image.shape[:2], request)
        images[row] = cropped(image, window, side)[..., ::-1]  # OpenCV's order is BGR
        keypoints[row] = moved(labels.keypoints_px[row], window, side)
        if labels.mirrored is not None and labels.mirrored[row]:
            images[row] = images[row, :, ::-1]
            keypoints[row, :, 0] = side - 1 - keypoints[row, :, 0]

    list(pool.map(load, range(len(labels.ids))))
    rows = np.array([row for row in range(len(labels.ids)) if row not in bad], dtype=np.int64)
    loaded = LabelledImages(
        ids=tuple(labels.ids[row] for row in rows),
        images=images[rows],
        keypoints_px=keypoints[rows],
        visible=labels.visible[rows] & in_frame(keypoints[rows], side, side),
    )
    return loaded, {labels.image_paths[row]: why for row, why in bad.items()}


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
