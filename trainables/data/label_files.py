"""Checks of what readers find in a data set's files."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.domain import ImageRequest


def data_folder(request: ImageRequest, archive: str = "") -> Path:
    """The folder of a data set.

    Args:
        request: Its folder is the data set's, or the one into which the archive was unpacked.
        archive: Folder that the publisher's archive unpacks to.

    Raises:
        ValueError: If the request has no folder.
        FileNotFoundError: If it is not a folder.
    """
    folder = request.folder
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    inner = folder / archive
    return inner if inner.is_dir() else folder


def require_kind(path: Path, content: object, kind: type) -> None:
    """Check that a file holds a ``list`` or a ``dict``.

    Raises:
        ValueError: If it holds something else.
    """
    if not isinstance(content, kind):
        raise ValueError(f"{path} must hold a {kind.__name__}, got a {type(content).__name__}")


def array_of(value: object, *shape: int) -> NDArray[np.float64]:
    """Numbers of a file as an array.

    Raises:
        ValueError: If they are not finite numbers of float32 or have another shape; the message
            has no subject, such as ``must be 21 x 2 finite numbers, got 20 x 2``.
    """
    rule = f"must be {_sides(shape)} finite numbers"
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{rule}, got lists of different lengths") from error
    if array.dtype.kind not in "iuf":
        items = np.asarray(value, object).ravel()
        wrong = [item for item in items if type(item) not in (int, float) or abs(item) > 1e38]
        raise ValueError(f"{rule}, got {repr((wrong or [*items])[0])[:40]}")
    if array.shape != shape:
        raise ValueError(f"{rule}, got {_sides(array.shape)}")
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(array.astype(np.float32))
    if not is_finite.all():
        raise ValueError(f"{rule}, got {array[~is_finite][0]:g}")
    return array.astype(np.float64)


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"
