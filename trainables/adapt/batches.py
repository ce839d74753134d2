"""Endless training batches from two image stores."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.adapt.adapter import SourceBatch, TargetBatch
from trainables.data.augment import (
    AugmentRanges,
    augment_images,
    between_views,
    draw_augmentation,
    warp_keypoints,
)
from trainables.data.heatmaps import heatmap_targets
from trainables.data.image_store import ImageStore
from trainables.sampling.sampler import draw_indices
from trainables.seeding import torch_generator


class SourceBatches:
    """Labelled batches of the source training split, drawn by weights.

    Args:
        store: Source images.
        heatmap_size: Side of the target maps.
        device: Where batches are augmented.
        seed: Root seed of the trial.
    """

    def __init__(
        self, store: ImageStore, heatmap_size: int, device: torch.device, seed: int
    ) -> None:
        self._store = store
        self._rows = store.splits["train"]
        self._heatmap_size = heatmap_size
        self._device = device
        self._draws = torch_generator(seed, "source", "samples")
        self._augment = torch_generator(seed, "source", "augment")

    def epoch(
        self, weights: NDArray[np.float64], steps: int, batch_size: int
    ) -> Iterator[SourceBatch]:
        """``steps`` batches of samples drawn in proportion to weights (N,) of the split."""
        indices = draw_indices(weights, steps * batch_size, self._draws).numpy()
        size = self._store.image_size
        for rows in np.split(self._rows[indices], steps):
            draw = draw_augmentation(batch_size, size, AugmentRanges(), self._augment)
            images = torch.from_numpy(self._store.images[rows]).to(self._device)
            keypoints = torch.from_numpy(self._store.keypoints_px[rows])
            visible = torch.from_numpy(self._store.visible[rows])
            keypoints = warp_keypoints(keypoints, draw.matrix).to(self._device)
            maps, weight = heatmap_targets(
                keypoints, visible.to(self._device), size, self._heatmap_size
            )
            yield SourceBatch(_channels_last(augment_images(images, draw)), maps, weight)

    def state_dict(self) -> dict[str, Any]:
        """States of the random streams."""
        return {"draws": self._draws.get_state(), "augment": self._augment.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._draws.set_state(state["draws"])
        self._augment.set_state(state["augment"])


class TargetBatches:
    """Unlabelled batches of the target training split; the labels are never read.

    Args:
        images: (N, H, W, 3) uint8 images of the target domain.
        rows: Indices of the training split.
        device: Where batches are augmented.
        seed: Root seed of the trial.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        rows: NDArray[np.int64],
        device: torch.device,
        seed: int,
    ) -> None:
        self._images = images
        self._rows = rows
        self._device = device
        self._draws = torch_generator(seed, "target", "samples")
        self._augment = torch_generator(seed, "target", "augment")

    def next(self, batch_size: int, with_teacher_view: bool = False) -> TargetBatch:
        """One batch drawn uniformly with replacement, if asked for in two independent views."""
        index = torch.randint(len(self._rows), (batch_size,), generator=self._draws).numpy()
        size = self._images.shape[1]
        draw = draw_augmentation(batch_size, size, AugmentRanges(), self._augment)
        images = torch.from_numpy(self._images[self._rows[index]]).to(self._device)
        view = _channels_last(augment_images(images, draw))
        if not with_teacher_view:
            return TargetBatch(view)
        other = draw_augmentation(batch_size, size, AugmentRanges(), self._augment)
        return TargetBatch(
            view,
            teacher_images=_channels_last(augment_images(images, other)),
            teacher_to_student=between_views(other.matrix, draw.matrix).to(self._device),
        )

    def state_dict(self) -> dict[str, Any]:
        """States of the random streams."""
        return {"draws": self._draws.get_state(), "augment": self._augment.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._draws.set_state(state["draws"])
        self._augment.set_state(state["augment"])


def _channels_last(images: torch.Tensor) -> torch.Tensor:
    return images.contiguous(memory_format=torch.channels_last)
