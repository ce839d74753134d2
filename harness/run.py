"""``python -m harness.run STUDY.yaml``: run a study and say what came out.

Exit codes: 0 done, 2 bad input, 3 more trials failed than the file allows, 130 interrupted.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from harness.preflight import check_machine
from harness.spec import SpecError, StudySpec, load_study
from harness.storage import Storage

DONE, BAD_INPUT, TOO_MANY_FAILED, INTERRUPTED = 0, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    out = sys.stderr if options.json else sys.stdout
    try:
        spec = load_study(options.study, options.set)
        _line(out, f"{options.study} is a valid study: {_summary(spec)}")
        if options.dry_run:
            return _dry_run(spec, out)
        return _run(spec, options, out)
    except SpecError as error:
        _line(sys.stderr, f"error: {error}")
        return BAD_INPUT
    except KeyboardInterrupt:
        _line(sys.stderr, "interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m harness.run", description="Run a study.")
    parser.add_argument("study", type=Path, help="YAML file of the study")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="replace a value of the file, e.g. --set fixed.adapt.epochs=3; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--storage", type=Path, default=Path("runs"), metavar="DIR",
        help="folder for everything that is kept (default: runs)",
    )  # fmt: skip
    parser.add_argument(
        "--dry-run", action="store_true", help="check the file and show what would run"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the result as one JSON object on stdout"
    )
    return parser


def _run(spec: StudySpec, options: argparse.Namespace, out: TextIO) -> int:
    check_machine(spec)
    storage = open_storage(options.storage)
    from harness.study import follow_study  # Ray's import takes seconds; the line above is out

    result, tracker = follow_study(spec, storage, out)
    from harness import report

    if options.json:
        print(json.dumps(report.as_json(storage, result, tracker), allow_nan=False))  # noqa: T201 - the result
    else:
        for line in report.as_text(spec, storage, result, tracker):
            _line(out, line)
    if result.was_interrupted:
        return INTERRUPTED
    failed = sum(record.state == "failed" for record in result.trials)
    if failed > spec.failures.max_rate * max(len(result.trials), 1):
        _line(sys.stderr, f"{failed} of {len(result.trials)} trials failed")
        return TOO_MANY_FAILED
    return DONE


def open_storage(folder: Path) -> Storage:
    """Create the storage folder.

    Raises:
        SpecError: If it cannot be created or written to.
    """
    try:
        root = folder.expanduser().resolve()
        if forbidden := set("?#%") & set(str(root)):
            raise SpecError(f"--storage {folder}: the path must not hold {min(forbidden)!r}")
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f".writable-{os.getpid()}"
        probe.write_text("")
        probe.unlink()
    except (OSError, RuntimeError) as error:  # RuntimeError: ~ of an unknown user
        raise SpecError(
            f"--storage {folder}: {getattr(error, 'strerror', None) or error}"
        ) from error
    return Storage(root)


def _dry_run(spec: StudySpec, out: TextIO) -> int:
    """Show the space and a few configurations it would try."""
    import random

    check_machine(spec)
    space = spec.space()
    for line in space.describe():
        _line(out, f"  {line}")
    rng = random.Random(0)
    for i in range(3):
        drawn = {name: v for name, v in space.draw(rng).items() if name not in spec.fixed}
        _line(out, f"  draw {i}: {json.dumps(drawn)}")
    return DONE


def _summary(spec: StudySpec) -> str:
    trials = "the whole grid" if spec.budget.run_cap is None else f"{spec.budget.run_cap} trials"
    return f"{trials}, {len(spec.baselines)} of them baselines, {spec.objective.name}"


def _line(out: TextIO, text: str) -> None:
    print(text, file=out, flush=True)


if __name__ == "__main__":
    sys.exit(main())
