"""What pre-training depends on: the key under which trials share it."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.adapt.adaptation_run import sample_weights
from trainables.adapt.methods import augment_ranges, pretraining_recipe
from trainables.config import TrialConfig
from trainables.data.skeleton import Skeleton
from trainables.sampling.sampler import DifficultyView, TrainingClock
from trainables.stages.digests import file_digest

PRETRAIN_VERSION = 1
"""Part of the stage key: raised when the code of training or judging changes its results."""

_SEEN_THROUGH_OTHERS = (
    "data.source", "data.target", "data.source_root", "data.target_root", "data.image_size",
    "data.num_source", "data.num_target",
    "vae.", "bins.", "sampling.", "curriculum.",
    "adapt.method", "adapt.epochs", "adapt.lr", "adapt.precision", "adapt.regda.", "adapt.udape.",
    "net.weights",
    "style.",
)  # fmt: skip
"""Fields, or all fields below a name, that reach pre-training only through what
:func:`pretraining_inputs` holds of them. A field that is not listed, as a new one, is in the key
itself."""


@dataclass(frozen=True)
class PretrainingData:
    """What pre-training sees of a trial's other stages.

    Attributes:
        image_keys: Stage keys of the images of ``source`` and ``target``; target images are
            judged on after each epoch.
        reference_key: Of the Pose VAE behind the evaluation's bins and ``plausibility``.
        style_key: Of the style network; None if the trial has none.
        difficulty: Order and bins of the source training split.
        num_target: Size of the target training split.
        skeleton: Of both domains.
    """

    image_keys: Mapping[str, str]
    reference_key: str
    style_key: str | None
    difficulty: DifficultyView
    num_target: int
    skeleton: Skeleton


def pretraining_inputs(
    config: TrialConfig, data: PretrainingData, arithmetic: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything the state after pre-training, and the reports until then, depend on.

    Not the settings as they are written but what they come to: which samples each epoch draws
    from, the learning rate of each step, how images are warped. Trials that differ in nothing of
    that share, whatever their ``vae.*``, their strategy or their method.

    Args:
        config: Settings.
        data: What other stages give.
        arithmetic: What decides the last digits: device, number format, threads, processes.

    Raises:
        ValueError: If the sampling leaves nothing to draw.
        OSError: If the file of ``net.weights`` cannot be read.
    """
    adapt = config.adapt
    kept = {
        path: value
        for path, value in config.to_flat().items()
        if not path.startswith(_SEEN_THROUGH_OTHERS)
    }
    recipe = pretraining_recipe(config)
    steps = range(adapt.pretrain_epochs * adapt.steps_per_epoch)
    return {
        "version": PRETRAIN_VERSION,
        "fields": kept,
        "images": dict(data.image_keys),
        "reference": data.reference_key,
        "labelled": "target" if adapt.method == "oracle" else "source",
        "drawn": _digest(_weights_by_epoch(config, data)),
        "optimiser": recipe.algorithm,
        "rates": dict(recipe.rates),
        "factors": _digest([np.array([recipe.factor(step) for step in steps])]),
        "augmentation": asdict(augment_ranges(config, data.skeleton)),
        "style": _style(config, data.style_key),
        "weights": None if config.net.weights is None else file_digest(Path(config.net.weights)),
        "is_whole_training": adapt.epochs == 0,  # then its last epoch is judged as such
        "arithmetic": dict(arithmetic),
    }


def _weights_by_epoch(config: TrialConfig, data: PretrainingData) -> Iterable[NDArray[np.float64]]:
    first = config.adapt.pretrain_epochs
    for epoch in range(first):
        clock = TrainingClock(epoch, first, first + config.adapt.epochs)
        yield sample_weights(config, data.difficulty, data.num_target, clock)


def _style(config: TrialConfig, style_key: str | None) -> dict[str, Any] | None:
    """What UDAPE's pre-training shows source images in."""
    if style_key is None:
        return None
    udape = config.adapt.udape
    return {"stage": style_key, "chance": udape.style_source, "strength": udape.style_alpha}


def _digest(arrays: Iterable[NDArray[np.float64]]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
