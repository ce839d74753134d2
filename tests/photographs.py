"""Decodes image files as a data set of them would be."""

from pathlib import Path

import numpy as np

from trainables.data.annotations import Annotations, scanned
from trainables.data.domain import ImageRequest
from trainables.data.photograph_domain import PhotographDomain


def load_padded(
    paths: list[Path], keypoints_px: np.ndarray, size: int, num_threads: int = 1, **request: object
) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, S, S, 3) of some files, and keypoints (N, K, 2) moved with them."""
    visible = np.ones(keypoints_px.shape[:2], np.bool_)
    ids = tuple(f"{row}" for row in range(len(paths)))
    labels = Annotations(ids, tuple(paths), keypoints_px, visible)
    domain = PhotographDomain(lambda asked: scanned(labels))
    wanted = ImageRequest("source", len(paths), size, num_threads=num_threads, **request)
    chunks = list(domain.images(wanted))
    skipped = {name: why for chunk in chunks for name, why in chunk.skipped.items()}
    if skipped:
        raise ValueError(f"skipped {skipped}")
    images = np.concatenate([chunk.images for chunk in chunks])
    return images, np.concatenate([chunk.keypoints_px for chunk in chunks])
