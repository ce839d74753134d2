"""Confirmation and replay of a real study, started as a user starts them."""

import json
import shutil
import sqlite3
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def _run(module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=280,
    )  # fmt: skip


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The baselines and one searched trial of the smoke study, as JSON."""
    storage = tmp_path_factory.mktemp("smoke")
    done = _run(
        "harness.run", "search_spaces/smoke.yaml", "--storage", storage, "--json",
        "--set", "resources.parallel=1", "--set", "budget.run_cap=3",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _replay(smoke, *more):
    run_id = smoke["trials"][0]["mlflow_run_id"]
    done = _run("harness.replay", run_id, "--storage", smoke["storage"], "--json", *more)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_recorded_run_is_trained_again_to_the_same_metrics(smoke):
    code, found = _replay(smoke)
    assert (code, found["equal"], found["different"]) == (0, True, 0)
    assert found["values"] > 100
    assert found["epochs"] == smoke["trials"][0]["epochs_run"]


def test_a_changed_record_is_found_and_named(smoke, tmp_path):
    copy = tmp_path / "mlflow.db"
    shutil.copy(f"{smoke['storage']}/mlflow.db", copy)
    run_id = smoke["trials"][0]["mlflow_run_id"]
    with sqlite3.connect(copy) as database:
        database.execute(
            "UPDATE metrics SET value = value + 0.5"
            " WHERE run_uuid = ? AND key = 'target_val/pck_05' AND step = 2",
            (run_id,),
        )
    code, found = _replay(smoke, "--tracking-uri", f"sqlite:///{copy}")
    assert (code, found["different"]) == (1, 1)
    assert (found["first"]["metric"], found["first"]["step"]) == ("target_val/pck_05", 2)
    assert found["largest"]["size"] == pytest.approx(0.5)
    # Nothing is to blame but a commit, should one be made while the test runs.
    assert all(reason.startswith("the commit was") for reason in found["reasons"])


def _name_and_seed(trial):
    (run,) = trial["runs"]
    return trial["name"], run["seed"]


def test_a_confirmation_reads_the_test_split_and_goes_on_with_more_seeds(smoke):
    common = ("smoke", "--storage", smoke["storage"], "--top", 1, "--json")
    first = _run("harness.confirm", *common, "--seeds", 1, "--set", "resources.parallel=1")
    assert first.returncode == 0, first.stderr
    names = [_name_and_seed(trial) for trial in json.loads(first.stdout)["trials"]]
    second = _run("harness.confirm", *common, "--seeds", 2, "--set", "resources.parallel=1")
    assert second.returncode == 0, second.stderr
    found = json.loads(second.stdout)
    assert found["study"] == "smoke-confirm"
    assert [_name_and_seed(trial) for trial in found["trials"][: len(names)]] == names
    assert {trial["state"] for trial in found["trials"]} == {"complete"}
    assert found["looks"] == 2
    assert found["verdict"]["reference"] in ("all", "vae_hm")
    for trial in found["verdict"]["trials"]:
        metrics = trial["metrics"]
        assert metrics["target_test/pck_05"]["num_seeds"] == 2
        assert {"target_test/evalpose", "target_test/pck_bin/00"} <= set(metrics)
