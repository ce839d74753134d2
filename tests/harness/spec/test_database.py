from pathlib import Path

import pytest

from harness.spec.database import DATABASE_VARIABLE, database_url, sqlite_file


@pytest.mark.parametrize(
    ("in_environment", "in_file", "used"),
    [
        ("postgresql://env/x", "postgresql://file/x", "postgresql://env/x"),
        ("", "postgresql://file/x", "postgresql://file/x"),
        (None, "postgresql://file/x", "postgresql://file/x"),
        ("postgresql://env/x", None, "postgresql://env/x"),
        (None, None, "sqlite:////runs/optuna.db"),
    ],
)
def test_the_environment_comes_before_the_file_and_the_default_last(
    monkeypatch, in_environment, in_file, used
):
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    if in_environment is not None:
        monkeypatch.setenv(DATABASE_VARIABLE, in_environment)
    assert database_url(in_file, "sqlite:////runs/optuna.db") == used


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///runs/a.db", "runs/a.db"),
        ("sqlite:////data/a.db?timeout=5", "/data/a.db"),
        ("sqlite+pysqlite:////data/my%20runs/a.db", "/data/my runs/a.db"),
        ("sqlite://", None),
        ("sqlite:///", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///file::memory:?uri=true", None),
        ("sqlite://host/a.db", None),
        ("postgresql:///a.db", None),
        ("/data/a.db", None),
    ],
)
def test_the_file_of_an_address_is_the_one_that_sqlite_opens(url, file):
    assert sqlite_file(url) == (None if file is None else Path(file))
