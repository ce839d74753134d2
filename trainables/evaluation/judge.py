"""All metrics of a run after an epoch: with labels on the splits, and without (validators).

Nothing here trains: networks are left in evaluation mode, with unchanged parameters and
statistics.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import Loss
from trainables.data.image_store import ImageStore
from trainables.evaluation.evaluate import control_metrics, evaluate, with_target_statistics
from trainables.evaluation.validation import LabelFreeValidation
from trainables.metrics.metric_keys import (
    BIN_PREFIX,
    FINAL_BIN_PREFIX,
    TEST_BIN_PREFIX,
    bin_key,
)
from trainables.network.pose_net import PoseNet
from trainables.pose_vae.pose_scorer import PoseScorer
from trainables.sampling.difficulty_view import DifficultyView
from trainables.style.style_transfer import StyleTransfer


@dataclass(frozen=True)
class Domains:
    """The data that a run is trained and evaluated on.

    Attributes:
        source: Labelled images.
        target: Target images; only the judge and the oracle read their labels.
        difficulty: Order and bins of the source training split.
        scorer: The reference Pose VAE, for label-free validation.
        target_val_bins: (N,) evaluation bin of each target validation pose.
        style: Style transfer between the domains; None if the trial does not use it.
        target_test_bins: (M,) evaluation bin of each target test pose; with None the test split
            is not read.
    """

    source: ImageStore
    target: ImageStore
    difficulty: DifficultyView
    scorer: PoseScorer
    target_val_bins: NDArray[np.int64]
    style: StyleTransfer | None = None
    target_test_bins: NDArray[np.int64] | None = None


class Judge:
    """Computes the metrics of a run's network after each epoch.

    Args:
        domains: The data of both domains.
        heatmap_size: Side of the maps in cells.
        bin_count: Number of evaluation bins of the target poses.
        loss: Loss that the network's maps are trained with.
    """

    def __init__(self, domains: Domains, heatmap_size: int, bin_count: int, loss: Loss) -> None:
        self._domains = domains
        self._heatmap_size = heatmap_size
        self._bin_count = bin_count
        self._loss: Loss = loss
        target = domains.target
        self.validation = LabelFreeValidation(
            domains.source, target.images, target.splits["train"], domains.scorer, heatmap_size
        )

    def metrics(
        self, net: PoseNet, auxiliary_logits: Callable[[Tensor], Tensor | None], is_last: bool
    ) -> dict[str, float]:
        """Flat metrics of a network.

        Args:
            net: The network to evaluate.
            auxiliary_logits: See :meth:`trainables.adapt.adapter.Adapter.auxiliary_logits`.
            is_last: Whether this is the last epoch: it also reports ``final/*``, the controls
                (AdaBN and predictions made without a network) and, if the run may read it,
                ``target_test/*``.
        """
        source = self._domains.source
        rows = source.splits["val"]
        metrics = evaluate(net, source, rows, self._heatmap_size).metrics("source_val")
        on_val, val_bins = self._on_target(net, "val", self._domains.target_val_bins)
        metrics |= on_val | _named_bins(BIN_PREFIX, val_bins)
        metrics |= self.validation.metrics(
            net, auxiliary_logits, self._loss, metrics["source_val/pck_05"]
        )
        if is_last:
            metrics |= _named_bins(FINAL_BIN_PREFIX, val_bins)
            splits = ["val"]
            if self._domains.target_test_bins is not None:
                splits.append("test")
                on_test, bins = self._on_target(net, "test", self._domains.target_test_bins)
                metrics |= on_test | _named_bins(TEST_BIN_PREFIX, bins)
            target = self._domains.target
            adapted = with_target_statistics(net, target.images, target.splits["train"])
            for split in splits:
                found = evaluate(adapted, target, target.splits[split], self._heatmap_size)
                metrics[f"target_{split}/pck_05_adabn"] = found.pck.all
                controls = control_metrics(source, target, split, self._heatmap_size)
                metrics |= {f"target_{split}/control/{n}": v for n, v in controls.items()}
        return metrics

    def _on_target(
        self, net: PoseNet, split: str, bin_index: NDArray[np.int64]
    ) -> tuple[dict[str, float], Sequence[float]]:
        """Metrics of a target split, and the PCK of each of its bins."""
        target = self._domains.target
        rows = target.splits[split]
        found = evaluate(net, target, rows, self._heatmap_size, bin_index, self._bin_count)
        return found.metrics(f"target_{split}"), found.pck_bins


def _named_bins(prefix: str, pck_bins: Sequence[float]) -> dict[str, float]:
    """Metrics of the bins that hold a scored pose."""
    return {bin_key(prefix, i): v for i, v in enumerate(pck_bins) if not math.isnan(v)}
