"""Rendered Hand Pose (RHD) in its published layout: 320 x 320 renderings of people's two hands.

``RHD_published_v2/{training,evaluation}/color/%05d.png``, and beside ``color`` the file
``anno_training.pickle`` or ``anno_evaluation.pickle``: a dictionary from the image's number to
``uv_vis`` (42 x 3: x, y, visible; the left hand's joints first), ``xyz`` and ``K``, of which only
``uv_vis`` is read. Coordinates are taken as pixels counted from 0, as the reference does; the
publisher does not say whether they mean a pixel's centre or corner. (Zimmermann and Brox 2017.)

A hand becomes a sample by the rules of tllib: see :func:`_reason`. tllib crops every hand to a
square of 1.5 times the longer side of the box around its 21 joints (``scale_box``). Here
``data.<role>_crop: person`` does the same with the box of the joints that are visible, and
``image`` keeps the whole image, in which another hand may be seen too. Right hands are mirrored,
so that all are left hands, also as in tllib.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.config.data_options import RhdOptions
from trainables.data.annotations import Annotations, Scan, scanned
from trainables.data.array_pickle import read_array_pickle
from trainables.data.crop import person_window
from trainables.data.domain import ImageRequest
from trainables.data.label_files import array_of, data_folder, require_kind
from trainables.data.photograph_domain import PhotographDomain
from trainables.data.problems import Problem
from trainables.data.skeleton import HAND21

ARCHIVE = "RHD_published_v2"
JOINTS = (0, 4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17)
"""RHD's joint of a hand behind each of ours; RHD counts a finger's joints from the tip."""

_SETS = {"training": "train", "evaluation": "test"}
"""The publisher's folders, and which split each is."""
_SIDE_PX = 320
_SMALL, _HIDDEN, _OVERLAPPED = (
    "hands whose square of 1.5 times their size is below 66 pixels",
    "hands with fewer than 17 visible joints",
    "hands whose square is covered by the other hand to 30% or more",
)


def _scan(request: ImageRequest) -> Scan:
    options = request.options or RhdOptions()
    root = data_folder(request, ARCHIVE)
    sets = [name for name in _SETS if (root / name).is_dir()]
    if not sets:
        raise FileNotFoundError(f"{root} has neither a folder training nor evaluation")
    problems: list[Problem] = []
    hands: list[tuple[str, Path, NDArray[np.float64], str]] = []
    published: list[str] = []
    left_out: dict[str, int] = {}
    for name in sets:
        for number, joints in _read_set(root / name / f"anno_{name}.pickle", problems).items():
            path = root / name / "color" / f"{number:05d}.png"
            both = joints.reshape(2, 21, 3)[:, JOINTS]
            for hand, other, side in zip(both, both[::-1], ("left", "right"), strict=True):
                reason = _reason(hand, other)
                if reason:
                    left_out[reason] = left_out.get(reason, 0) + 1
                else:
                    hands.append((f"rhd/{name}/{number:05d}#{side}", path, hand, side))
                    published.append(_SETS[name])
    labelled = np.array([hand for _, _, hand, _ in hands], np.float32).reshape(-1, 21, 3)
    visible = labelled[..., 2] == 1
    labels = Annotations(
        ids=tuple(hand[0] for hand in hands),
        image_paths=tuple(hand[1] for hand in hands),
        keypoints_px=labelled[..., :2],
        visible=visible,
        mirrored=np.array([side == "right" for *_, side in hands], dtype=np.bool_),
        skeleton=HAND21,
        left_out=left_out,
        published=tuple(published) if options.split == "reference" else None,
    )
    return scanned(labels.spread(request.num), problems, str(root))


def _read_set(path: Path, problems: list[Problem]) -> dict[int, NDArray[np.float64]]:
    """Number of each image to its ``uv_vis``; wrong entries become a problem."""
    content = read_array_pickle(path)
    require_kind(path, content, dict)
    found: dict[int, NDArray[np.float64]] = {}
    cases = []
    for number, entry in content.items():
        try:
            found[_number(number)] = _uv_vis(entry)
        except ValueError as error:
            cases.append(f"{number}: {error}")
    if cases:
        sentence = (
            f"{path}: {len(cases):,} of {len(content):,} entries are wrong; each must have an "
            "image's number as its key, and uv_vis of 42 joints with x, y and 0 or 1"
        )
        problems.append(Problem(sentence, tuple(cases)))
    return found


def _number(key: object) -> int:
    if not isinstance(key, int) or key < 0:
        raise ValueError("the key is not a number of an image")
    return key


def _uv_vis(entry: object) -> NDArray[np.float64]:
    if not isinstance(entry, dict) or "uv_vis" not in entry:
        raise ValueError("has no uv_vis")
    try:
        joints = array_of(entry["uv_vis"], 42, 3)
    except ValueError as error:
        raise ValueError(f"uv_vis {error}") from error
    flags = joints[:, 2]
    if not np.isin(flags, (0, 1)).all():
        wrong = flags[~np.isin(flags, (0, 1))][0]
        raise ValueError(f"a joint of uv_vis is flagged {wrong:g}")
    return joints


def _reason(hand: NDArray[np.float64], other: NDArray[np.float64]) -> str | None:
    """Why a hand (21, 3) is no sample, given the other hand of the image; None if it is one.

    The hand's square has 1.5 times the longer side of its box, and both boxes contain their joints
    whether visible or not. Squares include their last pixel.
    """
    low, high = hand[:, :2].min(0), hand[:, :2].max(0)
    box = np.concatenate([low, high]).astype(np.float32)
    left, top, side, _ = person_window(box, 1.5, _SIDE_PX, _SIDE_PX)
    if side - 1 <= 64:
        return _SMALL
    if hand[:, 2].sum() <= 16:
        return _HIDDEN
    first = np.maximum((left, top), other[:, :2].min(0))
    last = np.minimum((left + side - 1, top + side - 1), other[:, :2].max(0))
    shared = np.prod(np.maximum(last - first + 1, 0))
    return _OVERLAPPED if shared >= 0.3 * side**2 else None


RHD = PhotographDomain(_scan, ("**/anno_*.pickle",), ("**/color/*.png",))
