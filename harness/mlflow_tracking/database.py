"""Creates MLflow's database whole or not at all.

MLflow creates its tables in many steps, which take seconds, on a busy machine a minute. If that
were interrupted, neither MLflow nor a later start could use the database.
"""

import os
from contextlib import suppress
from pathlib import Path

from mlflow.tracking import MlflowClient


def create_database(uri: str) -> None:
    """Create the file of a SQLite database with MLflow's tables; nothing if there is one.

    Args:
        uri: Tracking URI, of any kind.
    """
    if not uri.startswith("sqlite:///"):
        return
    path = Path(uri.removeprefix("sqlite:///").partition("?")[0])
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        MlflowClient(f"sqlite:///{fresh}").search_experiments(max_results=1)
        with suppress(FileExistsError):  # another study was faster
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
