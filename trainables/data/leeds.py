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

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray

from trainables.config.data_options import LspOptions
from trainables.data.annotations import Annotations, Scan, scanned
from trainables.data.domain import ImageRequest
from trainables.data.flags import flag_problems
from trainables.data.photograph_domain import PhotographDomain
from trainables.data.problems import Problem
from trainables.data.skeleton import BODY16

_SLOTS = (0, 1, 2, 3, 4, 5, -1, -1, 12, 13, 6, 7, 8, 9, 10, 11)
"""Leeds joint behind each of the sixteen body joints; -1 where Leeds has none."""

_JOINT_NAMES = tuple(
    BODY16.joint_names[_SLOTS.index(joint)].replace("_", " ") for joint in range(14)
)
"""In the order of Leeds."""


_NUM_TRAIN = 1_000
"""The publisher trains on the first thousand images of LSP and tests on the others."""


def scan_leeds(
    name: str, root: Path, limit: int | None = None, options: LspOptions | None = None
) -> Scan:
    """Read the annotations of ``lsp`` or ``lspet``, and the size of each image from its header.

    Args:
        name: ``lsp`` or ``lspet``.
        root: Folder with ``joints.mat`` and ``images/``.
        limit: Read at most this many images, from all over the data set; None for all.
        options: Of LSP: whose split to take. None for the defaults, and for LSPET.

    Raises:
        FileNotFoundError: If the folder or ``joints.mat`` is missing.
        ValueError: If ``joints.mat`` cannot be read or does not have this data set's layout.
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
    digits = 4 if name == "lsp" else 5
    paths = tuple(root / "images" / f"im{i + 1:0{digits}d}.jpg" for i in range(len(joints)))
    flagged: NDArray[np.bool_] = np.equal(joints[..., 2], 0 if name == "lsp" else 1)
    with np.errstate(over="ignore"):
        keypoints = (joints[..., :2] - 1).astype(np.float32)  # Leeds counts pixels from 1
    is_finite = np.asarray(np.isfinite(keypoints).all(-1))
    # With an inverted flag, joints without coordinates count as visible: report the flag alone.
    problems = problems or _coordinate_problems(joints, flagged & ~is_finite, paths)
    problems = [Problem(f"{root / 'joints.mat'}: {p.sentence}", p.cases) for p in problems]
    slots = np.array(_SLOTS)
    published = ("train" if i < _NUM_TRAIN else "test" for i in range(len(paths)))
    labels = Annotations(
        ids=tuple(f"{name}/{path.stem}" for path in paths),
        image_paths=paths,
        keypoints_px=np.where(is_finite[..., None], keypoints, 0)[:, slots],
        visible=flagged[:, slots] & (slots >= 0),
        published=tuple(published) if options and options.split == "reference" else None,
    )
    if limit is not None:
        labels = labels.spread(limit)
    return scanned(labels, problems, str(root / "joints.mat"))


def _load_joints(path: Path) -> NDArray[np.float64]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        with path.open("rb") as file:
            content = scipy.io.loadmat(file)
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


def _domain(name: str) -> PhotographDomain:
    def scan(request: ImageRequest) -> Scan:
        return scan_leeds(name, request.folder, request.num, request.options)

    return PhotographDomain(scan, ("joints.mat",), ("images/*.jpg",))


LSP, LSPET = _domain("lsp"), _domain("lspet")
