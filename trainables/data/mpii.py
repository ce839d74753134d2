"""MPII Human Pose (Andriluka et al. 2014), training people with their joints as CSV.

::

    mpii_train_joints.csv   image name, then x and y of the sixteen joints in MPII's order; no
                            header; one line for each person
    images/<image name>

The file lists 17,928 people in 11,210 images, those of whom all sixteen joints are labelled; it
marks no joint as missing or hidden. A joint can lie outside its image and is then not visible
here: 159 necks and heads have a negative y. Nor is a joint with an empty field or ``nan``, which
a file of your own may have. As in the MATLAB file of the data set, coordinates count pixels
from 1.

An image can show several people: ``data.source_crop`` or ``data.target_crop`` should be
``person``.
"""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.annotations import Annotations, Scan, scanned
from trainables.data.photograph_domain import PhotographDomain
from trainables.data.problems import Problem
from trainables.data.skeleton import BODY16

LABELS = "mpii_train_joints.csv"

_NUM_FIELDS = 1 + 2 * BODY16.num_joints


def scan_mpii(root: Path, num: int) -> Scan:
    """Read the joints of at most ``num`` people, and the headers of their images.

    Ids are ``mpii/<image>#<n>`` for person n of an image, counted from 0.

    Args:
        root: Folder with :data:`LABELS` and ``images``.
        num: At most this many people, from all over the data set.

    Raises:
        FileNotFoundError: If the folder or the file is missing.
        ValueError: If the file is not text.
    """
    path = root / LABELS
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file: {error}") from error
    names: list[str] = []
    keypoints: list[NDArray[np.float32]] = []
    cases: list[str] = []
    for number, row in lines:
        try:
            keypoints.append(_parsed(row))
        except ValueError as error:
            cases.append(f"line {number}: {error}")
            continue
        names.append(row[0])
    sentence = (
        f"{path}: {len(cases):,} of {len(lines):,} lines cannot be used; each needs an image "
        "name and x and y of 16 joints"
    )
    points = np.array(keypoints, np.float32).reshape(len(names), BODY16.num_joints, 2)
    is_labelled = np.asarray(np.isfinite(points).all(-1))
    labels = Annotations(
        ids=_ids(names),
        image_paths=tuple(root / "images" / name for name in names),
        keypoints_px=np.where(is_labelled[..., None], points - 1, 0).astype(np.float32),
        visible=is_labelled,
    )
    return scanned(
        labels.spread(num), [Problem(sentence, tuple(cases))] if cases else [], str(path)
    )


def _parsed(row: list[str]) -> NDArray[np.float32]:
    """Joints (16, 2) of a person, NaN where unlabelled; a ValueError says what is wrong."""
    if len(row) != _NUM_FIELDS:
        raise ValueError(f"{len(row)} fields instead of {_NUM_FIELDS}")
    if not row[0]:
        raise ValueError("no image name")
    values = [_number(text) for text in row[1:]]
    return np.array(values, np.float32).reshape(-1, 2)


def _number(text: str) -> float:
    if not text.strip():
        return float("nan")
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None
    if abs(value) > float(np.finfo(np.float32).max):
        raise ValueError(f"{text} is too large for a coordinate")
    return value


def _ids(names: list[str]) -> tuple[str, ...]:
    people: Counter[str] = Counter()
    ids = []
    for name in names:
        ids.append(f"mpii/{Path(name).stem}#{people[name]}")
        people[name] += 1
    return tuple(ids)


MPII = PhotographDomain(
    lambda request: scan_mpii(request.folder, request.num), (LABELS,), ("images/*.jpg",)
)
