"""A database that is locked, and errors that waiting does not mend."""

import sqlite3
import subprocess
import sys
import threading
import time

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DataError, OperationalError

from harness.optuna_study import stored_study as optuna_study
from harness.optuna_study.stored_study import Patience, open_database
from harness.record.outage import OutageError
from harness.spec import SpecError, load_spec
from tests.conftest import ROOT
from tests.harness.optuna_study.test_resume import STUDY, curve, outcome, run
from tests.simulation import Simulation


@pytest.fixture(params=[1.5, pytest.param(60.0, marks=pytest.mark.faults)])
def locked_s(request):
    return request.param


def test_a_database_that_another_process_locks_is_waited_for(
    write_study, tmp_path, monkeypatch, locked_s
):
    spec = load_spec(write_study(STUDY))
    run(spec, tmp_path / "whole")
    monkeypatch.setattr(optuna_study, "SQLITE_TIMEOUT_S", 0.2)
    said: list[str] = []
    simulation = Simulation(spec, tmp_path / "locked", say=said.append)
    for _ in range(3):
        simulation.step(curve, 4)
    other = sqlite3.connect(tmp_path / "locked" / "optuna.db", check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(locked_s, other.rollback)
    release.start()
    simulation.run(curve, num_steps=4)
    simulation.close()
    release.join()
    other.close()
    assert outcome(spec, tmp_path / "locked") == outcome(spec, tmp_path / "whole")
    assert said
    assert all("database is locked); waiting for it" in line for line in said)


DIES_AT_THE_FIRST_TABLE = """
import os, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from harness.optuna_study.stored_study import open_database

@event.listens_for(Engine, "after_cursor_execute")
def die(connection, cursor, statement, *_):
    if statement.strip().startswith("CREATE TABLE"):
        os._exit(9)

open_database(sys.argv[1])
"""


def test_a_driver_killed_while_it_creates_the_database_leaves_none(tmp_path):
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    command = [sys.executable, "-W", "ignore", "-c", DIES_AT_THE_FIRST_TABLE, url]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 9
    assert not (tmp_path / "optuna.db").exists()
    storage = open_database(url)
    optuna.create_study(storage=storage, study_name="s")
    # The name has its index, without which each start would make another study.
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        optuna.create_study(storage=storage, study_name="s")


def failing(*errors):
    left = list(errors)

    def call():
        if left:
            raise left.pop(0)
        return "answer"

    return call


def wrapped(cause):
    error = StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = cause
    return error


AWAY = OperationalError("SELECT 'secret'", {}, Exception("server closed the connection\nmore"))


@pytest.mark.parametrize("error", [AWAY, wrapped(AWAY)])
def test_an_outage_is_waited_for_and_told_once_without_the_statement(error, monkeypatch):
    monkeypatch.setattr(optuna_study, "FIRST_PAUSE_S", 0.001)
    said: list[str] = []
    assert Patience(said.append, lambda: False)(failing(error, error)) == "answer"
    assert said == ["the database does not answer (server closed the connection); waiting for it"]


@pytest.mark.parametrize("error", [wrapped(DataError("INSERT", {}, Exception("too long")))])
def test_what_waiting_does_not_mend_is_raised_at_once(error):
    started = time.monotonic()
    with pytest.raises(OutageError, match=r"the database failed \(too long\)"):
        Patience(print, lambda: False)(failing(error))
    assert time.monotonic() - started < optuna_study.FIRST_PAUSE_S


def test_a_person_who_interrupts_does_not_wait_for_a_database():
    with pytest.raises(OutageError, match="server closed the connection"):
        Patience(print, lambda: True)(failing(AWAY))


def test_a_file_that_is_no_database_is_one_sentence(tmp_path):
    (tmp_path / "optuna.db").write_text("a letter to my bank" * 100)
    with pytest.raises(SpecError, match="cannot be used: file is not a database"):
        open_database(f"sqlite:///{tmp_path / 'optuna.db'}")


def test_commits_leave_the_journal_where_it_is(tmp_path):
    storage = open_database(f"sqlite:///{tmp_path / 'optuna.db'}")
    optuna.create_study(storage=storage)
    assert (tmp_path / "optuna.db-journal").stat().st_size == 0
    storage.engine.dispose()
