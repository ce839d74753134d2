"""The metrics that each trainable reports, by name, for the check of a study's file.

:mod:`harness.results.frames` explains them. Most are written out here, because the code that
reports them imports torch; ``tests/trainables/adapt/test_reported_metrics.py`` compares the list
with what runs report.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from harness.yaml.validation import did_you_mean
from trainables.data.skeleton import BODY16, HAND21
from trainables.metrics.metric_keys import (
    BIN_PREFIX,
    CONTROLS,
    FINAL_BIN_PREFIX,
    VALIDATORS,
    bin_key,
    bin_keys,
)

Trainable = Literal["adaptation", "pose_vae"]
Better = Literal["maximize", "minimize"]

JOINT_GROUPS = (*BODY16.groups, *HAND21.groups)
"""Groups of joints in ``<split>/pck_05_<group>``, of people and of hands."""
EVALPOSE_READINGS = (
    *("evalpose", "evalpose_cosines", "evalpose_within_20", "evalpose_unit_signed"),
)
"""Readings of EvalPose, ``<split>/<reading>``."""
CHOICES = ("last", "default", "kept", *VALIDATORS, "oracle_val")
"""Ways to choose a checkpoint, ``chosen_epoch/<way>`` and ``chosen_pck_05/<way>``."""
LOSSES = (
    *("source_kl", "source_mse", "source_disparity", "false_disparity", "target_disparity"),
    *("consistency", "confidence"),
)
"""Losses of ``train/<loss>``, of all methods and both phases."""
PHASE_LOSSES = frozenset(LOSSES) - {"source_kl", "source_mse"}
"""Losses that source pre-training does not have."""
TEST_SPLIT = "target_test"


@dataclass(frozen=True)
class MetricFacts:
    """What the checks of a study must know about a metric."""

    better: Better | None = None
    """Which direction is better; None if neither is."""
    is_reported_throughout: bool = True
    """Whether every epoch reports it, not only the last or those of one phase."""


def known_metrics(trainable: Trainable, bin_count: int) -> dict[str, MetricFacts]:
    """Every metric that runs of a search can report.

    Args:
        trainable: What a trial runs.
        bin_count: ``evaluation.bin_count`` of the study.
    """
    return dict(_pose_vae() if trainable == "pose_vae" else _adaptation(bin_count))


def control_metric(metric: str, control: str) -> str:
    """Key of a control's value of ``<split>/<metric>``."""
    split, _, name = metric.partition("/")
    return f"{split}/control/{name}/{control}"


def unknown_metric(name: str, trainable: Trainable, bin_count: int) -> str | None:
    """Why trials of a search cannot report a metric, as a predicate; None if they can."""
    known = known_metrics(trainable, bin_count)
    if name in known:
        return None
    if name.startswith(f"{TEST_SPLIT}/"):
        return (
            f"must not be of the test split, which no search reads, got {name}; "
            f"harness.confirm reports it"
        )
    others: tuple[Trainable, ...] = ("adaptation", "pose_vae")
    for other in others:
        if other != trainable and name in known_metrics(other, bin_count):
            return f"must be a metric of {trainable} trials, got {name}, one of {other} trials"
    if bin_keys([name], BIN_PREFIX) or bin_keys([name], FINAL_BIN_PREFIX):
        return (
            f"must be one of the bins 00 to {bin_count - 1:02d} (evaluation.bin_count is "
            f"{bin_count}), got {name}"
        )
    hint = did_you_mean(name, known) or did_you_mean(name.replace("/", "/pck_"), known)
    groups = dict.fromkeys(metric.rpartition("/")[0] + "/" for metric in known)
    return (
        f"must be a metric that {trainable} trials report, got {name}{hint}; "
        f"metrics start with {', '.join(groups)}"
    )


def _adaptation(bin_count: int) -> Iterator[tuple[str, MetricFacts]]:
    more = MetricFacts("maximize")
    for split in ("target_val", "source_val"):
        yield f"{split}/pck_05", more
        for group in JOINT_GROUPS:
            yield f"{split}/pck_05_{group}", more
        for reading in EVALPOSE_READINGS:
            yield f"{split}/{reading}", more
        yield f"{split}/evalpose_coverage", MetricFacts()
        yield f"{split}/evalpose_degenerate", MetricFacts("minimize")
    at_the_end = MetricFacts("maximize", is_reported_throughout=False)
    yield "target_val/pck_05_adabn", at_the_end
    for metric in ("pck_05", *EVALPOSE_READINGS):
        for control in CONTROLS:
            yield control_metric(f"target_val/{metric}", control), at_the_end
    for index in range(bin_count):
        yield bin_key(BIN_PREFIX, index), more
        yield bin_key(FINAL_BIN_PREFIX, index), at_the_end
    for validator in VALIDATORS:
        # Agreement compares two heads, or teacher and student: pre-training has neither.
        yield f"validator/{validator}", MetricFacts("maximize", validator != "agreement")
    for way in CHOICES:
        yield f"chosen_epoch/{way}", MetricFacts(is_reported_throughout=False)
        yield f"chosen_pck_05/{way}", MetricFacts("maximize", is_reported_throughout=False)
    for loss in LOSSES:
        better: Better | None = None if loss == "confidence" else "minimize"
        yield f"train/{loss}", MetricFacts(better, loss not in PHASE_LOSSES)
    yield "sampling/active_fraction", MetricFacts()
    yield from _latent_code()


def _latent_code() -> Iterator[tuple[str, MetricFacts]]:
    yield "vae/active_units", MetricFacts("maximize")
    yield "vae/kl", MetricFacts()
    yield "vae/mean_pose_correlation", MetricFacts("minimize")
    yield "vae/is_collapsed", MetricFacts("minimize")


def _pose_vae() -> Iterator[tuple[str, MetricFacts]]:
    for name in ("corruption_auc", "rank_stability"):
        yield f"vae/{name}", MetricFacts("maximize")
    yield "vae/reconstruction", MetricFacts("minimize")
    yield from _latent_code()
