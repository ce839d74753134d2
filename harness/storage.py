"""Where studies live on disk: one folder for everything the harness keeps."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH_FIELDS = ("data.source_root", "data.target_root", "net.weights", "style.encoder")


@dataclass(frozen=True)
class Storage:
    """Where studies live on disk.

    Attributes:
        root: Absolute folder.
    """

    root: Path

    @property
    def optuna_url(self) -> str:
        """SQLAlchemy URL of the Optuna studies."""
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

    def study(self, study_name: str) -> Path:
        """Folder of one study."""
        return self.root / "studies" / study_name

    def ledger(self, study_name: str) -> Path:
        """Ledger file of one study."""
        return self.study(study_name) / "events.jsonl"

    def reserve(self, name: str, taken: Collection[str] = ()) -> str:
        """Create the folder of a new study; ``name``, or ``name-2``, ... if it is taken.

        ``taken`` holds further names that are no longer free, such as those Optuna knows.
        """
        for suffix in range(1, 10_000):
            study_name = name if suffix == 1 else f"{name}-{suffix}"
            if study_name in taken:
                continue
            try:
                self.study(study_name).mkdir(parents=True)
            except FileExistsError:
                continue
            return study_name
        raise FileExistsError(f"{self.root} has too many studies named {name}")


def absolute_paths(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Make the paths of a trial absolute: its worker runs in another folder."""
    return {
        name: str(Path(value).expanduser().resolve())
        if name in PATH_FIELDS and value is not None
        else value
        for name, value in fields.items()
    }
