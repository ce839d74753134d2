"""A data set of animals in COCO's format, and the YAML file of their skeleton."""

import json

import numpy as np

from trainables.data.layouts.jpeg import write_jpeg

QUADRUPED = """\
joints:
  - nose
  - withers
  - tail
  - left_ear
  - right_ear
  - left_front_knee
  - right_front_knee
  - left_front_paw
  - right_front_paw
  - left_back_paw
  - right_back_paw
left_right:
  - [left_ear, right_ear]
  - [left_front_knee, right_front_knee]
  - [left_front_paw, right_front_paw]
  - [left_back_paw, right_back_paw]
groups:
  ear: [left_ear, right_ear]
  front_leg: [left_front_knee, right_front_knee, left_front_paw, right_front_paw]
  back_leg: [left_back_paw, right_back_paw]
triplets:
  - [withers, left_front_knee, left_front_paw]
  - [withers, right_front_knee, right_front_paw]
  - [nose, withers, tail]
  - [withers, tail, left_back_paw]
torso: [tail, tail, withers, withers]
limbs:
  - [nose, withers]
  - [withers, tail]
"""

FILE_NAMES = (
    "tail", "nose", "eye", "withers", "right_ear", "left_ear", "right_front_knee",
    "left_front_knee", "right_front_paw", "left_front_paw", "right_back_paw", "left_back_paw",
)  # fmt: skip
"""Joints in the order of the JSON file, which has one that the skeleton does not use."""

PLACES = {
    "tail": (15, 30), "nose": (65, 25), "eye": (60, 22), "withers": (45, 30),
    "right_ear": (57, 12), "left_ear": (60, 12), "right_front_knee": (42, 45),
    "left_front_knee": (48, 45), "right_front_paw": (42, 60), "left_front_paw": (50, 60),
    "right_back_paw": (14, 60), "left_back_paw": (20, 60),
}  # fmt: skip
"""Joint to its mean place in pixels."""


def write_skeleton(folder, text=QUADRUPED, name="quadruped.yaml"):
    """Write a skeleton and return its path."""
    (folder / name).write_text(text)
    return folder / name


def write_animals(root, num, seed=0):
    """Write ``animals.json`` as an annotation tool does, with its odds and ends, and the images.

    Returns:
        (num, 12, 2) the places of the joints in the file's order.
    """
    rng = np.random.default_rng(seed)
    mean = np.array([PLACES[name] for name in FILE_NAMES])
    points = mean + rng.normal(0, 3, (num, len(mean), 2)).round(2)
    images, annotations = [], []
    for row, joints in enumerate(points):
        picture = np.full((72, 80, 3), 30, np.uint8)
        for x, y in joints.round().astype(int):
            picture[y - 1 : y + 2, x - 1 : x + 2] = (20 * (x % 9), 220, 60)
        write_jpeg(root / "images" / f"{row}.jpg", picture)
        images.append({"id": row, "file_name": f"{row}.jpg", "width": 80, "height": 72})
        triples = np.column_stack([joints, np.full(len(joints), 2)])
        low, high = joints.min(0) - 0.25, joints.max(0) + 0.25
        annotations.append({
            "id": row + 1, "image_id": row, "category_id": 17, "iscrowd": 0,
            "bbox": [*low, *(high - low)], "area": 1234.5, "keypoints": triples.ravel().tolist(),
            "num_keypoints": len(joints), "segmentation": [[1.5, 2.0, 70.25, 3.0, 40.0, 66.5]],
        })  # fmt: skip
    crowd = {"counts": [40, 8, 5712], "size": [72, 80]}
    annotations += [
        {**annotations[0], "id": 900, "iscrowd": 1, "segmentation": crowd},
        {**annotations[0], "id": 901, "keypoints": [0] * 36, "num_keypoints": 0},
        {"id": 902, "image_id": 1, "category_id": 3, "bbox": [1.5, 2.5, 10.25, 7.75]},
    ]
    categories = [
        {"id": 17, "name": "dog", "supercategory": "animal", "keypoints": list(FILE_NAMES),
         "skeleton": [[1, 4], [4, 2]]},
        {"id": 3, "name": "car"},
    ]  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "animals.json").write_text(json.dumps(content))
    return points
