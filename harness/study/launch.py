"""How a study is started or resumed, beside its file."""

from dataclasses import dataclass

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
        read_test: Whether runs may read the target test split; only ``confirm`` says so.
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
    kind: str = "trial"
    belongs_to: str | None = None
    compared: dict[str, list[str]] | None = None
