"""``python -m harness.replay MLFLOW_RUN_ID``: train a recorded run again and compare.

On the same machine and code every metric of every epoch must be equal, to the last bit. A run that
was pruned or stopped is trained to its last recorded epoch. One that failed is trained one epoch
further, as the epoch that failed has no record: it is the same if it fails again and what it
reported before is equal. Metrics alone are compared, and of these not the times.

Exit codes: 0 equal, 1 different, 2 bad input, 4 Ray, the database or the machine failed, 130
interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from harness.record.storage import Storage, open_storage
from harness.spec import SpecError, StudySpec, checked_study
from harness.study.launch import Launch
from harness.terminal.command import INTERRUPTED, ended, folder_argument, say, say_json

if TYPE_CHECKING:
    from harness.replays.recorded_run import RecordedRun

EQUAL, DIFFERENT = 0, 1
NAME = "replay"
"""Name of the only trial."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    out = sys.stderr if options.json else sys.stdout
    return ended(lambda: _replay(options, out))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness.replay",
        description="Train a run again from its record in MLflow and say whether its metrics are "
        "equal. Exit code 0: equal, 1: different.",
    )
    parser.add_argument(
        "run_id", metavar="MLFLOW_RUN_ID",
        help="run to train again, as MLflow's pages and the result of harness.run --json name it",
    )  # fmt: skip
    parser.add_argument(
        "--tracking-uri", metavar="URI",
        help="MLflow server or database that holds the run (default: MLFLOW_TRACKING_URI, or the "
        "storage's database)",
    )  # fmt: skip
    parser.add_argument(
        "--storage", type=folder_argument, default=Path("runs"), metavar="DIR",
        help="folder for the replay, whose images, Pose VAEs and style networks it reuses; all "
        "training is repeated (default: runs)",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="print the result as one JSON object on stdout"
    )
    return parser


def _replay(options: argparse.Namespace, out: TextIO) -> int:
    say(out, f"reading run {options.run_id}")
    from harness.replays.recorded_run import read_run

    given = options.tracking_uri
    root = options.storage.resolve()
    run = read_run(given or Storage(root).mlflow_uri, options.run_id)
    if run.last_step == 0 and run.state != "failed":
        raise SpecError(f"run {run.run_id} recorded no epoch, so there is nothing to compare")
    reason = f" ({run.reason})" if run.reason else ""
    epochs = f"{run.last_step} epoch{'' if run.last_step == 1 else 's'}"
    say(out, f"{run.name} of study {run.study}: {run.state} after {epochs}{reason}")
    from harness.study.preflight import check_machine

    storage = open_storage(root)
    spec = _spec(run, _study_name(run, storage))
    check_machine(spec)
    from harness.study.follow import follow_study

    launch = Launch(
        storage,
        trainable=replaying_trainable(run),
        read_test=run.read_test,
        kind="replay",
        belongs_to=run.study_id,
    )
    result, _ = follow_study(spec, launch, out)
    if result.state != "complete":
        say(out, f"{result.reason}; the same command resumes it")
        return INTERRUPTED
    from harness.replays.comparison import compare

    report = compare(run, storage.ledger(result.study_name))
    for line in report.lines():
        say(out, line)
    if options.json:
        found = {"replay_study": result.study_name, **report.as_json()}
        say_json(found)
    return EQUAL if report.is_equal else DIFFERENT


def _spec(run: "RecordedRun", name: str) -> StudySpec:
    """A study of the recorded run alone, which nothing draws, prunes or starts again."""
    from harness.confirmation.finalists import judging_fields

    judging = judging_fields(run.fields)
    own = {field: value for field, value in run.fields.items() if field not in judging}
    content = {
        "plugins": run.plugins,
        "name": name,
        "trainable": run.trainable,
        "metrics": run.objectives,
        "method": "random",
        "fixed": judging,
        "baselines": {NAME: own},
        "failures": {"retries": 0},
        "resources": {
            "cpus": run.cpus,
            "gpus": int(run.gpus) if run.gpus.is_integer() else run.gpus,
            "parallel": 1,
        },
    }
    return checked_study(content, f"this version cannot run the trial of run {run.run_id}")


def _study_name(run: "RecordedRun", storage: Storage) -> str:
    """The name of a replay that was broken off and can be resumed, or a free one."""
    from trainables.fingerprint import code_digest

    base = f"replay-{run.run_id[:8]}"
    free = storage.free_name(base)
    suffix = int(free.removeprefix(base).lstrip("-") or 1)
    last = {1: None, 2: base}.get(suffix, f"{base}-{suffix - 1}")
    if last is None or not storage.ledger(last).is_file():
        return free
    folder = storage.study(last)
    with folder.owned(), folder.open_ledger() as ledger:
        description = ledger.description or {}
        can_resume = not ledger.is_complete and description.get("code") == code_digest()
    return last if can_resume else free


def replaying_trainable(run: "RecordedRun") -> type:
    """The recorded run's trainable, which trains all for itself and no longer than is recorded.

    Args:
        run: The record; a failed trial runs for one epoch more, in which it should fail again.
    """
    from trainables.registry import TRAINABLES

    trainable: Any = TRAINABLES[run.trainable].load()
    limit = run.last_step + (1 if run.state == "failed" else 0)

    def step(self: Any) -> dict[str, Any]:
        """Train an epoch; done after the last recorded one."""
        result: dict[str, Any] = trainable.step(self)
        return {**result, "done": result["done"] or result["step"] >= limit}

    members: dict[str, Any] = {"shares_training": False}
    if run.state != "complete":
        members["step"] = step
    # A new class, which Ray sends to the worker by value.
    return type(f"Replayed{trainable.__name__}", (trainable,), members)


if __name__ == "__main__":
    sys.exit(main())
