"""A whole study through real Ray, Optuna and MLflow: its result, its replay, its confirmation."""

import contextlib
import io
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from optuna.trial import TrialState

from analysis.paper_tables import seed_scores, table1, table2
from harness import confirm, replay, run
from harness.results import load_study
from harness.study import follow
from tests.conftest import ROOT, optuna_states
from tests.repeatable_metrics import repeatable
from trainables.config import trial_fields

SMOKE = str(ROOT / "search_spaces" / "smoke.yaml")
ONE_BY_ONE = ("--set", "resources.parallel=1")
"""So that a second study must equal the first."""

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, of its threads and sockets


def _command(module, *arguments):
    return [sys.executable, "-m", module, *map(str, arguments)]


def _run(module, *arguments):
    """Run a command as a user does; returns its exit code and its JSON."""
    done = subprocess.run(
        _command(module, *arguments, "--json"), cwd=ROOT, capture_output=True, text=True,
        timeout=280,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def _run_here(main, *arguments):
    """Run a command in this process; returns its exit code and its JSON."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main([*map(str, arguments), "--json"])
    return code, json.loads(out.getvalue())


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The smoke study's JSON."""
    storage = tmp_path_factory.mktemp("smoke")
    code, found = _run("harness.run", SMOKE, "--storage", storage, *ONE_BY_ONE)
    assert code == 0
    return found


@pytest.fixture
def copied(smoke, tmp_path):
    """A storage of its own with the smoke study."""
    return shutil.copytree(smoke["storage"], tmp_path / "copy")


def test_a_study_leaves_its_report(smoke):
    folder = Path(smoke["storage"]) / "studies" / "smoke" / "summary"
    assert "target_val/pck_05" in (folder / "report.html").read_text()
    assert (folder / "per_bin.png").stat().st_size > 1000


def test_the_numbers_of_the_paper_tables_follow_from_the_predictions(smoke):
    study = load_study(Path(smoke["storage"]) / "studies" / "smoke")
    logged, computed = seed_scores(study), seed_scores(study.recomputed())
    for table in (table1, lambda scores: table2({"task": scores})):
        ours = table(logged).drop(columns=["AdaBN", "Source"], errors="ignore")
        theirs = table(computed).drop(columns=["AdaBN", "Source"], errors="ignore")
        assert len(ours) >= 1
        assert ours.round(4).equals(theirs.round(4))


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


def test_mlflow_has_comparable_runs_and_a_summary(smoke):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(smoke["mlflow_uri"])
    runs = [client.get_run(trial["mlflow_run_id"]) for trial in smoke["trials"]]
    assert len({frozenset(run.data.params) for run in runs}) == 1, "same parameter keys"
    assert [run.info.run_name for run in runs[:2]] == ["00 all", "01 vae_hm"]
    (experiment,) = {run.info.experiment_id for run in runs}
    assert f"/#/experiments/{experiment}/runs?" in smoke["mlflow_page"]
    (summary,) = client.search_runs([experiment], "tags.kind = 'summary'")
    assert summary.info.status == "FINISHED"
    assert summary.data.params["data.target"] == "people_wild"
    note = client.get_experiment(experiment).tags["mlflow.note.content"]
    assert note.startswith(f"**Best: {smoke['best']:02} ")
    for recorded, trial in zip(runs, smoke["trials"], strict=True):
        curve = client.get_metric_history(recorded.info.run_id, "4 target_val/pck_05")
        assert [point.step for point in curve] == list(range(1, trial["epochs_run"] + 1))
        assert set(json.loads(recorded.data.tags["config"])) == set(trial_fields())
        assert len(recorded.inputs.dataset_inputs) == 2
        if trial["state"] == "complete":
            bar = client.get_metric_history(recorded.info.run_id, "3 final/pck_bin/00")
            assert [point.step for point in bar] == [0]


def test_the_results_reader_agrees_with_the_json(smoke):
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


def test_the_same_study_again_gives_identical_metrics(smoke, cluster, tmp_path):
    code, again = _run_here(
        run.main, SMOKE, "--storage", tmp_path, "--address", cluster, *ONE_BY_ONE
    )
    assert code == 0
    assert [t["params"] for t in again["trials"]] == [t["params"] for t in smoke["trials"]]
    first, second = (
        [repeatable(t["metrics"]) for t in study["trials"]] for study in (smoke, again)
    )
    assert first == second


@pytest.mark.slow
def test_a_recorded_run_is_trained_again_to_the_same_metrics(smoke, copied, monkeypatch):
    run_id = smoke["trials"][0]["mlflow_run_id"]
    code, found = _run("harness.replay", run_id, "--storage", copied)
    assert (code, found["equal"], found["different"]) == (0, True, 0)
    assert found["values"] > 100
    assert found["epochs"] == smoke["trials"][0]["epochs_run"]

    # The same replay is compared with another record.
    with contextlib.closing(sqlite3.connect(copied / "mlflow.db")) as database, database:
        database.execute(
            "UPDATE metrics SET value = value + 0.5"
            " WHERE run_uuid = ? AND key = '4 target_val/pck_05' AND step = 2",
            (run_id,),
        )
    replayed = SimpleNamespace(state="complete", study_name=found["replay_study"])
    monkeypatch.setattr(follow, "follow_study", lambda *_: (replayed, None))
    code, found = _run_here(replay.main, run_id, "--storage", copied)
    assert (code, found["different"]) == (1, 1)
    assert (found["first"]["metric"], found["first"]["step"]) == ("target_val/pck_05", 2)
    assert found["largest"]["size"] == pytest.approx(0.5)
    # Nothing is to blame but a commit, should one be made while the test runs.
    assert all(reason.startswith("the commit was") for reason in found["reasons"])


def _name_and_seed(trial):
    (run,) = trial["runs"]
    return trial["name"], run["seed"]


@pytest.mark.slow
def test_a_confirmation_reads_the_test_split_and_goes_on_with_more_seeds(copied, cluster):
    def confirmed(seeds):
        code, found = _run_here(
            confirm.main, "smoke", "--storage", copied, "--top", 1, "--seeds", seeds,
            "--address", cluster, *ONE_BY_ONE,
        )  # fmt: skip
        assert code == 0
        return found

    names = [_name_and_seed(trial) for trial in confirmed(1)["trials"]]
    found = confirmed(2)
    assert found["study"] == "smoke-confirm"
    assert [_name_and_seed(trial) for trial in found["trials"][: len(names)]] == names
    assert {trial["state"] for trial in found["trials"]} == {"complete"}
    assert found["looks"] == 2
    assert found["verdict"]["reference"] in ("all", "vae_hm")
    for trial in found["verdict"]["trials"]:
        metrics = trial["metrics"]
        assert metrics["target_test/pck_05"]["num_seeds"] == 2
        assert {"target_test/evalpose", "target_test/pck_bin/00"} <= set(metrics)


def _wait_for(process, words, limit_s=120):
    """Read the process's lines until one holds all the words."""
    started = time.monotonic()
    for line in process.stdout:
        if all(word in line for word in words):
            return line
        assert time.monotonic() - started < limit_s
    raise AssertionError(f"the process ended before it said {words}")


def test_an_interruption_leaves_nothing_running(tmp_path):
    arguments = ["--storage", tmp_path, "--set", "fixed.adapt.epochs=500"]
    process = subprocess.Popen(
        _command("harness.run", SMOKE, *arguments), cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        _wait_for(process, ["epoch 2/501"])
        family = psutil.Process(process.pid).children(recursive=True)
        assert family, "Ray should be running"
        process.send_signal(signal.SIGINT)
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
    runs = client.search_runs([client.get_experiment_by_name("smoke").experiment_id])
    assert len(runs) == 1 + len(states)
    assert {run.info.status for run in runs} == {"KILLED"}
