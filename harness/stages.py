"""``python -m harness.stages``: list the stage cache, draw bins, remove what is not needed.

Exit codes: 0 done, 2 bad input, 4 the disk failed, 130 interrupted.
"""

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from harness.record.ledger import read_runs
from harness.record.quantities import duration_text, parse_duration, parse_size, size_text
from harness.record.storage import Storage
from harness.stage_cache.cleaning import (
    NO_RULE,
    PrunedItem,
    PruneRules,
    StoredStage,
    prune,
    stored_stages,
)
from harness.terminal.command import BAD_INPUT, DONE, ended, folder_argument, say
from harness.yaml.text import SpecError
from trainables.config import TrialConfig
from trainables.registry import PluginError, load_plugins
from trainables.stages.protocol import StageError

_WIDTH = 60
"""Most characters of an entry's inputs in the list."""
_RULES = "--older-than, --larger-than-total, --damaged, --stage and --all"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    return ended(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    try:
        root = _root(options)
        commands = {"list": _list, "size": _size, "prune": _prune, "bins": _bins}
        commands[options.command](root, options)
    except StageError as error:
        raise SpecError(str(error)) from error
    return DONE


class _Parser(argparse.ArgumentParser):
    """Reports an error in one sentence, without the usage, which ``--help`` shows."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m harness.stages",
        description="List, draw and prune the stage cache of a storage.",
    )
    # Accepted before and after the command; the second must not reset the first.
    common = _Parser(add_help=False)
    for place, default, as_json in (
        (parser, Path("runs"), False),
        (common, argparse.SUPPRESS, argparse.SUPPRESS),
    ):
        place.add_argument(
            "--storage", type=folder_argument, default=default, metavar="DIR",
            help="folder for everything that the harness keeps (default: runs)",
        )  # fmt: skip
        place.add_argument(
            "--json", action="store_true", default=as_json, help="print one JSON value"
        )
    commands = parser.add_subparsers(dest="command", required=True)

    list_ = commands.add_parser("list", parents=[common], help="one line per entry")
    list_.add_argument("--verify", action="store_true", help="compare the content of files, too")
    commands.add_parser("size", parents=[common], help="size of each stage, and free space")
    bins_ = commands.add_parser(
        "bins", parents=[common],
        help="draw what easy and hard poses of a study look like, a row of images for each bin",
    )  # fmt: skip
    bins_.add_argument("study", help="name of the study in the storage")
    bins_.add_argument("--out", type=Path, required=True, help="PNG file")
    bins_.add_argument("--run", type=int, help="whose source bins; default: the first run's")
    bins_.add_argument("--columns", type=int, default=8, help="images of each bin")
    bins_.add_argument("--zoom", type=int, default=160, help="side of an image in the picture")
    prune_ = commands.add_parser(
        "prune", parents=[common],
        help="remove entries, and remains of killed processes; entries in use stay",
    )  # fmt: skip
    prune_.add_argument(
        "--older-than", type=_as(parse_duration), metavar="AGE",
        help="entries not used for so long, e.g. 7d",
    )  # fmt: skip
    prune_.add_argument(
        "--larger-than-total", type=_as(parse_size), metavar="SIZE",
        help="the least recently used entries, until the rest is no larger, e.g. 10GB",
    )  # fmt: skip
    prune_.add_argument("--damaged", action="store_true", help="entries whose files are damaged")
    prune_.add_argument("--all", action="store_true", help="all entries")
    prune_.add_argument(
        "--stage", metavar="NAME",
        help="only entries of this stage; without another rule, all of them",
    )  # fmt: skip
    prune_.add_argument("--dry-run", action="store_true", help="show what would be removed")
    return parser


def _as(parse: Callable[[str], float]) -> Callable[[str], float]:
    def parse_argument(text: str) -> float:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_argument


def _root(options: argparse.Namespace) -> Path:
    folder: Path = options.storage
    if not folder.is_dir():
        raise StageError(f"--storage {folder}: no such folder")
    return Storage(folder.resolve()).stages


def _list(root: Path, options: argparse.Namespace) -> None:
    entries = stored_stages(root, with_digests=options.verify)
    if options.json:
        return _say(json.dumps([_as_json(entry) for entry in entries], allow_nan=False))
    table = [["stage", "key", "size", "computed in", "last used", "age", "inputs"]]
    table += [_row(entry, time.time()) for entry in entries]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        _say(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    for entry in entries:
        if entry.damage is not None:
            _say(f"damaged: {entry.damage}")
    return None


def _row(entry: StoredStage, now: float) -> list[str]:
    manifest, name = entry.manifest, [entry.path.parent.name, entry.path.name]
    last_used = f"{duration_text(max(0.0, now - entry.last_used))} ago"
    if manifest is None:
        return [*name, size_text(entry.size), "-", last_used, "-", "damaged"]
    words = ", ".join(
        f"{key} {value}"
        for key, value in manifest.inputs.items()
        if isinstance(value, str | int | float) and key != "version"
    )
    words = words if len(words) <= _WIDTH else words[: _WIDTH - 3] + "..."
    return [
        *name,
        size_text(entry.size),
        duration_text(manifest.seconds),
        last_used,
        duration_text(max(0.0, now - manifest.created)),
        words if entry.damage is None else f"damaged; {words}",
    ]


def _as_json(entry: StoredStage) -> dict[str, Any]:
    described = {} if entry.manifest is None else asdict(entry.manifest)
    return {
        "stage": entry.path.parent.name,
        "key": entry.path.name,
        "path": str(entry.path),
        "size": entry.size,
        "last_used": entry.last_used,
        "damage": entry.damage,
        **{
            name: described.get(name)
            for name in ("seconds", "created", "host", "code_version", "inputs", "files")
        },
    }


def _size(root: Path, options: argparse.Namespace) -> None:
    stages: dict[str, dict[str, int]] = {}
    for entry in stored_stages(root):
        stage = stages.setdefault(entry.path.parent.name, {"entries": 0, "size": 0})
        stage["entries"] += 1
        stage["size"] += entry.size
    total = {name: sum(stage[name] for stage in stages.values()) for name in ("entries", "size")}
    free = shutil.disk_usage(root.parent).free
    if options.json:
        return _say(json.dumps({"stages": stages, "total": total, "free": free}))
    for name, stage in {**stages, "total": total}.items():
        _say(f"{name:<12} {size_text(stage['size']):>9}  {_entries(stage['entries'])}")
    return _say(f"{'free':<12} {size_text(free):>9}")


def _prune(root: Path, options: argparse.Namespace) -> None:
    names = sorted({entry.name for entry in root.iterdir()}) if root.is_dir() else []
    if options.stage is not None and options.stage not in names:
        raise StageError(
            f"--stage {options.stage}: no such stage in {root}, "
            f"which has {', '.join(names) or 'none'}"
        )
    others = (options.older_than, options.larger_than_total, options.damaged or None)
    is_alone = options.stage is not None and others == (None, None, None)
    rules = PruneRules(
        options.older_than, options.larger_than_total, options.damaged, options.all or is_alone
    )
    items = []
    for item in prune(root, rules, options.stage, dry_run=options.dry_run):
        items.append(item)
        if item.why is not None and not options.json:
            _say(_sentence(item, options.dry_run))
    freed = sum(item.size for item in items if item.kept is None)
    if options.json:
        rows = [asdict(item) for item in items]
        return _say(json.dumps({"dry_run": options.dry_run, "freed": freed, "items": rows}))
    return _say(_totals(items, freed, options.dry_run))


def _bins(root: Path, options: argparse.Namespace) -> None:
    from trainables.data.view import write_picture
    from trainables.stages.bin_sheet import bin_sheet

    try:
        ledger = Storage(root.parent).known(options.study)[options.study]
        description, runs = read_runs(ledger)
        load_plugins(description["plugins"])
        numbers = [number for number, record in runs.items() if "pose_vae" in record.stages]
        number = options.run if options.run is not None else next(iter(numbers), None)
        if number not in numbers:
            which = "one of its runs" if options.run is None else f"its run {options.run}"
            raise StageError(f"study {options.study} has no scores of {which}")
        record = runs[number]
        keys = {name: stage[1] for name, stage in record.stages.items()}
        trial = TrialConfig.from_flat(record.fields)
        write_picture(options.out, bin_sheet(root, trial, keys, options.columns, options.zoom))
    except (OSError, ValueError, PluginError) as error:
        raise StageError(str(error)) from error
    if options.json:
        return _say(json.dumps({"out": str(options.out), "run": number}))
    return _say(f"{options.out}: the bins of run {number} {record.name}")


def _totals(items: Sequence[PrunedItem], freed: int, dry_run: bool) -> str:
    """How many were removed and kept, and why."""
    kept = Counter(item.kept for item in items if item.kept is not None)
    reasons = "; ".join(
        f"{number} {reason}" if len(kept) > 1 else str(reason) for reason, number in kept.items()
    )
    would = "would be " if dry_run else ""
    hint = f"; the rules are {_RULES}" if NO_RULE in kept else ""
    why = f" ({reasons}{hint})" if reasons else ""
    return (
        f"{len(items) - kept.total()} {would}removed, {kept.total()} kept{why}, "
        f"{size_text(freed)} {would}freed"
    )


def _sentence(item: PrunedItem, dry_run: bool) -> str:
    if item.kept is not None:
        return f"kept {item.name} ({size_text(item.size)}): {item.kept}"
    removed = "would remove" if dry_run else "removed"
    return f"{removed} {item.name} ({size_text(item.size)}): {item.why}"


def _entries(number: int) -> str:
    return f"{number} entry" if number == 1 else f"{number} entries"


def _say(text: str) -> None:
    say(sys.stdout, text)


if __name__ == "__main__":
    sys.exit(main())
