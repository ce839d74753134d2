"""Samples in tllib's layout of SURREAL; see :mod:`trainables.data.surreal`."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.layouts.flat_camera import record, without_flags
from trainables.data.layouts.jpeg import write_jpeg

_BODY_JOINTS = (
    6, 2, 3, 7, 1, 4, 7, 0, 5, 7, 0, 5,  # pelvis, hips, spine, knees, spine, ankles, spine, feet
    8, 12, 13, 9, 12, 13, 11, 14, 10, 15, 10, 15,  # neck, collars, head, both arms, hands
)  # fmt: skip
"""Body joint behind each of the 24 joints; the nearest one where the body order has none."""

_SPLITS, _NUM_RUNS = ("train", "val", "test"), 3


def write_surreal(
    out: Path,
    images: NDArray[np.uint8],
    keypoints_px: NDArray[np.float32],
    visible: NDArray[np.bool_],
) -> None:
    """Write samples in turn to the three runs of ``train``, ``val`` and ``test``.

    The layout has no flags: a joint that is not visible is written as (-1, -1), outside the image.

    Args:
        out: Folder without samples; made if it does not exist.
        images: (N, S, S, 3) RGB.
        keypoints_px: (N, 16, 2), pixel centres are integers.
        visible: (N, 16).
    """
    points = without_flags(keypoints_px, visible)
    points = points[:, _BODY_JOINTS]
    runs = [(split, run) for split in _SPLITS for run in range(_NUM_RUNS)]
    for place, (split, run) in enumerate(runs):
        records = []
        for row in range(place, len(images), len(runs)):
            name = f"{row:06d}.jpg"
            write_jpeg(out / split / f"run{run}" / name, images[row])
            records.append(record(name, points[row], images.shape[1]))
        (out / split).mkdir(parents=True, exist_ok=True)
        (out / split / f"run{run}.json").write_text(json.dumps(records))
