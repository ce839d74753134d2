"""Leeds Sports Pose (LSP) and its extended training set (LSPET) in their published layouts.

Both keep a ``joints.mat`` beside ``images/``. The file names and keys agree, the content differs:

========  ================  ===========  ============================
data set  axes of joints    images       third value of a joint
========  ================  ===========  ============================
LSP       3 x 14 x N        im0001.jpg   1 = occluded
LSPET     14 x 3 x N        im00001.jpg  1 = visible
========  ================  ===========  ============================

The reader checks the layout instead of trusting the file's name; :mod:`trainables.data.flags`
checks the flags. Coordinates count pixels from 1, in the frame in which the image is stored,
whatever its EXIF orientation. (Johnson and Everingham 2010, 2011.)
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray

from trainables.data.flags import flag_problems
from trainables.data.frame import in_frame
from trainables.data.photographs import Header, image_problems, read_headers
from trainables.data.problems import DatasetError, Problem
from trainables.data.skeleton import BODY16

_SLOTS = (0, 1, 2, 3, 4, 5, -1, -1, 12, 13, 6, 7, 8, 9, 10, 11)
"""Leeds joint behind each of the sixteen body joints; -1 where Leeds has none."""

_JOINT_NAMES = tuple(
    BODY16.joint_names[_SLOTS.index(joint)].replace("_", " ") for joint in range(14)
)
"""In the order of Leeds."""


@dataclass(frozen=True)
class LeedsAnnotations:
    """Labels of a Leeds data set in the sixteen-joint order.

    Attributes:
        ids: N sample ids.
        image_paths: N files, in the order of the annotations.
        keypoints_px: (N, 16, 2) float32, finite, in pixels of the original image; integers are
            pixel centres. Meaningless where not visible.
        visible: (N, 16) bool; False where unlabelled, occluded, absent from Leeds or outside
            the image on any side.
    """

    ids: tuple[str, ...]
    image_paths: tuple[Path, ...]
    keypoints_px: NDArray[np.float32]
    visible: NDArray[np.bool_]


@dataclass(frozen=True)
class LeedsScan:
    """Everything readable of a data set, even if parts of it are wrong.

    Attributes:
        labels: As far as they can be read.
        headers: For each of the N images its header or the reason why it cannot be used, see
            :func:`trainables.data.photographs.read_headers`.
        problems: What is wrong with the labels.
    """

    labels: LeedsAnnotations
    headers: Sequence[Header | str]
    problems: Sequence[Problem]


def read_leeds(name: str, root: Path, limit: int | None = None) -> LeedsAnnotations:
    """Read the annotations of ``lsp`` or ``lspet``, and the size of each image from its header.

    Args:
        name: ``lsp`` or ``lspet``.
        root: Folder with ``joints.mat`` and ``images/``.
        limit: Read only this many images, from the first on; None for all.

    Raises:
        FileNotFoundError: If the folder or ``joints.mat`` is missing.
        ValueError: If ``joints.mat`` cannot be read or does not have this data set's layout.
        DatasetError: If flags, coordinates or images cannot be used; lists all of them.
    """
    scan = scan_leeds(name, root, limit)
    problems = [*scan.problems, *image_problems(scan.labels.image_paths, scan.headers)]
    if problems:
        raise DatasetError(problems)
    return scan.labels


def scan_leeds(name: str, root: Path, limit: int | None = None) -> LeedsScan:
    """Read a data set as :func:`read_leeds` does, but collect the problems.

    Raises:
        FileNotFoundError, ValueError: As :func:`read_leeds`, if nothing can be read.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder")
    joints = _load_joints(root / "joints.mat")
    if name == "lsp":
        _require_layout(root, name, joints, axis=0, other="lspet")
        joints = joints.transpose(2, 1, 0)  # (N, 14, 3)
    elif name == "lspet":
        _require_layout(root, name, joints, axis=1, other="lsp")
        joints = joints.transpose(2, 0, 1)  # (N, 14, 3)
    else:
        raise ValueError(f"name must be lsp or lspet, got {name!r}")
    problems = flag_problems(name, joints)
    joints = joints[:limit]
    digits = 4 if name == "lsp" else 5
    paths = tuple(root / "images" / f"im{i + 1:0{digits}d}.jpg" for i in range(len(joints)))
    flagged: NDArray[np.bool_] = np.equal(joints[..., 2], 0 if name == "lsp" else 1)
    with np.errstate(over="ignore"):
        keypoints = (joints[..., :2] - 1).astype(np.float32)  # Leeds counts pixels from 1
    is_finite = np.asarray(np.isfinite(keypoints).all(-1))
    # With an inverted flag, joints without coordinates count as visible: report the flag alone.
    problems = problems or _coordinate_problems(joints, flagged & ~is_finite, paths)
    problems = [Problem(f"{root / 'joints.mat'}: {p.sentence}", p.cases) for p in problems]
    headers = read_headers(paths)
    width, height = (  # (N, 1) each; infinite for an image without a readable header
        np.array([[getattr(header, side, np.inf)] for header in headers]).reshape(-1, 1)
        for side in ("width", "height")
    )
    is_visible = flagged & in_frame(keypoints, width, height)
    slots = np.array(_SLOTS)
    labels = LeedsAnnotations(
        ids=tuple(f"{name}/{path.stem}" for path in paths),
        image_paths=paths,
        keypoints_px=np.where(is_finite[..., None], keypoints, 0)[:, slots],
        visible=is_visible[:, slots] & (slots >= 0),
    )
    return LeedsScan(labels, headers, problems)


def leeds_fingerprint(root: Path) -> str:
    """16 hex digits that change with ``joints.mat`` or the name, size or time of an image.

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
    if joints.ndim != 3 or joints.dtype.kind not in "iuf":
        raise ValueError(f"{path}: joints must be three-dimensional and real")
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


def _coordinate_problems(
    joints: NDArray[np.float64], is_bad: NDArray[np.bool_], paths: Sequence[Path]
) -> list[Problem]:
    """The problem of joints (N, 14) that are flagged visible but have no finite coordinates."""
    if not is_bad.any():
        return []
    cases = [
        f"{paths[i].name}, {_JOINT_NAMES[j]}: ({joints[i, j, 0]:g}, {joints[i, j, 1]:g})"
        for i, j in np.argwhere(is_bad)
    ]
    sentence = (
        f"{len(cases):,} of {is_bad.size:,} joints are flagged visible and have no finite "
        "coordinates; only joints that are flagged otherwise may have none"
    )
    return [Problem(sentence, tuple(cases))]
