"""SURREAL (Varol et al. 2017) in the layout in which tllib publishes it: cropped, as JPEG files.

::

    train/run0.json, run1.json, run2.json   lists of {name, keypoint2d 24 x 2, ...}
    train/run0/<name>, ...                  square images around the person
    val/..., test/...                       likewise

All joints are labelled; those outside their image are hidden. The 24 joints are SMPL's, with left
and right exchanged in the published labels. SMPL's joints 13 and 14, which tllib takes for the
shoulders, are the collars. Keypoints count pixel centres from 0.

A video of SURREAL shows a part of a recorded movement, such as ``01_01_c0001`` of ``01_01``. The
runs show the same movements by other people, in other clothes. All frames of a movement stay in
one split, wherever they are, if the names of the images tell it.
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.config.data_options import SurrealOptions
from trainables.data.annotations import Annotations, Scan, scanned
from trainables.data.domain import ImageRequest
from trainables.data.json_labels import read_records, videos
from trainables.data.photograph_domain import PhotographDomain
from trainables.data.problems import Problem

_SPLITS = ("train", "val", "test")
_RUNS = ("run0", "run1", "run2")

_NUM_JOINTS = 24
_SHIPPED = (7, 4, 1, 2, 5, 8, 0, 9, 12, 15, 20, 18, 13, 14, 19, 21)
_JOINTS = {
    "surreal_shipped": _SHIPPED,
    "surreal_anatomical": (*_SHIPPED[:12], 16, 17, *_SHIPPED[14:]),
    "smpl_native": (8, 5, 2, 1, 4, 7, 0, 9, 12, 15, 21, 19, 14, 13, 18, 20),
}
"""SMPL joint behind each of the sixteen body joints."""

_MOVEMENT = re.compile(r"([^/]+)_c\d{4}")
"""The movement in an image's name, before the number of the video."""


def scan_surreal(root: Path, num: int, options: SurrealOptions) -> Scan:
    """Read the annotations of all splits that exist, and the headers of the images.

    Args:
        root: Folder with ``train``, ``val`` or ``test``.
        num: At most this many samples, taken from all over the data set: neighbours are frames of
            one video.
        options: Which joints and whose split to take.

    Raises:
        FileNotFoundError: If there is no split, or a split lacks runs; names all of them.
        ValueError: If a file is not a JSON list.
    """
    splits = [split for split in _SPLITS if (root / split).is_dir()]
    if not splits:
        raise FileNotFoundError(f"{root} must hold at least one of the folders train, val, test")
    runs = [root / split / f"{run}.json" for split in splits for run in _RUNS]
    missing = [str(path) for path in runs if not path.is_file()]
    if missing:
        are = "are" if len(missing) > 1 else "is"
        raise FileNotFoundError(f"{', '.join(missing)} {are} missing; each split has three runs")
    places: list[str] = []
    paths: list[Path] = []
    keypoints: list[NDArray[np.float32]] = []
    problems: list[Problem] = []
    for path in runs:
        records = read_records(path, _NUM_JOINTS)
        folder = path.with_suffix("")
        places += [f"{path.parent.name}/{folder.name}/{name}" for name in records.names]
        paths += [folder / name for name in records.names]
        keypoints.append(records.keypoints_px[:, _JOINTS[options.joints]])
        problems += records.problems
    points = np.concatenate(keypoints)
    groups, notes = videos(places, _MOVEMENT)
    published = tuple(place.partition("/")[0] for place in places)
    labels = Annotations(
        tuple(f"surreal/{group}" for group in groups),
        tuple(paths),
        points,
        visible=np.ones(points.shape[:2], np.bool_),
        published=published if options.split == "reference" else None,
        notes=notes,
    )
    return scanned(labels.spread(num), problems)


def _scan(request: ImageRequest) -> Scan:
    return scan_surreal(request.folder, request.num, request.options or SurrealOptions())


SURREAL = PhotographDomain(_scan, ("*/run?.json",), ("*/run?/**/*.jpg", "*/run?/**/*.png"))
