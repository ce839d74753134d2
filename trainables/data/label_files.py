"""Files of labels: the folder they are in, JSON, arrays of numbers in them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.domain import ImageRequest


def data_folder(request: ImageRequest, archive: str = "") -> Path:
    """The folder of a data set.

    Args:
        request: Its ``root`` is the folder, or the one into which the archive was unpacked.
        archive: Folder that the publisher's archive unpacks to.

    Raises:
        ValueError: If the request has no root.
        FileNotFoundError: If the root is not a folder.
    """
    if request.root is None:
        raise ValueError(f"data.{request.role}_root must name the folder of the data set")
    if not request.root.is_dir():
        raise FileNotFoundError(f"{request.root} is not a folder")
    return request.root / archive if (request.root / archive).is_dir() else request.root


def read_json(path: Path, kind: type[Any]) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        kind: ``list`` or ``dict``, what it must hold.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If it cannot be read or holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(content, kind):
        raise ValueError(f"{path} must hold a {kind.__name__}, got a {type(content).__name__}")
    return content


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
        raise ValueError(f"{rule}, got {str(value)[:40]!r}")
    if array.shape != shape:
        raise ValueError(f"{rule}, got {_sides(array.shape)}")
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(array.astype(np.float32))
    if not is_finite.all():
        raise ValueError(f"{rule}, got {array[~is_finite][0]:g}")
    return array.astype(np.float64)


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def spread(total: int, limit: int) -> NDArray[np.int64]:
    """Rows of at most ``limit`` of ``total`` samples, evenly spread.

    Neighbours in a file are often frames of one video, so the first ones would show few people.
    """
    num = min(total, limit)
    return np.arange(num, dtype=np.int64) * total // max(num, 1)
