"""Checks MLflow's tracking store before a study starts, without importing MLflow.

Of a server only the address is checked: it may be down now and up later. A database file is
opened, as one that MLflow cannot use now is of no use later either.
"""

import os
import re
import sqlite3
import time
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import SplitResult, quote, urlsplit

from harness.record.masking import masked
from harness.spec import SpecError
from harness.spec.database import sqlite_file

_DRIVERS = {
    "postgresql": "psycopg2",
    "postgresql+psycopg2": "psycopg2",
    "postgresql+psycopg": "psycopg",
    "mysql": "MySQLdb",
    "mysql+pymysql": "pymysql",
    "mysql+mysqldb": "MySQLdb",
    "mssql": "pyodbc",
    "mssql+pyodbc": "pyodbc",
}
"""SQLAlchemy's name of a database to the module that speaks to it."""
_ALLOWED = "sqlite:///FILE, http(s)://HOST, or a URL of postgresql, mysql or mssql"
_SETTLED_S, _LOOKS = 3.0, 50
"""A database changed more recently than this may be one that another study is just creating."""


def check_tracking(uri: str) -> None:
    """Check that MLflow could write to a store.

    Args:
        uri: Tracking URI.

    Raises:
        SpecError: If not; one sentence without credentials.
    """
    scheme = uri.partition(":")[0].lower()
    if scheme in ("sqlite", "sqlite+pysqlite"):
        _check_file(uri)
        return
    parts = _split(uri)
    if scheme in ("http", "https"):
        if not parts.hostname or re.search(r"\s", uri):
            raise _problem(uri, "names no host; allowed is http(s)://HOST[:PORT]")
    elif scheme in _DRIVERS:
        if find_spec(_DRIVERS[scheme]) is None:
            raise _problem(uri, f"needs the Python package {_DRIVERS[scheme]}, not installed here")
        if not parts.path.strip("/") and not parts.query:
            raise _problem(uri, "names no database; allowed is SCHEME://HOST/DATABASE")
    else:
        raise _problem(uri, f"is of no kind that can be used; allowed are {_ALLOWED}")


def _problem(uri: str, rule: str) -> SpecError:
    return SpecError(f"MLflow's tracking URI {masked(uri)} {rule}")


def _split(uri: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
        _ = parts.port  # raises if it is none
    except ValueError:  # its message repeats parts of the URI, perhaps a password
        raise _problem(
            uri, "is no valid URL: check host and port, and write / @ : # in a password as %XX"
        ) from None
    return parts


def _check_file(uri: str) -> None:
    path = sqlite_file(uri)
    if path is None:
        raise _problem(uri, "names no file; allowed is sqlite:///FILE")
    _check_folder(uri, path)
    if path.is_dir():
        raise _problem(uri, "cannot be used: it is a folder, not a database file")
    if not path.exists() or path.stat().st_size == 0:
        return
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        raise _problem(uri, "cannot be used: the file is read only")
    _check_schema(uri, path)


def _check_folder(uri: str, path: Path) -> None:
    """MLflow creates folders that are missing, and SQLite a journal beside the database."""
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    if not folder.is_dir():
        raise _problem(uri, f"cannot be used: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise _problem(uri, f"cannot be used: the folder {folder} is read only")


def _check_schema(uri: str, path: Path) -> None:
    for _ in range(_LOOKS):
        problem = _schema_problem(path)
        if problem is None:
            return
        if time.time() - path.stat().st_mtime > _SETTLED_S:
            break
        time.sleep(0.1)
    raise _problem(uri, f"cannot be used: {problem}")


def _schema_problem(path: Path) -> str | None:
    """What is wrong with the tables of a database; None if MLflow can use or create them."""
    try:
        found = _schema_version(path)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):  # for a while; the writer waits for it
            return None
        return f"the database cannot be opened ({error})"
    except sqlite3.DatabaseError as error:
        return f"the file is damaged or no SQLite database ({error})"
    known, newest = _schema_versions()
    if found is None or found == newest:
        return None
    if found == "":
        return (
            "it has tables but no MLflow schema, so it is another program's, or its creation "
            "broke off; use another file"
        )
    if found not in known:
        return f"its schema {found} is of a newer MLflow or another program; use another file"
    return (
        f"its schema {found} is of an older MLflow; keep a copy and run: "
        f"mlflow db upgrade sqlite:///{path.absolute()}"
    )


def _schema_version(path: Path) -> str | None:
    """Alembic's version of a database: None if it has no tables, empty if it has no version."""
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=1
    )
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if not tables:
            return None
        if "alembic_version" not in tables:
            return ""
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return "" if row is None else str(row[0])
    finally:
        connection.close()


def _schema_versions() -> tuple[set[str], str]:
    """Versions of the installed MLflow's schema, and the newest of them, read off its files."""
    found = find_spec("mlflow")
    if found is None or found.origin is None:
        raise SpecError("MLflow is not installed; run: pip install mlflow")
    revisions: set[str] = set()
    replaced: set[str] = set()
    for file in (Path(found.origin).parent / "store/db_migrations/versions").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        revisions |= set(re.findall(r'^revision = "(\w+)"', text, re.M))
        replaced |= set(re.findall(r'^down_revision = "(\w+)"', text, re.M))
    newest = revisions - replaced
    if len(newest) != 1:
        raise RuntimeError(f"MLflow's schema has {len(newest)} newest versions, expected 1")
    return revisions, newest.pop()
