"""Samples in the layout of FreiHAND; see :mod:`trainables.data.freihand`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.freihand import VERSIONS
from trainables.data.layouts.flat_camera import flat_camera, lifted
from trainables.data.layouts.jpeg import write_jpeg


def write_freihand(
    out: Path,
    images: NDArray[np.uint8],
    keypoints_px: NDArray[np.float32],
    visible: NDArray[np.bool_],
) -> None:
    """Write samples as training poses with the same image for all four versions.

    FreiHAND shows right hands and the rendered ones are left, so all are mirrored; the reader
    mirrors them again. The layout has no flags: a joint that is not visible is written outside the
    image. The parameters of the hand's mesh are zeros.

    Args:
        out: Folder without samples; made if it does not exist.
        images: (N, S, S, 3) RGB.
        keypoints_px: (N, 21, 2), pixel centres are integers.
        visible: (N, 21).
    """
    side = images.shape[1]
    camera = flat_camera(side)
    points = np.where(visible[..., None], keypoints_px, -1).astype(np.float64)
    points[..., 0] = side - 1 - points[..., 0]
    for version in range(len(VERSIONS)):
        for row, image in enumerate(images[:, :, ::-1]):
            number = version * len(images) + row
            write_jpeg(out / "training" / "rgb" / f"{number:08d}.jpg", image)
    lists: dict[str, list[Any]] = {
        "xyz": lifted(points, camera).tolist(),
        "K": [camera.tolist()] * len(images),
        "mano": [[[0.0] * 61]] * len(images),
    }
    for name, content in lists.items():
        (out / f"training_{name}.json").write_text(json.dumps(content))
