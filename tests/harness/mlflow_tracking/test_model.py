"""The best network in MLflow: loaded without our code's pickles, logged once however often."""

import json

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from harness.mlflow_tracking.model import log_best_model
from tests.mlflow_study import RUNS, followed, study_events, write
from tests.trainables.adapt.tiny_run import make_config
from trainables.adapt.methods import build_net
from trainables.data.skeleton import BODY16
from trainables.predict.pose_model import load_pose_model, save_pose_model

# MLflow's own, of its own classes, while it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType")


def save(folder, run=0, seed=0):
    config = make_config(seed=seed)
    origin = {
        "study": "s", "run": run, "name": f"t{run}", "epoch": 2,
        "chosen_by": "label-free validators",
    }  # fmt: skip
    save_pose_model(folder, build_net(config, 16).state_dict(), config, BODY16, origin)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A followed study whose run 0 is the best, and its model in MLflow."""
    folder = tmp_path_factory.mktemp("study")
    save(folder / "model")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    write(folder, list(study_events(RUNS)))
    cursor = followed(uri, folder)
    assert cursor.last_error is None
    return folder, uri, cursor


def models(uri, experiment_id):
    return list(MlflowClient(uri).search_logged_models([experiment_id]))


@pytest.fixture(autouse=True)
def _address_of_models(place, monkeypatch):
    """Where ``models:/`` looks."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place[1])


@pytest.fixture
def loaded(place):
    _, uri, cursor = place
    study = MlflowClient(uri).get_run(cursor.summary_run_id)
    return mlflow.pyfunc.load_model(study.data.tags["best_model"])


def test_it_predicts_what_the_folder_s_model_does_in_pixels_of_the_given_images(place, loaded):
    images = np.random.default_rng(0).integers(0, 256, (3, 90, 60, 3), dtype=np.uint8)
    found = loaded.predict(images)
    keypoints_px, confidence = load_pose_model(place[0] / "model").predict(list(images))
    np.testing.assert_array_equal(found["keypoints_px"], keypoints_px)
    np.testing.assert_array_equal(found["confidence"], confidence)


def test_it_has_a_signature_and_an_example_and_refuses_other_input(loaded):
    signature = loaded.metadata.signature
    assert [spec.shape for spec in signature.inputs.inputs] == [(-1, -1, -1, 3)]
    assert {spec.name: spec.shape for spec in signature.outputs.inputs} == {
        "keypoints_px": (-1, 16, 2),
        "confidence": (-1, 16),
    }
    found = loaded.predict(loaded.input_example)
    assert found["keypoints_px"].shape == (1, 16, 2)
    with pytest.raises(mlflow.MlflowException, match="uint8"):
        loaded.predict(np.zeros((1, 32, 32, 3), np.float32))


def test_nothing_in_it_is_pickled_but_tensors(place):
    folder, uri, cursor = place
    (model,) = models(uri, cursor.experiment_id)
    files = [path for path in folder.rglob(f"*{model.model_id}*/**/*") if path.is_file()]
    assert {path.suffix for path in files} <= {".py", ".pt", ".json", ".yaml", ".txt", ""}
    assert [path.name for path in files if path.suffix == ".pt"] == ["net.pt"]
    description = "label-free validators chose, so without target labels"
    assert description in model.tags["mlflow.note.content"]


def test_however_often_the_end_is_written_there_is_one_model(place):
    folder, uri, cursor = place
    (before,) = models(uri, cursor.experiment_id)
    (folder / "mlflow.json").unlink()  # as if the writer had died before it noted anything
    again = followed(uri, folder)
    (after,) = models(uri, cursor.experiment_id)
    assert after.model_id == before.model_id
    run = MlflowClient(uri).get_run(again.run_ids[0])
    assert [output.model_id for output in run.outputs.model_outputs] == [after.model_id]


def test_one_that_a_killed_writer_left_unfinished_is_replaced(place):
    folder, uri, cursor = place
    client = MlflowClient(uri)
    (complete,) = models(uri, cursor.experiment_id)
    client.delete_logged_model(complete.model_id)
    unfinished = client.create_logged_model(
        cursor.experiment_id, "pose_model", cursor.run_ids[0], complete.tags
    )
    log_best_model(client, cursor.summary_run_id, cursor.run_ids, folder / "model")
    (found,) = models(uri, cursor.experiment_id)
    assert found.model_id not in (unfinished.model_id, complete.model_id)
    assert found.status == "READY"
    assert mlflow.pyfunc.load_model(found.model_uri).predict(np.zeros((1, 9, 9, 3), np.uint8))


def test_another_best_run_brings_another_model_and_the_tag_follows_it(place):
    folder, uri, cursor = place
    client = MlflowClient(uri)
    earlier = {model.model_id for model in models(uri, cursor.experiment_id)}
    save(folder / "model", run=1, seed=1)
    log_best_model(client, cursor.summary_run_id, cursor.run_ids, folder / "model")
    (added,) = {m.model_id for m in models(uri, cursor.experiment_id)} - earlier
    tags = client.get_run(cursor.summary_run_id).data.tags
    assert tags["best_model"] == f"models:/{added}"
    (output,) = client.get_run(cursor.run_ids[1]).outputs.model_outputs
    assert output.model_id == added


def test_without_a_model_none_is_logged(tmp_path, place):
    _, uri, cursor = place
    count = len(models(uri, cursor.experiment_id))
    client = MlflowClient(uri)
    log_best_model(client, cursor.summary_run_id, cursor.run_ids, tmp_path / "model")
    assert len(models(uri, cursor.experiment_id)) == count


def test_a_folder_that_is_no_model_does_not_keep_the_rest_of_the_study_from_mlflow(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text(json.dumps({"version": 99}))
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    write(tmp_path, list(study_events(RUNS)))
    cursor = followed(uri, tmp_path)
    study = MlflowClient(uri).get_run(cursor.summary_run_id)
    assert study.info.status == "FINISHED"
    assert study.data.tags["best_model"].endswith("has a model of version 99, not 1")
