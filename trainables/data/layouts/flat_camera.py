"""A camera for samples without depth, for layouts that hold 3-D joints beside the keypoints."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def flat_camera(side: int) -> NDArray[np.float64]:
    """Intrinsic matrix (3, 3) of a camera that looks at the middle of a square image."""
    centre = (side - 1) / 2
    return np.array([[side, 0, centre], [0, side, centre], [0, 0, 1.0]])


def lifted(keypoints_px: NDArray[np.float64], camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (..., 3) at depth 1 that a camera sees at the given pixels (..., 2)."""
    ones = np.ones((*keypoints_px.shape[:-1], 1))
    result: NDArray[np.float64] = (
        np.concatenate([keypoints_px, ones], -1) @ np.linalg.inv(camera).T
    )
    return result


def without_flags(
    keypoints_px: NDArray[np.float32], visible: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Keypoints (N, K, 2) for layouts that have no flags.

    A joint that is not visible is put at (-1, -1), outside the image.
    """
    return np.where(visible[..., None], keypoints_px, -1).astype(np.float64)


def record(name: str, points: NDArray[np.float64], side: int) -> dict[str, Any]:
    """The JSON record of an image in tllib's layouts: keypoints, 3-D joints and camera.

    Args:
        name: The name of its file.
        points: (K, 2) keypoints in pixels.
        side: Side of the image in pixels.
    """
    camera = flat_camera(side)
    return {
        "name": name,
        "keypoint2d": points.tolist(),
        "keypoint3d": lifted(points, camera).tolist(),
        "intrinsic_matrix": camera.tolist(),
    }
