"""Leeds Sports Pose (LSP) and its extended training set (LSPET) in their published layouts.

Both keep a ``joints.mat`` beside ``images/``; same name, same key, different meaning:

========  ================  ===========  ============================
data set  axes of joints    images       third value of a joint
========  ================  ===========  ============================
LSP       3 x 14 x N        im0001.jpg   1 = occluded
LSPET     14 x 3 x N        im00001.jpg  1 = visible
========  ================  ===========  ============================

The reader asserts what it can of this rather than trusting the file's name. (Johnson and
Everingham 2010, 2011. The flag of LSPET was checked on its 10,000 images: joints flagged 0
have no usable coordinates.)
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import scipy.io
from numpy.typing import NDArray

_SLOTS = (0, 1, 2, 3, 4, 5, -1, -1, 12, 13, 6, 7, 8, 9, 10, 11)
"""Leeds joint behind each of the sixteen body joints; -1 where Leeds has none."""

_INVERSE_SLOTS = tuple(_SLOTS.index(joint) for joint in range(14))


@dataclass(frozen=True)
class LeedsAnnotations:
    """Labels of a Leeds data set in the sixteen-joint order.

    Attributes:
        image_paths: N files, in the order of the annotations.
        keypoints_px: (N, 16, 2) float32 in the pixels of the original image.
        visible: (N, 16) bool; False where unlabelled, occluded or absent from Leeds.
    """

    image_paths: tuple[Path, ...]
    keypoints_px: NDArray[np.float32]
    visible: NDArray[np.bool_]


def read_leeds(name: str, root: Path, limit: int | None = None) -> LeedsAnnotations:
    """Read the annotations of ``lsp`` or ``lspet``; images are only checked to exist.

    Args:
        name: ``lsp`` or ``lspet``.
        root: Folder with ``joints.mat`` and ``images/``.
        limit: Read the first so many images; None for all.

    Raises:
        FileNotFoundError: If the folder, ``joints.mat`` or an image is missing.
        ValueError: If ``joints.mat`` cannot be read or has not the layout of this data set.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder")
    joints = _load_joints(root / "joints.mat")
    if name == "lsp":
        _require_layout(root, name, joints, axis=0, other="lspet")
        joints = joints.transpose(2, 1, 0)  # (N, 14, 3)
        visible = joints[..., 2] < 0.5
    elif name == "lspet":
        _require_layout(root, name, joints, axis=1, other="lsp")
        joints = joints.transpose(2, 0, 1)  # (N, 14, 3)
        visible = joints[..., 2] > 0.5
        _require_flag_means_visible(root, joints)
    else:
        raise ValueError(f"name must be lsp or lspet, got {name!r}")
    joints, visible = joints[:limit], visible[:limit]
    digits = 4 if name == "lsp" else 5
    paths = tuple(root / "images" / f"im{i + 1:0{digits}d}.jpg" for i in range(len(joints)))
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing, though joints.mat has its joints")
    slots = np.array(_SLOTS)
    in_image = (joints[..., :2] >= 0).all(-1)
    return LeedsAnnotations(
        image_paths=paths,
        # Leeds counts pixels from 1.
        keypoints_px=(joints[:, slots, :2] - 1).astype(np.float32),
        visible=(visible & in_image)[:, slots] & (slots >= 0),
    )


