"""``python -m harness.run STUDY.yaml``: run a study and report its results.

Exit codes: 0 done, 2 bad input, 3 more runs failed than the file allows, 4 Ray, the database or
the machine failed, 130 interrupted.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from harness.mlflow_tracking.uri_check import check_tracking
from harness.record.storage import open_storage
from harness.spec import SpecError, StudySpec, load_spec
from harness.study.launch import add_launch_options, launch_of
from harness.study.preflight import check_machine
from harness.terminal.command import (
    DONE,
    INTERRUPTED,
    ended,
    failure_code,
    folder_argument,
    say,
    say_json,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    out = sys.stderr if options.json else sys.stdout
    return ended(lambda: _checked(options, out))


def _checked(options: argparse.Namespace, out: TextIO) -> int:
    spec = load_spec(options.study, options.set)
    say(out, f"{options.study} is a valid study: {_summary(spec)}")
    for notice in spec.notices:
        say(out, notice)
    return _dry_run(spec, options, out) if options.dry_run else _run(spec, options, out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m harness.run", description="Run a study.")
    parser.add_argument("study", type=Path, help="YAML file of the study")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="replace a value of the file, e.g. --set fixed.adapt.epochs=3; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--storage", type=folder_argument, default=Path("runs"), metavar="DIR",
        help="folder for everything that the harness keeps (default: runs)",
    )  # fmt: skip
    parser.add_argument(
        "--dry-run", action="store_true",
        help="check the file, measure a few steps and estimate what the study will cost",
    )  # fmt: skip
    add_launch_options(parser, "study", "its file")
    return parser


def _run(spec: StudySpec, options: argparse.Namespace, out: TextIO) -> int:
    check_machine(spec, is_cluster=options.address is not None)
    storage = open_storage(options.storage)
    check_tracking(storage.mlflow_uri)
    # Importing Ray takes seconds, so only now, after the first line of output.
    from harness.study.follow import follow_study

    result, tracker = follow_study(spec, launch_of(options, storage), out)
    from harness.terminal import summary as report

    if options.json:
        say_json(report.as_json(spec, storage, result, tracker))
    else:
        for line in report.as_text(spec, storage, result, tracker):
            say(out, line)
    if result.was_interrupted:
        return INTERRUPTED
    return failure_code(result.runs, spec.failures.max_rate)


def _dry_run(spec: StudySpec, options: argparse.Namespace, out: TextIO) -> int:
    """Show the space, a few configurations that it holds, and what the study will cost."""
    import random

    is_cluster = options.address is not None
    check_machine(spec, is_cluster=is_cluster)
    space = spec.space
    for line in space.describe():
        say(out, f"  {line}")
    rng = random.Random(0)
    for i in range(3):
        drawn = {name: v for name, v in space.draw(rng).items() if name not in spec.fixed}
        say(out, f"  draw {i}: {json.dumps(drawn)}")
    from harness.forecast.plan import plan_study

    root = options.storage.resolve()
    plan = plan_study(spec, root, lambda text: say(out, text), is_cluster=is_cluster)
    for line in plan.lines():
        say(out, line)
    if options.json:
        say_json(plan.as_json())
    if plan.refusal is not None:
        raise SpecError(plan.refusal)
    return DONE


def _summary(spec: StudySpec) -> str:
    objectives = ", ".join(f"{metric.goal} {metric.name}" for metric in spec.objectives)
    return f"{spec.amount}, {len(spec.baselines)} of them baselines, {objectives}"


if __name__ == "__main__":
    sys.exit(main())
