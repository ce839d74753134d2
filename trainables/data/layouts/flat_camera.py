"""A camera for samples without depth, for layouts that hold 3-D joints beside the keypoints."""

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
