"""A study with its followers: ledger, MLflow and terminal wired together."""

import shutil
import sys
from typing import TextIO

from harness.mlflow_tracking.tracker import MLflowTracker
from harness.nodes.cluster import check_address
from harness.record.ledger import Event
from harness.record.storage import StudyFolder
from harness.record.study_result import StudyResult
from harness.spec import StudySpec
from harness.study.engine import run_study
from harness.study.launch import Launch
from harness.terminal.command import say
from harness.terminal.progress import LiveProgress, PlainProgress, Progress, StudyView


def follow_study(
    spec: StudySpec, launch: Launch, out: TextIO
) -> tuple[StudyResult, MLflowTracker]:
    """Start a study or resume it, show it and record it.

    Args:
        spec: The study; its name says which study is resumed.
        launch: Where to keep it, and what to do if it is there already.
        out: Terminal or file to show progress on.

    Returns:
        How it ended, and the closed tracker with the MLflow run ids.

    Raises:
        SpecError: If another driver runs it, it was started with another file or other code, no
            cluster answers at the address, the database cannot be used, or the ledger is damaged.
        OutageError: If Ray or the database does not start or goes away.
    """
    if launch.address is not None:
        check_address(launch.address)
    storage = launch.storage
    folder = storage.study(storage.free_name(spec.name) if launch.new else spec.name)
    with folder.owned(), folder.open_ledger() as ledger:
        tracker = MLflowTracker(storage.mlflow_uri, storage.artifacts, folder.ledger)
        view = StudyView(spec, ledger.runs)
        progress: Progress = LiveProgress(view, out) if out.isatty() else PlainProgress(view, out)
        ledger.subscribe(tracker)
        ledger.subscribe(progress)
        ledger.subscribe(_Tidy(folder))
        goes_on = "study" if ledger.is_new else "going on with study"
        progress.say(f"{goes_on} {folder.name} in {storage.root}")
        try:
            result = run_study(spec, launch, folder, ledger, progress.say)
        finally:
            progress.close()
            _close(tracker)
            if ledger.description is None:  # it could not be started
                shutil.rmtree(folder.path)
        if tracker.num_unwritten:
            _warn(
                f"{tracker.num_unwritten} events did not reach MLflow ({tracker.last_error}); the "
                "same command again writes them"
            )
    return result, tracker


class _Tidy:
    """Removes checkpoints from which nothing will resume; a ledger subscriber.

    Of a complete run the last one stays, with its best network.
    """

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder

    def __call__(self, event: Event) -> None:
        if event["event"] == "finished" and event["state"] != "stopped":
            keep = 1 if event["state"] == "complete" else 0
            self._folder.drop_checkpoints(event["number"], keep)


def _close(tracker: MLflowTracker) -> None:
    try:
        tracker.close()
    except KeyboardInterrupt:  # the study is over; only MLflow is not waited for
        tracker.give_up()


def _warn(text: str) -> None:
    say(sys.stderr, f"warning: {text}")
