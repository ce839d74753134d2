"""FreiHAND in its published layout: photographs of right hands, each with four backgrounds.

``training_xyz.json`` and ``training_K.json`` are lists with 21 joints in metres and the camera
matrix of each of n poses (32,560); ``training_mano.json`` is not read. Pose i is shown by
``training/rgb/%08d.jpg`` of the numbers i (green screen), i + n, i + 2n and i + 3n (three ways of
replacing the background). Keypoints are the projected joints and all count as visible, unless they
lie outside the image. The publisher draws them as pixels counted from 0, centres at integers.
(Zimmermann et al. 2019.)

As in tllib, all hands are mirrored, so that they are left hands as in
:mod:`trainables.data.rhd`, and ``data.<role>_crop: person`` crops to 1.5 times the size of the
labelled hand. The evaluation set has no such four versions and is not read.

The versions of a pose have the ids ``freihand/<pose>#<version>``. A pose is read with a second
version only after every pose was read with one: up to n images are of n different poses.
"""

import numpy as np
from numpy.typing import NDArray

from trainables.data.annotations import Annotations, Scan, scanned
from trainables.data.domain import ImageRequest
from trainables.data.json_labels import read_json
from trainables.data.label_files import array_of, data_folder, require_kind
from trainables.data.photograph_domain import PhotographDomain
from trainables.data.problems import Problem
from trainables.data.skeleton import HAND21

VERSIONS = ("gs", "hom", "sample", "auto")
"""How the publisher changed the background of each image: not at all (green screen), harmonised,
and colourised with and without given points."""


def _scan(request: ImageRequest) -> Scan:
    root = data_folder(request)
    lists = {name: read_json(root / f"training_{name}.json") for name in ("xyz", "K")}
    for name, content in lists.items():
        require_kind(root / f"training_{name}.json", content, list)
    num = len(lists["xyz"])
    if len(lists["K"]) != num:
        raise ValueError(
            f"{root}: training_xyz.json has {num:,} poses and training_K.json "
            f"{len(lists['K']):,}; both must have as many"
        )
    points = np.zeros((num, 21, 2), np.float32)
    cases = []
    for pose, (xyz, camera) in enumerate(zip(lists["xyz"], lists["K"], strict=True)):
        try:
            points[pose] = _project(xyz, camera)
        except ValueError as error:
            cases.append(f"pose {pose}: {error}")
    problems = []
    if cases:
        sentence = (
            f"{root}: {len(cases):,} of {num:,} poses of training_xyz.json and training_K.json "
            "are wrong; each must have 21 joints in front of the camera and a 3 x 3 matrix"
        )
        problems.append(Problem(sentence, tuple(cases)))
    turns, poses = np.divmod(np.arange(4 * num), max(num, 1))
    versions = (poses + turns) % 4  # so that the first n images have all backgrounds
    labels = Annotations(
        ids=tuple(
            f"freihand/{pose:05d}#{VERSIONS[version]}"
            for pose, version in zip(poses, versions, strict=True)
        ),
        image_paths=tuple(
            root / "training" / "rgb" / f"{number:08d}.jpg" for number in poses + versions * num
        ),
        keypoints_px=points[poses],
        visible=np.ones((len(poses), 21), np.bool_),
        mirrored=np.ones(len(poses), np.bool_),
        skeleton=HAND21,
    )
    first = labels.rows(np.arange(min(max(num, request.num), 4 * num)))
    return scanned(first.spread(request.num), problems, str(root / "training_xyz.json"))


def _project(xyz: object, camera: object) -> NDArray[np.float64]:
    """Pixels (21, 2) of 21 joints."""
    try:
        joints = array_of(xyz, 21, 3)
    except ValueError as error:
        raise ValueError(f"xyz {error}") from error
    try:
        matrix = array_of(camera, 3, 3)
    except ValueError as error:
        raise ValueError(f"K {error}") from error
    image = joints @ matrix.T
    if not (image[:, 2] > 0).all():
        raise ValueError("a joint is not in front of the camera")
    return array_of(image[:, :2] / image[:, 2:], 21, 2)


FREIHAND = PhotographDomain(
    _scan, ("training_xyz.json", "training_K.json"), ("training/rgb/*.jpg",)
)
