"""Draws which batches are restyled as the other domain, how strongly, and after which images.

UDAPE restyles a whole source batch as target images (S2T) with some probability, and likewise the
teacher's view of a target batch as source images (T2S); the strength of each image is uniform from
0 to ``alpha``.

Differs from the reference: each image has its own strength (with ``parity`` the batch has one, as
there); style images are drawn from the whole training split instead of the other batch, because
their statistics are precomputed (:mod:`trainables.style.style_transfer`).
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.adapt.adapter import SourceBatch, TargetBatch
from trainables.config import Restyling
from trainables.data.augment import send
from trainables.distributed.shard import WHOLE, Shard
from trainables.style.style_transfer import Domain, StyleTransfer


class Restyler:
    """Random style transfer in both directions.

    Args:
        transfer: Frozen networks and style statistics of both domains.
        rows: Rows of the training images of each domain, to draw styles from.
        restyling: How often and how strongly.
        generator: CPU generator; the number of draws does not depend on their values.
        is_one_strength: Whether all images of a batch have one strength, as in the reference.
        shard: Part of each batch that this process trains on.
    """

    def __init__(
        self,
        transfer: StyleTransfer,
        rows: dict[Domain, NDArray[np.int64]],
        restyling: Restyling,
        generator: torch.Generator,
        is_one_strength: bool = False,
        shard: Shard = WHOLE,
    ) -> None:
        self._is_one_strength = is_one_strength
        self._transfer = transfer
        self._rows = {domain: torch.from_numpy(r) for domain, r in rows.items()}
        self._restyling = restyling
        self._generator = generator
        self._shard = shard

    def source(self, batch: SourceBatch) -> Tensor:
        """Source images (B, 3, H, W), perhaps in the style of target images."""
        return self._restyle(batch.images, batch.view, "target", self._restyling.source)

    def teacher(self, batch: TargetBatch) -> Tensor:
        """The teacher's images (B, 3, H, W), perhaps in the style of source images.

        Raises:
            ValueError: If the batch has no teacher view.
        """
        if batch.teacher_images is None or batch.teacher_view is None:
            raise ValueError("T2S needs a target batch with a teacher view")
        images, view = batch.teacher_images, batch.teacher_view
        return self._restyle(images, view, "source", self._restyling.target)

    def _restyle(
        self, images: Tensor, view: Tensor, towards: Domain, probability: float
    ) -> Tensor:
        num = len(images) * self._shard.world
        drawn = torch.rand((), generator=self._generator)
        alpha = self._restyling.alpha * torch.rand(num, generator=self._generator)
        if self._is_one_strength:
            alpha = alpha[:1].expand(num)
        candidates = self._rows[towards]
        styles = candidates[torch.randint(len(candidates), (num,), generator=self._generator)]
        if drawn >= probability:  # on the CPU, so no wait for the device
            return images
        alpha, styles = (send(self._shard.take(draws), images.device) for draws in (alpha, styles))
        return self._transfer.restyle(images, view, towards, styles, alpha)

    def state_dict(self) -> dict[str, Any]:
        """State of the random stream."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._generator.set_state(state["generator"])
