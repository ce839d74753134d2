"""What every adaptation method looks like to the training loop.

The types carry an honesty rule: a :class:`TargetBatch` has no labels to read.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from trainables.adapt.pose_net import PoseNet

WARMUP_STEPS = 30
"""Steps over which the learning rate rises from zero at the start of training."""


@dataclass(frozen=True)
class SourceBatch:
    """Augmented labelled source images.

    Attributes:
        images: (B, 3, H, W) normalised.
        maps: (B, K, h, h) target heatmaps.
        weights: (B, K) 1 for joints that count, else 0.
    """

    images: Tensor
    maps: Tensor
    weights: Tensor


@dataclass(frozen=True)
class TargetBatch:
    """Augmented unlabelled target images.

    Attributes:
        images: (B, 3, H, W) normalised.
        teacher_images: Another random view of the same images for a mean teacher, or None.
        teacher_to_student: (B, 2, 3) matrix from pixels of ``teacher_images`` to pixels of
            ``images``, or None.
    """

    images: Tensor
    teacher_images: Tensor | None = None
    teacher_to_student: Tensor | None = None


class Adapter(Protocol):
    """One method of training; owns its optimisers and any extra heads."""

    net: PoseNet
    """The network that evaluation reads."""
    needs_target: bool
    """Whether :meth:`step` reads the target batch."""
    needs_teacher_view: bool
    """Whether it reads the batch's second view."""

    def step(self, source: SourceBatch, target: TargetBatch | None) -> dict[str, Tensor]:
        """Train on one batch; returns named scalar losses still on the device."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Network, heads, optimisers and step count."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        ...


@dataclass(frozen=True)
class LearningRate:
    """Warm-up, then half a cosine to zero over the whole training.

    Both phases share one schedule, so that a method differs from source-only training in its
    losses alone. Differs from the references, whose multi-step drops suit 35,000 steps.
    """

    peak: float
    """Highest learning rate."""
    total_steps: int
    """Steps of pre-training and adaptation together."""

    def at(self, step: int) -> float:
        """Learning rate of the step with this index, from 0 to ``total_steps - 1``."""
        warmup = min(1.0, (step + 1) / WARMUP_STEPS)
        progress = min(1.0, step / self.total_steps)
        return self.peak * warmup * 0.5 * (1 + math.cos(math.pi * progress))


def adam(parameters: Iterable[torch.nn.Parameter]) -> torch.optim.AdamW:
    """The optimiser of every method; its learning rate is set before each step.

    Differs from RegDA, which uses SGD: on the small default budget AdamW reaches in 200 steps
    what SGD reaches in 400.
    """
    return torch.optim.AdamW(parameters, lr=0.0, weight_decay=1e-2, foreach=True)


def set_learning_rate(lr: float, *optimizers: torch.optim.Optimizer) -> None:
    """Set the learning rate of every parameter group."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr
