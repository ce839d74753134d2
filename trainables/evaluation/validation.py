"""Label-free validation of a run: the validators of a network on fixed target images.

Built once per run and called with each epoch's network. It cannot read target labels: it gets only
the images of the target domain.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import Loss
from trainables.data.augment import (
    AugmentDraw,
    AugmentRanges,
    augment_images,
    draw_augmentation,
    normalise,
)
from trainables.data.heatmaps import decode_keypoints, to_cells, to_pixels
from trainables.data.image_store import ImageStore
from trainables.data.skeleton import Skeleton
from trainables.data.splits import evenly_spaced
from trainables.metrics.discrepancies import coral, feature_mmd, plausibility
from trainables.metrics.validators import (
    agreement,
    batch_nuclear_norm,
    confidence,
    equivariance,
    information_maximisation,
    map_probabilities,
)
from trainables.network.pose_net import PoseNet
from trainables.pose_vae.pose_scorer import PoseScorer
from trainables.seeding import torch_generator

BATCH_SIZE = 100
MAX_IMAGES = 200
"""Most images used of each domain. A validation costs up to four passes over this many: a tenth of
a default epoch without auxiliary logits, a smaller share with a method that has them."""

WARPS = AugmentRanges(rotation_deg=30.0, min_area=0.6, colour=0.0)
"""Warps of the equivariance: the rotations and crops of training, so that the network has been
trained for them."""


@dataclass(frozen=True)
class _TargetPredictions:
    """What a network predicts for the target images.

    Attributes:
        maps: (N, K, h, h) as the network gives them.
        features: (N, C) inputs of the head, averaged over the image.
        on_warped_px: (N, K, 2) keypoints predicted in the warped images.
        auxiliary_px: (N, K, 2) keypoints of the auxiliary logits; None without them.
    """

    maps: Tensor
    features: Tensor
    on_warped_px: Tensor
    auxiliary_px: Tensor | None


class LabelFreeValidation:
    """The validators of :mod:`trainables.metrics.validators` for the networks of one run.

    The images and their warps are the same for every epoch, trial and seed. Source validation
    poses are rounded to heatmap cells before they are scored, as predictions are: perfect
    predictions of such poses then reach the highest plausibility.

    Args:
        source: Source images with labels; the validation split is read.
        target_images: (N, H, W, 3) uint8 images of the target domain.
        target_rows: Indices of the target training split, at least one.
        scorer: Pose VAE behind ``validator/plausibility``.
        heatmap_size: Side of the maps in cells.
    """

    def __init__(
        self,
        source: ImageStore,
        target_images: NDArray[np.uint8],
        target_rows: NDArray[np.int64],
        scorer: PoseScorer,
        heatmap_size: int,
    ) -> None:
        self._skeleton = source.skeleton
        self._image_size = source.image_size
        self._source_images = source.images
        self._source_rows = evenly_spaced(source.splits["val"], MAX_IMAGES)
        self._target_images = target_images
        self._target_rows = evenly_spaced(target_rows, MAX_IMAGES)
        self._warps = _draw_warps(len(self._target_rows), source.image_size, source.skeleton)
        self._scorer = scorer
        rows = source.splits["val"]
        stride = source.image_size / heatmap_size
        labels = torch.from_numpy(source.keypoints_px[rows])
        rounded = to_pixels(to_cells(labels, stride).round(), stride)
        # Predictions have every joint, so the labels' scores are calibrated to all joints.
        self._reference_scores = scorer.calibrated(rounded, torch.from_numpy(source.visible[rows]))

    @torch.no_grad()
    def metrics(
        self,
        net: PoseNet,
        auxiliary_logits: Callable[[Tensor], Tensor | None],
        loss: Loss,
        source_val_pck: float,
    ) -> dict[str, float]:
        """The validators of a network; see their functions for range and meaning.

        Args:
            net: Network, left in evaluation mode; parameters, buffers and random streams do not
                change.
            auxiliary_logits: See :meth:`trainables.adapt.adapter.Adapter.auxiliary_logits`.
            loss: Loss that the network's maps are trained with.
            source_val_pck: ``source_val/pck_05`` of the network in percent.

        Returns:
            ``validator/`` ``source_pck``, ``confidence``, ``infomax``, ``bnm``,
            ``equivariance``, ``plausibility``, ``mmd`` and ``coral``; ``validator/agreement``
            if the method has auxiliary logits. ``validator/plausibility`` is missing if the Pose
            VAE can score no source validation pose.

        Raises:
            ValueError: If a map of the network is not finite.
        """
        net.eval()
        target = self._predict_target(net, auxiliary_logits)
        source_features = self._source_features(net)
        probabilities = map_probabilities(target.maps, loss)
        predicted_px = self._decoded(target.maps)
        matrix = self._warps.matrix.to(predicted_px.device)
        values = {
            "source_pck": source_val_pck,
            "confidence": confidence(target.maps, loss),
            "infomax": information_maximisation(probabilities),
            "bnm": batch_nuclear_norm(probabilities),
            "equivariance": equivariance(
                predicted_px, target.on_warped_px, matrix, self._skeleton, self._image_size
            ),
            "mmd": feature_mmd(source_features, target.features),
            "coral": coral(source_features, target.features),
        }
        if target.auxiliary_px is not None:
            values["agreement"] = agreement(
                target.auxiliary_px, predicted_px, self._skeleton, self._image_size
            )
        if not self._reference_scores.isnan().all():
            scores = self._scorer.score(predicted_px.cpu())
            values["plausibility"] = plausibility(scores, self._reference_scores)
        return {f"validator/{name}": value for name, value in values.items()}

    def _predict_target(
        self, net: PoseNet, auxiliary_logits: Callable[[Tensor], Tensor | None]
    ) -> _TargetPredictions:
        device = next(net.parameters()).device
        maps, features, on_warped, auxiliary = [], [], [], []
        for start in range(0, len(self._target_rows), BATCH_SIZE):
            part = slice(start, start + BATCH_SIZE)
            images = torch.from_numpy(self._target_images[self._target_rows[part]]).to(device)
            inputs = normalise(images)
            seen = net.features(inputs)
            features.append(_pooled(seen))
            maps.append(net.head(seen))
            warped = augment_images(images, self._warps.map(itemgetter(part)))
            on_warped.append(self._decoded(net(warped)))
            logits = auxiliary_logits(inputs)
            if logits is not None:
                auxiliary.append(self._decoded(logits))
        return _TargetPredictions(
            maps=torch.cat(maps),
            features=torch.cat(features),
            on_warped_px=torch.cat(on_warped),
            auxiliary_px=torch.cat(auxiliary) if auxiliary else None,
        )

    def _decoded(self, maps: Tensor) -> Tensor:
        """Centres of the highest cells, to which the reference scores' labels are rounded, too."""
        return decode_keypoints(maps, self._image_size, is_quantised=True)

    def _source_features(self, net: PoseNet) -> Tensor:
        device = next(net.parameters()).device
        features = []
        for start in range(0, len(self._source_rows), BATCH_SIZE):
            rows = self._source_rows[start : start + BATCH_SIZE]
            images = torch.from_numpy(self._source_images[rows]).to(device)
            features.append(_pooled(net.features(normalise(images))))
        return torch.cat(features)


def _draw_warps(num: int, image_size: int, skeleton: Skeleton) -> AugmentDraw:
    """Fixed warps; every second one also mirrors, if mirroring gives the same kind of figure.

    A mirrored hand belongs to the other side of the body, which no network here has seen.
    """
    draw = draw_augmentation(num, image_size, WARPS, torch_generator(0, "validation", "warps"))
    if skeleton.mirror == tuple(range(skeleton.num_joints)):
        return draw
    matrix = draw.matrix.clone()
    matrix[1::2, 0] *= -1
    matrix[1::2, 0, 2] += image_size - 1
    return replace(draw, matrix=matrix)


def _pooled(features: Tensor) -> Tensor:
    """(B, C, h, h) features of any precision to their means (B, C)."""
    return features.float().mean((2, 3))
