"""The square part of an image that becomes a sample.

A window is in edges of pixels: pixel i covers [i, i + 1), while keypoints count pixel centres.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray


class Window(NamedTuple):
    """A rectangle of an image, and where it lies in the square that is made of it.

    Attributes:
        left: First column.
        top: First row.
        width: Columns.
        height: Rows.
    """

    left: int
    top: int
    width: int
    height: int


def whole_window(width: int, height: int) -> Window:
    """The whole image; :func:`cropped` pads its shorter side with black."""
    return Window(0, 0, width, height)


def person_window(box: NDArray[np.float32], scale: float, width: int, height: int) -> Window:
    """A square around a figure, moved into the image where it would reach over its edge.

    Its side is ``scale`` times the longer side of the box, at most the shorter side of the image
    (``scale_box`` of tllib).

    Args:
        box: (4,) left, top, right and bottom of the figure in pixels.
        scale: Side of the square over the longer side of the box.
        width: Columns of the image.
        height: Rows of the image.
    """
    left, top, right, bottom = (float(edge) for edge in box)
    side = min(max(1, round(scale * max(right - left, bottom - top))), width, height)
    x = min(max(0, round((left + right - side) / 2)), width - side)
    y = min(max(0, round((top + bottom - side) / 2)), height - side)
    return Window(x, y, side, side)


def cropped(image: NDArray[np.uint8], window: Window, side: int) -> NDArray[np.uint8]:
    """Scale the longer side of a window to ``side`` and pad the shorter with black.

    Args:
        image: (H, W, 3).
        window: Part of it.
        side: Side S of the result.

    Returns:
        (S, S, 3), channels in the order of ``image``.
    """
    left, top, width, height = window
    part = image[top : top + height, left : left + width]
    x, y, new_width, new_height = _placed(window, side)
    shrinks = new_width <= width
    scaled = cv2.resize(
        part, (new_width, new_height),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )  # fmt: skip
    result = np.zeros((side, side, 3), np.uint8)
    result[y : y + new_height, x : x + new_width] = scaled
    return result


def moved(keypoints_px: NDArray[np.float32], window: Window, side: int) -> NDArray[np.float32]:
    """Keypoints (K, 2) of an image in the square that :func:`cropped` makes of a window."""
    x, y, new_width, new_height = _placed(window, side)
    ratio = np.array([new_width / window.width, new_height / window.height], np.float32)
    first = np.array([window.left, window.top], np.float32)
    shift = np.array([x, y], np.float32)
    result: NDArray[np.float32] = (keypoints_px + 0.5 - first) * ratio - 0.5 + shift
    return result


def moved_back(
    keypoints_px: NDArray[np.float32], window: Window, side: int
) -> NDArray[np.float32]:
    """The inverse of :func:`moved`: keypoints (K, 2) of the square in the image."""
    x, y, new_width, new_height = _placed(window, side)
    ratio = np.array([window.width / new_width, window.height / new_height], np.float32)
    first = np.array([window.left, window.top], np.float32)
    shift = np.array([x, y], np.float32)
    result: NDArray[np.float32] = (keypoints_px - shift + 0.5) * ratio - 0.5 + first
    return result


def _placed(window: Window, side: int) -> tuple[int, int, int, int]:
    """Left, top, width and height of a window in the square."""
    scale = side / max(window.width, window.height)
    width, height = (max(1, round(edge * scale)) for edge in (window.width, window.height))
    return (side - width) // 2, (side - height) // 2, width, height
