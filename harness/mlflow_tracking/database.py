"""Creates MLflow's database, which takes seconds, on a busy machine a minute."""

from mlflow.tracking import MlflowClient

from harness.record.whole_database import create_whole
from harness.spec.database import sqlite_file


def create_database(uri: str) -> None:
    """Create the file of a SQLite database with MLflow's tables; nothing if there is one.

    Args:
        uri: Tracking URI, of any kind.
    """
    if (path := sqlite_file(uri)) is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    create_whole(uri, lambda fresh: MlflowClient(fresh).search_experiments(max_results=1))
