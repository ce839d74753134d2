"""What a user brings for the drawn people: photographs behind them, poses for them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.photographs import ALLOWED, read_headers, read_image
from trainables.data.skeleton import BODY16

_ENDINGS = (".jpg", ".jpeg", ".png")
_SHARE = (0.25, 0.5)
"""Side of a background's crop over the shorter side of its photograph."""
_ZOOM = (1.0, 2.0)
"""Magnification of a crop over that of a whole photograph."""
_BONES = (
    (9, 8), (13, 12), (3, 2), (12, 11), (11, 10), (13, 14), (14, 15), (2, 1), (1, 0), (3, 4),
    (4, 5),
)  # fmt: skip
"""Joints whose direction from each other turns the bones of a body."""


def photographs(folder: Path) -> list[Path]:
    """The images directly in a folder, sorted.

    Raises:
        OSError: If the folder cannot be listed.
        ValueError: If there are none.
    """
    found = [path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS]
    if not found:
        raise ValueError(f"{folder} has no image; it must hold {', '.join(_ENDINGS)} files")
    return sorted(found)


def check_photographs(paths: Sequence[Path]) -> None:
    """Read the headers of images.

    Raises:
        ValueError: If some cannot be used; names the first, its folder and their number.
    """
    headers = read_headers(paths)
    bad = [
        (path, header if isinstance(header, str) else "damaged or cut short")
        for path, header in zip(paths, headers, strict=True)
        if isinstance(header, str) or not header.has_end
    ]
    if bad:
        path, reason = bad[0]
        raise ValueError(
            f"{len(bad)} of {len(paths)} images of {path.parent} cannot be used, the first is "
            f"{path.name} ({reason}); each must be {ALLOWED}"
        )


def photographic_backgrounds(
    paths: Sequence[Path], size: int, num: int, rng: np.random.Generator
) -> Tensor:
    """Backgrounds (num, 3, size, size) from random photographs, RGB in [0, 1].

    Each is a crop that touches an edge of its photograph, as people mostly stand in the middle,
    about as large as it would be if the whole photograph filled the image, and reflected at its
    sides to fill the rest.

    Raises:
        OSError, ValueError: If a photograph cannot be read.
    """
    crops = np.empty((num, size, size, 3), np.uint8)
    for crop, index in zip(crops, rng.integers(len(paths), size=num), strict=True):
        image = read_image(paths[index])
        height, width = image.shape[:2]
        side = max(1, int(min(height, width) * rng.uniform(*_SHARE)))
        free = np.array([height - side, width - side])
        corner = np.rint(free * rng.random(2)).astype(int)
        axis = rng.integers(2)
        corner[axis] = rng.choice([0, free[axis]])
        part = image[corner[0] : corner[0] + side, corner[1] : corner[1] + side]
        shown = max(8, int(size * side / max(height, width) * rng.uniform(*_ZOOM)))
        part = cv2.resize(part, (shown, shown), interpolation=cv2.INTER_AREA)
        before = rng.integers(0, max(1, size - shown + 1), 2)
        after = np.maximum(0, size - shown - before)
        sides = [*zip(before, after, strict=True), (0, 0)]
        crop[:] = np.pad(part, sides, mode="symmetric")[:size, :size, ::-1]
    return torch.from_numpy(crops).permute(0, 3, 1, 2) / 255


def read_poses(path: Path) -> NDArray[np.float64]:
    """Poses (N, 16, 3) in any unit, in the order of :data:`trainables.data.skeleton.BODY16`.

    x points right, y down and z away from the camera.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no such array, or see :func:`check_poses`.
    """
    try:
        poses = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path} must be a .npy file of numbers: {error}") from error
    wanted = "an array (N, 16, 3) of finite numbers"
    shape = getattr(poses, "shape", None)
    if shape is None or len(shape) != 3 or shape[1:] != (16, 3) or shape[0] == 0:
        raise ValueError(f"{path} must hold {wanted}, got the shape {shape}")
    if poses.dtype.kind not in "fiu" or not np.isfinite(poses).all():
        raise ValueError(f"{path} must hold {wanted}")
    poses = np.asarray(poses, np.float64)
    check_poses(path, poses)
    return poses


def check_poses(path: Path, poses: NDArray[np.float64]) -> None:
    """Refuse poses (N, 16, 3) of a file in which a limb has no length.

    Raises:
        ValueError: If two neighbouring joints of a pose are one point.
    """
    first, second = np.array(_BONES).T
    is_point = np.linalg.norm(poses[:, first] - poses[:, second], axis=2) < 1e-6
    if is_point.any():
        pose, bone = np.argwhere(is_point)[0]
        names = " and ".join(BODY16.joint_names[joint] for joint in _BONES[bone])
        raise ValueError(f"{path}: {names} of pose {pose} are one point, so no limb can be drawn")


def material_digest(backgrounds: Sequence[Path], files: Sequence[Path]) -> str:
    """16 hex digits that change with the name, size or time of a photograph, or a file's bytes.

    Raises:
        OSError: If one cannot be read.
    """
    digest = hashlib.sha256()
    for path in backgrounds:
        status = path.stat()
        digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
