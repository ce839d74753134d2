"""Human3.6M (Ionescu et al. 2014) after the preprocessing of tllib.

::

    annotations/keypoints2d_1.json, ... 5, 6, 7, 8, 9, 11   lists of {name, keypoint2d 16 x 2, ...}
    crop_images/<name>                                      512 x 512 pixels around the person

The files hold the body's sixteen joints in this project's order; the thorax is the middle of the
shoulders in space. All joints are labelled. Keypoints count pixel centres from 0.
:mod:`trainables.data.human36m_preprocess` makes the files.
"""

from pathlib import Path

import numpy as np

from trainables.data.annotations import Annotations, Scan, scanned
from trainables.data.json_labels import read_records
from trainables.data.photograph_domain import PhotographDomain
from trainables.data.skeleton import BODY16

SUBJECTS = (1, 5, 6, 7, 8, 9, 11)
"""Those whose poses are published."""


def label_file(root: Path, subject: int) -> Path:
    """The file of the keypoints of one subject."""
    return root / "annotations" / f"keypoints2d_{subject}.json"


def scan_human36m(root: Path, num: int) -> Scan:
    """Read the annotations of all subjects, and the headers of the images.

    Args:
        root: Folder with ``annotations`` and ``crop_images``.
        num: At most this many samples, taken from all over the data set: neighbours are frames of
            one video.

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
    labels = Annotations(
        ids=tuple(f"human36m/{name}" for name in names),
        image_paths=tuple(root / "crop_images" / name for name in names),
        keypoints_px=keypoints,
        visible=np.ones(keypoints.shape[:2], np.bool_),
    )
    return scanned(labels.spread(num), [p for records in found for p in records.problems])


HUMAN36M = PhotographDomain(
    lambda request: scan_human36m(request.folder, request.num),
    ("annotations/keypoints2d_*.json",),
    ("crop_images/**/*.jpg", "crop_images/**/*.png"),
)
