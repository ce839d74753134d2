"""Keys of reported metrics that more than one package builds or reads.

Imports neither torch nor NumPy, so that a study file is checked within a second. The docstring of
:mod:`harness.results.frames` explains every key.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

BIN_PREFIX = "pck_bin"
"""Of the target validation split, after each epoch: ``pck_bin/00``, ``pck_bin/01``, ..."""
FINAL_BIN_PREFIX = f"final/{BIN_PREFIX}"
"""Of the same split, after the last epoch."""
TEST_BIN_PREFIX = f"target_test/{BIN_PREFIX}"
"""Of the target test split, after the last epoch."""

VALIDATORS = (
    "source_pck", "confidence", "infomax", "bnm", "equivariance", "agreement", "plausibility",
    "mmd", "coral",
)  # fmt: skip
"""Names of the metrics ``validator/<name>``; higher is better for each."""
CHOICES = ("default", "kept", "last", "oracle_val", *VALIDATORS)
"""Ways to choose a checkpoint, ``chosen_epoch/<way>`` and ``chosen_pck_05/<way>``, in the order of
tables."""

EvalPoseVariant = Literal["printed", "cosines", "within_20", "unit_signed", "unit_unsigned"]
"""How the paper's EvalPose can be read, see :mod:`trainables.metrics.evalpose`."""
EVALPOSE_READINGS: Mapping[EvalPoseVariant, str] = {
    "printed": "evalpose",
    "cosines": "evalpose_cosines",
    "within_20": "evalpose_within_20",
    "unit_signed": "evalpose_unit_signed",
}
"""The variants that runs report, and the names of their metrics ``<split>/<name>``."""

CONTROLS = ("centre", "mean_pose", "mean_target_pose", "mirrored", "swapped")
"""Names of the metrics ``<target split>/control/<metric>/<name>``: all joints at the centre of the
image; the mean training pose of the source for every image; that of the target, which takes
target labels and bounds what a constant can reach; the true pose in a mirror, joints keeping their
names; the true pose with left and right exchanged."""
CONSTANT = "mean_pose"
"""The control that a trial must beat to have learned anything."""

WAIT_SHARE = "train/wait_share"
"""Share of an epoch's training time in which the step waited for a batch."""


def bin_key(prefix: str, index: int) -> str:
    """The key of one bin, such as ``pck_bin/03``; bin 0 is the easiest."""
    return f"{prefix}/{index:02d}"


def bin_metrics(prefix: str, scores: Sequence[float]) -> dict[str, float]:
    """Scores of bins by their keys, without those that are NaN: of bins without a scored pose."""
    named = {bin_key(prefix, index): score for index, score in enumerate(scores)}
    return {key: score for key, score in named.items() if not math.isnan(score)}


def bin_keys(keys: Iterable[str], prefix: str) -> list[str]:
    """Those of some keys that are of bins with a prefix, in the order of the bins."""
    return sorted(key for key in keys if key.startswith(f"{prefix}/"))


def control_metric(metric: str, control: str) -> str:
    """Key of a control's value of ``<split>/<metric>``."""
    split, _, name = metric.partition("/")
    return f"{split}/control/{name}/{control}"
