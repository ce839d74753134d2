"""A study with its followers: ledger, MLflow and terminal wired together."""

import shutil
import sys
from dataclasses import dataclass
from typing import TextIO

from harness.mlflow_tracking.tracker import MLflowTracker
from harness.nodes.cluster import check_address
from harness.record.ledger import Event
from harness.record.storage import Storage, StudyFolder
from harness.record.study_result import StudyResult
from harness.spec import StudySpec
from harness.spec.database import database_url
from harness.study.engine import run_study
from harness.study.launch import Launch
from harness.terminal.command import say
from harness.terminal.progress import LiveProgress, PlainProgress, Progress, StudyView


@dataclass(frozen=True)
class Start:
    """How to start a study whose name may be known already.

    Attributes:
        new: Start another study, under a free name, even if there is one to go on with.
        accept_change: Go on even if the file or the code differ from before.
        retry_failed: Try failed trials once more.
        address: Of the Ray cluster to join; None to start Ray on this machine.
    """

    new: bool = False
    accept_change: bool = False
    retry_failed: bool = False
    address: str | None = None


def follow_study(
    spec: StudySpec,
    storage: Storage,
    out: TextIO,
    *,
    start: Start | None = None,
    trainable: type | None = None,
    read_test: bool = False,
) -> tuple[StudyResult, MLflowTracker]:
    """Run a study or go on with it, show it and record it.

    Args:
        spec: The study; its name decides which study is gone on with.
        storage: Where to keep it.
        out: Terminal or file to show progress on.
        start: What to do if there is such a study.
        trainable: Ray Tune class to run instead of the spec's.
        read_test: Whether runs may read the target test split.

    Returns:
        How it ended, and the closed tracker with the MLflow run ids.

    Raises:
        SpecError: If another driver runs it, it was started otherwise, no cluster answers at the
            address, the database cannot be used, or the ledger is damaged.
        OutageError: If Ray or the database does not start or goes away.
    """
    start = start or Start()
    if start.address is not None:
        check_address(start.address)
    study_name = storage.free_name(spec.name) if start.new else spec.name
    folder = storage.study(study_name)
    with folder.owned(), folder.open_ledger() as ledger:
        tracker = MLflowTracker(storage.mlflow_uri, storage.artifacts, folder.ledger)
        view = StudyView(spec.objective, spec.max_trials, spec.seeds, ledger.runs)
        progress: Progress = LiveProgress(view, out) if out.isatty() else PlainProgress(view, out)
        ledger.subscribe(tracker)
        ledger.subscribe(progress)
        ledger.subscribe(_Tidy(folder))
        goes_on = "study" if ledger.is_new else "going on with study"
        progress.say(f"{goes_on} {study_name} in {storage.root}")
        launch = Launch(
            storage,
            study_name,
            ledger,
            database_url(spec.database, storage.optuna_url),
            start.address,
            start.accept_change,
            start.retry_failed,
            trainable,
            read_test,
            progress.say,
        )
        try:
            result = run_study(spec, launch)
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
    """Removes checkpoints that nobody will go on from; a ledger subscriber.

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
