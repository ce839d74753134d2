"""Creates a SQLite database whole or not at all.

Optuna and MLflow create their tables and indexes one after another. A process that is killed
meanwhile leaves a database that looks complete to the next one and is not.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

from harness.spec.database import sqlite_file


def create_whole(url: str, create: Callable[[str], object]) -> None:
    """Create the file of a SQLite database beside its place, then put it there.

    Args:
        url: Of any database; nothing happens for one that is no SQLite file or is there.
        create: Creates the tables of the database at the URL that it is given.

    Raises:
        OSError: If the folder cannot be written to; and whatever ``create`` raises.
    """
    path = sqlite_file(url)
    if path is None or path.exists():
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        create(f"sqlite:///{quote(str(fresh))}")
        with suppress(FileExistsError):  # another process was faster
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
