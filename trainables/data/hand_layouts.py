"""Writes samples of hands in the layouts of RHD, H3D and FreiHAND.

For tests of the readers, and for trying a study's settings before the data sets are there. What a
layout has no place for is lost: H3D and FreiHAND count all joints as visible. Masks and meshes are
not written. Each function takes square images (N, S, S, 3) uint8 RGB, keypoints_px (N, 21, 2)
and visible (N, 21), and raises FileExistsError if the data set's folder is already there.
"""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainables.data import freihand, h3d, rhd

_QUALITY = 95
"""Of JPEG files: artefacts below the noise of photographs."""


def write_rhd(
    out: Path,
    images: NDArray[np.uint8],
    keypoints_px: NDArray[np.float32],
    visible: NDArray[np.bool_],
) -> None:
    """Write left hands as RHD's training set, as the rendered ones are; the right is far outside.

    Reading leaves out hands that are too small or too much hidden, see
    :mod:`trainables.data.rhd`.
    """
    folder = out / rhd.ARCHIVE / "training"
    (folder / "color").mkdir(parents=True)
    side = images.shape[1]
    camera = _camera(side)
    entries = {}
    for number, (image, points, seen) in enumerate(
        zip(images, keypoints_px, visible, strict=True)
    ):
        joints = np.full((42, 3), -float(side))
        joints[:, 2] = 0
        joints[list(rhd.JOINTS), :2] = points
        joints[list(rhd.JOINTS), 2] = seen
        entries[number] = {"uv_vis": joints, "xyz": _lifted(joints[:, :2], camera), "K": camera}
        Image.fromarray(image).save(folder / "color" / f"{number:05d}.png")
    (folder / "anno_training.pickle").write_bytes(pickle.dumps(entries, protocol=2))


def write_h3d(
    out: Path,
    images: NDArray[np.uint8],
    keypoints_px: NDArray[np.float32],
    visible: NDArray[np.bool_],
) -> None:
    """Write hands without an object."""
    folder = out / h3d.ARCHIVE
    (folder / "part1").mkdir(parents=True)
    camera = _camera(images.shape[1])
    entries = []
    for number, (image, points) in enumerate(zip(images, keypoints_px, strict=True)):
        name = f"part1/{number:06d}.jpg"
        Image.fromarray(image).save(folder / name, quality=_QUALITY)
        entries.append(
            {
                "name": name,
                "keypoint2d": points.tolist(),
                "keypoint3d": _lifted(points, camera).tolist(),
                "intrinsic_matrix": camera.tolist(),
                "without_object": 1,
            }
        )
    (folder / "annotation.json").write_text(json.dumps(entries))


def write_freihand(
    out: Path,
    images: NDArray[np.uint8],
    keypoints_px: NDArray[np.float32],
    visible: NDArray[np.bool_],
) -> None:
    """Write hands with the same image for all four versions.

    FreiHAND shows right hands and the rendered ones are left, so images are mirrored; reading
    mirrors them again. The parameters of a hand's mesh are zeros.
    """
    folder = out / "training" / "rgb"
    folder.mkdir(parents=True)
    side = images.shape[1]
    camera = _camera(side)
    points = np.array(keypoints_px, np.float64)
    points[..., 0] = side - 1 - points[..., 0]
    for number in range(len(freihand.VERSIONS) * len(images)):
        image = np.ascontiguousarray(images[number % len(images), :, ::-1])
        Image.fromarray(image).save(folder / f"{number:08d}.jpg", quality=_QUALITY)
    lists: dict[str, list[Any]] = {
        "xyz": [_lifted(hand, camera).tolist() for hand in points],
        "K": [camera.tolist()] * len(images),
        "mano": [[[0.0] * 61]] * len(images),
    }
    for name, content in lists.items():
        (out / f"training_{name}.json").write_text(json.dumps(content))


def _camera(side: int) -> NDArray[np.float64]:
    return np.array([[side, 0, side / 2], [0, side, side / 2], [0, 0, 1.0]])


def _lifted(points: NDArray[Any], camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """Joints (J, 3) one metre before the camera that are seen at some pixels (J, 2)."""
    lifted = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    return np.asarray(lifted @ np.linalg.inv(camera).T)
