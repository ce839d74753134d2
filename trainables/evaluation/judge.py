"""What a run is judged by after each epoch: metrics with labels, validators without.

Nothing here trains; the network comes back in evaluation mode, its parameters and statistics
as they were.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import Loss
from trainables.data.image_store import ImageStore
from trainables.evaluation.evaluate import control_metrics, evaluate, with_target_statistics
from trainables.evaluation.validation import LabelFreeValidation
from trainables.network.pose_net import PoseNet
from trainables.pose_vae.pose_scorer import PoseScorer
from trainables.sampling.sampler import DifficultyView
from trainables.style.style_transfer import Transfer


@dataclass(frozen=True)
class Domains:
    """What a run trains and is judged on.

    Attributes:
        source: Labelled images.
        target: Target images; labels are read by the judge only.
        difficulty: Order and bins of the source training split.
        scorer: The reference Pose VAE, for label-free validation.
        target_val_bins: (N,) evaluation bin of each target validation pose.
        style: Style transfer between the domains, for a method that uses it; else None.
        target_test_bins: (M,) evaluation bin of each target test pose; None leaves the test
            split unread.
    """

    source: ImageStore
    target: ImageStore
    difficulty: DifficultyView
    scorer: PoseScorer
    target_val_bins: NDArray[np.int64]
    style: Transfer | None = None
    target_test_bins: NDArray[np.int64] | None = None


class Judge:
    """Metrics of the networks of one run.

    Args:
        domains: Data; the target's labels are read here and nowhere else but by the oracle.
        heatmap_size: Side of the maps in cells.
        bin_count: Evaluation bins of the target poses.
        loss: What the network's maps are trained by.
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
        self, net: PoseNet, second_opinion: Callable[[Tensor], Tensor | None], is_last: bool
    ) -> dict[str, float]:
        """Flat metrics of a network.

        Args:
            net: The network that counts.
            second_opinion: See :meth:`trainables.adapt.adapter.Adapter.second_opinion`.
            is_last: Whether no epoch follows: then also ``final/*``, the controls (AdaBN and
                predictions that no network made) and, if the run may read it,
                ``target_test/*``.
        """
        source = self._domains.source
        rows = source.splits["val"]
        metrics = evaluate(net, source, rows, self._heatmap_size).metrics("source_val")
        val_bins = self._domains.target_val_bins
        metrics |= self._on_target(net, "val", val_bins, "pck_bin")
        metrics |= self.validation.metrics(
            net, second_opinion, self._loss, metrics["source_val/pck_05"]
        )
        if is_last:
            metrics |= {f"final/{n}": v for n, v in metrics.items() if n.startswith("pck_bin/")}
            splits = ["val"]
            if self._domains.target_test_bins is not None:
                splits.append("test")
                test_bins = self._domains.target_test_bins
                metrics |= self._on_target(net, "test", test_bins, "target_test/pck_bin")
            target = self._domains.target
            adapted = with_target_statistics(net, target.images, target.splits["train"])
            for split in splits:
                judged = evaluate(adapted, target, target.splits[split], self._heatmap_size)
                metrics[f"target_{split}/pck_05_adabn"] = judged.pck.all
                controls = control_metrics(source, target, split, self._heatmap_size)
                metrics |= {f"target_{split}/control/{n}": v for n, v in controls.items()}
        return metrics

    def _on_target(
        self, net: PoseNet, split: str, bins: NDArray[np.int64], prefix: str
    ) -> dict[str, float]:
        target = self._domains.target
        rows = target.splits[split]
        judged = evaluate(net, target, rows, self._heatmap_size, bins, self._bin_count)
        return judged.metrics(f"target_{split}") | named_bins(prefix, judged.pck_bins)


def named_bins(prefix: str, values: list[float] | None) -> dict[str, float]:
    """``prefix/00``, ``prefix/01``, ... of the bins that hold a scored pose."""
    return {f"{prefix}/{i:02d}": v for i, v in enumerate(values or ()) if not math.isnan(v)}
