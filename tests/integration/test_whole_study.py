"""Whole studies through real Ray, Optuna and MLflow, started as a user starts them."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest
from optuna.trial import TrialState

from harness.results import load_study
from tests.conftest import ROOT, optuna_states
from tests.repeatable_metrics import repeatable
from trainables.config import trial_fields

SMOKE = "search_spaces/smoke.yaml"


def _command(*arguments):
    return [sys.executable, "-m", "harness.run", *map(str, arguments)]


def _run(*arguments):
    return subprocess.run(
        _command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=280
    )


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The smoke study's JSON, one run at a time so that a second study must equal it."""
    storage = tmp_path_factory.mktemp("smoke")
    done = _run(SMOKE, "--storage", storage, "--json", "--set", "resources.parallel=1")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_json_result_has_its_documented_fields(smoke):
    assert smoke["study"] == "smoke"
    assert smoke["state"] == "complete"
    assert smoke["wall_s"] > 0
    assert len(smoke["trials"]) == 4
    expected = {"number", "state", "params", "metrics", "mlflow_run_id", "epochs_run", "stages"}
    assert all(expected <= set(trial) for trial in smoke["trials"])
    assert [trial["name"] for trial in smoke["trials"][:2]] == ["all", "vae_hm"]
    values = {
        t["number"]: t["metrics"]["target_val/pck_05"]
        for t in smoke["trials"]
        if t["state"] == "complete"
    }
    assert values[smoke["best"]] == max(values.values())


def test_trials_share_the_stages_that_are_equal(smoke):
    first, second = (trial["stages"] for trial in smoke["trials"][:2])
    assert set(first.values()) - {"hit"} == {"miss"}
    # Its strategy draws other samples, so that it is trained on others.
    assert (second.pop("pretrain"), second.pop("training")) == ("miss", "miss")
    assert set(second.values()) == {"hit"}


def test_optuna_has_every_trial_in_a_terminal_state(smoke):
    states = optuna_states(smoke["optuna_url"], "smoke")
    ended = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    # Beside the trials that ran, suggestions that repeat one of them and have its outcome.
    assert all(state.is_finished() for state in states)
    assert {t["number"]: ended[t["state"]] for t in smoke["trials"]}.items() <= dict(
        enumerate(states)
    ).items()


def test_mlflow_has_a_parent_and_a_comparable_child_per_trial(smoke):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(smoke["mlflow_uri"])
    children = [client.get_run(trial["mlflow_run_id"]) for trial in smoke["trials"]]
    assert len({frozenset(run.data.params) for run in children}) == 1, "same parameter keys"
    parents = {run.data.tags["mlflow.parentRunId"] for run in children}
    parent = client.get_run(parents.pop())
    assert not parents
    assert parent.info.status == "FINISHED"
    assert parent.data.params["data.target"] == "people_wild"
    for run, trial in zip(children, smoke["trials"], strict=True):
        curve = client.get_metric_history(run.info.run_id, "target_val/pck_05")
        assert [point.step for point in curve] == list(range(1, trial["epochs_run"] + 1))
        assert set(json.loads(run.data.tags["config"])) == set(trial_fields())
        assert len(run.inputs.dataset_inputs) == 2
        if trial["state"] == "complete":
            bar = client.get_metric_history(run.info.run_id, "final/pck_bin/00")
            assert [point.step for point in bar] == [0]


def test_the_results_reader_agrees_with_the_json(smoke):
    from pathlib import Path

    study = load_study(Path(smoke["storage"]) / "studies" / "smoke")
    final = study.final("target_val/pck_05")
    for trial in smoke["trials"]:
        assert final[trial["number"]] == trial["metrics"]["target_val/pck_05"]
    bins = study.bins()
    assert set(bins["bin"]) == set(range(6))
    assert bins["pck"].between(0, 100).all()


def test_the_test_split_is_not_read_by_a_search(smoke):
    keys = {key for trial in smoke["trials"] for key in trial["metrics"]}
    assert not any(key.startswith("target_test") for key in keys)


def test_the_same_study_again_gives_identical_metrics(smoke, tmp_path):
    done = _run(SMOKE, "--storage", tmp_path, "--json", "--set", "resources.parallel=1")
    again = json.loads(done.stdout)
    assert [t["params"] for t in again["trials"]] == [t["params"] for t in smoke["trials"]]
    first, second = (
        [repeatable(t["metrics"]) for t in study["trials"]] for study in (smoke, again)
    )
    assert first == second


def _wait_for(process, words, limit_s=120):
    """Read the process's lines until one holds all the words."""
    started = time.monotonic()
    for line in process.stdout:
        if all(word in line for word in words):
            return line
        assert time.monotonic() - started < limit_s
    raise AssertionError(f"the process ended before it said {words}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing_running(tmp_path, number):
    arguments = ["--storage", tmp_path, "--set", "fixed.adapt.epochs=500"]
    process = subprocess.Popen(
        _command(SMOKE, *arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    try:
        _wait_for(process, ["epoch 2/501"])
        family = psutil.Process(process.pid).children(recursive=True)
        assert family, "Ray should be running"
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, output
    assert "stopped" in output
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    states = optuna_states(f"sqlite:///{tmp_path / 'optuna.db'}", "smoke")
    assert set(states) == {TrialState.WAITING}, "they go on when the study does"
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("posebins").experiment_id])
    assert len(runs) == 1 + len(states)
    assert {run.info.status for run in runs} == {"KILLED"}
