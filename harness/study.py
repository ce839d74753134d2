"""A study with its followers: ledger, MLflow and terminal wired together."""

import sys
from typing import TextIO

from harness.engine import Launch, StudyResult, run_study
from harness.ledger import Ledger
from harness.progress import LiveProgress, PlainProgress, Progress, StudyView
from harness.spec import StudySpec
from harness.storage import Storage
from harness.tracking import MLflowTracker


def follow_study(
    spec: StudySpec,
    storage: Storage,
    out: TextIO,
    *,
    trainable: type | None = None,
    read_test: bool = False,
) -> tuple[StudyResult, MLflowTracker]:
    """Run a study, show it and record it.

    Args:
        spec: The study.
        storage: Where to keep it.
        out: Terminal or file to show progress on.
        trainable: Ray Tune class to run instead of the spec's.
        read_test: Whether trials may read the target test split.

    Returns:
        How it ended, and the closed tracker with the MLflow run ids.
    """
    from harness.optuna_study import num_trials, stored_studies

    study_name = storage.reserve(spec.name, stored_studies(storage.optuna_url))
    ledger = Ledger(storage.ledger(study_name))
    tracker = MLflowTracker(storage.mlflow_uri, storage.artifacts)
    view = StudyView(spec.objective.name, spec.objective.goal, num_trials(spec))
    progress: Progress = LiveProgress(view, out) if out.isatty() else PlainProgress(view, out)
    ledger.subscribe(tracker)
    ledger.subscribe(progress)
    progress.say(f"study {study_name} in {storage.root}")
    try:
        launch = Launch(storage, study_name, ledger, trainable, read_test, progress.say)
        result = run_study(spec, launch)
    finally:
        progress.close()
        ledger.close()
        try:
            tracker.close()
        except KeyboardInterrupt:  # the study is over; only MLflow is not waited for
            tracker.give_up()
    if tracker.num_unwritten:
        print(  # noqa: T201 - this is the terminal
            f"warning: {tracker.num_unwritten} events did not reach MLflow "
            f"({tracker.last_error}); all are in {storage.ledger(study_name)}",
            file=sys.stderr,
        )
    return result, tracker