def leeds_fingerprint(root: Path) -> str:
    """16 hex digits that change with ``joints.mat`` or with an image's name, size or time.

    Raises:
        FileNotFoundError: If the folder or ``joints.mat`` is missing.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder")
    if not (root / "joints.mat").is_file():
        raise FileNotFoundError(f"{root / 'joints.mat'} is missing")
    digest = hashlib.sha256((root / "joints.mat").read_bytes())
    for path in sorted((root / "images").glob("*.jpg")):
        status = path.stat()
        digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _load_joints(path: Path) -> NDArray[np.float64]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        content = scipy.io.loadmat(path)
    except Exception as error:  # scipy raises a dozen types on damaged files
        raise ValueError(f"{path} is not a readable MATLAB file: {error}") from error
    if "joints" not in content:
        raise ValueError(f"{path} has no array named joints")
    joints = np.asarray(content["joints"])
    if joints.ndim != 3 or joints.dtype.kind not in "iuf" or not np.isfinite(joints).all():
        raise ValueError(f"{path}: joints must be three-dimensional, real and finite")
    return joints.astype(np.float64)


def _require_layout(
    root: Path, name: str, joints: NDArray[np.float64], axis: int, other: str
) -> None:
    expected = (3, 14) if axis == 0 else (14, 3)
    if joints.shape[:2] == expected:
        return
    hint = f"; this is the layout of {other}" if joints.shape[:2] == expected[::-1] else ""
    raise ValueError(
        f"{root / 'joints.mat'}: joints of {name} must have shape "
        f"{expected[0]} x {expected[1]} x N, got {' x '.join(map(str, joints.shape))}{hint}"
    )


def _require_flag_means_visible(root: Path, joints: NDArray[np.float64]) -> None:
    """LSPET's unlabelled joints have negative coordinates; flag 0 must hold nearly all."""
    negative = (joints[..., :2] < 0).any(-1)
    flagged = joints[..., 2] > 0.5
    wrong = int((negative & flagged).sum())
    if negative.any() and wrong > 0.01 * int(negative.sum()):
        raise ValueError(
            f"{root / 'joints.mat'}: {wrong} of {int(negative.sum())} joints without "
            f"coordinates are flagged visible; this is not the flag of lspet"
        )


def load_padded(
    paths: Sequence[Path], keypoints_px: NDArray[np.float32], image_size: int, num_threads: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Decode images, scale the longer side to ``image_size`` and pad the shorter with black.

    Args:
        paths: N image files.
        keypoints_px: (N, K, 2) pixels of the originals.
        image_size: Side S of the result.
        num_threads: Decoding threads; OpenCV releases the interpreter lock.

    Returns:
        (N, S, S, 3) RGB images and (N, K, 2) keypoints moved with them.

    Raises:
        ValueError: If a file cannot be decoded; the message names it.
    """
    images = np.zeros((len(paths), image_size, image_size, 3), np.uint8)
    moved = np.empty_like(keypoints_px)

    def load(i: int) -> None:
        image = _read_image(paths[i])
        height, width = image.shape[:2]
        scale = image_size / max(height, width)
        new_width, new_height = (max(1, round(side * scale)) for side in (width, height))
        shrunk = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_AREA)
        left, top = (image_size - new_width) // 2, (image_size - new_height) // 2
        images[i, top : top + new_height, left : left + new_width] = shrunk[..., ::-1]
        ratio = np.array([new_width / width, new_height / height], np.float32)
        moved[i] = (keypoints_px[i] + 0.5) * ratio - 0.5 + np.array([left, top], np.float32)

    with ThreadPoolExecutor(num_threads) as pool:
        list(pool.map(load, range(len(paths))))
    return images, moved


def _read_image(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) image of a file in OpenCV's order: blue, green, red."""
    data = np.fromfile(path, np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error as error:  # for some damage OpenCV raises, for some it returns nothing
        raise ValueError(f"{path} is not a readable image: {error}") from error
    if image is None:
        raise ValueError(f"{path} is not a readable image")
    return np.asarray(image)


def write_leeds(
    name: str,
    root: Path,
    images: NDArray[np.uint8],
    keypoints_px: NDArray[np.float32],
    visible: NDArray[np.bool_],
) -> None:
    """Write samples in the published layout of ``lsp`` or ``lspet``, to test readers with.

    Args:
        name: ``lsp`` or ``lspet``.
        root: Folder to create.
        images: (N, H, W, 3) RGB.
        keypoints_px: (N, 16, 2).
        visible: (N, 16); pelvis and thorax have no place in Leeds and are dropped.
    """
    slots = list(_INVERSE_SLOTS)
    joints = np.empty((len(images), 14, 3))
    seen = visible[:, slots]
    joints[..., :2] = keypoints_px[:, slots] + 1
    if name == "lsp":
        joints[..., 2] = ~seen
        axes = (2, 1, 0)
    else:
        joints[..., :2][~seen] = -1
        joints[..., 2] = seen
        axes = (1, 2, 0)
    (root / "images").mkdir(parents=True)
    scipy.io.savemat(root / "joints.mat", {"joints": joints.transpose(axes)})
    digits = 4 if name == "lsp" else 5
    for i, image in enumerate(images):
        done, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]))
        if not done:
            raise ValueError(f"image {i} cannot be encoded")
        data.tofile(root / "images" / f"im{i + 1:0{digits}d}.jpg")
