"""Hand-3D-Studio (H3D) as tllib offers it: images cropped to hands, labels in one JSON file.

``H3D_crop/annotation.json`` is a list of ``{name, keypoint2d, keypoint3d, intrinsic_matrix,
without_object}``; ``name`` is the image's path below ``H3D_crop``. Only hands without an object
(``without_object`` is 1, tllib's task ``noobject``) are read, all joints count as visible, and
nothing is mirrored. Coordinates are pixels of the cropped image, whose squares are 1.5 times as
large as the hand: ``data.<role>_crop: image`` is what tllib does. (Zhao et al. 2020.)

Images whose names differ only in the number at their end are taken for frames of one sequence and
stay in one split.
"""

import re
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from trainables.data.annotations import Annotations, Scan, scanned
from trainables.data.domain import ImageRequest
from trainables.data.json_labels import read_json, videos
from trainables.data.label_files import array_of, data_folder, require_kind
from trainables.data.photograph_domain import PhotographDomain
from trainables.data.problems import Problem
from trainables.data.skeleton import HAND21

ARCHIVE = "H3D_crop"

_SEQUENCE = re.compile(r"(.*[^\d_-])[_-]*\d+\.\w+$")
"""The sequence in an image's name, before the number of the frame."""


def _scan(request: ImageRequest) -> Scan:
    root = data_folder(request, ARCHIVE)
    file = root / "annotation.json"
    entries = read_json(file)
    require_kind(file, entries, list)
    hands, cases, with_object = [], [], 0
    for place, entry in enumerate(entries):
        try:
            name, points, is_free = _hand(entry)
        except ValueError as error:
            cases.append(f"entry {place}: {error}")
            continue
        if is_free:
            hands.append((name, points))
        else:
            with_object += 1
    problems = []
    names = [name for name, _ in hands]
    cases += [f"{name}: {num} entries" for name, num in Counter(names).items() if num > 1]
    if cases:
        sentence = (
            f"{file}: {len(cases):,} of {len(entries):,} entries are wrong; each must have the "
            "name of an image of its own, keypoint2d with x and y of 21 joints, and "
            "without_object 0 or 1"
        )
        problems.append(Problem(sentence, tuple(cases)))
    groups, notes = videos(names, _SEQUENCE)
    labels = Annotations(
        ids=tuple(f"h3d/{group}" for group in groups),
        image_paths=tuple(root / name for name, _ in hands),
        keypoints_px=np.array([points for _, points in hands], np.float32).reshape(-1, 21, 2),
        visible=np.ones((len(hands), 21), np.bool_),
        skeleton=HAND21,
        left_out={"hands with an object": with_object} if with_object else {},
        notes=notes,
    )
    return scanned(labels.spread(request.num), problems, str(file))


def _hand(entry: object) -> tuple[str, NDArray[np.float64], bool]:
    """Name of the image, joints (21, 2) and whether the hand is without an object."""
    if not isinstance(entry, dict):
        raise ValueError(f"is a {type(entry).__name__}, not a dict")
    missing = [key for key in ("name", "keypoint2d", "without_object") if key not in entry]
    if missing:
        raise ValueError(f"has no {', '.join(missing)}")
    name, flag = entry["name"], entry["without_object"]
    if not isinstance(name, str) or not name:
        raise ValueError(f"name is {name!r}")
    if flag not in (0, 1, "0", "1"):
        raise ValueError(f"without_object is {flag!r}")
    try:
        return name, array_of(entry["keypoint2d"], 21, 2), int(flag) == 1
    except ValueError as error:
        raise ValueError(f"keypoint2d {error}") from error


H3D = PhotographDomain(_scan, ("**/annotation.json",))
