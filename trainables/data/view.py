"""Draws a contact sheet of an image store: images with skeletons, per split.

    python -m trainables.data.view STORE --out sheet.png

Left limbs are red, right ones blue; a joint that is not visible is not drawn. A mistake in the
order of joints, in left and right, in a flag or by a pixel shows at once. ``python -m
harness.stages bins STUDY --out bins.png`` draws the bins of a study instead.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trainables.data.image_store import ImageStore, open_image_store
from trainables.data.skeleton import Skeleton

_LEFT, _RIGHT, _MIDDLE = (60, 60, 230), (230, 120, 40), (60, 200, 60)  # blue, green, red
_CAPTION_PX = 16


def contact_sheet(store: ImageStore, columns: int, rows: int, zoom_px: int) -> NDArray[np.uint8]:
    """Images of each split, evenly spread over it.

    Args:
        store: The store.
        columns: Images side by side.
        rows: Rows of images of each split.
        zoom_px: Side at which an image is drawn.

    Returns:
        (H, W, 3) uint8 in OpenCV's order: blue, green, red.
    """
    return np.vstack([
        strip(store, members, f"{name}: {len(members):,} samples", columns, rows, zoom_px)
        for name, members in store.splits.items()
    ])  # fmt: skip


def strip(
    store: ImageStore,
    members: NDArray[np.int64],
    caption: str,
    columns: int,
    rows: int,
    zoom_px: int,
) -> NDArray[np.uint8]:
    """Images of some samples, evenly spread over them in the given order, below a caption.

    Args:
        store: The store.
        members: At least one row of it.
        caption: ASCII text.
        columns: Images side by side.
        rows: Rows of images.
        zoom_px: Side at which an image is drawn.

    Returns:
        (H, W, 3) uint8 in OpenCV's order: blue, green, red.

    Raises:
        ValueError: If a number is below 1.
    """
    for name, number in (("columns", columns), ("rows", rows), ("zoom", zoom_px)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    chosen = members[np.linspace(0, len(members) - 1, columns * rows).astype(int)]
    title = np.full((_CAPTION_PX, columns * zoom_px, 3), 255, np.uint8)
    cv2.putText(title, caption, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1)
    drawn = [_drawn(store, row, zoom_px) for row in chosen]
    lines = [np.hstack(drawn[i : i + columns]) for i in range(0, len(drawn), columns)]
    return np.vstack([title, *lines])


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a PNG file.

    Raises:
        ValueError: If it cannot be written.
    """
    try:
        is_written = cv2.imwrite(str(path), picture)
    except cv2.error:  # an ending that it does not know
        is_written = False
    if not is_written:
        raise ValueError(f"{path} cannot be written; its folder must exist, and it end in .png")


def draw_skeleton(
    image: NDArray[np.uint8],
    points_px: NDArray[np.floating],
    visible: NDArray[np.bool_],
    skeleton: Skeleton,
    width_px: int,
) -> None:
    """Draw a pose into an image.

    Args:
        image: (H, W, 3) uint8 in OpenCV's order; changed.
        points_px: (K, 2) joints in pixels of the image.
        visible: (K,) which joints to draw.
        skeleton: Order of the joints.
        width_px: Width of the lines; joints are discs of this radius plus one pixel.
    """
    points = np.rint(points_px).astype(int)
    for first, second in skeleton.limbs:
        if visible[first] and visible[second]:
            colour = _colour(skeleton, first, second)
            cv2.line(image, _xy(points[first]), _xy(points[second]), colour, width_px, cv2.LINE_AA)
    for joint in np.flatnonzero(visible).tolist():
        colour = _colour(skeleton, joint)
        cv2.circle(image, _xy(points[joint]), width_px + 1, colour, -1, cv2.LINE_AA)


def _drawn(store: ImageStore, row: int, zoom_px: int) -> NDArray[np.uint8]:
    zoom = zoom_px / store.image_size
    image = cv2.resize(
        np.ascontiguousarray(store.images[row][..., ::-1]), (zoom_px, zoom_px),
        interpolation=cv2.INTER_NEAREST,
    )  # fmt: skip
    points_px = (store.keypoints_px[row] + 0.5) * zoom - 0.5
    visible = store.visible[row]
    draw_skeleton(image, points_px, visible, store.skeleton, 1)
    text = f"{int(visible.sum())}/{len(visible)}"
    cv2.putText(image, text, (2, zoom_px - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 255, 255), 1)
    return np.asarray(image, np.uint8)


def _colour(skeleton: Skeleton, *joints: int) -> tuple[int, int, int]:
    """The colour of the side that all joints are on."""
    left, right = zip(*skeleton.left_right, strict=True) if skeleton.left_right else ((), ())
    return _LEFT if {*joints} <= {*left} else _RIGHT if {*joints} <= {*right} else _MIDDLE


def _xy(point: NDArray[np.int64]) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def main(arguments: list[str] | None = None) -> int:
    """Write the contact sheet of a store.

    Returns:
        0, or 2 if the store cannot be read or the picture not be written.
    """
    parser = argparse.ArgumentParser(
        prog="python -m trainables.data.view", description="Draw a contact sheet of a store."
    )
    parser.add_argument("store", type=Path, help="folder of an image store")
    parser.add_argument("--out", type=Path, required=True, help="PNG file")
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--rows", type=int, default=2, help="of each split")
    parser.add_argument("--zoom", type=int, default=160, help="side of an image in the picture")
    options = parser.parse_args(arguments)
    try:
        sheet = contact_sheet(
            open_image_store(options.store), options.columns, options.rows, options.zoom
        )
        write_picture(options.out, sheet)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{options.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
