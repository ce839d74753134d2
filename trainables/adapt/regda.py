"""RegDA: regressive domain adaptation (Jiang et al. 2021).

Notation: f backbone and deconvolutions, h main head, h' adversarial head, y = h(f(x)),
y' = h'(f(x)), GT and GF the ground-truth and ground-false maps of :mod:`losses`.

Each step does
    A  source: KL(y, labels) + margin * tradeoff * KL(y', GT(y));  trains f, h and h'
    B  target: tradeoff * KL(y', GF(y));                            trains h' alone
    C  target: tradeoff * KL(y', GT(y));                            trains f alone
The adversarial head thus learns to predict wrong joints on target images, and the features are
trained until it cannot.

Differs from the reference, the first two even with ``parity``:
- B and C share one forward pass of f. The parameters are the same, because B changes h' alone;
  the running statistics of f's batch norms see the target batch once instead of twice.
- Target weights are ones; the reference weights B and C by the visibility of target labels.
- The gradient from h' to f grows to 1 instead of 0.1. On the built-in domains, 300 + 300 steps,
  0.1 gave 55.6 and 1 gave 64.8 % PCK@0.05 on target_val (one seed).
- h keeps its pre-trained weights and h' starts from scratch; the reference, and ``parity``,
  start both anew.
- AdamW and the common learning rate schedule; with ``parity`` the reference's.
"""

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from trainables.adapt.adapter import SourceBatch, TargetBatch
from trainables.adapt.losses import disparity, ground_false_maps, ground_truth_maps, spatial_kl
from trainables.adapt.optimisers import Recipe
from trainables.network.pose_net import PoseNet

REFERENCE_RAMP_STEPS = 1000.0
"""Time constant of the gradient's warm start in RegDA, which trains for 15,000 steps."""
MIN_RAMP_STEPS = 100.0
"""A fresh adversarial head needs about this many steps before its gradient helps: on the built-in
domains with 150 + 150 steps, a constant of 10 steps ended at 31, one of 100 at 56 % PCK@0.05 on
target_val (one seed)."""


def ramp_steps(num_steps: int) -> float:
    """Time constant for an adaptation of ``num_steps``, at least :data:`MIN_RAMP_STEPS`.

    A fifteenth of the steps, as in RegDA.
    """
    return max(num_steps * REFERENCE_RAMP_STEPS / 15_000, MIN_RAMP_STEPS)


class _ScaleGradient(torch.autograd.Function):
    """Identity whose gradient is multiplied by a factor, its sign kept."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None


def scale_gradient(features: Tensor, factor: float) -> Tensor:
    """Return the features unchanged, but multiply their gradient by ``factor``."""
    return cast(Tensor, _ScaleGradient.apply(features, factor))  # type: ignore[no-untyped-call]


def gradient_factor(step: int, high: float = 0.1, ramp: float = REFERENCE_RAMP_STEPS) -> float:
    """Warm start of the gradient from h' to f: 2 high / (1 + exp(-step / ramp)) - high.

    0 at step 0, 0.0462 at step 1000 of the defaults (RegDA's), towards ``high``.
    """
    return 2 * high / (1 + math.exp(-step / ramp)) - high


@dataclass(frozen=True)
class RegDAWeights:
    """Weights of RegDA's terms.

    Attributes:
        margin: Weight of the source disparity in step A.
        tradeoff: Weight of every disparity.
        gradient_scale: Final factor of the gradient from h' to f.
        ramp_steps: Time constant of that factor's warm start.
    """

    margin: float
    tradeoff: float
    gradient_scale: float
    ramp_steps: float


class RegDA:
    """RegDA's three updates per step.

    Args:
        net: Pre-trained network, trained in place. The adversarial head is drawn from the global
            generator.
        weights: Weights of the terms.
        recipe: Optimiser and learning rates.
        first_step: Index of the first step for the recipe.
    """

    needs_target = True
    needs_teacher_view = False

    def __init__(
        self, net: PoseNet, weights: RegDAWeights, recipe: Recipe, first_step: int = 0
    ) -> None:
        self.net = net
        self._weights = weights
        self._recipe = recipe
        self._first_step = self._step = first_step
        self.adversarial_head = net.new_head()
        f = [*net.backbone.parameters(), *net.upsampling.parameters()]
        self._f = [parameter for parameter in f if parameter.requires_grad]  # not frozen
        self._optimizers = {
            "f": recipe.optimizer(
                {
                    "backbone": net.backbone.parameters(),
                    "upsampling": net.upsampling.parameters(),
                }
            ),
            "h": recipe.optimizer({"head": net.head.parameters()}),
            "h_adv": recipe.optimizer({"adversarial_head": self.adversarial_head.parameters()}),
        }

    def step(self, source: SourceBatch, target: TargetBatch | None) -> dict[str, Tensor]:
        """Steps A, B and C on one source and one target batch.

        Raises:
            ValueError: Without a target batch.
        """
        if target is None:
            raise ValueError("RegDA needs a target batch, got None")
        self.net.train()
        self.adversarial_head.train()
        self._recipe.set_rates(self._step, *self._optimizers.values())
        margin, tradeoff = self._weights.margin, self._weights.tradeoff
        factor = gradient_factor(
            self._step - self._first_step, self._weights.gradient_scale, self._weights.ramp_steps
        )
        optimizer_f, _, optimizer_adv = self._optimizers.values()

        features = self.net.features(source.images)
        y = self.net.head(features)
        y_adv = self.adversarial_head(scale_gradient(features, factor))
        source_kl = spatial_kl(y, source.maps, source.weights)
        source_disparity = disparity(y_adv, ground_truth_maps(y), source.weights)
        self._zero_grad()
        (source_kl + margin * tradeoff * source_disparity).backward()
        for optimizer in self._optimizers.values():
            optimizer.step()

        features = self.net.features(target.images)
        with torch.no_grad():
            truth = ground_truth_maps(self.net.head(features))
        ones = truth.new_ones(truth.shape[:2])
        y_adv = self.adversarial_head(features.detach())
        false_disparity = disparity(y_adv, ground_false_maps(truth), ones)
        self._zero_grad()
        (tradeoff * false_disparity).backward()
        optimizer_adv.step()

        y_adv = self.adversarial_head(scale_gradient(features, factor))
        target_disparity = disparity(y_adv, truth, ones)
        self._zero_grad()
        (tradeoff * target_disparity).backward(inputs=self._f)
        optimizer_f.step()
        self._step += 1
        return {
            "source_kl": source_kl.detach(),
            "source_disparity": source_disparity.detach(),
            "false_disparity": false_disparity.detach(),
            "target_disparity": target_disparity.detach(),
        }

    def _zero_grad(self) -> None:
        for optimizer in self._optimizers.values():
            optimizer.zero_grad()

    @torch.no_grad()
    def auxiliary_logits(self, images: Tensor) -> Tensor:
        """Logits of the adversarial head, in evaluation mode."""
        self.net.eval()
        self.adversarial_head.eval()
        return cast(Tensor, self.adversarial_head(self.net.features(images)))

    def state_dict(self) -> dict[str, Any]:
        """Network, adversarial head, optimisers, step."""
        return {
            "net": self.net.state_dict(),
            "adversarial_head": self.adversarial_head.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self._optimizers.items()},
            "step": self._step,
            "first_step": self._first_step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.net.load_state_dict(state["net"])
        self.adversarial_head.load_state_dict(state["adversarial_head"])
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self._step = state["step"]
        self._first_step = state["first_step"]
