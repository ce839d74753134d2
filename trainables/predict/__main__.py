"""Predicts the poses in photographs: ``python -m trainables.predict MODEL IMAGES --out FOLDER``.

MODEL is the folder of a model, such as the one that a study leaves as ``model/``. FOLDER receives
each image with its skeleton drawn in as PNG, ``keypoints.csv`` and ``keypoints.json``, which is in
COCO's format of annotations. One figure is predicted in each image. An image is turned as its EXIF
orientation says, and coordinates are those of the turned image, as viewers show it.

Exit codes: 0 done, 1 no image could be read, 2 no model or no place to write.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn

from trainables.data.photographs import read_image
from trainables.data.view import write_picture
from trainables.predict.pose_files import PredictedPose, drawing, write_coco, write_table
from trainables.predict.pose_model import PoseModel, load_pose_model

DONE, NOTHING_READ, BAD_INPUT = 0, 1, 2
IMAGES_AT_ONCE = 8
"""Images in memory at a time; each may have a hundred megapixels."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m trainables.predict", description="Predict the poses in photographs."
    )
    parser.add_argument("model", type=Path, help="folder of a model, such as a study's model/")
    parser.add_argument("images", nargs="+", type=Path, help="JPEG or PNG files")
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is written")
    options = parser.parse_args(arguments)
    try:
        model = load_pose_model(options.model)
        for notice in _notices(model):
            sys.stdout.write(f"{notice}\n")
        options.out.mkdir(parents=True, exist_ok=True)
        _check_places(options.images, options.out)
        started = time.monotonic()
        poses, unreadable = _predict_all(model, options.images, options.out)
        write_table(options.out / "keypoints.csv", poses, model.skeleton)
        write_coco(options.out / "keypoints.json", poses, model.skeleton)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return BAD_INPUT
    seconds = time.monotonic() - started
    rate = len(poses) / max(seconds, 1e-9)
    sys.stdout.write(
        f"{len(poses)} images in {seconds:.1f} s ({rate:.1f} a second): drawings, keypoints.csv "
        f"and keypoints.json in {options.out}\n"
    )
    if unreadable:
        sys.stderr.write(f"{len(unreadable)} images were skipped:\n")
        sys.stderr.writelines(f"  {reason}\n" for reason in unreadable)
    return DONE if poses else NOTHING_READ


def _check_places(images: Sequence[Path], out: Path) -> None:
    """Refuse a folder whose drawings could replace the photographs."""
    if any(path.resolve().parent == out.resolve() for path in images):
        raise ValueError(f"--out {out} holds photographs that are given; name another folder")


def _notices(model: PoseModel) -> Iterator[str]:
    origin = model.description["origin"]
    words = (f"{name.replace('_', ' ')} {value}" for name, value in origin.items())
    yield f"Model: {', '.join(words)}."
    if model.description["preprocessing"]["trained_on_crop"] == "person":
        yield (
            "It was trained on squares around a person: give it images that one person fills, "
            "with some room on all sides."
        )


def _predict_all(
    model: PoseModel, paths: Sequence[Path], out: Path
) -> tuple[list[PredictedPose], list[str]]:
    """Predict and draw, a batch at a time; the poses, and why other images were skipped."""
    poses: list[PredictedPose] = []
    unreadable: list[str] = []
    taken: set[str] = set()
    columns = BarColumn(), MofNCompleteColumn(), TaskProgressColumn(show_speed=True)
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(paths))
        for start in range(0, len(paths), IMAGES_AT_ONCE):
            batch = paths[start : start + IMAGES_AT_ONCE]
            images = list(_readable(batch, unreadable))
            rgb = [np.ascontiguousarray(image[..., ::-1]) for _, image in images]
            found = zip(images, *model.predict(rgb), strict=True)
            for (path, image), keypoints_px, confidence in found:
                height, width = image.shape[:2]
                pose = PredictedPose(str(path), width, height, keypoints_px, confidence)
                name = _free_name(path.stem, taken)
                write_picture(out / f"{name}.png", drawing(image, pose, model.skeleton))
                poses.append(pose)
            progress.advance(task, len(batch))
    return poses, unreadable


def _free_name(stem: str, taken: set[str]) -> str:
    """The name, or with the first number from 2 on that makes it another one; it is taken then."""
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    taken.add(name)
    return name


def _readable(
    paths: Sequence[Path], unreadable: list[str]
) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    for path in paths:
        try:
            yield path, read_image(path, as_shown=True)
        except OSError as error:
            unreadable.append(f"{path} cannot be read: {error.strerror}")
        except ValueError as error:
            unreadable.append(str(error))


if __name__ == "__main__":
    sys.exit(main())
