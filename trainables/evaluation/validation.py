"""Label-free validation of a run: the validators of one network on fixed target images.

Built once per run; the training loop asks for the metrics of each epoch's network. The target's
labels cannot be read here: what is passed in of the target domain is its images.
"""

from collections.abc import Callable
from dataclasses import dataclass

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
"""Images of either domain that are looked at. A validation costs up to four passes over as many:
a tenth of a default epoch without a second opinion, less beside a method that has one."""

WARPS = AugmentRanges(rotation_deg=30.0, min_area=0.6, colour=0.0)
"""Warps of the equivariance: the rotations and crops of the training's views, so that a network
is asked nothing it was not trained for."""


@dataclass(frozen=True)
class _TargetView:
    """What a network makes of the target images.

    Attributes:
        maps: (N, K, h, h) as the network gives them.
        features: (N, C) that the head reads, averaged over the image.
        on_warped_px: (N, K, 2) keypoints predicted in the warped images.
        second_px: (N, K, 2) keypoints of the second opinion, None if there is none.
    """

    maps: Tensor
    features: Tensor
    on_warped_px: Tensor
    second_px: Tensor | None


class LabelFreeValidation:
    """The validators of :mod:`trainables.metrics.validators` for the networks of one run.

    Which images are looked at and how they are warped is the same for every epoch, trial and
    seed. Source validation poses are rounded to the cells of the heatmaps before they are
    scored, as predictions are: perfect predictions of such poses are as plausible as can be.

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
        # Predictions have every joint, so labels are judged as if they had.
        self._reference_scores = scorer.calibrated(rounded, torch.from_numpy(source.visible[rows]))

    @torch.no_grad()
    def metrics(
        self,
        net: PoseNet,
        second_opinion: Callable[[Tensor], Tensor | None],
        loss: Loss,
        source_val_pck: float,
    ) -> dict[str, float]:
        """The validators of a network; see their functions for range and meaning.

        Args:
            net: Network, left in evaluation mode; parameters, buffers and random streams are
                not changed.
            second_opinion: See :meth:`trainables.adapt.adapter.Adapter.second_opinion`.
            loss: What the network's maps were trained by.
            source_val_pck: ``source_val/pck_05`` of the network in percent.

        Returns:
            ``validator/`` ``source_pck``, ``confidence``, ``infomax``, ``bnm``,
            ``equivariance``, ``plausibility``, ``mmd`` and ``coral``; ``validator/agreement``
            where there is a second opinion. Without a source validation pose that the Pose VAE
            can score there is no ``validator/plausibility``.

        Raises:
            ValueError: If a map of the network is not finite.
        """
        net.eval()
        view = self._look_at_target(net, second_opinion)
        source_features = self._source_features(net)
        probabilities = map_probabilities(view.maps, loss)
        predicted_px = decode_keypoints(view.maps, self._image_size)
        matrix = self._warps.matrix.to(predicted_px.device)
        values = {
            "source_pck": source_val_pck,
            "confidence": confidence(view.maps, loss),
            "infomax": information_maximisation(probabilities),
            "bnm": batch_nuclear_norm(probabilities),
            "equivariance": equivariance(
                predicted_px, view.on_warped_px, matrix, self._skeleton, self._image_size
            ),
            "mmd": feature_mmd(source_features, view.features),
            "coral": coral(source_features, view.features),
        }
        if view.second_px is not None:
            values["agreement"] = agreement(
                view.second_px, predicted_px, self._skeleton, self._image_size
            )
        if not self._reference_scores.isnan().all():
            scores = self._scorer.score(predicted_px.cpu())
            values["plausibility"] = plausibility(scores, self._reference_scores)
        return {f"validator/{name}": value for name, value in values.items()}

    def _look_at_target(
        self, net: PoseNet, second_opinion: Callable[[Tensor], Tensor | None]
    ) -> _TargetView:
        device = next(net.parameters()).device
        maps, features, on_warped, second = [], [], [], []
        for start in range(0, len(self._target_rows), BATCH_SIZE):
            part = slice(start, start + BATCH_SIZE)
            images = torch.from_numpy(self._target_images[self._target_rows[part]]).to(device)
            inputs = normalise(images)
            seen = net.features(inputs)
            features.append(_pooled(seen))
            maps.append(net.head(seen))
            warped = augment_images(images, _part_of(self._warps, part))
            on_warped.append(decode_keypoints(net(warped), self._image_size))
            other = second_opinion(inputs)
            if other is not None:
                second.append(decode_keypoints(other, self._image_size))
        return _TargetView(
            maps=torch.cat(maps),
            features=torch.cat(features),
            on_warped_px=torch.cat(on_warped),
            second_px=torch.cat(second) if second else None,
        )

    def _source_features(self, net: PoseNet) -> Tensor:
        device = next(net.parameters()).device
        features = []
        for start in range(0, len(self._source_rows), BATCH_SIZE):
            rows = self._source_rows[start : start + BATCH_SIZE]
            images = torch.from_numpy(self._source_images[rows]).to(device)
            features.append(_pooled(net.features(normalise(images))))
        return torch.cat(features)


def evenly_spaced(rows: NDArray[np.int64], num: int) -> NDArray[np.int64]:
    """At most ``num`` of some rows, at even distances in their order; all if there are fewer."""
    kept = min(num, len(rows))
    return rows[np.arange(kept) * len(rows) // kept]


def _draw_warps(num: int, image_size: int, skeleton: Skeleton) -> AugmentDraw:
    """Fixed warps; every second one mirrors too, where a mirror image shows the same figure.

    A mirrored hand is a hand of the other side, which no network here has seen.
    """
    draw = draw_augmentation(num, image_size, WARPS, torch_generator(0, "validation", "warps"))
    if skeleton.mirror == tuple(range(skeleton.num_joints)):
        return draw
    matrix = draw.matrix.clone()
    matrix[1::2, 0] *= -1
    matrix[1::2, 0, 2] += image_size - 1
    return AugmentDraw(matrix, draw.brightness, draw.contrast, draw.saturation)


def _part_of(draw: AugmentDraw, part: slice) -> AugmentDraw:
    return AugmentDraw(
        draw.matrix[part], draw.brightness[part], draw.contrast[part], draw.saturation[part]
    )


def _pooled(features: Tensor) -> Tensor:
    """(B, C, h, h) features of any precision to their means (B, C)."""
    return features.float().mean((2, 3))
