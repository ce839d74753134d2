"""What a study is started with beside its file."""

from collections.abc import Callable
from dataclasses import dataclass

from harness.record.ledger import Ledger
from harness.record.storage import Storage


@dataclass(frozen=True)
class Launch:
    """What a study needs beside its spec.

    Attributes:
        storage: Where to keep it.
        study_name: Name of its folder, which this process owns.
        ledger: Receives every event; its subscribers see the study.
        optuna_url: SQLAlchemy URL of the Optuna studies.
        address: Of the Ray cluster to join; None to start Ray on this machine.
        accept_change: Go on even if the file or the code differ from before.
        retry_failed: Try failed trials once more.
        trainable: Ray Tune class to run instead of the spec's; for tests and benchmarks.
        read_test: Whether runs may read the target test split; only ``confirm`` says so.
        say: Shows a line to the person at the terminal.
    """

    storage: Storage
    study_name: str
    ledger: Ledger
    optuna_url: str
    address: str | None = None
    accept_change: bool = False
    retry_failed: bool = False
    trainable: type | None = None
    read_test: bool = False
    say: Callable[[str], None] = lambda text: None
