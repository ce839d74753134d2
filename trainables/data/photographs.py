"""Image files: their headers and decoding.

A labelled photograph is used in the frame in which its pixels are stored. The EXIF orientation is
not applied: label files count pixels in the stored frame, so a rotated image would no longer match
its keypoints.
"""

import io
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from trainables.data.problems import Problem

MAX_PIXELS = 100_000_000
"""Largest image that is decoded, 0.3 GB in memory: a file of a kilobyte can claim any size."""

SAMPLED_PIXELS = 300_000_000
"""Pixels that a check decodes in about two seconds on one core; of more it decodes a sample."""

MISSING = "is missing"
"""Replaces the header of a missing image."""

ALLOWED = f"a whole JPEG or PNG image of at most {MAX_PIXELS // 10**6} megapixels"

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_ENDS = (b"\xff\xd9", b"IEND\xaeB`\x82")
"""Last bytes of a whole JPEG and of a whole PNG."""

_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_AS_SHOWN = cv2.IMREAD_COLOR


@dataclass(frozen=True)
class Header:
    """Size of an image file, read without decoding its pixels.

    Attributes:
        width: Pixels of a row as they are stored.
        height: Pixels of a column.
        has_end: Whether the file ends with its format's end marker. A truncated file does not;
            neither does one with data appended, which can be decoded.
    """

    width: int
    height: int
    has_end: bool


def read_header(path: Path) -> Header:
    """Read the header of an image file without decoding pixels.

    Raises:
        ValueError: If the header shows that it is not :data:`ALLOWED`; the message says what
            the file is instead, without its name.
    """
    try:
        with path.open("rb") as file:
            return _read_header(file)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error


def _read_header(file: BinaryIO) -> Header:
    start = file.read(24)
    if not start:
        raise ValueError("0 bytes")
    is_jpeg = start.startswith(_JPEG)
    if not is_jpeg and not start.startswith(_PNG):
        raise ValueError(f"neither JPEG nor PNG, begins with {start!r}")
    file.seek(0)
    try:
        # Not Image.open: its own pixel limit is a setting of the whole process.
        width, height = (JpegImageFile if is_jpeg else PngImageFile)(file).size
    except (OSError, SyntaxError, ValueError) as error:  # Pillow: SyntaxError for a bad header
        raise ValueError(f"damaged or cut short: {error}") from error
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width:,} x {height:,} = {width * height:,} pixels")
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 8))
    return Header(width, height, has_end=file.read().endswith(_ENDS))


def read_headers(paths: Sequence[Path]) -> list[Header | str]:
    """Read the headers of images.

    Returns:
        For each image its header, :data:`MISSING`, or another reason why it cannot be used.
    """
    with ThreadPoolExecutor() as pool:  # a network file system serves several requests at a time
        return list(pool.map(_header_or_reason, paths))


def _header_or_reason(path: Path) -> Header | str:
    if not path.is_file():
        return MISSING
    try:
        return read_header(path)
    except ValueError as error:
        return str(error)


def decode_sample(paths: Sequence[Path], headers: Sequence[Header | str]) -> list[Header | str]:
    """Decode the images that seem truncated and an evenly spaced sample of the others.

    Args:
        paths: N images.
        headers: As :func:`read_headers` returns them; images without a header are skipped.

    Returns:
        The headers, with the reason in place of the header of an image that cannot be decoded.
    """
    sizes = [h.width * h.height for h in headers if isinstance(h, Header)]
    step = max(1, math.ceil(sum(sizes) / SAMPLED_PIXELS))
    found = list(headers)

    def decode(row: int) -> None:
        header = found[row]
        if isinstance(header, str) or (row % step and header.has_end):
            return
        try:
            _decode(np.frombuffer(paths[row].read_bytes(), np.uint8))
        except (OSError, ValueError) as error:
            found[row] = str(error)

    with ThreadPoolExecutor() as pool:
        list(pool.map(decode, range(len(found))))
    return found


def image_problems(paths: Sequence[Path], headers: Sequence[Header | str]) -> list[Problem]:
    """Problems of the images of a data set: missing ones, and ones that cannot be used.

    Args:
        paths: The image of each of N samples; several may show the same.
        headers: As :func:`read_headers` or :func:`decode_sample` return them.
    """
    total = len(set(paths))
    found = {
        path: text for path, text in zip(paths, headers, strict=True) if isinstance(text, str)
    }
    folder = Path(os.path.commonpath([path.parent for path in paths]))
    missing = [path for path, text in found.items() if text == MISSING]
    problems = [_missing(missing, paths, folder, total)] if missing else []
    cases = [
        f"{path.relative_to(folder)}: {text}" for path, text in found.items() if text != MISSING
    ]
    if cases:
        sentence = (
            f"{folder}: {len(cases):,} of {total:,} images cannot be used; each must be {ALLOWED}"
        )
        problems.append(Problem(sentence, tuple(cases)))
    return problems


def _missing(missing: Sequence[Path], paths: Sequence[Path], folder: Path, total: int) -> Problem:
    if not folder.is_dir():
        return Problem(f"{folder} is not a folder; it must hold the images")
    # Usually the image is there, under the same name with another suffix.
    names = {
        parent: {file.stem.lower(): file.name for file in sorted(parent.iterdir())}
        for parent in {path.parent for path in missing}
        if parent.is_dir()
    }
    cases = []
    for path in missing:
        other = names.get(path.parent, {}).get(path.stem.lower())
        cases.append(f"{path.relative_to(folder)}" + (f", but there is {other}" if other else ""))
    first, last = (path.relative_to(folder) for path in (paths[0], paths[-1]))
    sentence = (
        f"{folder}: {len(missing):,} of {total:,} labelled images are missing; they must be "
        f"named {first} to {last}"
    )
    return Problem(sentence, tuple(cases))


def read_image(path: Path, as_shown: bool = False) -> NDArray[np.uint8]:
    """Decode an image file.

    Args:
        path: JPEG or PNG.
        as_shown: Whether to turn it as its EXIF orientation says, as viewers do. If not, it is
            in the frame in which it is stored.

    Returns:
        (H, W, 3) in OpenCV's order: blue, green, red.

    Raises:
        ValueError: If it cannot be decoded or has more than :data:`MAX_PIXELS`; the message
            names the file.
    """
    data = path.read_bytes()
    try:
        _read_header(io.BytesIO(data))
        return _decode(np.frombuffer(data, np.uint8), _AS_SHOWN if as_shown else _STORED)
    except ValueError as error:
        raise ValueError(f"{path} is not a readable image: {error}") from error


def _decode(data: NDArray[np.uint8], flags: int = _STORED) -> NDArray[np.uint8]:
    """Decode the content of a file whose header is valid."""
    try:
        image = cv2.imdecode(data, flags)
    except cv2.error:  # depending on the damage OpenCV raises or returns None
        image = None
    if image is None:
        raise ValueError("damaged or cut short, cannot be decoded")
    return np.asarray(image)
