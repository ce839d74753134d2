"""``python -m analysis.report STUDY --out FILE``: write a study's report as one HTML file.

Exit codes: 0 done, 2 the study cannot be read or the file not be written.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

DONE, BAD_INPUT = 0, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    if find_spec("matplotlib") is None:
        return _refuse("the report draws with matplotlib: pip install 'posebins[analysis]'")
    ledger = options.study / "events.jsonl" if options.study.is_dir() else options.study
    if not ledger.is_file():
        return _refuse(
            f"{options.study} is no study: name its folder, such as runs/studies/bins, which "
            "holds events.jsonl"
        )
    from analysis.report.document import write_report
    from harness.results import load_study

    file = options.out or ledger.parent / "summary" / "report.html"
    try:
        write_report(load_study(ledger), file)
    except OSError as error:
        return _refuse(f"{error.filename or file}: {error.strerror or error}")
    except ValueError as error:
        return _refuse(str(error))
    sys.stdout.write(f"{file}\n")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.report",
        description="Write what came out of a study as one HTML file that stands alone, and the "
        "figure of its bins as per_bin.png beside it.",
    )
    parser.add_argument("study", type=Path, help="folder of the study, or its events.jsonl")
    parser.add_argument(
        "--out", type=Path, metavar="FILE",
        help="HTML file to write (default: summary/report.html in the study's folder)",
    )  # fmt: skip
    return parser


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"error: {sentence}\n")
    return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
