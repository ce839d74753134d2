"""The code of a study's model in MLflow; MLflow runs this file when the model is loaded.

It stands in for the pickled object that an MLflow model otherwise consists of. The weights are in
the format of :mod:`trainables.predict.pose_model`, and this project must be installed where the
model is loaded.
"""

from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

ARTIFACT = "pose_model"
"""Name of the model's folder among the artifacts."""


class _Prediction:
    """What MLflow calls.

    MLflow takes the type hints of ``predict`` for the model's signature, knows none for arrays and
    warns about any; without hints it warns that a model's own class should have some. So they are
    left out here, in a parent class. The signature that is saved says what is allowed.
    """

    def load_context(self, context: Any) -> None:
        """Load the network; MLflow calls this once."""
        from trainables.predict.pose_model import load_pose_model

        self._model = load_pose_model(Path(context.artifacts[ARTIFACT]))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Predict the pose of one figure in each image.

        Args:
            context: Given by MLflow; not used.
            model_input: (N, H, W, 3) uint8 RGB, of any size.
            params: Given by MLflow; not used.

        Returns:
            ``keypoints_px`` (N, K, 2) in pixels of the given images and ``confidence`` (N, K); see
            :meth:`trainables.predict.pose_model.PoseModel.predict`.
        """
        keypoints_px, confidence = self._model.predict(list(model_input))
        return {"keypoints_px": keypoints_px, "confidence": confidence}


class PosePyfunc(_Prediction, PythonModel):
    """Keypoints and confidences of images."""


set_model(PosePyfunc())
