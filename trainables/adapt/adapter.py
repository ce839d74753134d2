"""The interface between an adaptation method and the training loop.

The types enforce that no method trains on target labels: a :class:`TargetBatch` has none.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from trainables.network.pose_net import PoseNet


@dataclass(frozen=True)
class SourceBatch:
    """Augmented labelled source images.

    Attributes:
        images: (B, 3, H, W) normalised.
        maps: (B, K, h, h) heatmaps of the labels.
        weights: (B, K) 1 for joints that count, else 0.
        rows: (B,) int64 index of each image within the store's images.
        view: (B, 2, 3) matrix from pixels of the stored image to pixels of ``images``.
    """

    images: Tensor
    maps: Tensor
    weights: Tensor
    rows: Tensor
    view: Tensor


@dataclass(frozen=True)
class TargetBatch:
    """Augmented unlabelled target images.

    Attributes:
        images: (B, 3, H, W) normalised.
        rows: (B,) int64 index of each image within the store's images.
        view: (B, 2, 3) matrix from pixels of the stored image to pixels of ``images``.
        teacher_images: Another random view of the same images for a mean teacher, or None.
        teacher_view: (B, 2, 3) matrix from pixels of the stored image to pixels of
            ``teacher_images``, or None.
    """

    images: Tensor
    rows: Tensor
    view: Tensor
    teacher_images: Tensor | None = None
    teacher_view: Tensor | None = None


class Adapter(Protocol):
    """One training method; owns its optimisers and any extra heads."""

    net: PoseNet
    """The network that is evaluated."""
    needs_target: bool
    """Whether :meth:`step` reads the target batch."""
    needs_teacher_view: bool
    """Whether :meth:`step` reads the batch's teacher view."""

    def step(self, source: SourceBatch, target: TargetBatch | None) -> dict[str, Tensor]:
        """Train on one batch; returns named scalar losses, still on the device."""
        ...

    def auxiliary_logits(self, images: Tensor) -> Tensor | None:
        """Logits (B, K, h, h) of a second network or head, in evaluation mode.

        They come from RegDA's adversarial head or UDAPE's student; None if the method trains
        ``net`` only. The validator ``agreement`` compares them with the logits of ``net``.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Network, heads, optimisers and step count."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        ...
