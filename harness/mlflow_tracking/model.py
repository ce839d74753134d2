"""A study's best network as a model in MLflow: ``mlflow.pyfunc.load_model(uri).predict(images)``.

The model belongs to the run that trained it. It is logged at the study's end, and again only if
another run is the best by then: whatever is there already is found by its tags, so the writer may
repeat this as often as it likes. A model that was not written to its end is removed first.
"""

import json
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.tracking import MlflowClient

from trainables.predict.model_description import read_description

MODEL_NAME = "pose_model"
BEST_MODEL_TAG = "best_model"
"""Tag of the summary run: the address of the study's best model, or ``none`` and the reason."""

_NEEDED = ("torch", "numpy", "opencv-python-headless")
"""Packages that the model needs beside this project."""
_EXAMPLE_SHAPE = (1, 48, 32, 3)


def log_best_model(
    client: MlflowClient,
    summary_run_id: str,
    run_ids: Mapping[int, str],
    folder: Path,
) -> None:
    """Log the model in a folder, unless MLflow has it, and tag the summary run with its address.

    Args:
        client: Connected to the store.
        summary_run_id: MLflow run that stands for the whole study.
        run_ids: Number of a run to its MLflow run.
        folder: Folder of the model; nothing happens if there is none.

    Raises:
        MlflowException: If the store is down, or the run has been deleted.
    """
    if not folder.exists():
        return
    try:
        description = read_description(folder)
    except ValueError as error:
        client.set_tag(summary_run_id, BEST_MODEL_TAG, f"none: {error}")
        return
    origin = description["origin"]
    run = client.get_run(run_ids[origin["run"]])
    run_id, experiment_id = run.info.run_id, run.info.experiment_id
    digest = json.loads((folder / "digests.json").read_text())["net.pt"]
    tags = {**{f"posebins.{name}": str(value) for name, value in origin.items()},
            "posebins.sha256": digest, "mlflow.note.content": _note(description)}  # fmt: skip
    model_id = None
    for model in _models_of(client, experiment_id, run_id, digest):
        if model.status == LoggedModelStatus.READY and model_id is None:
            model_id = model.model_id
        else:  # its writer was killed
            client.delete_logged_model(model.model_id)
    if model_id is None:
        with tempfile.TemporaryDirectory() as temporary:
            built = Path(temporary) / "model"
            _build(built, folder, description)
            model_id = client.create_logged_model(
                experiment_id, MODEL_NAME, run_id, tags, model_type="pose"
            ).model_id
            client.log_model_artifacts(model_id, str(built))
        client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    known = [] if run.outputs is None else [out.model_id for out in run.outputs.model_outputs]
    if model_id not in known:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=origin["epoch"])])
    client.set_tag(summary_run_id, BEST_MODEL_TAG, f"models:/{model_id}")


def _models_of(
    client: MlflowClient, experiment_id: str, run_id: str, digest: str
) -> list[LoggedModel]:
    found = client.search_logged_models(
        [experiment_id], f"source_run_id = '{run_id}' AND tags.`posebins.sha256` = '{digest}'"
    )
    return list(found)


def _build(path: Path, folder: Path, description: Mapping[str, Any]) -> None:
    """Write the folder of an MLflow model around the model in ``folder``."""
    import mlflow.pyfunc  # takes seconds
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from harness.mlflow_tracking.pose_pyfunc import ARTIFACT

    num_joints = len(description["skeleton"]["joints"])
    any_number = -1
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(np.uint8), (any_number, any_number, any_number, 3))]),
        Schema([
            TensorSpec(np.dtype(np.float32), (any_number, num_joints, 2), "keypoints_px"),
            TensorSpec(np.dtype(np.float32), (any_number, num_joints), "confidence"),
        ]),
    )  # fmt: skip
    mlflow.pyfunc.save_model(
        str(path),
        python_model=str(Path(__file__).with_name("pose_pyfunc.py")),
        artifacts={ARTIFACT: str(folder)},
        signature=signature,
        input_example=np.full(_EXAMPLE_SHAPE, 128, np.uint8),
        pip_requirements=[f"{name}=={version(name)}" for name in _NEEDED],
        metadata={"origin": dict(description["origin"]), "skeleton": description["skeleton"]},
    )


def _note(description: Mapping[str, Any]) -> str:
    origin = description["origin"]
    joints = ", ".join(description["skeleton"]["joints"])
    return (
        f"The network of run {origin['run']} ({origin['name']}) of study {origin['study']} after "
        f"epoch {origin['epoch']}, which {origin['chosen_by']} chose, so without target labels. "
        "Input: images (N, H, W, 3) uint8 RGB of any size, one figure in each. Output: "
        "keypoints_px (N, K, 2) in pixels of these images and confidence (N, K), joints in the "
        f"order {joints}. posebins must be installed where it is loaded."
    )
