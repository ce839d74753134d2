"""The metrics that the built-in trainables report, by name, for the check of a study's file.

:mod:`harness.results.frames` explains them. Most are written out here, because the code that
reports them imports torch; ``tests/trainables/adapt/test_reported_metrics.py`` compares the list
with what runs report.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from trainables.data.skeleton_file import find_skeleton
from trainables.metrics.metric_keys import (
    BIN_PREFIX,
    CHOICES,
    CONTROLS,
    EVALPOSE_READINGS,
    FINAL_BIN_PREFIX,
    VALIDATORS,
    WAIT_SHARE,
    bin_key,
    control_metric,
)
from trainables.registry import DOMAINS, METHODS, MetricFacts

SUPERVISED_LOSSES = ("source_kl", "source_mse")
"""Losses of ``train/<loss>`` in source pre-training."""


def adaptation_metrics(fields: Mapping[str, Any]) -> dict[str, MetricFacts]:
    """The metrics of an ``adaptation`` run that reads no test split.

    Args:
        fields: Flat fields of the run; the bins and the skeleton with its groups matter.

    Raises:
        OSError, ValueError: If the skeleton is one of the user's own and cannot be used.
    """
    return dict(_adaptation(fields))


def pose_vae_metrics(fields: Mapping[str, Any]) -> dict[str, MetricFacts]:
    """The metrics of a ``pose_vae`` run, the same for all fields."""
    return dict(_pose_vae())


def _adaptation(fields: Mapping[str, Any]) -> Iterator[tuple[str, MetricFacts]]:
    more = MetricFacts("maximize")
    source = DOMAINS[fields["data.source"]]
    given = fields.get(source.skeleton_field)
    groups = find_skeleton(source.skeleton if given is None else given).groups
    for split in ("target_val", "source_val"):
        yield f"{split}/pck_05", more
        for group in groups:
            yield f"{split}/pck_05_{group}", more
        for reading in EVALPOSE_READINGS.values():
            yield f"{split}/{reading}", more
        yield f"{split}/evalpose_coverage", MetricFacts()
        yield f"{split}/evalpose_degenerate", MetricFacts("minimize")
    at_the_end = MetricFacts("maximize", is_reported_throughout=False)
    yield "target_val/pck_05_adabn", at_the_end
    for metric in ("pck_05", *EVALPOSE_READINGS.values()):
        for control in CONTROLS:
            yield control_metric(f"target_val/{metric}", control), at_the_end
    # The "average keypoint score" of the paper's Fig. 4: the mean over a bin's poses of the share
    # of correct joints among all that are visible, where pck_05 averages over all_joints alone.
    for index in range(fields["evaluation.bin_count"]):
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
