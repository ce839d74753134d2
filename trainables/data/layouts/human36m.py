"""Samples in tllib's layout of cropped Human3.6M; see :mod:`trainables.data.human36m`."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.layouts.flat_camera import record, without_flags
from trainables.data.layouts.jpeg import write_jpeg

_SUBJECTS = (1, 5, 6, 7, 8, 9, 11)


def write_human36m(
    out: Path,
    images: NDArray[np.uint8],
    keypoints_px: NDArray[np.float32],
    visible: NDArray[np.bool_],
) -> None:
    """Write samples to the seven subjects in turn.

    The layout has no flags: a joint that is not visible is written as (-1, -1), outside the image.

    Args:
        out: Folder without samples; made if it does not exist.
        images: (N, S, S, 3) RGB.
        keypoints_px: (N, 16, 2), pixel centres are integers.
        visible: (N, 16).
    """
    points = without_flags(keypoints_px, visible)
    (out / "annotations").mkdir(parents=True, exist_ok=True)
    for place, subject in enumerate(_SUBJECTS):
        folder = f"s_{subject:02d}_act_02_subact_01_ca_01"
        records = []
        for row in range(place, len(images), len(_SUBJECTS)):
            name = f"{folder}/{folder}_{row + 1:06d}.jpg"
            write_jpeg(out / "crop_images" / name, images[row])
            records.append(record(name, points[row], images.shape[1]))
        (out / "annotations" / f"keypoints2d_{subject}.json").write_text(json.dumps(records))
