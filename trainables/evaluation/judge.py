"""All metrics of a run after an epoch: with labels on the splits, and without (validators).

Nothing here trains: networks are left in evaluation mode, with unchanged parameters and
statistics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import Loss
from trainables.data.image_store import ImageStore
from trainables.evaluation.evaluate import (
    control_metrics,
    evaluate,
    evaluate_samples,
    predict_with_confidence,
    with_target_statistics,
)
from trainables.evaluation.predictions import Predictions, joined
from trainables.evaluation.validation import LabelFreeValidation
from trainables.metrics.metric_keys import (
    BIN_PREFIX,
    FINAL_BIN_PREFIX,
    TEST_BIN_PREFIX,
    bin_metrics,
)
from trainables.network.pose_net import PoseNet
from trainables.pose_vae.pose_scorer import PoseScorer
from trainables.sampling.difficulty_view import DifficultyView
from trainables.style.style_transfer import StyleTransfer


@dataclass(frozen=True)
class SplitDifficulty:
    """Difficulty of the poses of a target split, by the reference Pose VAE.

    Attributes:
        scores: (N,) reconstruction error of each pose; NaN where it has none.
        bins: (N,) evaluation bin of each pose, -1 for none.
    """

    scores: NDArray[np.float64]
    bins: NDArray[np.int64]


@dataclass(frozen=True)
class Domains:
    """The data that a run is trained and evaluated on.

    Attributes:
        source: Labelled images.
        target: Target images; only the judge and the oracle read their labels.
        difficulty: Order and bins of the source training split.
        scorer: The reference Pose VAE, for label-free validation.
        target_val: Difficulty of the target validation poses.
        style: Style transfer between the domains; None if the trial does not use it.
        target_test: Difficulty of the target test poses; with None the test split is not read.
    """

    source: ImageStore
    target: ImageStore
    difficulty: DifficultyView
    scorer: PoseScorer
    target_val: SplitDifficulty
    style: StyleTransfer | None = None
    target_test: SplitDifficulty | None = None


@dataclass(frozen=True)
class _OnSplit:
    """A network on a target split.

    Attributes:
        predicted_px: (N, K, 2) keypoints.
        confidence: (N, K).
        difficulty: Scores and bins of its poses.
        metrics: ``target_<split>/*``.
        pck_bins: PCK of each bin.
    """

    predicted_px: Tensor
    confidence: Tensor
    difficulty: SplitDifficulty
    metrics: dict[str, float]
    pck_bins: Sequence[float]


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
    ) -> tuple[dict[str, float], Predictions | None]:
        """Flat metrics of a network, and after the last epoch what it predicted.

        Args:
            net: The network to evaluate.
            auxiliary_logits: See :meth:`trainables.adapt.adapter.Adapter.auxiliary_logits`.
            is_last: Whether this is the last epoch: it also reports ``final/*``, the controls
                (AdaBN and predictions made without a network) and, if the run may read it,
                ``target_test/*``.

        Returns:
            The metrics; the predictions behind those of the target splits, None before the last
            epoch.
        """
        source = self._domains.source
        rows = source.splits["val"]
        metrics = evaluate(net, source, rows, self._heatmap_size).metrics("source_val")
        on_val = self._on_target(net, "val", self._domains.target_val)
        metrics |= on_val.metrics | bin_metrics(BIN_PREFIX, on_val.pck_bins)
        metrics |= self.validation.metrics(
            net, auxiliary_logits, self._loss, metrics["source_val/pck_05"]
        )
        if not is_last:
            return metrics, None
        metrics |= bin_metrics(FINAL_BIN_PREFIX, on_val.pck_bins)
        judged = {"val": on_val}
        if self._domains.target_test is not None:
            judged["test"] = on_test = self._on_target(net, "test", self._domains.target_test)
            metrics |= on_test.metrics | bin_metrics(TEST_BIN_PREFIX, on_test.pck_bins)
        target = self._domains.target
        adapted = with_target_statistics(net, target.images, target.splits["train"])
        for split in judged:
            found = evaluate(adapted, target, target.splits[split], self._heatmap_size)
            metrics[f"target_{split}/pck_05_adabn"] = found.pck.all
            controls = control_metrics(source, target, split, self._heatmap_size)
            metrics |= {f"target_{split}/control/{n}": v for n, v in controls.items()}
        return metrics, joined([self._predictions(s, found) for s, found in judged.items()])

    def _on_target(self, net: PoseNet, split: str, difficulty: SplitDifficulty) -> _OnSplit:
        target = self._domains.target
        rows = target.splits[split]
        predicted_px, confidence = predict_with_confidence(net, target, rows, self._loss)
        found = evaluate_samples(predicted_px, target, rows, self._heatmap_size)
        metrics = found.metrics(f"target_{split}")
        pck_bins = found.pck_bins(difficulty.bins, self._bin_count)
        return _OnSplit(predicted_px, confidence, difficulty, metrics, pck_bins)

    def _predictions(self, split: str, found: _OnSplit) -> Predictions:
        target = self._domains.target
        rows = target.splits[split]
        return Predictions(
            split=np.full(len(rows), f"target_{split}"),
            ids=np.array([target.ids[row] for row in rows], dtype=np.str_),
            keypoints_px=found.predicted_px.float().cpu().numpy(),
            confidence=found.confidence.cpu().numpy(),
            truth_px=target.keypoints_px[rows],
            visible=target.visible[rows],
            scores=found.difficulty.scores.astype(np.float32),
            bins=found.difficulty.bins.astype(np.int16),
            skeleton=target.skeleton,
            image_size=target.image_size,
            heatmap_size=self._heatmap_size,
        )
