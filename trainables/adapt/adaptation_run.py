"""One training run: source pre-training, then adaptation, an epoch at a time.

The loop is the same for every method and every sampling strategy: equal numbers of steps of
equal batch size, evaluated after each epoch. It uses no disk and no Ray, and no clock but that of
the feed, which measures and decides nothing.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.adapt.adapter import Adapter
from trainables.adapt.batches import (
    BatchSettings,
    SourceBatches,
    SourceImages,
    TargetBatches,
    TargetImages,
)
from trainables.adapt.feed import Feed
from trainables.adapt.methods import adaptation_adapter, augment_ranges, pretraining_adapter
from trainables.adapt.restyle import Restyler
from trainables.adapt.source_only import SourceOnly
from trainables.config import TrialConfig
from trainables.distributed.collectives import mean_over_processes
from trainables.distributed.shard import WHOLE, Shard
from trainables.evaluation.judge import Domains, Judge
from trainables.evaluation.predictions import Predictions
from trainables.metrics.metric_keys import WAIT_SHARE
from trainables.metrics.selection import TARGET_PCK, chosen_metrics, default_choice
from trainables.network.pose_net import PoseNet
from trainables.sampling.difficulty_view import DifficultyView, TrainingClock
from trainables.sampling.sampler import epoch_weights
from trainables.seeding import torch_generator


class AdaptationRun:
    """A training run that is advanced one epoch at a time.

    Args:
        config: The trial's settings.
        domains: The data of both domains.
        net: Network from :func:`trainables.adapt.methods.build_net`, possibly with loaded
            weights.
        device: Where to train.
        shard: Part of each batch that this process trains on.

    Raises:
        ValueError: If the batch size is not a multiple of the number of processes.

    Attributes:
        total_epochs: Epochs of both phases together.
        epoch: Number of epochs that have run.
        best: ``epoch`` and ``net`` (parameters and buffers) of the last epoch that the default
            label-free choice preferred to all earlier ones.
        predictions: What the network of the last epoch predicted for the target splits, as
            evaluated; None before, and in all processes but the first.
    """

    def __init__(
        self,
        config: TrialConfig,
        domains: Domains,
        net: PoseNet,
        device: torch.device,
        shard: Shard = WHOLE,
    ) -> None:
        self._config = config
        self._domains = domains
        self._device = device
        self._shard = shard
        adapt = config.adapt
        if adapt.batch_size % shard.world:
            raise ValueError(
                f"adapt.batch_size must be a multiple of the {shard.world} processes of a trial, "
                f"got {adapt.batch_size}"
            )
        self.total_epochs = adapt.pretrain_epochs + adapt.epochs
        self.epoch = 0
        net.place(device)
        net.accelerate(uses_bfloat16(adapt.precision, device), config.net.compile)
        self._restyler = self._build_restyler()
        pretraining = pretraining_adapter(config, net, self._restyler)
        self._adapter: Adapter = pretraining
        self._pretraining: SourceOnly | None = pretraining
        self._is_adapting = False
        # The oracle alone trains on target labels, and on nothing else.
        labelled = domains.target if adapt.method == "oracle" else domains.source
        batches = BatchSettings(
            heatmap_size=config.data.heatmap_size,
            device=device,
            seed=config.seed,
            ranges=augment_ranges(config, domains.source.skeleton),
            is_quantised=config.parity,
            shard=shard,
        )
        self._source = SourceBatches(labelled, batches)
        unlabelled = domains.target.images, domains.target.splits["train"]
        self._target = TargetBatches(*unlabelled, batches)
        self._judge = Judge(
            domains, config.data.heatmap_size, config.evaluation.bin_count, config.adapt.loss
        )
        self._history: list[dict[str, float]] = []
        self.best: dict[str, Any] = {}
        self.predictions: Predictions | None = None

    def _build_restyler(self) -> Restyler | None:
        domains, restyling = self._domains, self._config.restyling
        if domains.style is None or restyling is None:
            return None
        return Restyler(
            domains.style,
            {"source": domains.source.splits["train"], "target": domains.target.splits["train"]},
            restyling,
            torch_generator(self._config.seed, "udape", "style"),
            is_one_strength=self._config.parity,
            shard=self._shard,
        )

    @property
    def net(self) -> PoseNet:
        """The network that is evaluated: the mean teacher if the method has one."""
        return self._adapter.net

    @property
    def is_done(self) -> bool:
        """Whether all epochs have run."""
        return self.epoch >= self.total_epochs

    def run_epoch(self) -> dict[str, float]:
        """Train one epoch and, in the first of several processes, evaluate.

        Returns:
            Flat metrics: ``train/*`` mean losses, ``train/wait_share``,
            ``sampling/active_fraction``, ``source_val/*``, ``target_val/*``, ``pck_bin/00`` ...
            of the target validation split, ``validator/*``; in the last epoch also
            ``final/pck_bin/*``, ``chosen_*/*`` and, if the run may read it, ``target_test/*``.
            Empty in the other processes.

        Raises:
            FloatingPointError: If a loss is not finite; names the first such loss, its epoch and
                step.
        """
        weights = self._begin_epoch()
        losses, wait_share = self._train(weights, self._config.adapt.steps_per_epoch)
        self.epoch += 1
        if self._shard.rank > 0:
            return {}
        metrics = {f"train/{name}": value for name, value in losses.items()}
        metrics[WAIT_SHARE] = wait_share
        metrics["sampling/active_fraction"] = float((weights > 0).mean())
        judged, self.predictions = self._judge.metrics(
            self.net, self._adapter.auxiliary_logits, is_last=self.is_done
        )
        metrics |= judged
        self._remember(metrics)
        if self.is_done:
            metrics |= chosen_metrics(self._history)
            kept = self.best["epoch"]
            metrics["chosen_epoch/kept"] = float(kept)
            metrics["chosen_pck_05/kept"] = self._history[kept - 1][TARGET_PCK]
        return metrics

    def train(self, num_steps: int) -> None:
        """Train some steps as in the coming epoch and do not count them, to find their time."""
        self._train(self._begin_epoch(), num_steps)

    def _begin_epoch(self) -> NDArray[np.float64]:
        """Enter the phase of the coming epoch; the weights of its samples."""
        config = self._config
        clock = TrainingClock(self.epoch, config.adapt.pretrain_epochs, self.total_epochs)
        if clock.phase == "adapt" and not self._is_adapting:
            self._start_adapting()
        num_target = len(self._domains.target.splits["train"])
        return sample_weights(config, self._domains.difficulty, num_target, clock)

    def _remember(self, metrics: dict[str, float]) -> None:
        """Record the metrics that choose a checkpoint; keep the network if it is the choice."""
        read = {
            name: value
            for name, value in metrics.items()
            if name.startswith("validator/") or name == TARGET_PCK
        }
        self._history.append(read)
        if default_choice(self._history) == len(self._history) - 1:
            state = {name: value.cpu() for name, value in self.net.state_dict().items()}
            self.best = {"epoch": self.epoch, "net": deepcopy(state)}

    def _train(
        self, weights: NDArray[np.float64], num_steps: int
    ) -> tuple[dict[str, float], float]:
        """Mean losses of some steps, and the share of their time spent waiting for batches."""
        steps = []
        with Feed(self._read(weights, num_steps), self._device) as feed:
            for source, target in feed:
                batch = self._source.augment(source)
                unlabelled = None if target is None else self._target.augment(target)
                steps.append(self._adapter.step(batch, unlabelled))
            losses = torch.stack([torch.stack(list(step.values())) for step in steps])
            losses = mean_over_processes(losses).cpu()
            wait_share = feed.wait_share
        broken = (~losses.isfinite()).nonzero().tolist()
        names = list(steps[0])
        if broken:
            step, column = broken[0]  # the first: NaN spreads from there to the other losses
            raise FloatingPointError(
                f"loss {names[column]} is {float(losses[step, column])} in epoch "
                f"{self.epoch + 1} of {self.total_epochs}, step {step + 1}"
            )
        return dict(zip(names, losses.mean(0).tolist(), strict=True)), wait_share

    def _read(
        self, weights: NDArray[np.float64], num_steps: int
    ) -> Iterator[tuple[SourceImages, TargetImages | None]]:
        """Images of both domains for each step; the feed's thread runs it."""
        adapter, batch_size = self._adapter, self._config.adapt.batch_size
        for source in self._source.read(weights, num_steps, batch_size):
            target = None
            if adapter.needs_target:
                target = self._target.read(batch_size, adapter.needs_teacher_view)
            yield source, target

    def _start_adapting(self) -> None:
        self._is_adapting = True
        assert self._pretraining is not None
        self._adapter = adaptation_adapter(
            self._config, self._pretraining, self._restyler, self._shard
        )
        self._pretraining = None  # its optimiser is as large as the network

    def state_dict(self) -> dict[str, Any]:
        """Everything that later epochs depend on, so neither ``best`` nor ``predictions``."""
        return {
            "epoch": self.epoch,
            "history": self._history,
            "is_adapting": self._is_adapting,
            "adapter": self._adapter.state_dict(),
            "source": self._source.state_dict(),
            "target": self._target.state_dict(),
            "style": None if self._restyler is None else self._restyler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            ValueError: If this run has started to adapt and the state is from pre-training.
        """
        if self._is_adapting and not state["is_adapting"]:
            raise ValueError("a run that adapts cannot return to a state of its pre-training")
        self.epoch = state["epoch"]
        self._history = state["history"]
        if state["is_adapting"] and not self._is_adapting:
            self._start_adapting()
        self._adapter.load_state_dict(state["adapter"])
        self._source.load_state_dict(state["source"])
        self._target.load_state_dict(state["target"])
        if self._restyler is not None:
            self._restyler.load_state_dict(state["style"])


def sample_weights(
    config: TrialConfig, difficulty: DifficultyView, num_target: int, clock: TrainingClock
) -> NDArray[np.float64]:
    """Weights of the labelled training samples in an epoch; nothing else depends on sampling.

    Args:
        config: The trial's settings.
        difficulty: Order and bins of the source training split.
        num_target: Size of the target training split, from which the oracle draws.
        clock: The epoch.
    """
    if config.adapt.method == "oracle":
        return np.ones(num_target)
    return epoch_weights(difficulty, config, clock)


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether ``adapt.precision`` lets networks compute in bfloat16 on a device."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bfloat16"
