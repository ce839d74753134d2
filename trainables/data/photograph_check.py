"""Checks, before a study starts, that it can run on photographs; reports all problems.

A reader rejects labels that cannot be right. This check also decodes pixels and counts poses: bins
and metrics need labels, which a file with the right layout may not have.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from trainables.data.annotations import Annotations, Scan
from trainables.data.domain import ImageRequest
from trainables.data.photographs import decode_sample, image_problems
from trainables.data.problems import DatasetError, Problem
from trainables.data.skeleton import MIN_VISIBLE
from trainables.data.splits import split

_MIN_SIDE_PX = 1.0
"""Three or more joints within one pixel are not a pose; two may lie on each other."""


def check_scan(scan: Scan, request: ImageRequest, bad_share: float) -> dict[str, int]:
    """Check labels and images within seconds.

    Reads the headers of all images and decodes up to
    :data:`trainables.data.photographs.SAMPLED_PIXELS`.

    Args:
        scan: What a reader found.
        request: What was asked of it.
        bad_share: Share of the images that may be unusable.

    Returns:
        Split name to the number of its poses with at least
        :data:`trainables.data.skeleton.MIN_VISIBLE` visible joints, each >= 1.

    Raises:
        DatasetError: If anything is wrong; lists all problems.
    """
    labels, place = scan.labels, scan.place or str(request.root)
    headers = decode_sample(labels.image_paths, scan.headers)
    is_usable = np.array([not isinstance(header, str) for header in headers], dtype=bool)
    problems = [*scan.problems, *_point_problems(place, labels)]
    bad = {
        path for path, is_good in zip(labels.image_paths, is_usable, strict=True) if not is_good
    }
    if len(bad) > bad_share * len(set(labels.image_paths)):
        problems += image_problems(labels.image_paths, headers)
    enough = is_usable & (labels.visible.sum(1) >= MIN_VISIBLE)
    parts = split(labels.ids, request.role, labels.published)
    counts = {part: enough[rows] for part, rows in parts.items()}
    seen = np.asarray(labels.visible.any(0))
    if len(enough) and seen.sum() < MIN_VISIBLE:
        problems.append(_few_joints(scan, place, seen))
    else:
        problems += _empty_splits(place, str(request.root), counts)
    if problems:
        raise DatasetError(problems)
    return {part: int(mask.sum()) for part, mask in counts.items()}


def _few_joints(scan: Scan, place: str, seen: NDArray[np.bool_]) -> Problem:
    names = [scan.labels.skeleton.joint_names[j].replace("_", " ") for j in np.flatnonzero(seen)]
    which = f" ({', '.join(names)})" if names else ""
    return Problem(
        f"{place}: {len(names)} joints{which} are visible in any of the {len(scan.headers):,} "
        f"images; a pose needs {MIN_VISIBLE} joints that are flagged visible and lie inside the "
        "image"
    )


def _point_problems(place: str, labels: Annotations) -> list[Problem]:
    mask = labels.visible[..., None]
    low = np.where(mask, labels.keypoints_px, np.inf).min(1)
    high = np.where(mask, labels.keypoints_px, -np.inf).max(1)
    is_point = (labels.visible.sum(1) > 2) & ((high - low).max(1) < _MIN_SIDE_PX)
    if not is_point.any():
        return []
    cases = (
        f"{labels.image_paths[i].name}: {int(labels.visible[i].sum())} joints at "
        f"({low[i, 0]:g}, {low[i, 1]:g}), counted from 0"
        for i in np.flatnonzero(is_point)
    )
    sentence = (
        f"{place}: {int(is_point.sum()):,} of {len(is_point):,} poses have all visible joints on "
        "one point; flag the joints whose place is not known"
    )
    return [Problem(sentence, tuple(cases))]


def _empty_splits(place: str, root: str, counts: Mapping[str, NDArray[np.bool_]]) -> list[Problem]:
    num_samples = sum(map(len, counts.values()))
    empty = [part for part, mask in counts.items() if not len(mask)]
    sentences = [
        f"{place}: none of the {len(mask):,} poses for {part} has {MIN_VISIBLE} "
        "visible joints, which a pose needs to be put into a bin"
        for part, mask in counts.items()
        if len(mask) and not mask.any()
    ]
    if empty:
        use = f"{num_samples:,} samples are used"
        sentences.append(f"{root}: {use}, which leaves none for {', '.join(empty)}")
    return [Problem(sentence) for sentence in sentences]
