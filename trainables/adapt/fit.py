"""One training run: source pre-training, then adaptation, an epoch at a time.

The loop is the same for every method and every sampling strategy: equal numbers of steps of
equal batch size, evaluated after each epoch. It knows no clock, no disk and no Ray.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.adapt.adapter import Adapter, LearningRate, TargetBatch
from trainables.adapt.batches import SourceBatches, TargetBatches
from trainables.adapt.evaluate import evaluate
from trainables.adapt.pose_net import PoseNet
from trainables.adapt.regda import RegDA, RegDAWeights
from trainables.adapt.source_only import SourceOnly
from trainables.adapt.udape import UDAPE, UDAPESettings
from trainables.config import TrialConfig
from trainables.data.image_store import ImageStore
from trainables.sampling.sampler import DifficultyView, TrainingClock, epoch_weights
from trainables.seeding import derive_seed, torch_generator


@dataclass(frozen=True)
class Domains:
    """What a run trains and is judged on.

    Attributes:
        source: Labelled images.
        target: Target images; labels are read by evaluation only.
        difficulty: Order and bins of the source training split.
        target_val_bins: (N,) evaluation bin of each target validation pose.
        target_test_bins: (M,) evaluation bin of each target test pose; None leaves the test
            split unread.
    """

    source: ImageStore
    target: ImageStore
    difficulty: DifficultyView
    target_val_bins: NDArray[np.int64]
    target_test_bins: NDArray[np.int64] | None = None


def build_net(config: TrialConfig, num_joints: int) -> PoseNet:
    """A freshly initialised network; the global generator is left as it was found."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "net"))
        return PoseNet(
            num_joints,
            config.net.depth,
            config.net.width,
            config.data.image_size,
            config.data.heatmap_size,
        )


