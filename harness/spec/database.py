"""Addresses of databases: which one keeps the Optuna studies, and the file of a SQLite address."""

import os
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

from pydantic import AfterValidator

from harness.yaml.validation import problem

DATABASE_VARIABLE = "POSEBINS_DATABASE"
"""Environment variable with the SQLAlchemy URL of the Optuna studies; may hold a password."""


def database_url(in_file: str | None, default: str) -> str:
    """The SQLAlchemy URL to use: the environment's, else the file's, else the default.

    Args:
        in_file: ``database`` of the study's file.
        default: A database in the storage.
    """
    return os.environ.get(DATABASE_VARIABLE) or in_file or default


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLAlchemy URL; None if it is of another database or of one in memory.

    Args:
        url: Such as ``sqlite:///runs/mlflow.db`` or ``sqlite+pysqlite:////my%20runs/mlflow.db``;
            any other text is of no SQLite file.
    """
    dialect, _, rest = url.partition(":///")
    name = unquote(rest.partition("?")[0])
    if dialect.partition("+")[0] != "sqlite" or name in ("", ":memory:"):
        return None
    return None if name.startswith("file:") else Path(name)


def _checked(url: str) -> str:
    # The message never shows the URL: it may hold a password.
    if not re.fullmatch(r"[a-z]+(\+[a-z0-9_]+)?://\S*", url):
        raise problem((), "must be an SQLAlchemy URL, such as postgresql://host/name")
    if re.match(r"[^/]*//[^/@]*:[^/@]*@", url) or re.search("[?&]password=", url):
        raise problem(
            (),
            f"must not hold a password, as the file is kept with the results; "
            f"give the whole URL in {DATABASE_VARIABLE}",
        )
    if url.startswith("sqlite") and sqlite_file(url) is None:
        raise problem(
            (),
            "must name its file, as in sqlite:////data/optuna.db; a database in memory does not "
            "outlive the study",
        )
    return url


DatabaseURL = Annotated[str, AfterValidator(_checked)]
"""SQLAlchemy URL without a password."""
