"""One JSON file of COCO's format: its figures with keypoints, and what is left out of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainables.data.json_labels import read_json
from trainables.data.label_files import array_of, require_kind
from trainables.data.problems import Problem
from trainables.data.skeleton import MIN_VISIBLE, Skeleton

PREFIX = "person_keypoints_"
"""How the names of COCO's own files with keypoints begin."""

OTHER_CATEGORY, CROWD, UNLABELLED = (
    "annotations of other categories",
    "crowds, whose keypoints belong to nobody",
    "figures without labelled keypoints",
)

_FINGERS = {
    "thumb": "thumb", "index": "forefinger", "middle": "middle_finger", "ring": "ring_finger",
    "little": "pinky_finger",
}  # fmt: skip
_OTHER_NAMES = {"head": "head_top"} | {
    f"{ours}_{i}": f"{theirs}{i}" for ours, theirs in _FINGERS.items() for i in range(1, 5)
}
"""Second name under which files have a joint of ours; those of fingers are MMPose's."""


class Figure(NamedTuple):
    """A person or hand.

    Attributes:
        id: ``coco/<name of the file>/<id of the image>#<id of the annotation>``.
        file_name: Of its image, as the file gives it.
        joints: (K, 3) x, y and flag of our joints; flag 0 where the file has no such joint.
        edges: (4,) left, top, right and bottom of its box; None if it has none.
    """

    id: str
    file_name: str
    joints: NDArray[np.float64]
    edges: NDArray[np.float64] | None


@dataclass
class CocoFile:
    """What a file holds.

    Attributes:
        path: The file.
        joint_names: Names of joints in the categories that show the skeleton; empty for none.
        figures: Those that can be read.
        left_out: Why others are not among them, and how many.
        problems: What is wrong with the file.
    """

    path: Path
    joint_names: set[str] = field(default_factory=set)
    figures: list[Figure] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)


def read_coco(path: Path, skeleton: Skeleton, file_names: Mapping[str, str]) -> CocoFile:
    """Read the figures of one skeleton.

    Args:
        path: The file.
        skeleton: Whose categories to read.
        file_names: Our name of a joint to the file's, instead of the known ones.

    Raises:
        ValueError: If the file is not of COCO's format.
    """
    content = read_json(path)
    require_kind(path, content, dict)
    for key in ("images", "annotations", "categories"):
        part = content.get(key)
        if not isinstance(part, list) or not all(isinstance(entry, dict) for entry in part):
            raise ValueError(f"{path} is no COCO file: {key} must be a list of dicts")
    file = CocoFile(path)
    images = {entry.get("id"): entry.get("file_name") for entry in content["images"]}
    columns = {}
    for category in content["categories"]:
        found = _columns(category.get("keypoints"), skeleton, file_names)
        if found is not None:
            columns[category.get("id")] = (found, len(category["keypoints"]))
            file.joint_names |= set(category["keypoints"])
    if not columns:
        file.left_out[OTHER_CATEGORY] = len(content["annotations"])
        return file
    cases = []
    for annotation in content["annotations"]:
        try:
            reason = _read(annotation, columns, images, file)
        except ValueError as error:
            cases.append(f"annotation {annotation.get('id')}: {error}")
        else:
            file.left_out.update(reason)
    if cases:
        sentence = (
            f"{path}: {len(cases):,} of {len(content['annotations']):,} annotations are wrong; "
            "each must have an image, x, y and flag 0, 1 or 2 of every joint of its category, and "
            "a box with positive width and height if it has one"
        )
        file.problems.append(Problem(sentence, tuple(cases)))
    return file


def _columns(
    names: object, skeleton: Skeleton, file_names: Mapping[str, str]
) -> NDArray[np.int64] | None:
    """A category's joint behind each of ours, -1 for none; None if it shows something else."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    places = {name: place for place, name in enumerate(names)}
    columns = np.full(skeleton.num_joints, -1, np.int64)
    for joint, ours in enumerate(skeleton.joint_names):
        known = (ours, _OTHER_NAMES.get(ours, ours))
        for name in (file_names[ours],) if ours in file_names else known:
            if columns[joint] < 0:
                columns[joint] = places.get(name, -1)
    return columns if (columns >= 0).sum() >= MIN_VISIBLE else None


def _read(
    annotation: Mapping[str, Any],
    columns: Mapping[Any, tuple[NDArray[np.int64], int]],
    images: Mapping[Any, Any],
    file: CocoFile,
) -> tuple[str, ...]:
    """Add an annotation to the figures, or return why it is left out."""
    category = annotation.get("category_id")
    if not isinstance(category, int) or category not in columns:
        return (OTHER_CATEGORY,)
    if annotation.get("iscrowd"):
        return (CROWD,)
    chosen, num_joints = columns[category]
    if "keypoints" not in annotation:
        return (UNLABELLED,)
    try:
        numbers = array_of(annotation["keypoints"], 3 * num_joints)
    except ValueError as error:
        raise ValueError(f"keypoints {error}") from error
    all_joints = np.concatenate([numbers.reshape(-1, 3), np.zeros((1, 3))])  # the last: no joint
    joints = all_joints[chosen]
    wrong = joints[~np.isin(joints[:, 2], (0, 1, 2)), 2]
    if len(wrong):
        raise ValueError(f"a joint is flagged {wrong[0]:g}")
    if not joints[:, 2].any():
        return (UNLABELLED,)
    image = annotation.get("image_id")
    name = images.get(image) if isinstance(image, int | str) else None
    if not isinstance(name, str) or not name:
        raise ValueError(f"no image has the id {image!r} and a file_name")
    id = f"coco/{file.path.stem}/{image}#{annotation.get('id')}"
    file.figures.append(Figure(id, name, joints, _edges(annotation.get("bbox"))))
    return ()


def _edges(bbox: object) -> NDArray[np.float64] | None:
    if bbox is None or bbox == []:
        return None
    try:
        left, top, width, height = array_of(bbox, 4)
    except ValueError as error:
        raise ValueError(f"bbox {error}") from error
    if width <= 0 or height <= 0:
        raise ValueError(f"bbox is {width:g} wide and {height:g} high")
    return np.array([left, top, left + width, top + height])
