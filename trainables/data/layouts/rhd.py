"""Samples in the layout of RHD; see :mod:`trainables.data.rhd`."""

import pickle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainables.data.layouts.flat_camera import flat_camera, lifted
from trainables.data.rhd import ARCHIVE, JOINTS


def write_rhd(
    out: Path,
    images: NDArray[np.uint8],
    keypoints_px: NDArray[np.float32],
    visible: NDArray[np.bool_],
) -> None:
    """Write samples as the left hands of the training set; their right hands are far outside.

    Masks are not written. Hands that are too small or have too few visible joints are written,
    but the reader leaves them out.

    Args:
        out: Folder without samples; made if it does not exist.
        images: (N, S, S, 3) RGB.
        keypoints_px: (N, 21, 2), pixel centres are integers.
        visible: (N, 21).
    """
    folder = out / ARCHIVE / "training"
    (folder / "color").mkdir(parents=True)
    side = images.shape[1]
    camera = flat_camera(side)
    joints = np.full((len(images), 42, 3), -float(side))
    joints[..., 2] = 0
    joints[:, JOINTS, :2] = keypoints_px
    joints[:, JOINTS, 2] = visible
    xyz = lifted(joints[..., :2], camera)
    entries = {}
    for row, image in enumerate(images):
        Image.fromarray(image).save(folder / "color" / f"{row:05d}.png")
        entries[row] = {"uv_vis": joints[row], "xyz": xyz[row], "K": camera}
    (folder / "anno_training.pickle").write_bytes(pickle.dumps(entries, protocol=2))
