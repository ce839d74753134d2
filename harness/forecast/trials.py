"""Which trials a study can run, which of them cost the same, what they share and reuse."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from harness.spec import StudySpec
from harness.stage_cache.manifest import stage_key
from trainables.config import TrialConfig, absolute_paths
from trainables.registry import METHODS
from trainables.stages.data_stages import image_stage_key
from trainables.stages.trial_stages import numerics, stage_keys, training_span

_FREE = (
    "adapt.epochs", "adapt.lr", "adapt.pretrain_epochs", "adapt.steps_per_epoch", "bins.",
    "curriculum.", "evaluation.", "net.backbone_lr_factor", "net.weights", "sampling.", "seed",
    "style.", "vae.kl_weight", "vae.latent_dim", "vae.norm",
)  # fmt: skip
"""Fields, and sections of them, that do not change what a step or a Pose VAE costs; the options
of methods are such fields too. A field that is not listed, as a new one, does."""

Kind = frozenset[tuple[str, str]]
"""Fields that decide how long the steps of a trial take, and their values."""


@dataclass(frozen=True)
class Trial:
    """A trial that a study can run.

    Attributes:
        config: Settings.
        missing: Name to key of the stages that it needs and the storage lacks.
        stored: Names of those that the storage has.
        is_reused: Whether the results of an identical earlier trial will be reused.
    """

    config: TrialConfig
    missing: Mapping[str, str]
    stored: frozenset[str] = frozenset()
    is_reused: bool = False

    @property
    def kind(self) -> Kind:
        """Equal for trials whose steps cost the same."""
        flat, is_udape = self.config.to_flat(), self.config.adapt.method == "udape"
        free = (*_FREE, *(f"adapt.{method}." for method in METHODS))
        kept = {name for name in flat if not name.startswith(free)}
        kept |= {"adapt.udape.labels"} if is_udape else set()
        if self.config.restyling is not None:
            kept |= {name for name in flat if name.startswith("style.")}
        return frozenset((name, json.dumps(flat[name])) for name in kept)


def study_trials(spec: StudySpec, stages: Path) -> tuple[list[Trial], list[Trial]]:
    """Every run of the baselines, and some draws of the space for what the search adds.

    Args:
        spec: The study.
        stages: Folder of the stage cache, which is only looked at.
    """
    given, searched = [], []
    images: dict[str, str] = {}
    for probe in spec.space.probes:
        config = TrialConfig.from_flat(absolute_paths(probe.fields))
        images = images or {  # the same in all trials
            role: image_stage_key(config, role, stage_key) for role in ("source", "target")
        }
        if probe.baseline is None:
            searched.append(_trial(spec, config, images, stages))
        else:
            runs = [replace(config, seed=config.seed + index) for index in range(spec.seeds)]
            given += [_trial(spec, run, images, stages) for run in runs]
    return given, [] if spec.max_trials == len(spec.baselines) else searched


def _trial(spec: StudySpec, config: TrialConfig, images: Mapping[str, str], stages: Path) -> Trial:
    def has(stage: str, key: str) -> bool:
        return (stages / stage / key).is_dir()  # a folder of this name is a whole stage

    keys, is_reused = {f"images/{role}": key for role, key in images.items()}, False
    if spec.trainable == "adaptation":
        keys = stage_keys(config, images, stage_key)
        if (stages / "training").is_dir():
            device = "cuda" if spec.resources.gpus and torch.cuda.is_available() else "cpu"
            replicas = max(1, int(spec.resources.gpus))
            environment = numerics(config, device, spec.resources.cpus, replicas)
            span = training_span(config, keys, False, environment)
            is_reused = span is not None and has(span.stage, stage_key(span.stage, span.inputs))
    stored = {name for name, key in keys.items() if has(name.split("/")[0], key)}
    missing = {name: key for name, key in keys.items() if name not in stored}
    return Trial(config, missing, frozenset(stored), is_reused)
