"""What a reader of a data set returns: where its images are and what their labels say."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.frame import in_frame
from trainables.data.photographs import Header, read_headers
from trainables.data.problems import Problem
from trainables.data.skeleton import BODY16, Skeleton
from trainables.data.splits import spread_rows


@dataclass(frozen=True)
class Annotations:
    """Labels of a data set in this project's joint order, a row for each person or hand.

    Attributes:
        ids: N different sample ids; those that agree up to a ``#`` stay in one split.
        image_paths: N files; several samples may show the same one.
        keypoints_px: (N, K, 2) float32, finite, in pixels of the image as it is stored; integers
            are pixel centres. Meaningless where not visible.
        visible: (N, K) bool; False where unlabelled, hidden or outside the image.
        boxes_px: (N, 4) float32 left, top, right and bottom edge of the figure, as the data set
            gives it; None if it gives none.
        mirrored: (N,) bool, whether to mirror the image and its keypoints from left to right;
            None for no image.
        skeleton: Order of the K joints.
        left_out: Why samples of the data set are not among these, and how many.
        published: The publisher's split of each sample, ``train``, ``val`` or ``test``, if it
            decides ours, see :func:`trainables.data.splits.membership`; None if ids alone do.
        notes: What readers of results should know of the labels, in sentences.
    """

    ids: tuple[str, ...]
    image_paths: tuple[Path, ...]
    keypoints_px: NDArray[np.float32]
    visible: NDArray[np.bool_]
    boxes_px: NDArray[np.float32] | None = None
    mirrored: NDArray[np.bool_] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    skeleton: Skeleton = BODY16
    published: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def rows(self, rows: NDArray[np.int64]) -> "Annotations":
        """Some of the samples, in the given order."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            image_paths=tuple(self.image_paths[row] for row in rows),
            keypoints_px=self.keypoints_px[rows],
            visible=self.visible[rows],
            boxes_px=None if self.boxes_px is None else self.boxes_px[rows],
            mirrored=None if self.mirrored is None else self.mirrored[rows],
            published=None if self.published is None else tuple(self.published[r] for r in rows),
        )

    def spread(self, num: int) -> "Annotations":
        """At most ``num`` of the samples: those of :func:`spread_rows`."""
        return self.rows(spread_rows(len(self.ids), num))


@dataclass(frozen=True)
class Scan:
    """Everything readable of a data set, even if parts of it are wrong.

    Attributes:
        labels: As far as they can be read; joints outside their image are not visible.
        headers: For each of the N samples the header of its image or the reason why the image
            cannot be used, see :func:`trainables.data.photographs.read_headers`.
        problems: What is wrong with the labels.
        place: The file of the labels, for messages; empty for the folder.
    """

    labels: Annotations
    headers: Sequence[Header | str]
    problems: Sequence[Problem] = ()
    place: str = ""


def scanned(labels: Annotations, problems: Sequence[Problem] = (), place: str = "") -> Scan:
    """Read the headers of the images, and hide the joints that lie outside them.

    Adds a problem if samples share an id.
    """
    files = list(dict.fromkeys(labels.image_paths))
    found = dict(zip(files, read_headers(files), strict=True))
    headers = [found[path] for path in labels.image_paths]
    width, height = (  # (N, 1) each; infinite for an image without a readable header
        np.array([[getattr(header, side, np.inf)] for header in headers]).reshape(-1, 1)
        for side in ("width", "height")
    )
    visible = labels.visible & in_frame(labels.keypoints_px, width, height)
    problems = [*problems, *_shared_ids(labels.ids, place)]
    return Scan(replace(labels, visible=visible), headers, problems, place)


def _shared_ids(ids: Sequence[str], place: str) -> list[Problem]:
    counts = {name: count for name, count in Counter(ids).items() if count > 1}
    if not counts:
        return []
    sentence = (
        f"{place or 'the labels'}: {len(counts):,} ids belong to several samples; each sample "
        "needs its own"
    )
    return [Problem(sentence, tuple(f"{name}: {count} times" for name, count in counts.items()))]
