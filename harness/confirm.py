"""``python -m harness.confirm STUDY``: train finalists again and read the test split.

The search chose its trials on ``target_val``; a best value found that way is too good. Here the
best trials and every baseline are trained with fresh seeds, and ``target_test`` is read for the
first time. The same command again resumes it; with more ``--seeds`` it adds seeds.

Exit codes: 0 done, 2 bad input, 3 more runs failed than the search's file allows, 4 Ray, the
database or the machine failed, 130 interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from harness.record.storage import Storage, open_storage
from harness.spec import SpecError
from harness.study.launch import add_launch_options, launch_of
from harness.terminal.command import (
    INTERRUPTED,
    ended,
    failure_code,
    folder_argument,
    say,
    say_json,
)

if TYPE_CHECKING:
    from harness.confirmation.confirmation_study import ConfirmationPlan
    from harness.mlflow_tracking.tracker import MLflowTracker
    from harness.record.study_result import StudyResult


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    out = sys.stderr if options.json else sys.stdout
    return ended(lambda: _confirm(options, out))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness.confirm",
        description="Train the best trials of a study and all its baselines again, with fresh "
        "seeds, and compare them on the test split, which no search reads. The same command "
        "again resumes it; with more --seeds it adds seeds.",
    )
    parser.add_argument("study", metavar="STUDY", help="name of a study in the storage")
    parser.add_argument(
        "--top", type=int, default=3, metavar="N",
        help="how many of the best trials to train again (default: 3)",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=int, default=5, metavar="N",
        help="fresh seeds of each trial (default: 5)",
    )  # fmt: skip
    parser.add_argument(
        "--storage", type=folder_argument, default=Path("runs"), metavar="DIR",
        help="folder that holds the study (default: runs)",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE",
        help="change a field of all trials, e.g. --set adapt.epochs=6, or the confirmation's "
        "name, resources or failures, e.g. --set resources.parallel=1; may be repeated",
    )  # fmt: skip
    add_launch_options(parser, "confirmation", "its trials")
    return parser


def _confirm(options: argparse.Namespace, out: TextIO) -> int:
    if options.seeds < 1 or options.top < 0:
        raise SpecError(f"need --seeds >= 1 and --top >= 0, got {options.seeds} and {options.top}")
    Storage(options.storage.resolve()).known(options.study)  # before the folder is written to
    storage = open_storage(options.storage)
    # Slow to import: only once the arguments are known to be right.
    from harness.confirmation.confirmation_study import plan_confirmation, resumed
    from harness.mlflow_tracking.uri_check import check_tracking
    from harness.study.preflight import check_machine

    plan = plan_confirmation(
        storage.ledger(options.study), options.top, options.seeds, options.set
    )
    for line in plan.notes:
        say(out, line)
    accepts_change = options.accept_change
    ledger = storage.ledger(plan.spec.name)
    if ledger.is_file() and not options.new:
        spec, accepts_change = resumed(ledger, plan.spec, accept_change=options.accept_change)
        plan = replace(plan, spec=spec)
    check_machine(plan.spec, is_cluster=options.address is not None)
    check_tracking(storage.mlflow_uri)
    say(out, f"{plan.summary}; target_test is read at the end of each run")
    from harness.study.follow import follow_study

    launch = replace(
        launch_of(options, storage),
        accept_change=accepts_change,
        read_test=True,
        kind="confirmation",
        belongs_to=plan.searched_id,
        compared=plan.selection.compared,
    )
    result, tracker = follow_study(plan.spec, launch, out)
    if options.json:
        say_json(_as_json(plan, options.study, storage, result, tracker))
    else:
        _tell(plan, storage, result, out)
    if result.was_interrupted:
        return INTERRUPTED
    return failure_code(result.runs, plan.spec.failures.max_rate)


def _tell(plan: "ConfirmationPlan", storage: Storage, result: "StudyResult", out: TextIO) -> None:
    """Say how it ended and, if it is complete, what the test split says."""
    from harness.results.verdict import as_lines, judge, looks_caution, num_looks

    say(out, "")
    retried = {record.retry_of for record in result.runs}
    for record in result.runs:
        if record.state == "failed" and record.trial not in retried:
            say(out, f"  {record.name} failed: {record.reason}")
    ledger = storage.ledger(result.study_name)
    if result.state != "complete":
        say(
            out,
            f"{result.reason}; the same command resumes it; the verdict follows at its end",
        )
    else:
        for line in as_lines(judge(result.runs, **plan.selection.compared)):
            say(out, line)
        if (caution := looks_caution(num_looks(ledger))) is not None:
            say(out, caution)
    say(out, f"the runs are in {ledger}")


def _as_json(
    plan: "ConfirmationPlan",
    searched: str,
    storage: Storage,
    result: "StudyResult",
    tracker: "MLflowTracker",
) -> dict[str, object]:
    from harness.results.verdict import as_json, judge, num_looks
    from harness.terminal import summary as report

    found = report.as_json(plan.spec, storage, result, tracker)
    del found["best"], found["pareto"]  # here each run is one of Optuna's trials
    is_over = result.state == "complete"
    return {
        **found,
        "confirms": searched,
        "looks": num_looks(storage.ledger(result.study_name)),
        "verdict": as_json(judge(result.runs, **plan.selection.compared)) if is_over else None,
    }


if __name__ == "__main__":
    sys.exit(main())
