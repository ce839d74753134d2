"""Writes samples of people or hands in COCO's format; see :mod:`trainables.data.hand_layouts`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainables.data.skeleton import BODY16, HAND21

PERSON_JOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
"""In COCO's order."""


def write_coco(
    out: Path,
    images: NDArray[np.uint8],
    keypoints_px: NDArray[np.float32],
    visible: NDArray[np.bool_],
) -> None:
    """Write one figure per image to ``annotations/person_keypoints_rendered.json``.

    People get COCO's 17 joints, which lack the pelvis, thorax, neck and head, with the face
    unlabelled; hands their 21. Joints that are not visible are flagged as not labelled.

    Args:
        out: Folder of the data set.
        images: (N, H, W, 3) uint8, RGB.
        keypoints_px: (N, K, 2) float32, K 16 for people and 21 for hands.
        visible: (N, K) bool.

    Raises:
        FileExistsError: If its images are already there.
    """
    is_hand = keypoints_px.shape[1] == HAND21.num_joints
    ours = (HAND21 if is_hand else BODY16).joint_names
    names = ours if is_hand else PERSON_JOINTS
    folder = out / "rendered"
    folder.mkdir(parents=True)
    content: dict[str, list[dict[str, Any]]] = {
        "categories": [
            {"id": 1, "name": "hand" if is_hand else "person", "keypoints": list(names)}
        ],
        "images": [],
        "annotations": [],
    }
    height, width = images.shape[1:3]
    for number, image in enumerate(images):
        file_name = f"{number:012d}.jpg"
        Image.fromarray(image).save(folder / file_name, quality=95)
        content["images"].append(
            {"id": number, "file_name": file_name, "width": width, "height": height}
        )
        triples = np.zeros((len(names), 3))
        for place, name in enumerate(names):
            if name in ours and visible[number, ours.index(name)]:
                triples[place] = (*keypoints_px[number, ours.index(name)], 2)
        box = _box(keypoints_px[number][visible[number]], width, height)
        content["annotations"].append(
            {
                "id": number + 1, "image_id": number, "category_id": 1, "iscrowd": 0,
                "bbox": box, "area": box[2] * box[3], "keypoints": triples.ravel().tolist(),
                "num_keypoints": int((triples[:, 2] > 0).sum()),
            }
        )  # fmt: skip
    (out / "annotations").mkdir(exist_ok=True)
    file = out / "annotations" / "person_keypoints_rendered.json"
    file.write_text(json.dumps(content))


def _box(points: NDArray[np.float32], width: int, height: int) -> list[float]:
    """Left, top, width and height of a box around the pixels of some points."""
    if not len(points):
        return [0.0, 0.0, float(width), float(height)]
    low = points.min(0)
    return [*map(float, low), *(float(edge) for edge in points.max(0) - low + 1)]
