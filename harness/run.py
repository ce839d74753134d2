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

from harness.mlflow_records.store import check_tracking
from harness.preflight import check_machine
from harness.spec import SpecError, StudySpec, load_study
from harness.storage import Storage

DONE, BAD_INPUT, TOO_MANY_FAILED, INTERRUPTED = 0, 2, 3, 130
PROBE_BYTES = 64 * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    out = sys.stderr if options.json else sys.stdout
    try:
        spec = load_study(options.study, options.set)
        _line(out, f"{options.study} is a valid study: {_summary(spec)}")
        if spec.ignored:
            _line(out, f"not used here: {', '.join(spec.ignored)}")
        if options.dry_run:
            return _dry_run(spec, options, out)
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
        "--dry-run",
        action="store_true",
        help="check the file, measure a few steps and tell what the study will cost",
    )
    parser.add_argument(
        "--new", action="store_true",
        help="start another study even if there is one of this name to go on with",
    )  # fmt: skip
    parser.add_argument(
        "--accept-change", action="store_true",
        help="go on although the file or the code differ from when the study was started",
    )  # fmt: skip
    parser.add_argument("--retry-failed", action="store_true", help="try failed trials once more")
    parser.add_argument(
        "--address", metavar="HOST:PORT",
        help="join a running Ray cluster, auto for the one on this machine (default: start Ray)",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="print the result as one JSON object on stdout"
    )
    return parser


def _run(spec: StudySpec, options: argparse.Namespace, out: TextIO) -> int:
    check_machine(spec, is_cluster=options.address is not None)
    storage = open_storage(options.storage)
    check_tracking(storage.mlflow_uri)
    from harness.study import Start, follow_study  # Ray's import takes seconds; a line is out

    start = Start(options.new, options.accept_change, options.retry_failed, options.address)
    result, tracker = follow_study(spec, storage, out, start=start)
    from harness import report

    if options.json:
        print(json.dumps(report.as_json(spec, storage, result, tracker), allow_nan=False))  # noqa: T201 - the result
    else:
        for line in report.as_text(spec, storage, result, tracker):
            _line(out, line)
    if result.was_interrupted:
        return INTERRUPTED
    retried = {record.retry_of for record in result.trials}
    counted = [record for record in result.trials if record.setting not in retried]
    failed = sum(record.state == "failed" for record in counted)
    if failed > spec.failures.max_rate * max(len(counted), 1):
        _line(sys.stderr, f"{failed} of {len(counted)} trials failed; --retry-failed tries again")
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
        try:
            probe.write_bytes(bytes(PROBE_BYTES))  # an empty file fits a full disk
        finally:
            probe.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: ~ of an unknown user
        raise SpecError(
            f"--storage {folder}: {getattr(error, 'strerror', None) or error}"
        ) from error
    return Storage(root)


def _dry_run(spec: StudySpec, options: argparse.Namespace, out: TextIO) -> int:
    """Show the space, a few configurations it would try, and what the study will cost."""
    import random

    check_machine(spec, is_cluster=options.address is not None)
    space = spec.space()
    for line in space.describe():
        _line(out, f"  {line}")
    rng = random.Random(0)
    for i in range(3):
        drawn = {name: v for name, v in space.draw(rng).items() if name not in spec.fixed}
        _line(out, f"  draw {i}: {json.dumps(drawn)}")
    from harness.plan import plan_study

    root = options.storage.expanduser().resolve()
    plan = plan_study(spec, root, say=lambda text: _line(out, text))
    for line in plan.lines():
        _line(out, line)
    if options.json:
        print(json.dumps(plan.as_json(), allow_nan=False))  # noqa: T201 - the result
    if plan.refusal is not None:
        raise SpecError(plan.refusal)
    return DONE


def _summary(spec: StudySpec) -> str:
    settings = spec.max_settings
    trials = "trials until it is stopped" if settings is None else f"{settings} trials"
    if spec.seeds > 1:
        trials += f" of {spec.seeds} seeds"
    objectives = ", ".join(f"{metric.goal} {metric.name}" for metric in spec.objectives)
    return f"{trials}, {len(spec.baselines)} of them baselines, {objectives}"


def _line(out: TextIO, text: str) -> None:
    print(text, file=out, flush=True)


if __name__ == "__main__":
    sys.exit(main())
