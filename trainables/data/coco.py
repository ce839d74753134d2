"""Keypoints in COCO's format: people of 17 joints, hands of 21, or any other skeleton.

The folder holds JSON files, at its top or in ``annotations/``; if some of them are named
``person_keypoints_*.json``, as COCO's own are, only these are read. An image's ``file_name`` is
looked up below the folder, its ``images/``, and the folder named like the JSON file without
``person_keypoints_``, such as ``val2017/``.

The names in a category's ``keypoints`` say which joint is which: COCO's 17 names, this project's,
and for hands those of MMPose are known, and ``data.coco.joints`` tells others. Nose, eyes and ears
are not used; joints that a category lacks, in COCO's own files the pelvis, thorax, neck and head,
are invisible. A category that names fewer than eight of a skeleton's joints is another one; of
animals, faces and so on ``data.coco.skeleton`` tells the skeleton.

Coordinates count from 0. Those of keypoints are pixels, so whole numbers are pixel centres as
everywhere here; those of boxes are edges, from 0 to the image's width and height. Both are taken
as they are, as Detectron2 also reads them. Flag 2 means visible, 1 labelled but hidden, 0 not
labelled. Segmentations are not read. (Lin et al. 2014.)
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from trainables.config.data_options import CocoHandOptions, CocoOptions
from trainables.data.annotations import Annotations, Scan, scanned
from trainables.data.coco_file import PREFIX, CocoFile, Figure, read_coco
from trainables.data.domain import ImageRequest
from trainables.data.label_files import data_folder
from trainables.data.photograph_domain import PhotographDomain
from trainables.data.problems import Problem
from trainables.data.skeleton import MIN_VISIBLE, Skeleton
from trainables.data.skeleton_file import skeleton_of

_OPTIONS = {"coco": CocoOptions, "coco_hand": CocoHandOptions}


def _scan(request: ImageRequest, domain: str) -> Scan:
    root = data_folder(request)
    options = request.options or _OPTIONS[domain]()
    skeleton = skeleton_of(domain, options)
    _require_joints(options, skeleton)
    paths = sorted([*root.glob("annotations/*.json"), *root.glob("*.json")])
    paths = [path for path in paths if path.name.startswith(PREFIX)] or paths
    if not paths:
        raise FileNotFoundError(f"{root} has no JSON file, neither at its top nor in annotations/")
    files = [read_coco(path, skeleton, options.file_names) for path in paths]
    _require_categories(files, root, options, skeleton)
    figures = [figure for file in files for figure in file.figures]
    problems = [problem for file in files for problem in file.problems]
    problems += _figure_problems(root, figures, options)
    joints = np.array([f.joints for f in figures]).reshape(-1, skeleton.num_joints, 3)
    edges = [np.zeros(4) if figure.edges is None else figure.edges for figure in figures]
    has_boxes = any(figure.edges is not None for figure in figures)
    labels = Annotations(
        ids=tuple(figure.id for figure in figures),
        image_paths=(root,) * len(figures),
        keypoints_px=joints[..., :2].astype(np.float32),
        visible=joints[..., 2] >= (1 if options.hidden_visible else 2),
        boxes_px=np.array(edges, np.float32) if has_boxes else None,
        skeleton=skeleton,
        left_out=sum((file.left_out for file in files), Counter()),
    ).spread(request.num)
    # Images are looked up now, as the data set may have many more than are wanted.
    names = {f.id: (file.path.stem, f.file_name) for file in files for f in file.figures}
    images = tuple(_image(root, *names[id]) for id in labels.ids)
    return scanned(replace(labels, image_paths=images), problems, str(root))


def _require_joints(options: CocoHandOptions, skeleton: Skeleton) -> None:
    unknown = sorted(set(options.file_names) - set(skeleton.joint_names))
    if unknown:
        raise ValueError(
            f"data.{options.domain}.joints must name joints of {skeleton.name} "
            f"({', '.join(skeleton.joint_names)}), got {', '.join(unknown)}"
        )


def _require_categories(
    files: Sequence[CocoFile], root: Path, options: CocoHandOptions, skeleton: Skeleton
) -> None:
    names = {name for file in files for name in file.joint_names}
    if not names:
        raise ValueError(
            f"{root}: no category of {', '.join(file.path.name for file in files)} names "
            f"{MIN_VISIBLE} joints of {skeleton.name} in its keypoints; if it has other names "
            f"for them, data.{options.domain}.joints must tell them"
        )
    absent = sorted(set(options.file_names.values()) - names)
    if absent:
        raise ValueError(
            f"{root}: data.{options.domain}.joints must give names of the files' joints "
            f"({', '.join(sorted(names))}), got {', '.join(absent)}"
        )


def _figure_problems(
    root: Path, figures: Sequence[Figure], options: CocoHandOptions
) -> list[Problem]:
    """Ids that several figures have, boxes that only some have, and flags without meaning."""
    problems = []
    flags = {flag for figure in figures for flag in figure.joints[:, 2].tolist()}
    if 1 in flags and 2 not in flags and not options.hidden_visible:
        sentence = (
            f"{root}: all labelled joints are flagged 1, labelled but hidden, as some tools flag "
            f"every joint; data.{options.domain}.hidden_visible: true counts them as visible"
        )
        problems.append(Problem(sentence))
    twice = [id for id, num in Counter(figure.id for figure in figures).items() if num > 1]
    if twice:
        sentence = f"{root}: {len(twice):,} ids of annotations occur several times in a file"
        problems.append(Problem(sentence, tuple(twice)))
    unboxed = [figure.id for figure in figures if figure.edges is None]
    if 0 < len(unboxed) < len(figures):
        sentence = (
            f"{root}: {len(unboxed):,} of {len(figures):,} figures have no bbox; either all or "
            "none must have one"
        )
        problems.append(Problem(sentence, tuple(unboxed)))
    return problems


def _image(root: Path, stem: str, file_name: str) -> Path:
    """Where an image is, or where it would be looked for first if it is missing."""
    folders = (root / stem.removeprefix(PREFIX), root / "images", root)
    places = [folder / file_name for folder in folders]
    for place in places:
        if place.is_file():
            return place
    return next((place for place in places if place.parent.is_dir()), places[-1])


def _domain(name: str) -> PhotographDomain:
    return PhotographDomain(
        partial(_scan, domain=name),
        ("annotations/*.json", "*.json"),
        ("**/*.jpg", "**/*.jpeg", "**/*.png", "**/*.JPG", "**/*.JPEG", "**/*.PNG"),
    )


COCO, COCO_HAND = _domain("coco"), _domain("coco_hand")
