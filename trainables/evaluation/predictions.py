"""What the evaluated network of a finished run predicted for every target image, as an Arrow file.

A run writes ``predictions.arrow`` into its folder after its last epoch. Whatever is reported of
these images can be computed from the file: :func:`metrics_of`. The file is an Arrow IPC file with
a row for every image; skeleton and sizes are JSON in the metadata of its schema.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.data.skeleton import Skeleton
from trainables.evaluation.evaluate import Evaluation, evaluate_poses
from trainables.metrics.metric_keys import FINAL_BIN_PREFIX, TEST_BIN_PREFIX, bin_metrics

PREDICTIONS = "predictions.arrow"
"""Name of the file in the folder of a run."""
PREDICTIONS_VERSION = 1

_COLUMNS = (
    "split", "ids", "keypoints_px", "confidence", "truth_px", "visible", "scores", "bins",
)  # fmt: skip
_METADATA = b"posebins.predictions"
_BIN_PREFIXES = {"target_val": FINAL_BIN_PREFIX, "target_test": TEST_BIN_PREFIX}


@dataclass(frozen=True)
class Predictions:
    """What a network predicted for every image of some splits.

    Coordinates are ``(x, y)`` in pixels of the square images that the network was given.

    Attributes:
        split: (N,) ``target_val`` or ``target_test``.
        ids: (N,) sample ids.
        keypoints_px: (N, K, 2) predicted keypoints, see
            :func:`trainables.data.heatmaps.decode_keypoints`.
        confidence: (N, K) in [0, 1], comparable within one loss only; see
            :func:`trainables.metrics.validators.joint_confidence`. For ``kl`` the probability of
            the highest cell, which is small even for a map learned perfectly (0.16 for maps of
            32 x 32 cells, 0.04 for 64 x 64); for ``mse`` the map's highest value.
        truth_px: (N, K, 2) labels.
        visible: (N, K) whether the joint is labelled and visible.
        scores: (N,) reconstruction error of the true pose by the reference Pose VAE, larger is
            harder; NaN where it has none.
        bins: (N,) evaluation bin, 0 the easiest; -1 for none.
        skeleton: Order of the joints.
        image_size: Side of the images in pixels.
        heatmap_size: Side of the maps in cells.
    """

    split: NDArray[np.str_]
    ids: NDArray[np.str_]
    keypoints_px: NDArray[np.float32]
    confidence: NDArray[np.float32]
    truth_px: NDArray[np.float32]
    visible: NDArray[np.bool_]
    scores: NDArray[np.float32]
    bins: NDArray[np.int16]
    skeleton: Skeleton
    image_size: int
    heatmap_size: int

    def of(self, split: str) -> "Predictions":
        """The rows of one split, in their order; none if the split was not predicted."""
        rows = self.split == split
        return replace(self, **{name: getattr(self, name)[rows] for name in _COLUMNS})


def joined(parts: Sequence[Predictions]) -> Predictions:
    """The rows of all parts, which must agree in skeleton and sizes; at least one part."""
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS
    }
    return replace(parts[0], **columns)


def evaluate_predictions(predictions: Predictions) -> Evaluation:
    """PCK and EvalPose of predictions of one split; see ``Predictions.of``.

    Raises:
        ValueError: If it has no visible joint or no image that EvalPose can score.
    """
    return evaluate_poses(
        torch.from_numpy(predictions.keypoints_px),
        torch.from_numpy(predictions.truth_px),
        torch.from_numpy(predictions.visible),
        predictions.skeleton,
        predictions.image_size,
        predictions.heatmap_size,
    )


def metrics_of(predictions: Predictions) -> dict[str, float]:
    """The metrics that a run reports of its last epoch's predictions, under the same names.

    Args:
        predictions: Predictions for at least one image.

    Returns:
        ``<split>/pck_05``, those of the groups of joints, the readings of EvalPose, and the PCK of
        each bin that holds a scored pose: ``final/pck_bin/*`` and ``target_test/pck_bin/*``.

    Raises:
        ValueError: If a split has no visible joint or no image that EvalPose can score.
    """
    metrics: dict[str, float] = {}
    for split in dict.fromkeys(predictions.split.tolist()):
        rows = predictions.of(split)
        found = evaluate_predictions(rows)
        metrics |= found.metrics(split)
        num_bins = int(rows.bins.max()) + 1
        if num_bins > 0:
            scores = found.pck_bins(rows.bins.astype(np.int64), num_bins)
            metrics |= bin_metrics(_BIN_PREFIXES[split], scores)
    return metrics


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions into a file, under another name first.

    Raises:
        OSError: If it cannot be written, for example because the disk is full.
    """
    import pyarrow as pa

    description = {
        "version": PREDICTIONS_VERSION,
        "skeleton": predictions.skeleton.name,
        "joints": predictions.skeleton.definition(),
        "image_size": predictions.image_size,
        "heatmap_size": predictions.heatmap_size,
        "digest": _digest(predictions),
    }
    schema = _schema(predictions.skeleton.num_joints)
    columns = [
        pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), type=field.type)
        if pa.types.is_fixed_size_list(field.type)
        else pa.array(values, field.type)
        for field in schema
        for values in [getattr(predictions, field.name)]
    ]
    table = pa.table(columns, schema=schema.with_metadata({_METADATA: json.dumps(description)}))
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        with partial.open("wb") as file:
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def read_predictions(path: Path) -> Predictions:
    """Read what :func:`write_predictions` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, of another version or no file of predictions; names it.
    """
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
            description = json.loads((table.schema.metadata or {})[_METADATA])
            if description["version"] != PREDICTIONS_VERSION:
                raise ValueError(
                    f"its version is {description['version']}, not {PREDICTIONS_VERSION}"
                )
            predictions = _of_table(table, description)
        if _digest(predictions) != description["digest"]:
            raise ValueError("its content does not match its digest")
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no readable file of predictions: {error}") from error
    return predictions


def _schema(num_joints: int) -> Any:
    import pyarrow as pa

    def lists(kind: Any, length: int) -> Any:
        return pa.list_(kind, length)

    return pa.schema({
        "split": pa.string(),
        "ids": pa.string(),
        "keypoints_px": lists(pa.float32(), 2 * num_joints),
        "confidence": lists(pa.float32(), num_joints),
        "truth_px": lists(pa.float32(), 2 * num_joints),
        "visible": lists(pa.bool_(), num_joints),
        "scores": pa.float32(),
        "bins": pa.int16(),
    })  # fmt: skip


def _of_table(table: Any, description: dict[str, Any]) -> Predictions:
    skeleton = Skeleton.of_names(description["skeleton"], description["joints"])
    expected = _schema(skeleton.num_joints)
    if not table.schema.remove_metadata().equals(expected):
        raise ValueError(f"its columns are {table.schema.names}, or have other types")
    num = table.num_rows

    def array(name: str) -> NDArray[Any]:
        # Copied: the file is unmapped when it is closed.
        column = table[name].combine_chunks()
        values = column.flatten() if hasattr(column.type, "list_size") else column
        return np.array(values.to_numpy(zero_copy_only=False))

    return Predictions(
        split=array("split").astype(np.str_),
        ids=array("ids").astype(np.str_),
        keypoints_px=array("keypoints_px").reshape(num, -1, 2),
        confidence=array("confidence").reshape(num, -1),
        truth_px=array("truth_px").reshape(num, -1, 2),
        visible=array("visible").reshape(num, -1),
        scores=array("scores"),
        bins=array("bins"),
        skeleton=skeleton,
        image_size=description["image_size"],
        heatmap_size=description["heatmap_size"],
    )


def _digest(predictions: Predictions) -> str:
    """SHA-256 over all rows, as Arrow does not notice a changed value."""
    digest = hashlib.sha256()
    for name in ("split", "ids"):
        digest.update("\n".join(getattr(predictions, name).tolist()).encode())
    for name in ("keypoints_px", "confidence", "truth_px", "visible", "scores", "bins"):
        digest.update(np.ascontiguousarray(getattr(predictions, name)).tobytes())
    return digest.hexdigest()
