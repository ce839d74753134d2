"""Human3.6M (Ionescu et al. 2014) after the preprocessing of tllib.

::

    annotations/keypoints2d_1.json, ... 5, 6, 7, 8, 9, 11   lists of {name, keypoint2d 16 x 2, ...}
    crop_images/<name>                                      512 x 512 pixels around the person

The files hold the body's sixteen joints in this project's order; the thorax is the middle of the
shoulders in space. All joints are labelled. Keypoints count pixel centres from 0.
:mod:`trainables.data.human36m_preprocess` makes the files.

The frames of a sequence stay in one split, with those of the other cameras that saw it: an image
``s_01_act_02_subact_01_ca_01/s_01_act_02_subact_01_ca_01_000001.jpg`` is of the sequence
``s_01_act_02_subact_01``.
"""

import re
from pathlib import Path

import numpy as np

from trainables.config.data_options import Human36mOptions
from trainables.data.annotations import Annotations, Scan, scanned
from trainables.data.json_labels import read_records, videos
from trainables.data.photograph_domain import PhotographDomain
from trainables.data.skeleton import BODY16

SUBJECTS = (1, 5, 6, 7, 8, 9, 11)
"""Those whose poses are published."""

_TEST_SUBJECTS = (9, 11)
_SEQUENCE = re.compile(r"(s_\d+_act_\d+_subact_\d+)_ca_\d+")
"""The sequence in an image's name, before the number of the camera."""


def label_file(root: Path, subject: int) -> Path:
    """The file of the keypoints of one subject."""
    return root / "annotations" / f"keypoints2d_{subject}.json"


def scan_human36m(root: Path, num: int, options: Human36mOptions) -> Scan:
    """Read the annotations of all subjects, and the headers of the images.

    Args:
        root: Folder with ``annotations`` and ``crop_images``.
        num: At most this many samples, taken from all over the data set: neighbours are frames of
            one video.
        options: Whose split to take.

    Raises:
        FileNotFoundError: If the folder or subjects are missing; names all of them.
        ValueError: If a file is not a JSON list.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder")
    files = [label_file(root, subject) for subject in SUBJECTS]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{root / 'annotations'} lacks {', '.join(missing)}; python -m "
            f"trainables.data.human36m_preprocess --root {root} makes them"
        )
    found = [read_records(path, BODY16.num_joints) for path in files]
    names = [name for records in found for name in records.names]
    keypoints = np.concatenate([records.keypoints_px for records in found])
    groups, notes = videos(names, _SEQUENCE)
    published = tuple(
        "test" if subject in _TEST_SUBJECTS else "train"
        for subject, records in zip(SUBJECTS, found, strict=True)
        for _ in records.names
    )
    labels = Annotations(
        ids=tuple(f"human36m/{group}" for group in groups),
        image_paths=tuple(root / "crop_images" / name for name in names),
        keypoints_px=keypoints,
        visible=np.ones(keypoints.shape[:2], np.bool_),
        published=published if options.split == "reference" else None,
        notes=notes,
    )
    return scanned(labels.spread(num), [p for records in found for p in records.problems])


HUMAN36M = PhotographDomain(
    lambda request: scan_human36m(
        request.folder, request.num, request.options or Human36mOptions()
    ),
    ("annotations/keypoints2d_*.json",),
    ("crop_images/**/*.jpg", "crop_images/**/*.png"),
)
