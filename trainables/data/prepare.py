"""Makes an image store of a data set before a study needs it.

    python -m trainables.data.prepare lspet --root /data/lspet --out /data/lspet_64 --role target

checks labels and images, lists everything that is wrong, then decodes, crops and writes. The same
command continues after a kill. A study uses the store as ``data.target_root``.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trainables.config import MAX_IMAGES, TrialConfig, absolute_paths
from trainables.data.domain import ImageRequest, image_request
from trainables.data.image_store import open_image_store
from trainables.data.store_writer import check_store, write_store
from trainables.registry import DOMAINS, PluginError, load_plugins


def main(arguments: list[str] | None = None) -> int:
    """Prepare a store.

    Returns:
        0, or 2 if the data set cannot be used.
    """
    options = _parser().parse_args(arguments)
    try:
        load_plugins(options.plugin)
        _prepare(options)
    except (PluginError, OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _prepare(options: argparse.Namespace) -> None:
    if options.name not in DOMAINS:
        raise ValueError(f"{options.name} is no data set; there are {', '.join(DOMAINS)}")
    out: Path = options.out
    if (out / "store.json").is_file():
        check_store(out)  # raises if it is damaged
        raise ValueError(
            f"{out} holds a finished store, which is undamaged; use it or name another folder"
        )
    request = _request(options)
    console = Console(stderr=True)
    counts = DOMAINS[options.name].load().check(request)
    total = sum(counts.values())
    if counts:  # otherwise they are known only in the end
        sizes = ", ".join(f"{count:,} for {name}" for name, count in counts.items())
        console.print(f"{total:,} poses can be used: {sizes}")
    out.mkdir(parents=True, exist_ok=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} images/s"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(options.name, total=total, rate=0.0)

        def show(num: int) -> None:
            speed = progress.tasks[0].speed or 0.0
            progress.update(task, completed=num, total=max(total, num), rate=speed)

        write_store(out, options.name, request, show)
    store = open_image_store(out)
    for note in store.notes:
        console.print(note, highlight=False)
    sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in store.splits.items())
    sys.stdout.write(f"{out}: {len(store.images):,} samples ({sizes}), digest {store.digest}\n")


def _request(options: argparse.Namespace) -> ImageRequest:
    """What a trial with these settings would ask for, so that it can use the store."""
    name, role = options.name, options.role
    if DOMAINS[name].reads_folder and options.root is None:
        raise ValueError(f"--root must name the folder or the archive of {name}")
    if not DOMAINS[name].reads_folder and options.num is None:
        raise ValueError(f"--num must say how many images {name} draws")
    if options.threads < 1:
        raise ValueError(f"--threads must be at least 1, got {options.threads}")
    root = None if options.root is None else str(options.root)
    fields = {
        **_domain_options(name, options.option),
        # Both domains, since a source and a target have the same joints.
        **{"data.source": name, "data.target": name},
        **{"data.source_root": root, "data.target_root": root},
        f"data.num_{role}": MAX_IMAGES if options.num is None else options.num,
        f"data.{role}_crop": options.crop,
        "data.crop_scale": options.scale,
        "data.image_size": options.size,
        "data.heatmap_size": options.size // 2,
    }
    trial = TrialConfig.from_flat(absolute_paths(fields))
    request = image_request(trial, role, options.threads)
    if getattr(request.options, "target_backgrounds", False):
        raise ValueError(
            f"data.{name}.target_backgrounds must be false: a store is made before its target "
            f"is known"
        )
    return request


def _domain_options(name: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Flat fields of a data set's own options that are given as ``field=value``."""
    options = DOMAINS[name].options
    known = [] if options is None else [field.name for field in fields(options)]
    given: dict[str, Any] = {}
    for pair in pairs:
        field, equals, text = pair.partition("=")
        if not equals or field not in known:
            raise ValueError(
                f"--option must be FIELD=VALUE with a field of {name} "
                f"({', '.join(known) or 'which has none'}), got {pair}"
            )
        try:
            given[f"data.{name}.{field}"] = json.loads(text)
        except ValueError:
            given[f"data.{name}.{field}"] = text
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainables.data.prepare",
        description="Make an image store of a data set; the same command continues after a kill.",
    )
    parser.add_argument("name", help=f"data set: {', '.join(DOMAINS)} or one of a plugin")
    parser.add_argument("--root", type=Path, help="folder or archive of the data set")
    parser.add_argument("--out", type=Path, required=True, help="folder of the store")
    parser.add_argument("--role", choices=("source", "target"), default="target")
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    parser.add_argument("--num", type=int, help=f"most images; {MAX_IMAGES:,} if left out")
    parser.add_argument("--crop", choices=("image", "person"), default="image")
    parser.add_argument("--scale", type=float, default=1.5, help="of a person's square to its box")
    parser.add_argument(
        "--option", action="append", default=[], metavar="FIELD=VALUE",
        help="of the data set's own, such as split=reference for data.lsp.split",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--plugin", action="append", default=[], help="module to import first")
    return parser


if __name__ == "__main__":
    sys.exit(main())
