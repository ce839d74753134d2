"""What a command line says about starting or resuming a study."""

import argparse
from dataclasses import dataclass
from typing import Literal

from harness.record.storage import Storage


@dataclass(frozen=True)
class Launch:
    """How to start or resume a study, beside its spec.

    Attributes:
        storage: Where to keep it.
        new: Start another study, under a free name, even if there is one to resume.
        accept_change: Resume even if the file or the code differ from before.
        retry_failed: Try failed trials once more.
        address: Of the Ray cluster to join; None to start Ray on this machine.
        trainable: Ray Tune class to run instead of the spec's; for replays, tests and benchmarks.
        report: Whether the study leaves a report when it ends without an interruption.
        read_test: Whether runs may read the target test split, as those of a confirmation do and
            replays of them.
        kind: What its runs are: of a search ``trial``, else ``confirmation`` or ``replay``.
        belongs_to: Id of the study that it confirms or replays.
        compared: Which runs a confirmation compares, see ``harness.results.verdict.judge``.
    """

    storage: Storage
    new: bool = False
    accept_change: bool = False
    retry_failed: bool = False
    address: str | None = None
    trainable: type | None = None
    report: bool = False
    read_test: bool = False
    kind: Literal["trial", "confirmation", "replay"] = "trial"
    belongs_to: str | None = None
    compared: dict[str, list[str]] | None = None


def add_launch_options(parser: argparse.ArgumentParser, noun: str, origin: str) -> None:
    """Add the options of :func:`launch_of`, and ``--json``.

    Args:
        parser: Of a command that starts or resumes a study.
        noun: What it calls the study.
        origin: What the study comes from, beside the code.
    """
    parser.add_argument(
        "--new", action="store_true", help=f"start another {noun} even if there is one to resume"
    )
    parser.add_argument(
        "--accept-change", action="store_true",
        help=f"accept a change of {origin} or the code since the {noun} was started",
    )  # fmt: skip
    parser.add_argument("--retry-failed", action="store_true", help="try failed trials once more")
    parser.add_argument(
        "--address", metavar="HOST:PORT",
        help="join a running Ray cluster, auto for the one on this machine (default: start Ray)",
    )  # fmt: skip
    parser.add_argument(
        "--no-report", action="store_true",
        help="leave out the report at the end, which takes seconds and needs matplotlib",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="print the result as one JSON object on stdout"
    )


def launch_of(options: argparse.Namespace, storage: Storage) -> Launch:
    """How the options of :func:`add_launch_options` start or resume a study."""
    return Launch(
        storage,
        new=options.new,
        accept_change=options.accept_change,
        retry_failed=options.retry_failed,
        address=options.address,
        report=not options.no_report,
    )
