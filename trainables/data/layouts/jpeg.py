"""JPEG files of written samples."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def encoded_jpeg(image: NDArray[np.uint8]) -> bytes:
    """The content of a JPEG file of an image (H, W, 3) RGB.

    Raises:
        ValueError: If the image cannot be encoded.
    """
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]))
    if not done:
        raise ValueError(f"an image of shape {image.shape} cannot be encoded as JPEG")
    return bytes(data.tobytes())


def write_jpeg(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image (H, W, 3) RGB into a folder, which is made if it does not exist.

    Raises:
        OSError: If the file cannot be written.
        ValueError: If the image cannot be encoded.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded_jpeg(image))
