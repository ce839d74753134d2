"""Labels in JSON files that hold a list of records, each with the keypoints of one image.

Several data sets come in this form, such as SURREAL, Human3.6M and H3D as tllib prepares them.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.label_files import array_of
from trainables.data.problems import Problem


@dataclass(frozen=True)
class Records:
    """The usable records of a file.

    Attributes:
        names: N image names.
        keypoints_px: (N, K, 2) float32, finite.
        problems: What is wrong with the other records.
    """

    names: tuple[str, ...]
    keypoints_px: NDArray[np.float32]
    problems: tuple[Problem, ...]


def read_records(path: Path, num_joints: int) -> Records:
    """Read ``name`` and ``keypoint2d`` of each record; other keys are ignored.

    Args:
        path: JSON file.
        num_joints: K, the joints that each record must have.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it is not JSON, or not a list.
    """
    records = read_json(path)
    if not isinstance(records, list):
        raise ValueError(f"{path} must hold a list of records, got {_described(records)}")
    names: list[str] = []
    keypoints: list[NDArray[np.float32]] = []
    cases: list[str] = []
    for number, record in enumerate(records):
        try:
            name, points = _parsed(record, num_joints)
        except ValueError as error:
            cases.append(f"record {number}, counted from 0: {error}")
            continue
        names.append(name)
        keypoints.append(points)
    sentence = (
        f"{path}: {len(cases):,} of {len(records):,} records cannot be used; each needs a name "
        f"and a keypoint2d of {num_joints} x 2 finite numbers"
    )
    return Records(
        tuple(names),
        np.array(keypoints, np.float32).reshape(len(names), num_joints, 2),
        (Problem(sentence, tuple(cases)),) if cases else (),
    )


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it is not JSON.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # also of bytes that are not UTF-8
        raise ValueError(f"{path} is damaged or cut short: {error}") from error


MIN_VIDEOS = 50
"""With fewer, a split may get none: of 50, a split of a tenth gets none in one of 200 cases."""


def videos(names: Sequence[str], video: re.Pattern[str]) -> tuple[list[str], tuple[str, ...]]:
    """Ends of sample ids that keep the frames of a video in one split.

    The names must be all of a data set's, so that a frame's video does not depend on how many
    frames are asked for.

    Args:
        names: N different names of images.
        video: Whose first group is the video in a name that tells it.

    Returns:
        N times ``<video>#<name>``, or only the name where it tells no video; and what readers of
        results should know of it. If the names tell fewer than :data:`MIN_VIDEOS` videos, too few
        to divide, each image stands for itself.
    """
    matches = [video.search(name) for name in names]
    found = [None if match is None else match[1] for match in matches]
    num_videos = len(set(found) - {None})
    if num_videos < MIN_VIDEOS:
        note = (
            f"frames are divided one by one, as the names of images tell {num_videos} videos and "
            f"{MIN_VIDEOS} are needed to keep each in one split"
        )
        return list(names), (note,)
    num_without = found.count(None)
    note = f"the names of {num_without:,} images tell no video; these are divided one by one"
    ends = [
        name if group is None else f"{group}#{name}"
        for group, name in zip(found, names, strict=True)
    ]
    return ends, (note,) if num_without else ()


def _parsed(record: object, num_joints: int) -> tuple[str, NDArray[np.float32]]:
    """Name and keypoints of a record; a ValueError says what is wrong with it."""
    if not isinstance(record, Mapping):
        raise ValueError(f"is {_described(record)}")
    missing = [key for key in ("name", "keypoint2d") if key not in record]
    if missing:
        raise ValueError(f"has no {' and no '.join(missing)}")
    name = record["name"]
    if not isinstance(name, str) or not name:
        raise ValueError(f"its name is {name!r}")
    try:
        points = array_of(record["keypoint2d"], num_joints, 2)
    except ValueError as error:
        raise ValueError(f"the keypoint2d of {name} {error}") from error
    return name, points.astype(np.float32)


def _described(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", type(None): "null"}
    return kinds.get(type(value), "a number")
