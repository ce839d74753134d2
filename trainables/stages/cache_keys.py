"""What cached training depends on: the inputs from which a stage cache makes its keys."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.adapt.adaptation_run import sample_weights
from trainables.adapt.methods import augment_ranges, pretraining_recipe
from trainables.config import TrialConfig
from trainables.data.skeleton import Skeleton
from trainables.fingerprint import code_digest
from trainables.network.weight_file import backbone_file
from trainables.registry import METHODS
from trainables.sampling.difficulty_view import DifficultyView, TrainingClock
from trainables.stages.digests import file_digest

PRETRAIN_VERSION = 4
"""Part of the key: raised when changed code of training or evaluation changes the results, or the
files that are stored."""

_REPRESENTED_FIELDS = (
    "data.source", "data.target", "data.source_root", "data.target_root", "data.image_size",
    "data.num_source", "data.num_target",
    "vae.", "bins.", "sampling.", "curriculum.",
    "adapt.method", "adapt.epochs", "adapt.lr", "adapt.precision", "net.weights",
    "style.",
)  # fmt: skip
"""Fields, or prefixes of fields, that affect pre-training only through other entries of
:func:`pretraining_inputs`; the options of methods are such fields too. All other fields, including
new ones, are in the key themselves."""


@dataclass(frozen=True)
class PretrainingData:
    """What pre-training takes from a trial's other stages.

    Attributes:
        image_keys: Stage keys of the images of ``source`` and ``target``; each epoch is evaluated
            on target images.
        reference_key: Stage key of the Pose VAE behind the evaluation bins and ``plausibility``.
        style_key: Stage key of the style network; None if the trial has none.
        difficulty: Order and bins of the source training split.
        num_target: Size of the target training split.
        skeleton: Skeleton of both domains.
    """

    image_keys: Mapping[str, str]
    reference_key: str
    style_key: str | None
    difficulty: DifficultyView
    num_target: int
    skeleton: Skeleton


def pretraining_inputs(
    config: TrialConfig, data: PretrainingData, numerics: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that the reports of pre-training, and the state after it, depend on.

    Settings enter by their effect: the samples that each epoch draws from, the learning rate of
    each step, the ranges of the warps. Trials that agree in these share their pre-training, even
    if their ``vae.*``, strategies or methods differ.

    Args:
        config: Settings.
        data: What other stages give.
        numerics: Numeric environment: device, number format, threads, processes.

    Raises:
        ValueError: If the sampling leaves no sample to draw, or if the backbone's weights are
            those of a package that is not installed.
        OSError: If their file cannot be read.
    """
    adapt = config.adapt
    represented = (*_REPRESENTED_FIELDS, *(f"adapt.{method}." for method in METHODS))
    fields = {
        path: value for path, value in config.to_flat().items() if not path.startswith(represented)
    }
    recipe = pretraining_recipe(config)
    steps = range(adapt.pretrain_epochs * adapt.steps_per_epoch)
    return {
        "version": PRETRAIN_VERSION,
        "fields": fields,
        "images": dict(data.image_keys),
        "reference": data.reference_key,
        "labelled": "target" if adapt.method == "oracle" else "source",
        "drawn": _digest(_weights_by_epoch(config, data)),
        "optimiser": recipe.algorithm,
        "rates": dict(recipe.rates),
        "factors": _digest([np.array([recipe.factor(step) for step in steps])]),
        "augmentation": asdict(augment_ranges(config, data.skeleton)),
        "style": _style(config, data.style_key),
        "weights": _weights_digest(config),
        "is_whole_training": adapt.epochs == 0,  # its last epoch then reports final metrics
        "numerics": dict(numerics),
    }


def training_inputs(
    config: TrialConfig,
    stage_keys: Mapping[str, str],
    read_test: bool,
    numerics: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that the reports of a whole training depend on.

    Unlike those of :func:`pretraining_inputs` these are all settings and the digest of the code:
    reused reports stand for a whole trial, so exactly this code must have made them.

    Args:
        config: Settings.
        stage_keys: Stage to key, for all stages that the trial uses.
        read_test: Whether the target test split is evaluated.
        numerics: Numeric environment: device, number format, threads, processes.

    Raises:
        OSError: If the file of the backbone's weights cannot be read.
        ValueError: If they are those of a package that is not installed.
    """
    return {
        "code": code_digest(),
        "fields": config.to_flat(),
        "stages": dict(stage_keys),
        "weights": _weights_digest(config),
        "read_test": read_test,
        "numerics": dict(numerics),
    }


def _weights_by_epoch(config: TrialConfig, data: PretrainingData) -> Iterable[NDArray[np.float64]]:
    first = config.adapt.pretrain_epochs
    for epoch in range(first):
        clock = TrainingClock(epoch, first, first + config.adapt.epochs)
        yield sample_weights(config, data.difficulty, data.num_target, clock)


def _style(config: TrialConfig, style_key: str | None) -> dict[str, Any] | None:
    """How pre-training restyles source images."""
    restyling = config.restyling
    if style_key is None or restyling is None:
        return None
    return {"stage": style_key, "chance": restyling.source, "strength": restyling.alpha}


def _weights_digest(config: TrialConfig) -> str | None:
    weights = backbone_file(config.net.backbone, config.net.weights)
    return None if weights is None else file_digest(weights)


def _digest(arrays: Iterable[NDArray[np.float64]]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
