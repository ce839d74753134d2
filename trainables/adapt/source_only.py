"""Supervised training: pre-training of every method, the source-only baseline, the oracle."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from trainables.adapt.adapter import SourceBatch, TargetBatch
from trainables.adapt.losses import supervised_loss
from trainables.adapt.optimisers import Recipe
from trainables.network.pose_net import PoseNet

Restyle = Callable[[SourceBatch], Tensor]
"""From a batch to its images (B, 3, H, W) in another domain's style."""


class SourceOnly:
    """Supervised loss on labelled batches.

    Args:
        net: Network to train in place.
        loss: ``kl``, RegDA's spatial KL, or ``mse``, UDAPE's heatmap error.
        recipe: Optimiser and learning rates.
        restyle: Restyles the source images as target images (UDAPE's pre-training); None trains
            on the images as they are.
    """

    needs_target = False
    needs_teacher_view = False

    def __init__(
        self, net: PoseNet, loss: str, recipe: Recipe, restyle: Restyle | None = None
    ) -> None:
        self.net = net
        self._loss_name = f"source_{loss}"
        self._loss = supervised_loss(loss)
        self._recipe = recipe
        self._restyle = restyle
        self._step = 0
        self.optimizer = recipe.optimizer(
            {
                "backbone": net.backbone.parameters(),
                "upsampling": net.upsampling.parameters(),
                "head": net.head.parameters(),
            }
        )

    def step(self, source: SourceBatch, target: TargetBatch | None = None) -> dict[str, Tensor]:
        """One step of the optimiser; ignores the target batch."""
        self.net.train()
        self._recipe.set_rates(self._step, self.optimizer)
        images = source.images if self._restyle is None else self._restyle(source)
        loss = self._loss(self.net(images), source.maps, source.weights)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self._step += 1
        return {self._loss_name: loss.detach()}

    def auxiliary_logits(self, images: Tensor) -> None:
        """None: only one network is trained."""

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser, step."""
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self._step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._step = state["step"]
