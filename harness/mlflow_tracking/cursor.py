"""How much of a ledger MLflow has: a small file beside the ledger.

The writer replaces it after each flush. A new writer reads the ledger from there, so nothing waits
in memory while a server is down.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.record.ledger import Event

CURSOR_NAME = "mlflow.json"
MAX_READ_BYTES = 256 * 2**10


@dataclass
class Cursor:
    """What MLflow has of a study.

    Attributes:
        uri: Tracking URI without its credentials, as a changed password does not change the store.
        study_id: Of the ledger; empty before its first event is written.
        offset: Bytes of the ledger that are written.
        num_refused: Writes that MLflow will never accept, such as to a run that was deleted.
        experiment_id: MLflow's experiment.
        summary_run_id: Run that stands for the whole study.
        run_ids: Run number to its id in MLflow.
        steps: Run number to the last step that was written.
        refused_runs: Runs that were deleted when something was to be written to them.
        last_error: Why the last write failed, without credentials; None if it did not.
    """

    uri: str
    study_id: str = ""
    offset: int = 0
    num_refused: int = 0
    experiment_id: str | None = None
    summary_run_id: str | None = None
    run_ids: dict[int, str] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    refused_runs: list[str] = field(default_factory=list)
    last_error: str | None = None

    def go_back(self) -> None:
        """Have everything written again, to the runs that are known."""
        self.offset = self.num_refused = 0
        self.steps, self.refused_runs = {}, []

    def save(self, path: Path) -> None:
        """Replace the file in one step, so that a reader sees the old or the new cursor."""
        fresh = path.with_suffix(f".{os.getpid()}.tmp")
        fresh.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        fresh.replace(path)


def cursor_path(ledger_path: Path) -> Path:
    """Where the cursor of a ledger is."""
    return ledger_path.with_name(CURSOR_NAME)


def load_cursor(ledger_path: Path, uri: str) -> Cursor:
    """The cursor of a ledger, or one at its beginning.

    A cursor that is missing, damaged, of another store or of another ledger is ignored: every
    write can be repeated, and runs that exist are looked up.

    Args:
        ledger_path: The ledger; it need not exist yet.
        uri: Tracking URI without its credentials.
    """
    try:
        content = json.loads(cursor_path(ledger_path).read_text(encoding="utf-8"))
        cursor = _checked(content)
        num_bytes = ledger_path.stat().st_size
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return Cursor(uri)
    if cursor.uri != uri or cursor.offset > num_bytes:
        return Cursor(uri)
    if cursor.offset and cursor.study_id != _study_id(ledger_path):
        return Cursor(uri)
    return cursor


def _checked(content: dict[str, Any]) -> Cursor:
    for name in ("run_ids", "steps"):
        content[name] = {int(number): value for number, value in content[name].items()}
    cursor = Cursor(**content)
    numbers = [cursor.offset, cursor.num_refused, *cursor.steps.values()]
    texts = [cursor.uri, cursor.study_id, *cursor.run_ids.values(), *cursor.refused_runs]
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("a count is not a whole number >= 0")
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("an id is not a text")
    if cursor.offset and not (cursor.summary_run_id and cursor.experiment_id):
        raise ValueError("no run of the study")
    return cursor


def _study_id(ledger_path: Path) -> str:
    events, _ = read_from(ledger_path, 0, max_bytes=1)
    return str(events[0].get("study_id", "")) if events else ""


def read_from(path: Path, offset: int, max_bytes: int = MAX_READ_BYTES) -> tuple[list[Event], int]:
    """Events of a ledger from a byte on; an unfinished last line is left out.

    Args:
        path: The ledger; without it there is no event.
        offset: Start of a line.
        max_bytes: Where to stop after the line that passes it.

    Returns:
        Events, and where the next one starts.

    Raises:
        ValueError: If a line is damaged; names the file and the byte.
    """
    events: list[Event] = []
    start = offset
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return events, offset
    with file:
        file.seek(offset)
        while offset - start < max_bytes and (line := file.readline()).endswith(b"\n"):
            try:
                events.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"{path}: damaged event at byte {offset}") from error
            offset += len(line)
    return events, offset


def num_events_from(path: Path, offset: int) -> int:
    """Number of whole lines of a ledger from a byte on, without parsing them."""
    count = 0
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return 0
    with file:
        file.seek(offset)
        while block := file.read(2**20):
            count += block.count(b"\n")
    return count
