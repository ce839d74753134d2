"""Samples in tllib's layout of H3D; see :mod:`trainables.data.h3d`."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.h3d import ARCHIVE
from trainables.data.layouts.flat_camera import record, without_flags
from trainables.data.layouts.jpeg import write_jpeg


def write_h3d(
    out: Path,
    images: NDArray[np.uint8],
    keypoints_px: NDArray[np.float32],
    visible: NDArray[np.bool_],
) -> None:
    """Write samples as hands without an object.

    The layout has no flags: a joint that is not visible is written as (-1, -1), outside the image.

    Args:
        out: Folder without samples; made if it does not exist.
        images: (N, S, S, 3) RGB.
        keypoints_px: (N, 21, 2), pixel centres are integers.
        visible: (N, 21).
    """
    points = without_flags(keypoints_px, visible)
    entries = []
    for row, image in enumerate(images):
        name = f"part{row % 5 + 1}/{row:06d}.jpg"
        write_jpeg(out / ARCHIVE / name, image)
        entries.append(record(name, points[row], images.shape[1]) | {"without_object": 1})
    (out / ARCHIVE / "annotation.json").write_text(json.dumps(entries))
