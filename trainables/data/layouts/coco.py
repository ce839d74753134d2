"""Samples in COCO's format; see :mod:`trainables.data.coco`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.layouts.jpeg import write_jpeg
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
    """Write samples as ``rendered/*.jpg`` and ``annotations/person_keypoints_rendered.json``.

    People get COCO's 17 joints, which lack the pelvis, thorax, neck and head, with the face
    unlabelled; hands get their 21. Joints that are not visible are written as not labelled.

    Args:
        out: Folder without samples; made if it does not exist.
        images: (N, H, W, 3) RGB.
        keypoints_px: (N, K, 2), pixel centres are integers; K is 16 for people, 21 for hands.
        visible: (N, K).
    """
    is_hand = keypoints_px.shape[1] == HAND21.num_joints
    ours = (HAND21 if is_hand else BODY16).joint_names
    names = ours if is_hand else PERSON_JOINTS
    height, width = images.shape[1:3]
    places = [place for place, name in enumerate(names) if name in ours]
    joints = [ours.index(names[place]) for place in places]
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for row, image in enumerate(images):
        file_name = f"{row:012d}.jpg"
        write_jpeg(out / "rendered" / file_name, image)
        entries.append({"id": row, "file_name": file_name, "width": width, "height": height})
        triples = np.zeros((len(names), 3))
        triples[places, :2] = keypoints_px[row, joints]
        triples[places, 2] = 2
        triples[places] *= visible[row, joints][:, None]
        box = _box(keypoints_px[row][visible[row]], width, height)
        annotations.append(
            {
                "id": row + 1, "image_id": row, "category_id": 1, "iscrowd": 0,
                "bbox": box, "area": box[2] * box[3], "keypoints": triples.ravel().tolist(),
                "num_keypoints": int((triples[:, 2] > 0).sum()),
            }
        )  # fmt: skip
    category = {"id": 1, "name": "hand" if is_hand else "person", "keypoints": names}
    content = {"images": entries, "annotations": annotations, "categories": [category]}
    (out / "annotations").mkdir(parents=True, exist_ok=True)
    (out / "annotations" / "person_keypoints_rendered.json").write_text(json.dumps(content))


def _box(points: NDArray[np.float32], width: int, height: int) -> list[float]:
    """Left, top, width and height of a box around the pixels of some points."""
    if not len(points):
        return [0.0, 0.0, float(width), float(height)]
    low = points.min(0) - 0.5
    return [*low.tolist(), *(points.max(0) + 0.5 - low).tolist()]
