"""A tracking store that cannot be used is noticed before a study starts."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness.mlflow_tracking import uri_check as store
from harness.mlflow_tracking.uri_check import check_tracking
from harness.spec import SpecError


def _database(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return f"sqlite:///{path}"


def _with_version(path, version):
    return _database(
        path,
        "CREATE TABLE alembic_version (version_num VARCHAR(32))",
        f"INSERT INTO alembic_version VALUES ('{version}')",
    )


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:5000",
        "https://user:pw@host/mlflow",
        "sqlite:///{folder}/new.db",
        "sqlite:///{folder}/new/folders/mlflow.db",
    ],
)
def test_a_store_that_can_be_used_or_may_be_up_later_passes(uri, tmp_path):
    check_tracking(uri.format(folder=tmp_path))
    assert list(tmp_path.iterdir()) == [], "looking leaves nothing behind"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("ftp://host/x", "of no kind that can be used; allowed are sqlite:///FILE"),
        ("runs/mlflow", "of no kind that can be used"),
        ("file:///tmp/mlruns", "of no kind that can be used"),
        ("databricks", "of no kind that can be used"),
        ("http://", "names no host"),
        ("http://host:port", "is no valid URL"),
        ("http://ho st", "names no host"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://host/db", "needs the Python package MySQLdb"),
    ],
)
def test_an_address_of_a_wrong_form_is_refused(uri, words):
    with pytest.raises(SpecError, match="MLflow's tracking URI .*" + words) as caught:
        check_tracking(uri)
    assert "\n" not in str(caught.value)


def test_a_refusal_holds_no_password():
    for uri in ("http://user:hunter2@host:port", "mysql://u:hunter2@h/d", "ftp://u:hunter2@h"):
        with pytest.raises(SpecError) as caught:
            check_tracking(uri)
        assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "mlflow.db"
    path.write_text("no database " * 100)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    with pytest.raises(SpecError, match="damaged or no SQLite database"):
        check_tracking(f"sqlite:///{path}")


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(SpecError, match="it is a folder"):
        check_tracking(f"sqlite:///{tmp_path}")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="file is not a folder"):
        check_tracking(f"sqlite:///{tmp_path}/file/mlflow.db")


def test_an_older_schema_is_refused_with_the_way_out(tmp_path):
    known, newest = store._schema_versions()
    uri = _with_version(tmp_path / "mlflow.db", min(known - {newest}))
    with pytest.raises(SpecError, match="older MLflow; keep a copy and run: mlflow db upgrade"):
        check_tracking(uri)


def test_a_schema_that_this_mlflow_does_not_know_is_refused(tmp_path):
    with pytest.raises(SpecError, match="schema v3.2.0.a is of a newer MLflow or another program"):
        check_tracking(_with_version(tmp_path / "optuna.db", "v3.2.0.a"))


def test_another_programs_database_is_refused(tmp_path):
    uri = _database(tmp_path / "mlflow.db", "CREATE TABLE experiments (id INTEGER)")
    with pytest.raises(SpecError, match="tables but no MLflow schema"):
        check_tracking(uri)


def test_a_database_of_this_mlflow_passes_also_while_it_is_locked(tmp_path):
    _, newest = store._schema_versions()
    uri = _with_version(tmp_path / "mlflow.db", newest)
    check_tracking(uri)
    holder = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    check_tracking(uri)
    holder.close()


def test_the_newest_schema_is_the_one_that_mlflow_itself_names():
    from mlflow.store.db.utils import _get_latest_schema_revision

    assert store._schema_versions()[1] == _get_latest_schema_revision()


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_read_only_is_refused(what):
    folder, user = Path(tempfile.mkdtemp()), os.geteuid()
    try:
        _database(folder / "mlflow.db", "CREATE TABLE t (x)")
        (folder / "mlflow.db").chmod(0o444)
        folder.chmod(0o777 if what == "file" else 0o555)
        if user == 0:  # nothing is read only for root, so look as another user
            os.seteuid(65534)
        try:
            with pytest.raises(SpecError, match=f"the {what} .*is read only"):
                check_tracking(f"sqlite:///{folder}/mlflow.db")
        finally:
            os.seteuid(user)
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_the_check_does_not_import_mlflow(tmp_path):
    _, newest = store._schema_versions()
    uri = _with_version(tmp_path / "mlflow.db", newest)
    code = (
        "import sys; from harness.mlflow_tracking.uri_check import check_tracking; "
        f"check_tracking({uri!r}); assert not {{'mlflow', 'sqlalchemy'}} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
