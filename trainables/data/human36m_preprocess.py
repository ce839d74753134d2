"""Crops Human3.6M around its people and projects their joints, as tllib does.

python -m trainables.data.human36m_preprocess --root DIR

Reads the layout of Moon et al. (2019):

::

    annotations/Human36M_subject<s>_camera.json    {camera: {R 3x3, t 3 mm, f 2, c 2 px}}
    annotations/Human36M_subject<s>_data.json      {images: [{file_name, cam_idx, action_idx,
                                                    subaction_idx, frame_idx, ...}, ...]}
    annotations/Human36M_subject<s>_joint_3d.json  {action: {subaction: {frame: 17 x 3 mm}}}
    images/<file_name>

Writes what :mod:`trainables.data.human36m` reads, for every fifth image. A run that was killed can
be repeated: whole crops are kept. Crops are scaled by area, not as in tllib by Pillow's default
filter, and keypoints refer to pixel centres.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.crop import cropped, moved, person_window
from trainables.data.human36m import SUBJECTS, label_file
from trainables.data.json_labels import read_json
from trainables.data.label_files import array_of
from trainables.data.layouts.jpeg import encoded_jpeg
from trainables.data.photographs import read_header, read_image
from trainables.data.problems import DatasetError, Problem

STEP = 5
"""Every fifth image is used."""
SIDE = 512
"""Side of the crops in pixels."""
SCALE = 1.5
"""Side of the square around a person over the longer side of the box of the joints."""

_JOINTS = (3, 2, 1, 4, 5, 6, 0, 8, 8, 10, 16, 15, 14, 11, 12, 13)
"""Joint of the files behind each of the sixteen body joints; the thorax is computed."""
_THORAX, _SHOULDERS = 7, (12, 13)


@dataclass(frozen=True)
class _Picture:
    """An image with its projected joints: pixels (16, 2), depths in mm (16,), camera (3, 3)."""

    name: str
    keypoints_px: NDArray[np.float64]
    depths: NDArray[np.float64]
    camera: NDArray[np.float64]


def preprocess(root: Path, num_threads: int, say: Callable[[str], None]) -> None:
    """Write the crops and keypoints of all subjects.

    Args:
        root: Folder of the data set.
        num_threads: Images that are worked on at a time.
        say: Gets a line about the progress, for each image.

    Raises:
        DatasetError: If images cannot be used; names those of one subject.
        OSError, ValueError: If a file is missing, damaged or cannot be written.
    """
    raw = [path for subject in SUBJECTS for path in _raw_files(root, subject)]
    missing = [path.name for path in raw if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{root / 'annotations'} lacks {', '.join(missing)}")
    for subject in SUBJECTS:
        pictures = list(_pictures(root, subject))
        records, cases = [], []
        with ThreadPoolExecutor(num_threads) as pool:
            try:
                for done, found in enumerate(pool.map(partial(_crop, root), pictures), start=1):
                    if isinstance(found, str):
                        cases.append(found)
                    else:
                        records.append(found)
                    say(f"subject {subject}: {done:,} of {len(pictures):,} images")
            finally:
                pool.shutdown(cancel_futures=True)  # do not finish all of them after an error
        if cases:
            sentence = (
                f"{root / 'images'}: {len(cases):,} images of subject {subject} cannot be used"
            )
            raise DatasetError([Problem(sentence, tuple(cases))])
        _write(label_file(root, subject), json.dumps(records).encode())


def _raw_files(root: Path, subject: int) -> list[Path]:
    """Files of the cameras, of the images and of the joints."""
    return [
        root / "annotations" / f"Human36M_subject{subject}_{part}.json"
        for part in ("camera", "data", "joint_3d")
    ]


def _pictures(root: Path, subject: int) -> Iterator[_Picture]:
    camera_file, data_file, joint_file = _raw_files(root, subject)
    cameras, data, joints = map(read_json, (camera_file, data_file, joint_file))
    if not isinstance(data, dict) or not isinstance(data.get("images"), list):
        raise ValueError(f"{data_file} has no list named images")
    for number, image in list(enumerate(data["images"]))[::STEP]:
        record = f"{data_file}: record {number}, counted from 0,"
        name, camera_name = (_entry(image, (key,), record) for key in ("file_name", "cam_idx"))
        moment = [
            str(_entry(image, (key,), record))
            for key in ("action_idx", "subaction_idx", "frame_idx")
        ]
        world = _array(_entry(joints, moment, str(joint_file)), (17, 3), joint_file, moment)
        camera = {
            key: _array(
                _entry(cameras, (str(camera_name), key), str(camera_file)), shape, camera_file,
                [str(camera_name), key],
            )
            for key, shape in (("R", (3, 3)), ("t", (3,)), ("f", (2,)), ("c", (2,)))
        }  # fmt: skip
        yield _projected(str(name), world, camera)


def _projected(
    name: str, world: NDArray[np.float64], camera: dict[str, NDArray[np.float64]]
) -> _Picture:
    """A picture of joints (17, 3) in mm."""
    body = world[list(_JOINTS)]
    body[_THORAX] = body[list(_SHOULDERS)].mean(0)
    seen = body @ camera["R"].T + camera["t"]
    if not (seen[:, 2] > 0).all():
        raise ValueError(f"{name}: a joint lies behind the camera; camera or joints are wrong")
    matrix = np.diag([*camera["f"], 1.0])
    matrix[:2, 2] = camera["c"]
    points = seen @ matrix.T
    return _Picture(name, points[:, :2] / points[:, 2:], seen[:, 2], matrix)


def _entry(content: Any, keys: Sequence[str], place: str) -> Any:
    """What stands under nested keys of a JSON file."""
    for depth, key in enumerate(keys, start=1):
        if not isinstance(content, dict) or key not in content:
            raise ValueError(f"{place} has no {' / '.join(keys[:depth])}")
        content = content[key]
    return content


def _array(
    value: Any, shape: tuple[int, ...], path: Path, keys: Sequence[str]
) -> NDArray[np.float64]:
    try:
        return array_of(value, *shape)
    except ValueError as error:
        raise ValueError(f"{path}: {' / '.join(keys)} {error}") from error


def _crop(root: Path, picture: _Picture) -> dict[str, Any] | str:
    """Make the crop of a picture; returns its record, or why the image cannot be used."""
    source, target = (root / folder / picture.name for folder in ("images", "crop_images"))
    try:
        header = read_header(source)
        box = np.concatenate([picture.keypoints_px.min(0), picture.keypoints_px.max(0)])
        window = person_window(box.astype(np.float32), SCALE, header.width, header.height)
        if not _is_crop(target):
            image = cropped(read_image(source), window, SIDE)[..., ::-1]
            _write(target, encoded_jpeg(image))
    except ValueError as error:
        return f"{picture.name}: {error}"
    keypoints = moved(picture.keypoints_px.astype(np.float32), window, SIDE).astype(np.float64)
    camera = picture.camera.copy()
    camera[:2] *= SIDE / window.width
    rays = np.concatenate([keypoints, np.ones((len(keypoints), 1))], 1) @ np.linalg.inv(camera).T
    return {
        "name": picture.name,
        "keypoint2d": keypoints.tolist(),
        "keypoint3d": (rays * picture.depths[:, None]).tolist(),
        "intrinsic_matrix": camera.tolist(),
    }


def _is_crop(path: Path) -> bool:
    """Whether a file is a whole crop."""
    if not path.is_file():
        return False
    try:
        header = read_header(path)
    except ValueError:
        return False
    return header.has_end and header.width == header.height == SIDE


def _write(path: Path, content: bytes) -> None:
    """Write a file that appears only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m trainables.data.human36m_preprocess",
        description="Crop Human3.6M around its people and project their joints.",
    )
    parser.add_argument("--root", required=True, type=Path, help="folder of the data set")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="default: one for each processor"
    )
    given = parser.parse_args(arguments)
    if given.threads < 1:
        parser.error(f"--threads must be at least 1, got {given.threads}")
    try:
        preprocess(given.root, given.threads, _Progress())
    except (OSError, ValueError) as error:
        sys.stderr.write(f"\nerror: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; run the same command again to continue\n")
        return 130
    sys.stderr.write("\n")
    return 0


class _Progress:
    """Shows the newest line in place, or, in a log, one line every half minute."""

    def __init__(self) -> None:
        self._in_place = sys.stderr.isatty()
        self._next = 0.0

    def __call__(self, line: str) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + (0.2 if self._in_place else 30)
            sys.stderr.write(f"\r{line}" if self._in_place else f"{line}\n")
            sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
