"""Studies in a real PostgreSQL server: whole, resumed, interrupted by the server, two at once."""

import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import patch

import optuna
import pytest
from optuna.trial import TrialState

from harness.optuna_study import stored_study as optuna_study
from harness.spec import SpecError, load_spec
from harness.spec.database import DATABASE_VARIABLE
from tests import postgres
from tests.drivers import Driver, assert_equal, outcome, run_to_the_end
from tests.postgres import PostgresServer
from tests.simulation import STUDY, Simulation, curve

server = postgres.server  # the fixture


@pytest.fixture
def database(server: PostgresServer, monkeypatch) -> str:
    url = server.new_database()
    monkeypatch.setenv(DATABASE_VARIABLE, url)
    monkeypatch.setattr(optuna_study, "FIRST_PAUSE_S", 0.05)
    return url


@pytest.fixture
def spec(write_study, database):
    return load_spec(write_study(STUDY))


def run(spec, root, **options):
    simulation = Simulation(spec, root, **options)
    try:
        simulation.run(curve, num_steps=4)
    finally:
        simulation.close()
    return simulation


def trials(url, name="t"):
    study = optuna.load_study(study_name=name, storage=url)
    return [
        (t.number, t.state, t.params, t.values, t.intermediate_values)
        for t in study.get_trials(deepcopy=False)
    ]


def whole_in_sqlite(spec, root):
    """The same study where nothing goes wrong."""
    url = f"sqlite:///{root / 'whole.db'}"
    with patch.dict(os.environ, {DATABASE_VARIABLE: url}):
        run(spec, root / "whole")
    return trials(url)


def files_with(secret, root: Path):
    files = [path for path in root.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if secret.encode() in path.read_bytes()]


def test_a_study_in_postgresql_is_the_one_it_would_be_in_sqlite(
    spec,
    database,
    server,
    tmp_path,
):
    run(spec, tmp_path)
    expected = whole_in_sqlite(spec, tmp_path)
    assert trials(database) == expected
    assert {trial[1] for trial in expected} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert not (tmp_path / "optuna.db").exists()
    assert files_with(server.password, tmp_path / "studies") == []


def death_at(patch, dies_at):
    """Make a driver die, before or after, at its n-th write."""
    from tests.harness.optuna_study.test_resume import Mortality

    mortality = Mortality(patch)
    mortality.dies_at = dies_at
    return mortality


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_study_that_dies_at_a_write_ends_as_one_that_never_did(
    spec, database, tmp_path, monkeypatch, share
):
    from tests.harness.optuna_study.test_resume import Death

    with monkeypatch.context() as patch:
        mortality = death_at(patch, None)
        expected = whole_in_sqlite(spec, tmp_path)
        num_writes = 2 * mortality.num_writes
    for dies_at in (int(share * num_writes), 3):
        with monkeypatch.context() as patch:
            death_at(patch, dies_at)
            with pytest.raises(Death):
                run(spec, tmp_path / "mortal")
    run(spec, tmp_path / "mortal")
    assert trials(database) == expected


@pytest.mark.faults
def test_a_server_that_restarts_is_waited_for_and_nothing_is_lost(
    spec,
    database,
    server,
    tmp_path,
):
    said: list[str] = []
    simulation = Simulation(spec, tmp_path, say=said.append)
    for turn in itertools.count():
        if turn in (2, 7, 12):
            server.stop()
            restart = threading.Timer(0.7, server.start)
            restart.start()
        if not simulation.step(curve, 4):
            break
        if turn in (2, 7, 12):
            restart.join()
    simulation.bridge.stop_all("the end")
    simulation.close()
    assert turn > 12
    assert trials(database) == whole_in_sqlite(spec, tmp_path)
    waits = [text for text in said if "does not answer" in text]
    assert len(waits) >= 3
    assert server.password not in "".join(said)


@pytest.mark.faults
def test_a_server_that_is_down_at_the_start_is_one_sentence(
    spec,
    server,
    tmp_path,
    write_study,
):
    server.stop()
    try:
        done = command(write_study, tmp_path)
    finally:
        server.start()
    assert done.returncode == 2, done.stderr
    assert "posebins:***@127.0.0.1" in done.stderr
    assert "refused" in done.stderr
    assert server.password not in done.stdout + done.stderr


def test_a_wrong_password_is_one_sentence_that_does_not_repeat_it(
    spec,
    server,
    tmp_path,
    monkeypatch,
):
    monkeypatch.setenv(DATABASE_VARIABLE, server.url(password="hunter2-is-wrong"))
    with pytest.raises(SpecError, match=r"posebins:\*\*\*@.*password authentication") as caught:
        Simulation(spec, tmp_path)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None, "what it came from may repeat the address"


def command(write_study, root: Path) -> subprocess.CompletedProcess[str]:
    study = write_study(STUDY)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "harness.run",
            str(study),
            "--no-report",
            "--storage",
            str(root / "runs"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_two_drivers_with_studies_of_their_own_share_a_database(write_study, database, tmp_path):
    names = ("first", "second")
    specs = {}
    for name in names:
        specs[name] = load_spec(write_study(STUDY.replace("\nname: t\n", f"\nname: {name}\n")))
    simulations = {name: Simulation(specs[name], tmp_path / name) for name in names}
    going = set(names)
    while going:
        for name in sorted(going):
            if not simulations[name].step(curve, 4):
                going.remove(name)
    for simulation in simulations.values():
        simulation.bridge.stop_all("the end")
        simulation.close()
    first, second = (trials(database, name) for name in names)
    assert [trial[0] for trial in first] == [trial[0] for trial in second] == list(range(7))
    assert first == second, "each has suggested as if it were alone"


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_real_driver_that_is_killed_goes_on_in_postgresql(
    tiny_study, undisturbed, database, tmp_path
):
    with Driver(tiny_study, tmp_path) as driver:
        assert driver.wait_for("] run 1 ")
        assert driver.kill()
    run_to_the_end(tiny_study, tmp_path)
    assert not (tmp_path / "optuna.db").exists()
    assert_equal(outcome(tmp_path, database=database), undisturbed)
