"""Writes rendered samples in the layout of a published data set, for trying its reader.

python -m trainables.data.export --layout surreal --out DIR --num 100
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.layouts.coco import write_coco
from trainables.data.layouts.freihand import write_freihand
from trainables.data.layouts.h3d import write_h3d
from trainables.data.layouts.human36m import write_human36m
from trainables.data.layouts.leeds import write_leeds
from trainables.data.layouts.rhd import write_rhd
from trainables.data.layouts.surreal import write_surreal
from trainables.data.rendered import LOOKS, render_domain
from trainables.registry import DOMAINS

Write = Callable[[Path, NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_]], None]
"""(out, images (N, S, S, 3) RGB, keypoints in pixels (N, K, 2), visible (N, K)) to files."""

LAYOUTS: dict[str, Write] = {
    "coco": write_coco,
    "human36m": write_human36m,
    "lsp": partial(write_leeds, "lsp"),
    "lspet": partial(write_leeds, "lspet"),
    "surreal": write_surreal,
    "coco_hand": write_coco,
    "freihand": write_freihand,
    "h3d": write_h3d,
    "rhd": write_rhd,
}
"""Name of each data set whose layout can be written; its skeleton is that of the data set."""


def export(layout: str, out: Path, num: int, domain: str, size: int, seed: int = 0) -> None:
    """Render samples and write them.

    Args:
        layout: A key of :data:`LAYOUTS`.
        out: Folder that does not exist or is empty.
        num: Number of samples.
        domain: A key of :data:`trainables.data.rendered.LOOKS` with the figure of the layout.
        size: Side of the images in pixels.
        seed: Seed of the rendered samples.

    Raises:
        ValueError: If the folder is not empty or the domain shows another figure.
        OSError: If a file cannot be written.
    """
    if domain not in fitting_domains(layout):
        fitting = ", ".join(fitting_domains(layout))
        raise ValueError(f"--domain must be one of {fitting} for {layout}, got {domain}")
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty")
    chunks = list(render_domain(domain, num, size, seed))
    LAYOUTS[layout](
        out,
        np.concatenate([chunk.images for chunk in chunks]),
        np.concatenate([chunk.keypoints_px for chunk in chunks]),
        np.concatenate([chunk.visible for chunk in chunks]),
    )


def fitting_domains(layout: str) -> list[str]:
    """The rendered domains with the figure of a layout."""
    return [name for name in LOOKS if DOMAINS[name].skeleton == DOMAINS[layout].skeleton]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = _parser().parse_args(arguments)
    domain = given.domain or fitting_domains(given.layout)[0]
    try:
        export(given.layout, given.out, given.num, domain, given.size, given.seed)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainables.data.export",
        description="Write rendered samples in the layout of a published data set.",
    )
    parser.add_argument("--layout", required=True, choices=sorted(LAYOUTS))
    parser.add_argument("--out", required=True, type=Path, help="a new folder")
    parser.add_argument("--num", required=True, type=_positive, help="number of samples")
    parser.add_argument(
        "--domain", choices=LOOKS, help="default: people_clean or, for hands, hands_clean"
    )
    parser.add_argument("--size", type=_positive, default=128, help="side in pixels")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
