"""Where studies live on disk: one folder for everything the harness keeps."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness.record.ledger import Ledger
from harness.record.lock_note import lock_holder, lock_note
from harness.yaml.text import SpecError

PROBE_BYTES = 64 * 1024


@dataclass(frozen=True)
class StudyFolder:
    """The folder of one study; the databases lie beside it.

    Attributes:
        path: Absolute folder; its name is the study's.
    """

    path: Path

    @property
    def name(self) -> str:
        """Name of the study in the storage."""
        return self.path.name

    @property
    def ledger(self) -> Path:
        """Ledger file."""
        return self.path / "events.jsonl"

    @property
    def summary(self) -> Path:
        """Figures and pages about the study; MLflow gets them when the study ends."""
        return self.path / "summary"

    @property
    def report(self) -> Path:
        """The study as one HTML page."""
        return self.summary / "report.html"

    def open_ledger(self) -> Ledger:
        """Open the ledger, or create it.

        Raises:
            SpecError: If it is damaged; names the line.
        """
        try:
            return Ledger(self.ledger)
        except ValueError as error:
            raise SpecError(f"{error}; restore the file, or start another study") from error

    def run(self, number: int) -> Path:
        """Folder of a run's checkpoints and predictions."""
        return self.path / "runs" / str(number)

    @property
    def model(self) -> Path:
        """Folder of the best trial's network; there once a trial is complete."""
        return self.path / "model"

    def drop_checkpoints(self, number: int, keep: int) -> None:
        """Remove all checkpoints of a run that has ended but the newest ``keep``."""
        found = sorted(self.run(number).glob("epoch-*"))
        for checkpoint in found[: len(found) - keep]:
            shutil.rmtree(checkpoint, ignore_errors=True)

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Lock the study against other drivers, on every machine that shares the folder.

        The kernel releases the lock when its holder dies, however it dies.

        Raises:
            SpecError: If another driver holds the lock, which is named, or the folder cannot be
                written.
        """
        is_new = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = self._locked()
        except OSError as error:
            if is_new:
                shutil.rmtree(self.path, ignore_errors=True)
            raise SpecError(f"study {self.name}: {self.path}: {error.strerror}") from error
        with lock:
            yield

    def _locked(self) -> BinaryIO:
        """The file that is locked while it is open, with a note of its holder in it."""
        # Unbuffered: on a full disk, close() would try to write a buffer again and fail.
        file = (self.path / "study.lock").open("ab+", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.truncate(0)
            file.write(lock_note())
        except BlockingIOError:
            file.seek(0)
            holder = lock_holder(file.read())
            file.close()
            raise SpecError(
                f"study {self.name} is being run by {holder}; wait for it, or start another study"
            ) from None
        except OSError:
            file.close()
            raise
        return file


@dataclass(frozen=True)
class Storage:
    """Where studies live on disk.

    Attributes:
        root: Absolute folder.
    """

    root: Path

    @property
    def optuna_url(self) -> str:
        """SQLAlchemy URL of a database in this storage, for the Optuna studies.

        :func:`harness.spec.database.database_url` says when another one is used.
        """
        return f"sqlite:///{self.root / 'optuna.db'}"

    @property
    def mlflow_uri(self) -> str:
        """``MLFLOW_TRACKING_URI`` if it is set, else a database in this storage."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        """Artifacts of MLflow runs."""
        return self.root / "mlartifacts"

    @property
    def stages(self) -> Path:
        """Stage cache."""
        return self.root / "stages"

    def study(self, study_name: str) -> StudyFolder:
        """Folder of one study."""
        return StudyFolder(self.root / "studies" / study_name)

    def known(self, study_name: str | None = None) -> dict[str, Path]:
        """Studies of the storage: name to ledger, in the order of the names.

        Args:
            study_name: Of a single study; None for all.

        Raises:
            SpecError: If the storage is no folder, or has no study or not this one.
        """
        if not self.root.is_dir():
            raise SpecError(f"--storage {self.root} is not a folder")
        found = {p.parent.name: p for p in sorted(self.root.glob("studies/*/events.jsonl"))}
        if not found:
            raise SpecError(f"{self.root} has no study yet")
        if study_name is None:
            return found
        if study_name not in found:
            raise SpecError(
                f"no study named {study_name} in {self.root}; known: {', '.join(found)}"
            )
        return {study_name: found[study_name]}

    def ledger(self, study_name: str) -> Path:
        """Ledger file of one study."""
        return self.study(study_name).ledger

    def free_name(self, name: str) -> str:
        """``name``, or ``name-2``, ... if there is such a study."""
        for suffix in range(1, 10_000):
            study_name = name if suffix == 1 else f"{name}-{suffix}"
            if not self.study(study_name).path.exists():
                return study_name
        raise SpecError(f"{self.root} has too many studies named {name}")


def open_storage(folder: Path) -> Storage:
    """Create the storage folder.

    Raises:
        SpecError: If it cannot be created or written to.
    """
    try:
        root = folder.resolve()
        if forbidden := set("?#%") & set(str(root)):
            raise SpecError(f"--storage {folder}: the path must not hold {min(forbidden)!r}")
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f".writable-{os.getpid()}"
        try:
            probe.write_bytes(bytes(PROBE_BYTES))  # an empty file fits a full disk
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise SpecError(f"--storage {folder}: {error.strerror or error}") from error
    return Storage(root)
