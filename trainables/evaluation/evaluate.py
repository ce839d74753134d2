"""Predictions of a network on one split, and their metrics."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.config import Loss
from trainables.data.augment import normalise
from trainables.data.heatmaps import decode_keypoints
from trainables.data.image_store import ImageStore
from trainables.data.skeleton import Skeleton
from trainables.data.splits import evenly_spaced
from trainables.distributed.collectives import BatchNorm2d
from trainables.metrics.controls import control_predictions, mean_pose
from trainables.metrics.evalpose import (
    EvalPoseResult,
    TooFewTripletsError,
    evalpose_readings,
)
from trainables.metrics.metric_keys import EVALPOSE_READINGS, EvalPoseVariant
from trainables.metrics.pck import PckResult, pck_pooled, per_bin_mean
from trainables.metrics.validators import joint_confidence
from trainables.network.pose_net import PoseNet

BATCH_SIZE = 100
ADABN_IMAGES = 500
"""Most images that :func:`with_target_statistics` reads."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one split.

    Attributes:
        pck: PCK@0.05.
        evalpose: Readings of EvalPose: means in percent, coverage and counts.
    """

    pck: PckResult
    evalpose: Mapping[EvalPoseVariant, EvalPoseResult]

    def metrics(self, split: str) -> dict[str, float]:
        """Flat metrics ``<split>/<metric>``, without those that are NaN."""
        named = {
            "pck_05": self.pck.all,
            **{
                EVALPOSE_READINGS[variant]: result.mean
                for variant, result in self.evalpose.items()
            },
            "evalpose_coverage": self.evalpose["printed"].coverage,
            "evalpose_degenerate": float(self.evalpose["printed"].num_degenerate),
            **{f"pck_05_{group}": value for group, value in self.pck.groups.items()},
        }
        return {f"{split}/{name}": v for name, v in named.items() if not np.isnan(v)}

    def pck_bins(self, bin_index: NDArray[np.int64], num_bins: int) -> list[float]:
        """Mean per-pose PCK of each bin in percent; NaN for a bin without a pose.

        Args:
            bin_index: (N,) bin of each sample, -1 for none.
            num_bins: Number of bins, >= 1.
        """
        per_pose = self.pck.per_pose
        index = torch.from_numpy(bin_index).to(per_pose.device)
        return list(per_bin_mean(per_pose, index, num_bins).tolist())


@torch.no_grad()
def predict(net: PoseNet, store: ImageStore, rows: NDArray[np.int64]) -> torch.Tensor:
    """Predict keypoints (N, K, 2) in pixels with the main head, on un-augmented images."""
    return torch.cat([
        decode_keypoints(maps, store.image_size, is_quantised=net.is_reference)
        for maps in _predicted_maps(net, store, rows)
    ])  # fmt: skip


@torch.no_grad()
def predict_with_confidence(
    net: PoseNet, store: ImageStore, rows: NDArray[np.int64], loss: Loss
) -> tuple[torch.Tensor, torch.Tensor]:
    """The keypoints of :func:`predict`, and the confidence (N, K) in each of them.

    Args:
        net: Network, left in evaluation mode.
        store: Images.
        rows: (N,) samples.
        loss: Loss that the network's maps are trained with; see
            :func:`trainables.metrics.validators.joint_confidence`.
    """
    keypoints, confidences = [], []
    for maps in _predicted_maps(net, store, rows):
        keypoints.append(decode_keypoints(maps, store.image_size, is_quantised=net.is_reference))
        confidences.append(joint_confidence(maps, loss))
    return torch.cat(keypoints), torch.cat(confidences)


def _predicted_maps(
    net: PoseNet, store: ImageStore, rows: NDArray[np.int64]
) -> Iterator[torch.Tensor]:
    """Maps (B, K, h, h) of the samples, a batch at a time."""
    net.eval()
    device = next(net.parameters()).device
    for start in range(0, len(rows), BATCH_SIZE):
        images = torch.from_numpy(store.images[rows[start : start + BATCH_SIZE]]).to(device)
        yield net(normalise(images))


@torch.no_grad()
def with_target_statistics(
    net: PoseNet, images: NDArray[np.uint8], rows: NDArray[np.int64]
) -> PoseNet:
    """A copy whose batch norms have the statistics of some images (AdaBN, Li et al. 2016).

    This adapts a network without training. It is the control for how much of a method's gain
    comes from batch norms that saw target images.

    Args:
        net: Network.
        images: (N, H, W, 3) uint8 images of the target domain.
        rows: Indices of the images for the statistics, un-augmented; at most
            :data:`ADABN_IMAGES` of them, evenly spaced, are read.
    """
    copy = net.frozen_copy().train()
    for module in copy.modules():
        # The batch norms of frozen blocks stay in evaluation mode and keep their statistics.
        if isinstance(module, BatchNorm2d) and module.training:
            module.reset_running_stats()
            module.momentum = None  # the plain mean over batches
            module.is_local = True
    device = next(net.parameters()).device
    for batch in np.array_split(evenly_spaced(rows, ADABN_IMAGES), ADABN_IMAGES // BATCH_SIZE):
        if len(batch) > 1:
            copy(normalise(torch.from_numpy(images[batch]).to(device)))
    return copy.eval()


def evaluate(
    net: PoseNet, store: ImageStore, rows: NDArray[np.int64], heatmap_size: int
) -> Evaluation:
    """PCK and EvalPose of a network on samples of a store.

    Args:
        net: Network; its main head predicts, in evaluation mode.
        store: Images with labels.
        rows: (N,) samples.
        heatmap_size: Side of the maps, see :func:`evaluate_poses`.
    """
    return evaluate_samples(predict(net, store, rows), store, rows, heatmap_size)


def evaluate_samples(
    predicted_px: torch.Tensor, store: ImageStore, rows: NDArray[np.int64], heatmap_size: int
) -> Evaluation:
    """PCK and EvalPose of the keypoints (N, K, 2) predicted for N samples of a store."""
    device = predicted_px.device
    return evaluate_poses(
        predicted_px,
        torch.from_numpy(store.keypoints_px[rows]).to(device),
        torch.from_numpy(store.visible[rows]).to(device),
        store.skeleton,
        store.image_size,
        heatmap_size,
    )


def evaluate_poses(
    predicted_px: torch.Tensor,
    keypoints_px: torch.Tensor,
    visible: torch.Tensor,
    skeleton: Skeleton,
    image_size: int,
    heatmap_size: int,
) -> Evaluation:
    """PCK and EvalPose of predicted poses.

    Args:
        predicted_px: (N, K, 2) predicted keypoints in pixels.
        keypoints_px: (N, K, 2) labels.
        visible: (N, K) bool.
        skeleton: Order of the joints.
        image_size: Side of the square images in pixels.
        heatmap_size: Side of the maps; a ground-truth limb shorter than a cell has no angle.

    Raises:
        ValueError: If no joint is visible or EvalPose can score no image.
    """
    poses = predicted_px, keypoints_px, visible, skeleton
    return Evaluation(
        pck_pooled(*poses, image_size),
        evalpose_readings(*poses, tuple(EVALPOSE_READINGS), min_limb_px=image_size / heatmap_size),
    )


def control_metrics(
    source: ImageStore, target: ImageStore, split: str, heatmap_size: int
) -> dict[str, float]:
    """PCK and the readings of EvalPose of the controls: predictions that no network made.

    Args:
        source: Domain whose labelled training poses a constant predictor may learn from.
        target: Domain to evaluate. The mean of its own training poses is one of the controls, as
            a bound: no method has these labels.
        split: Target split to evaluate.
        heatmap_size: Side of the maps, see :func:`evaluate`.

    Returns:
        ``<metric>/<control>`` in percent, without controls that have too few joints.
    """
    rows = target.splits[split]
    keypoints = torch.from_numpy(target.keypoints_px[rows])
    visible = torch.from_numpy(target.visible[rows])
    constants = {
        "mean_pose": _mean_training_pose(source),
        "mean_target_pose": _mean_training_pose(target),
    }
    metrics = {}
    for name, (predicted, judged) in control_predictions(
        keypoints, visible, constants, target.skeleton, target.image_size
    ).items():
        arguments = predicted, keypoints, judged, target.skeleton
        cell = target.image_size / heatmap_size
        try:
            readings = evalpose_readings(*arguments, tuple(EVALPOSE_READINGS), min_limb_px=cell)
        except TooFewTripletsError:
            continue
        metrics[f"pck_05/{name}"] = pck_pooled(*arguments, target.image_size).all
        metrics |= {
            f"{EVALPOSE_READINGS[v]}/{name}": result.mean for v, result in readings.items()
        }
    return metrics


def _mean_training_pose(store: ImageStore) -> torch.Tensor:
    rows = store.splits["train"]
    keypoints, visible = store.keypoints_px[rows], store.visible[rows]
    return mean_pose(torch.from_numpy(keypoints), torch.from_numpy(visible), store.image_size)
