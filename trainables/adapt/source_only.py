"""Supervised training on the source: the first phase of every method, and the baseline."""

from typing import Any

from torch import Tensor

from trainables.adapt.adapter import (
    LearningRate,
    SourceBatch,
    TargetBatch,
    adam,
    set_learning_rate,
)
from trainables.adapt.losses import spatial_kl
from trainables.adapt.pose_net import PoseNet


class SourceOnly:
    """Spatial KL loss on labelled source batches.

    Args:
        net: Network to train in place.
        learning_rate: Schedule over the whole training.
        first_step: Index of the first step within the whole training.
    """

    needs_target = False
    needs_teacher_view = False

    def __init__(self, net: PoseNet, learning_rate: LearningRate, first_step: int = 0) -> None:
        self.net = net
        self._learning_rate = learning_rate
        self._step = first_step
        self._optimizer = adam(net.parameters())

    def step(self, source: SourceBatch, target: TargetBatch | None = None) -> dict[str, Tensor]:
        """One step of AdamW; the target batch is not read."""
        self.net.train()
        set_learning_rate(self._learning_rate.at(self._step), self._optimizer)
        loss = spatial_kl(self.net(source.images), source.maps, source.weights)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._step += 1
        return {"source_kl": loss.detach()}

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser, step."""
        return {
            "net": self.net.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self._step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.net.load_state_dict(state["net"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._step = state["step"]
