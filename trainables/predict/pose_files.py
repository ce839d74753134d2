"""Predicted poses as files: a table, JSON in COCO's format, drawings."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.frame import in_frame
from trainables.data.skeleton import Skeleton
from trainables.data.view import draw_skeleton

_SIDE_PER_WIDTH = 200
"""Pixels of an image's longer side for each pixel of a line's width."""


@dataclass(frozen=True)
class PredictedPose:
    """The pose predicted in one image.

    Attributes:
        image: Name of the image, as the user gave it.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        keypoints_px: (K, 2) keypoints in pixels of the image.
        confidence: (K,) in [0, 1].
    """

    image: str
    width: int
    height: int
    keypoints_px: NDArray[np.float32]
    confidence: NDArray[np.float32]

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(K,) whether the joint lies in the image; padding may hold a map's highest cell."""
        return in_frame(self.keypoints_px, self.width, self.height)


def write_table(path: Path, poses: Sequence[PredictedPose], skeleton: Skeleton) -> None:
    """Write a CSV file with a line for each joint: ``image, joint, x, y, confidence``.

    Coordinates are in pixels of the image, (0, 0) is the centre of its first pixel.

    Raises:
        OSError: If it cannot be written.
    """
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "joint", "x", "y", "confidence"])
        for pose in poses:
            rows = zip(skeleton.joint_names, pose.keypoints_px, pose.confidence, strict=True)
            for joint, (x, y), confidence in rows:
                writer.writerow([pose.image, joint, f"{x:.2f}", f"{y:.2f}", f"{confidence:.4f}"])


def write_coco(path: Path, poses: Sequence[PredictedPose], skeleton: Skeleton) -> None:
    """Write a JSON file in COCO's format of annotations with keypoints, one figure per image.

    ``categories`` names the joints and limbs. Each annotation also has a ``score``, the mean
    confidence of its joints, as in COCO's format of results. A joint has the flag 2; one that was
    predicted outside of the image has the flag 0 and no place.

    Raises:
        OSError: If it cannot be written.
    """
    category: dict[str, Any] = {
        "id": 1,
        "name": skeleton.name,
        "supercategory": skeleton.name,
        "keypoints": list(skeleton.joint_names),
        "skeleton": [[first + 1, second + 1] for first, second in skeleton.limbs],
    }
    images = [
        {"id": number, "file_name": pose.image, "width": pose.width, "height": pose.height}
        for number, pose in enumerate(poses, start=1)
    ]
    annotations = [_annotation(number, pose) for number, pose in enumerate(poses, start=1)]
    content = {"images": images, "annotations": annotations, "categories": [category]}
    path.write_text(json.dumps(content))


def _annotation(number: int, pose: PredictedPose) -> dict[str, Any]:
    inside = pose.inside
    triples = np.concatenate([pose.keypoints_px, np.full((len(inside), 1), 2.0)], axis=1)
    triples[~inside] = 0
    box = _box(pose.keypoints_px[inside])
    return {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": box,
        "area": box[2] * box[3],
        "keypoints": [round(value, 2) for value in triples.ravel().tolist()],
        "num_keypoints": int(inside.sum()),
        "score": round(float(pose.confidence.mean()), 4),
    }


def _box(points: NDArray[np.float32]) -> list[float]:
    """Left, top, width and height of the box around some points; zeros without a point."""
    if not len(points):
        return [0.0, 0.0, 0.0, 0.0]
    low = points.min(0)
    return [round(value, 2) for value in [*low.tolist(), *(points.max(0) - low).tolist()]]


def drawing(
    image: NDArray[np.uint8], pose: PredictedPose, skeleton: Skeleton
) -> NDArray[np.uint8]:
    """The image with the joints that lie in it and the limbs between them.

    Args:
        image: (H, W, 3) in OpenCV's order: blue, green, red.
        pose: What was predicted for it.
        skeleton: Order of the joints.
    """
    result = image.copy()
    width_px = max(1, round(max(image.shape[:2]) / _SIDE_PER_WIDTH))
    draw_skeleton(result, pose.keypoints_px, pose.inside, skeleton, width_px)
    return result