class AdaptationRun:
    """State of a run between epochs.

    Args:
        config: The trial's settings.
        domains: Data.
        net: Network from :func:`build_net`, possibly with loaded weights.
        device: Where to train.
    """

    def __init__(
        self, config: TrialConfig, domains: Domains, net: PoseNet, device: torch.device
    ) -> None:
        self._config = config
        self._domains = domains
        adapt = config.adapt
        self.total_epochs = adapt.pretrain_epochs + adapt.epochs
        self.epoch = 0
        self.net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._learning_rate = LearningRate(adapt.lr, self.total_epochs * adapt.steps_per_epoch)
        self._adapter: Adapter = SourceOnly(self.net, self._learning_rate)
        self._is_adapting = False
        # The oracle is the one method that is trained on target labels, and on nothing else.
        self._is_oracle = adapt.method == "oracle"
        labelled = domains.target if self._is_oracle else domains.source
        self._source = SourceBatches(labelled, config.data.heatmap_size, device, config.seed)
        self._target = TargetBatches(
            domains.target.images, domains.target.splits["train"], device, config.seed
        )

    @property
    def is_done(self) -> bool:
        """Whether all epochs have run."""
        return self.epoch >= self.total_epochs

    def run_epoch(self) -> dict[str, float]:
        """Train one epoch and evaluate.

        Returns:
            Flat metrics: ``train/*`` mean losses, ``sampling/active_fraction``,
            ``source_val/*``, ``target_val/*``, ``pck_bin/00`` ... of the target validation
            split; with the last epoch also ``final/pck_bin/*`` and, if the run may read it,
            ``target_test/*``.

        Raises:
            FloatingPointError: If a loss is not finite; names the first one, epoch and step.
        """
        config = self._config
        clock = TrainingClock(self.epoch, config.adapt.pretrain_epochs, self.total_epochs)
        if clock.phase == "adapt" and not self._is_adapting:
            self._start_adapting()
        weights = self._sample_weights(clock)
        losses = self._train(weights)
        self.epoch += 1
        metrics = {f"train/{name}": value for name, value in losses.items()}
        metrics["sampling/active_fraction"] = float((weights > 0).mean())
        return metrics | self._evaluate()

    def _sample_weights(self, clock: TrainingClock) -> NDArray[np.float64]:
        config = self._config
        if self._is_oracle:
            return np.ones(len(self._domains.target.splits["train"]))
        return epoch_weights(
            self._domains.difficulty,
            config.sampling,
            config.curriculum,
            config.bins.subset,
            clock,
            derive_seed(config.seed, "sampling", "random"),
        )

    def _train(self, weights: NDArray[np.float64]) -> dict[str, float]:
        adapt = self._config.adapt
        steps = []
        for source in self._source.epoch(weights, adapt.steps_per_epoch, adapt.batch_size):
            target = self._next_target()
            steps.append(self._adapter.step(source, target))
        names = list(steps[0])
        losses = torch.stack([torch.stack(list(step.values())) for step in steps]).cpu()
        broken = (~losses.isfinite()).nonzero().tolist()
        if broken:
            step, column = broken[0]  # the first: from there NaN spreads to the other losses
            raise FloatingPointError(
                f"loss {names[column]} is {float(losses[step, column])} in epoch "
                f"{self.epoch + 1} of {self.total_epochs}, step {step + 1}"
            )
        return dict(zip(names, losses.mean(0).tolist(), strict=True))

    def _next_target(self) -> TargetBatch | None:
        adapter = self._adapter
        if not adapter.needs_target:
            return None
        return self._target.next(self._config.adapt.batch_size, adapter.needs_teacher_view)

    def _evaluate(self) -> dict[str, float]:
        domains, size = self._domains, self._config.data.heatmap_size
        net = self._adapter.net  # a mean teacher where the method has one
        num_bins = self._config.evaluation.bin_count
        rows = domains.source.splits["val"]
        metrics = evaluate(net, domains.source, rows, size).metrics("source_val")
        judged = evaluate(
            net, domains.target, domains.target.splits["val"], size,
            domains.target_val_bins, num_bins,
        )  # fmt: skip
        metrics |= judged.metrics("target_val")
        metrics |= named_bins("pck_bin", judged.pck_bins)
        if self.is_done:
            metrics |= named_bins("final/pck_bin", judged.pck_bins)
            if domains.target_test_bins is not None:
                tested = evaluate(
                    net, domains.target, domains.target.splits["test"], size,
                    domains.target_test_bins, num_bins,
                )  # fmt: skip
                metrics |= tested.metrics("target_test")
                metrics |= named_bins("target_test/pck_bin", tested.pck_bins)
        return metrics

    def _start_adapting(self) -> None:
        self._is_adapting = True
        adapt, seed = self._config.adapt, self._config.seed
        first_step = adapt.pretrain_epochs * adapt.steps_per_epoch
        if adapt.method == "regda":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(derive_seed(seed, "regda", "adversarial_head"))
                self._adapter = RegDA(
                    self.net,
                    RegDAWeights(**vars(adapt.regda)),
                    self._learning_rate,
                    first_step,
                )
        elif adapt.method == "udape":
            fields = dict(vars(adapt.udape))
            self._adapter = UDAPE(
                self.net,
                UDAPESettings(per_joint=fields.pop("mask") == "joint", **fields),
                self._config.data.image_size,
                self._learning_rate,
                torch_generator(seed, "udape", "occlusion"),
                first_step,
            )
        # source_only and oracle go on with the optimiser they have.

    def state_dict(self) -> dict[str, Any]:
        """Everything the following epochs depend on."""
        return {
            "epoch": self.epoch,
            "is_adapting": self._is_adapting,
            "adapter": self._adapter.state_dict(),
            "source": self._source.state_dict(),
            "target": self._target.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""
        self.epoch = state["epoch"]
        if state["is_adapting"]:
            self._start_adapting()
        self._adapter.load_state_dict(state["adapter"])
        self._source.load_state_dict(state["source"])
        self._target.load_state_dict(state["target"])


def named_bins(prefix: str, values: list[float] | None) -> dict[str, float]:
    """``prefix/00``, ``prefix/01``, ... of the bins that hold a scored pose."""
    return {f"{prefix}/{i:02d}": v for i, v in enumerate(values or ()) if not math.isnan(v)}
