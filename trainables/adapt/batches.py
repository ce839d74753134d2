"""Training batches from two image stores, in two parts: reading and augmenting.

Reading draws the samples and their augmentation, reads the images and copies them to the device.
:mod:`trainables.adapt.feed` does so ahead of the step. Augmenting is computing, which gains
nothing from a second thread: on a CPU both would share the trial's cores, on a GPU its stream.

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
    AugmentDraw,
    AugmentRanges,
    are_mirrored,
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


@dataclass(frozen=True)
class SourceImages:
    """Labelled images as they are stored, on the training device, and how to augment them.

    Attributes:
        rows: (B,) int64 index of each image within the store's images, on the CPU.
        images: (B, H, W, 3) uint8.
        keypoints_px: (B, K, 2).
        visible: (B, K) bool.
        draw: Their random warps and colours.
    """

    rows: Tensor
    images: Tensor
    keypoints_px: Tensor
    visible: Tensor
    draw: AugmentDraw


@dataclass(frozen=True)
class TargetImages:
    """Unlabelled images as they are stored, on the training device, and how to augment them.

    Attributes:
        rows: (B,) int64 index of each image within the store's images, on the CPU.
        images: (B, H, W, 3) uint8.
        draws: Random warps and colours of one view, or of the student's and the teacher's.
    """

    rows: Tensor
    images: Tensor
    draws: tuple[AugmentDraw, ...]


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

    def read(
        self, weights: NDArray[np.float64], steps: int, batch_size: int
    ) -> Iterator[SourceImages]:
        """``steps`` batches of samples, drawn in proportion to the split's weights (N,)."""
        settings, store = self._settings, self._store
        indices = draw_indices(weights, steps * batch_size, self._draws).numpy()
        for whole in np.split(self._rows[indices], steps):
            draw = draw_augmentation(
                batch_size, store.image_size, settings.ranges, self._augment
            ).map(settings.shard.take)
            rows = settings.shard.take(torch.from_numpy(whole))
            yield SourceImages(
                rows,
                _read(store.images, rows, settings.device),
                _read(store.keypoints_px, rows, settings.device),
                _read(store.visible, rows, settings.device),
                draw.to(settings.device),
            )

    def augment(self, read: SourceImages) -> SourceBatch:
        """The batch of some images that :meth:`read` returned."""
        matrix = read.draw.matrix
        keypoints_px, visible = read.keypoints_px, read.visible
        if self._settings.ranges.flip > 0:
            # In a mirror the left hand is a right one.
            other = list(self._store.skeleton.mirror)
            is_mirrored = are_mirrored(matrix)
            keypoints_px = torch.where(
                is_mirrored[:, None, None], keypoints_px[:, other], keypoints_px
            )
            visible = torch.where(is_mirrored[:, None], visible[:, other], visible)
        maps, weight = heatmap_targets(
            warp_keypoints(keypoints_px, matrix),
            visible,
            self._store.image_size,
            self._settings.heatmap_size,
            self._settings.is_quantised,
        )
        images = augment_images(read.images, read.draw)
        return SourceBatch(images, maps, weight, read.rows, matrix)

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

    def read(self, batch_size: int, with_teacher_view: bool = False) -> TargetImages:
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
        return TargetImages(
            rows,
            _read(self._images, rows, settings.device),
            tuple(draw.map(settings.shard.take).to(settings.device) for draw in draws),
        )

    def augment(self, read: TargetImages) -> TargetBatch:
        """The batch of some images that :meth:`read` returned."""
        views = [(augment_images(read.images, draw), draw.matrix) for draw in read.draws]
        (student, view), *teacher = views
        if not teacher:
            return TargetBatch(student, read.rows, view)
        return TargetBatch(student, read.rows, view, *teacher[0])

    def state_dict(self) -> dict[str, Any]:
        """States of the random streams."""
        return {"draws": self._draws.get_state(), "augment": self._augment.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._draws.set_state(state["draws"])
        self._augment.set_state(state["augment"])


def _read(array: NDArray[Any], rows: Tensor, device: torch.device) -> Tensor:
    """Some rows of a stored array, on the device."""
    # Unlike indexing, `take` lets other threads run meanwhile; on the plain array below a memory
    # map, as its result would else be called a memory map, too.
    read = np.asarray(array).take(rows.numpy(), axis=0)
    return send(torch.from_numpy(read), device)
