"""The metrics that the built-in trainables report, by name, for the check of a study's file.

:mod:`harness.results.frames` explains them. Most are written out here, because the code that
reports them imports torch; ``tests/trainables/adapt/test_reported_metrics.py`` compares the list
with what runs report.
"""

from collections.abc import Iterator

from trainables.data.skeleton import BODY16, HAND21
from trainables.metrics.metric_keys import (
    BIN_PREFIX,
    CONTROLS,
    FINAL_BIN_PREFIX,
    VALIDATORS,
    WAIT_SHARE,
    bin_key,
    control_metric,
)
from trainables.registry import METHODS, MetricFacts

JOINT_GROUPS = (*BODY16.groups, *HAND21.groups)
"""Groups of joints in ``<split>/pck_05_<group>``, of people and of hands."""
EVALPOSE_READINGS = (
    *("evalpose", "evalpose_cosines", "evalpose_within_20", "evalpose_unit_signed"),
)
"""Readings of EvalPose, ``<split>/<reading>``."""
CHOICES = ("last", "default", "kept", *VALIDATORS, "oracle_val")
"""Ways to choose a checkpoint, ``chosen_epoch/<way>`` and ``chosen_pck_05/<way>``."""
SUPERVISED_LOSSES = ("source_kl", "source_mse")
"""Losses of ``train/<loss>`` in source pre-training."""


def adaptation_metrics(bin_count: int) -> dict[str, MetricFacts]:
    """The metrics of an ``adaptation`` run that reads no test split.

    Args:
        bin_count: ``evaluation.bin_count`` of the study.
    """
    return dict(_adaptation(bin_count))


def pose_vae_metrics(bin_count: int) -> dict[str, MetricFacts]:
    """The metrics of a ``pose_vae`` run, which has no bins."""
    return dict(_pose_vae())


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
    yield from _losses()
    yield WAIT_SHARE, MetricFacts("minimize", is_repeatable=False)
    yield "sampling/active_fraction", MetricFacts()
    yield from _latent_code()


def _losses() -> Iterator[tuple[str, MetricFacts]]:
    for loss in SUPERVISED_LOSSES:
        yield f"train/{loss}", MetricFacts("minimize")
    for method in METHODS.values():
        for loss, better in method.losses.items():
            if loss not in SUPERVISED_LOSSES:
                # Source pre-training does not have it.
                yield f"train/{loss}", MetricFacts(better, is_reported_throughout=False)


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
