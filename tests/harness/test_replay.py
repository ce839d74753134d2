"""Reading a run from MLflow, and comparing it with its replay."""

import json

import pytest

from harness.mlflow_tracking.environment import environment
from harness.record.ledger import Ledger
from harness.replay import main, replaying_trainable
from harness.replays.comparison import compare
from harness.replays.recorded_run import read_run
from harness.spec import SpecError
from tests.mlflow_study import FIELDS, PCK, RUNS, STAGES, client, study_events, write, written

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own, of its database
DESCRIBED = {
    "trainable": "adaptation", "read_test": False, "resources": {"cpus": 2, "gpus": 0.5},
}  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A study in a real MLflow database: its address, and its cursor with the ids of the runs."""
    folder = tmp_path_factory.mktemp("recorded")
    study, *others = study_events(RUNS)
    write(folder, [study | DESCRIBED, *others])
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return uri, written(uri, folder)


def test_a_run_says_all_that_running_it_again_needs(recorded):
    uri, cursor = recorded
    run = read_run(uri, cursor.run_ids[1])
    assert (run.study, run.number, run.state, run.last_step) == ("s", 1, "pruned", 2)
    assert run.fields == FIELDS
    assert (run.trainable, run.cpus, run.gpus, run.read_test) == ("adaptation", 2, 0.5, False)
    assert run.objectives == [{"name": PCK, "goal": "maximize"}]
    assert run.environment == environment()
    assert run.stage_keys == {"images/source": "k1", "pose_vae": "k2"}
    assert run.digests == {"source": "abc", "target": "def"}
    assert run.points[PCK, 1] == 11.0
    assert run.points["final/pck_bin/00", 0] == 7.0
    assert not any(metric.startswith("stages/") for metric, _ in run.points)


def test_a_failed_or_stopped_run_keeps_its_reason(recorded):
    uri, cursor = recorded
    assert read_run(uri, cursor.run_ids[2]).reason == "interrupted by SIGINT"
    assert read_run(uri, cursor.run_ids[3]).state == "failed"


def _refusal(uri, run_id, tmp_path, capsys):
    arguments = [run_id, "--tracking-uri", uri, "--storage", str(tmp_path / "none")]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "none").exists()
    return error


def test_a_runs_study_and_an_unknown_run_are_refused(recorded, tmp_path, capsys):
    uri, cursor = recorded
    error = _refusal(uri, cursor.summary_run_id, tmp_path, capsys)
    assert "sums up the whole study s; name one of its other runs" in error
    assert "no run 0123 in sqlite" in _refusal(uri, "0123", tmp_path, capsys)


def test_runs_of_another_project_running_and_older_ones_are_refused(recorded, tmp_path, capsys):
    uri, cursor = recorded
    mlflow = client(uri)
    other = mlflow.create_run(cursor.experiment_id).info.run_id
    assert "is of another project" in _refusal(uri, other, tmp_path, capsys)
    tags = {"study": "s", "study_id": "x", "stage": "run", "run": "0"}
    running = mlflow.create_run(cursor.experiment_id, tags=tags).info.run_id
    assert "has not ended" in _refusal(uri, running, tmp_path, capsys)
    mlflow.set_terminated(running)
    assert "lacks the tags config" in _refusal(uri, running, tmp_path, capsys)


def test_a_database_that_is_not_there_is_not_created(tmp_path, capsys):
    assert main(["0123", "--storage", str(tmp_path)]) == 2
    assert "mlflow.db does not exist" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def replayed(tmp_path):
    """Write the ledger of a replay."""

    def make(metrics, state="complete", stages=STAGES):
        path = tmp_path / "events.jsonl"
        with Ledger(path) as ledger:
            ledger.append("study", study="replay", study_id="r")
            ledger.append(
                "run", number=0, trial=0, trial_name="replay", seed=0, name="replay",
                is_baseline=True, params={}, fields=FIELDS | {"evaluation.bin_count": 6},
            )  # fmt: skip
            for step, values in enumerate(metrics, start=1):
                ledger.append(
                    "epoch", number=0, step=step, num_steps=2, metrics=values, stages=stages,
                    digests={"source": "abc", "target": "def"}, tags={},
                )  # fmt: skip
            reason = "it broke" if state == "failed" else None
            ledger.append("finished", number=0, state=state, reason=reason, value=None)
        return path

    return make


FIRST = {PCK: 11.0, "pck_bin/00": 5.0}
SECOND = {PCK: 12.0, "pck_bin/00": 5.0, "final/pck_bin/00": 7.0, "chosen_pck_05/last": 6.0}


def test_equal_metrics_are_equal(recorded, replayed):
    uri, cursor = recorded
    report = compare(read_run(uri, cursor.run_ids[1]), replayed([FIRST, SECOND]))
    assert report.is_equal
    assert report.num_points == 6
    assert list(report.lines()) == ["equal: all 6 values of 2 epochs"]
    assert report.reasons == ()


def test_a_time_is_not_compared(recorded, replayed):
    uri, cursor = recorded
    run = read_run(uri, cursor.run_ids[1])
    run.points["train/wait_share", 1] = 0.25
    report = compare(run, replayed([FIRST | {"train/wait_share": 0.5}, SECOND]))
    assert report.is_equal
    assert report.num_points == 6


def test_the_first_and_the_largest_difference_are_named(recorded, replayed):
    uri, cursor = recorded
    second = SECOND | {PCK: 12.0 + 8e-15, "pck_bin/00": 5.25, "final/pck_bin/00": 6.0}
    report = compare(read_run(uri, cursor.run_ids[1]), replayed([FIRST, second]))
    assert not report.is_equal
    assert [gap.point for gap in report.gaps] == [
        ("pck_bin/00", 2), (PCK, 2), ("final/pck_bin/00", 0)
    ]  # fmt: skip
    first = "first: pck_bin/00 at epoch 2: recorded 5.0, now 5.25"
    assert first in "\n".join(report.lines())
    assert report.largest.size == 1.0
    assert "final/pck_bin/00 at the end" in "\n".join(report.lines())
    found = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert found["first"] == {"metric": "pck_bin/00", "step": 2, "recorded": 5.0, "now": 5.25}
    assert found["different"] == 3


def test_a_metric_that_is_missing_now_or_was_missing_then_is_a_difference(recorded, replayed):
    uri, cursor = recorded
    first = {"pck_bin/00": 5.0, "new": 1.0}
    report = compare(read_run(uri, cursor.run_ids[1]), replayed([first, SECOND]))
    assert [str(gap) for gap in report.gaps] == [
        "new at epoch 1: recorded nothing, now 1.0",
        f"{PCK} at epoch 1: recorded 11.0, now nothing",
    ]
    assert report.largest is None


def test_what_else_is_different_now_is_the_likely_reason(recorded, replayed, tmp_path):
    uri, cursor = recorded
    mlflow, run_id = client(uri), cursor.run_ids[0]
    mlflow.set_tag(run_id, "torch", "1.0")
    mlflow.set_tag(run_id, "code", "another")
    stages = STAGES | {"pose_vae": ["hit", "k9", 1.0]}
    report = compare(read_run(uri, run_id), replayed([FIRST], stages=stages))
    assert report.reasons == (
        "the code of trainables/ or the version of torch or numpy has changed",
        f"torch was 1.0, is {environment()['torch']}",
        "the cached stage pose_vae was k2, is k9",
    )


def test_a_failed_run_is_the_same_if_it_fails_again(recorded, replayed, tmp_path):
    uri, cursor = recorded
    run = read_run(uri, cursor.run_ids[3])
    first, second = FIRST | {PCK: 31.0}, SECOND | {PCK: 32.0}
    assert compare(run, replayed([first, second], "failed")).is_equal
    (tmp_path / "events.jsonl").unlink()
    passed = compare(run, replayed([first, second, {PCK: 33.0}]))
    assert passed.gaps == ()  # the third epoch has no record to differ from
    assert not passed.is_equal
    assert "the recorded run was failed, the replay is complete" in list(passed.lines())


def test_a_store_that_is_no_store_is_one_sentence(tmp_path):
    with pytest.raises(SpecError, match="of no kind that can be used"):
        read_run("gopher://x", "0123")


def test_a_replay_never_takes_its_pretraining_from_the_cache(recorded):
    uri, cursor = recorded
    for run_id in cursor.run_ids.values():
        assert not replaying_trainable(read_run(uri, run_id)).shares_training
