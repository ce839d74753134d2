"""How a study ended, for the summary and for ``--json``."""

from dataclasses import dataclass

from harness.record.ledger import RunRecord


@dataclass(frozen=True)
class StudyResult:
    """How a study ended.

    Attributes:
        study_name: Name in the storage.
        state: ``complete`` or ``stopped``.
        reason: Why it stopped, None if it is complete.
        was_interrupted: Whether a signal, such as that of Ctrl-C, stopped it.
        wall_s: Seconds of this driver.
        runs: Every run, in a terminal state.
        optuna_url: SQLAlchemy URL of Optuna's storage.
        optuna_name: Name in it.
        notes: What the user should know, in sentences.
    """

    study_name: str
    state: str
    reason: str | None
    was_interrupted: bool
    wall_s: float
    runs: list[RunRecord]
    optuna_url: str
    optuna_name: str
    notes: tuple[str, ...] = ()
