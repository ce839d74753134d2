"""Checks, before a study starts, that it can run on a Leeds data set; reports all problems.

The reader rejects labels that cannot be right. This check also decodes pixels and counts poses:
bins and metrics need labels, which a file with the right layout may not have.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.leeds import LeedsAnnotations, scan_leeds
from trainables.data.photographs import decode_sample, image_problems
from trainables.data.problems import DatasetError, Problem
from trainables.data.skeleton import BODY16, MIN_VISIBLE
from trainables.data.splits import split

_MIN_SIDE_PX = 1.0
"""Three or more joints within one pixel are not a pose; two may lie on each other."""


def check_leeds(name: str, root: Path, role: str, limit: int | None = None) -> dict[str, int]:
    """Check labels and images of ``lsp`` or ``lspet`` within seconds.

    Reads the headers of all images and decodes up to
    :data:`trainables.data.photographs.SAMPLED_PIXELS`.

    Args:
        name: ``lsp`` or ``lspet``.
        root: Folder with ``joints.mat`` and ``images/``.
        role: ``source`` or ``target``, which decides the splits.
        limit: Check only this many images, from the first on; None for all.

    Returns:
        Split name to the number of its poses with at least
        :data:`trainables.data.skeleton.MIN_VISIBLE` visible joints, each >= 1.

    Raises:
        FileNotFoundError, ValueError: If no label can be read, see
            :func:`trainables.data.leeds.read_leeds`.
        DatasetError: If anything else is wrong; lists all problems.
    """
    scan = scan_leeds(name, root, limit)
    labels, file = scan.labels, root / "joints.mat"
    headers = decode_sample(labels.image_paths, scan.headers)
    problems = [*scan.problems, *image_problems(labels.image_paths, headers)]
    problems += _point_problems(file, labels)
    enough = labels.visible.sum(1) >= MIN_VISIBLE
    counts = {part: enough[rows] for part, rows in split(labels.ids, role).items()}
    seen = np.asarray(labels.visible.any(0))
    if len(enough) and seen.sum() < MIN_VISIBLE:
        problems.append(_few_joints(file, seen, len(enough)))
    else:
        problems += _empty_splits(root, counts)
    if problems:
        raise DatasetError(problems)
    return {part: int(mask.sum()) for part, mask in counts.items()}


def _few_joints(file: Path, seen: NDArray[np.bool_], num_images: int) -> Problem:
    names = [BODY16.joint_names[j].replace("_", " ") for j in np.flatnonzero(seen)]
    which = f" ({', '.join(names)})" if names else ""
    return Problem(
        f"{file}: {len(names)} of 14 joints{which} are visible in any of the {num_images:,} "
        f"images; a pose needs {MIN_VISIBLE} joints that are flagged visible and lie inside the "
        "image"
    )


def _point_problems(file: Path, labels: LeedsAnnotations) -> list[Problem]:
    mask = labels.visible[..., None]
    low = np.where(mask, labels.keypoints_px, np.inf).min(1)
    high = np.where(mask, labels.keypoints_px, -np.inf).max(1)
    is_point = (labels.visible.sum(1) > 2) & ((high - low).max(1) < _MIN_SIDE_PX)
    if not is_point.any():
        return []
    cases = (
        f"{labels.image_paths[i].name}: {int(labels.visible[i].sum())} joints at "
        f"({low[i, 0] + 1:g}, {low[i, 1] + 1:g})"  # as the file has it, counted from 1
        for i in np.flatnonzero(is_point)
    )
    sentence = (
        f"{file}: {int(is_point.sum()):,} of {len(is_point):,} poses have all visible joints on "
        "one point; flag the joints whose place is not known"
    )
    return [Problem(sentence, tuple(cases))]


def _empty_splits(root: Path, counts: Mapping[str, NDArray[np.bool_]]) -> list[Problem]:
    num_samples = sum(map(len, counts.values()))
    empty = [part for part, mask in counts.items() if not len(mask)]
    sentences = [
        f"{root / 'joints.mat'}: none of the {len(mask):,} poses for {part} has {MIN_VISIBLE} "
        "visible joints, which a pose needs to be put into a bin"
        for part, mask in counts.items()
        if len(mask) and not mask.any()
    ]
    if empty:
        which = ", ".join(empty)
        sentences.append(f"{root} has {num_samples:,} samples, which leaves none for {which}")
    return [Problem(sentence) for sentence in sentences]
