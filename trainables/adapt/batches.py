"""Training batches from two image stores.

Random numbers are drawn for the whole batch on the CPU; a process that trains on a shard reads and
augments only its own part.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.adapt.adapter import SourceBatch, TargetBatch
from trainables.data.augment import (
    AugmentRanges,
    augment_images,
    draw_augmentation,
    draw_views,
    send,
    warp_keypoints,
)
from trainables.data.heatmaps import heatmap_targets
from trainables.data.image_store import ImageStore
from trainables.distributed.shard import WHOLE, Shard
from trainables.sampling.sampler import draw_indices
from trainables.seeding import torch_generator


@dataclass(frozen=True)
class BatchSettings:
    """How batches are made.

    Attributes:
        heatmap_size: Side of the target maps in cells.
        device: Where batches are augmented.
        seed: Root seed of the trial.
        ranges: Limits of the augmentation.
        is_quantised: Whether labels are centred on whole cells, as in the references.
        shard: Part of each batch to make.
    """

    heatmap_size: int
    device: torch.device
    seed: int
    ranges: AugmentRanges = AugmentRanges()
    is_quantised: bool = False
    shard: Shard = WHOLE


class SourceBatches:
    """Labelled batches of a training split, drawn by weights.

    Args:
        store: Labelled images.
        settings: How batches are made.
    """

    def __init__(self, store: ImageStore, settings: BatchSettings) -> None:
        self._store = store
        self._rows = store.splits["train"]
        self._settings = settings
        self._draws = torch_generator(settings.seed, "source", "samples")
        self._augment = torch_generator(settings.seed, "source", "augment")

    def epoch(
        self, weights: NDArray[np.float64], steps: int, batch_size: int
    ) -> Iterator[SourceBatch]:
        """``steps`` batches of samples, drawn in proportion to the split's weights (N,)."""
        settings, size = self._settings, self._store.image_size
        indices = draw_indices(weights, steps * batch_size, self._draws).numpy()
        for whole in np.split(self._rows[indices], steps):
            draw = draw_augmentation(batch_size, size, settings.ranges, self._augment)
            draw = draw.map(settings.shard.take).to(settings.device)
            rows = settings.shard.take(torch.from_numpy(whole))
            images = _to_device(self._store.images[rows.numpy()], settings.device)
            keypoints = _to_device(self._store.keypoints_px[rows.numpy()], settings.device)
            visible = _to_device(self._store.visible[rows.numpy()], settings.device)
            maps, weight = heatmap_targets(
                warp_keypoints(keypoints, draw.matrix),
                visible,
                size,
                settings.heatmap_size,
                settings.is_quantised,
            )
            yield SourceBatch(augment_images(images, draw), maps, weight, rows, draw.matrix)

    def state_dict(self) -> dict[str, Any]:
        """States of the random streams."""
        return {"draws": self._draws.get_state(), "augment": self._augment.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._draws.set_state(state["draws"])
        self._augment.set_state(state["augment"])


class TargetBatches:
    """Unlabelled batches of the target training split; never reads labels.

    Args:
        images: (N, H, W, 3) uint8 images of the target domain.
        rows: Indices of the training split.
        settings: How batches are made.
    """

    def __init__(
        self, images: NDArray[np.uint8], rows: NDArray[np.int64], settings: BatchSettings
    ) -> None:
        self._images = images
        self._rows = rows
        self._settings = settings
        self._draws = torch_generator(settings.seed, "target", "samples")
        self._augment = torch_generator(settings.seed, "target", "augment")

    def next(self, batch_size: int, with_teacher_view: bool = False) -> TargetBatch:
        """One batch, drawn uniformly with replacement, optionally with a second random view."""
        settings = self._settings
        index = torch.randint(len(self._rows), (batch_size,), generator=self._draws).numpy()
        rows = settings.shard.take(torch.from_numpy(self._rows[index]))
        draws = draw_views(
            batch_size,
            self._images.shape[1],
            settings.ranges,
            self._augment,
            num_views=2 if with_teacher_view else 1,
        )
        images = _to_device(self._images[rows.numpy()], settings.device)
        own = [draw.map(settings.shard.take).to(settings.device) for draw in draws]
        views = [(augment_images(images, d), d.matrix) for d in own]
        (student, view), *teacher = views
        if not teacher:
            return TargetBatch(student, rows, view)
        return TargetBatch(student, rows, view, *teacher[0])

    def state_dict(self) -> dict[str, Any]:
        """States of the random streams."""
        return {"draws": self._draws.get_state(), "augment": self._augment.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._draws.set_state(state["draws"])
        self._augment.set_state(state["augment"])


def _to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    return send(torch.from_numpy(array), device)
