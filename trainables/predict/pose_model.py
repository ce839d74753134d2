"""A trained network in a folder, with all that is needed to predict poses in any image.

The folder holds ``net.pt`` (parameters and buffers), ``digests.json`` and ``model.json``: how the
network is built, its joints, how images are prepared, and which run it is from. Loading it runs no
pickled code and needs neither the harness nor MLflow.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.adapt.methods import build_net
from trainables.checkpoint import load_state, save_states, whole_folder
from trainables.config import Loss, TrialConfig
from trainables.data.augment import IMAGENET_MEAN, IMAGENET_STD, normalise
from trainables.data.crop import cropped, moved_back, whole_window
from trainables.data.heatmaps import decode_keypoints
from trainables.data.skeleton import Skeleton
from trainables.metrics.validators import joint_confidence
from trainables.network.pose_net import PoseNet
from trainables.predict.model_description import DESCRIPTION, MODEL_VERSION, read_description

BATCH_SIZE = 32

_NET = "net"
_NETWORK_FIELDS = (
    "parity", "data.image_size", "data.heatmap_size",
    "net.backbone", "net.depth", "net.width", "net.frozen_blocks",
)  # fmt: skip
"""Fields of a trial on which the shape of its network depends."""
_DEEP_HEAD = "head.3.weight"
"""A parameter that the reference's network has only after RegDA has renewed its head."""


@dataclass(frozen=True)
class PoseModel:
    """A network that predicts the joints of one figure in each image.

    Attributes:
        net: Network in evaluation mode.
        skeleton: Order of the joints.
        image_size: Side S of its input in pixels.
        loss: Loss that its maps were trained with.
        description: Everything that the folder says of it.
    """

    net: PoseNet
    skeleton: Skeleton
    image_size: int
    loss: Loss
    description: Mapping[str, Any]

    @torch.no_grad()
    def predict(
        self, images: Sequence[NDArray[np.uint8]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Keypoints and confidences, one figure in each image.

        Args:
            images: N images (H, W, 3) RGB, each of any size. The figure should fill most of
                it, as in the images that the network was trained on.

        Returns:
            (N, K, 2) keypoints ``(x, y)`` in pixels of the given image, the centre of its first
            pixel at (0, 0); and (N, K) confidences in [0, 1], see
            :func:`trainables.metrics.validators.joint_confidence`.

        Raises:
            ValueError: If an image has another shape or type, or no pixel.
        """
        keypoints = np.zeros((len(images), self.skeleton.num_joints, 2), np.float32)
        confidences = np.zeros(keypoints.shape[:2], np.float32)
        device = next(self.net.parameters()).device
        for rows in _batches(len(images)):
            windows = [_window(images[row], row) for row in rows]
            squares = np.stack([
                cropped(images[row], window, self.image_size)
                for row, window in zip(rows, windows, strict=True)
            ])  # fmt: skip
            maps = self.net(normalise(torch.from_numpy(squares).to(device)))
            decoded = decode_keypoints(maps, self.image_size, is_quantised=self.net.is_reference)
            in_square = decoded.cpu().numpy()
            confidences[rows] = joint_confidence(maps, self.loss).cpu().numpy()
            for row, window, points in zip(rows, windows, in_square, strict=True):
                keypoints[row] = moved_back(points, window, self.image_size)
        return keypoints, confidences


def save_pose_model(
    folder: Path,
    net: Mapping[str, torch.Tensor],
    trial: TrialConfig,
    skeleton: Skeleton,
    origin: Mapping[str, Any],
) -> None:
    """Write a network as a model; it appears whole, in place of an earlier one.

    Args:
        folder: Folder of the model; its parent must exist.
        net: Parameters and buffers, as ``best.pt`` of a checkpoint has them.
        trial: Settings that it was trained with.
        skeleton: Order of its joints.
        origin: What readers should know of it, such as its study and epoch; plain values.

    Raises:
        OSError: If it cannot be written.
    """
    fields = trial.to_flat()
    description = {
        "format": "posebins pose model",
        "version": MODEL_VERSION,
        "origin": dict(origin),
        "network": {name: fields[name] for name in _NETWORK_FIELDS},
        "loss": trial.adapt.loss,
        "image_size": trial.data.image_size,
        "skeleton": {"name": skeleton.name, **skeleton.definition()},
        "preprocessing": {
            "channels": "RGB",
            "square": "the whole image, scaled so that its longer side fits, in the middle of a "
            "black square",
            "mean": list(IMAGENET_MEAN),
            "std": list(IMAGENET_STD),
            "trained_on_crop": trial.data.target_crop,
        },
        "trial": fields,
    }
    with whole_folder(folder) as partial:
        (partial / DESCRIPTION).write_text(json.dumps(description, indent=1))
        save_states(partial, {_NET: dict(net)})


def load_pose_model(folder: Path) -> PoseModel:
    """Load a model, onto the GPU if there is one.

    Raises:
        ValueError: If the folder does not hold an undamaged model.
    """
    description = read_description(folder)
    try:
        weights = load_state(folder, _NET)
        trial = TrialConfig.from_flat(description["network"])
        named = dict(description["skeleton"])
        skeleton = Skeleton.of_names(named.pop("name"), named)
        net = build_net(trial, skeleton.num_joints)
        if trial.parity and _DEEP_HEAD in weights:
            net.renew_head()
        net.load_state_dict(weights)
        loss, image_size = description["loss"], description["image_size"]
    except (UnpicklingError, RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{folder} does not hold a whole model: {reason}") from error
    net.place(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return PoseModel(net.eval(), skeleton, image_size, loss, description)


def _batches(num: int) -> Iterator[range]:
    for start in range(0, num, BATCH_SIZE):
        yield range(start, min(start + BATCH_SIZE, num))


def _window(image: NDArray[np.uint8], row: int) -> Any:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"images[{row}] must be (H, W, 3) uint8 and not empty, got {image.shape} {image.dtype}"
        )
    height, width = image.shape[:2]
    return whole_window(width, height)
