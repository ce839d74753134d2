"""The database of the Optuna studies: which one, and which addresses a study's file may give."""

import os
import re
from typing import Annotated

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
    if re.fullmatch(r"sqlite(\+\w+)?://(/?|/:memory:)", url):
        raise problem((), "must outlive the study, which a database in memory does not")
    return url


DatabaseURL = Annotated[str, AfterValidator(_checked)]
"""SQLAlchemy URL without a password."""
