"""From a trial's settings and the stages to a run that can be trained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.adapt.adaptation_run import AdaptationRun, uses_bfloat16
from trainables.adapt.methods import build_net
from trainables.adapt.replicas import ReplicatedRun, RunBuilder
from trainables.config import TrialConfig, VAEConfig
from trainables.data.image_store import ImageStore
from trainables.distributed.shard import WHOLE, Shard
from trainables.evaluation.judge import Domains
from trainables.pose_vae.pose_scorer import PoseScorer
from trainables.pose_vae.score import Information
from trainables.sampling.bins import assign_bins, difficulty_order
from trainables.sampling.sampler import DifficultyView
from trainables.stages.data_stages import (
    ScoredPoses,
    image_stage,
    lineage,
    pose_vae_stage,
    pose_vae_stage_inputs,
)
from trainables.stages.pretrain_key import PretrainingData, pretraining_inputs
from trainables.stages.protocol import StageCache, StageEntry
from trainables.stages.staged_run import Span
from trainables.stages.style_stage import style_stage, style_stage_inputs
from trainables.stages.training_key import training_inputs
from trainables.style.style_transfer import StyleTransfer

REFERENCE_VAE = VAEConfig()
"""Scores the target poses behind ``pck_bin/*`` and the predictions behind
``validator/plausibility``: the same for all trials, so that these mean the same whatever a
trial's own ``vae.*``."""

_SCORED, _JUDGED = ("source/train",), ("target/val",)
"""What the trial's own Pose VAE scores, and what the reference scores in a search."""


@dataclass(frozen=True)
class TrialStages:
    """What one trial needs of the stages, computed when first read; picklable before that.

    Attributes:
        trial: Settings.
        cache: Where stages are kept.
        num_threads: Threads of a stage that is computed here.
        read_test: Whether the target test split may be read.
    """

    trial: TrialConfig
    cache: StageCache
    num_threads: int
    read_test: bool

    def __call__(self, device: torch.device, shard: Shard) -> AdaptationRun:
        """A run before its first epoch, see :class:`trainables.adapt.replicas.RunBuilder`."""
        trial = self.trial
        net = build_net(trial, self._source[0].skeleton.num_joints)
        if trial.net.weights is not None:
            net.backbone.load_imagenet(Path(trial.net.weights))
        return AdaptationRun(trial, self._domains(device), net, device, shard)

    def spans(self, num_replicas: int) -> list[Span]:
        """What of its training other trials may have done, or may take from it.

        Args:
            num_replicas: Processes that share each batch.
        """
        digits = arithmetic(self.trial, _device_type(), self.num_threads, num_replicas)
        keys = {name: entry.key for name, entry in self._entries.items()}
        whole = training_span(self.trial, keys, self.read_test, digits)
        spans = whole, self._pretraining_span(digits)
        return [span for span in spans if span is not None]

    def _pretraining_span(self, digits: Mapping[str, Any]) -> Span | None:
        num_epochs = self.trial.adapt.pretrain_epochs
        if num_epochs == 0:
            return None
        data = PretrainingData(
            image_keys={"source": self._source[1].key, "target": self._target[1].key},
            reference_key=self._reference[1].key,
            style_key=self._style[1].key if self.trial.restyles else None,
            difficulty=self._difficulty,
            num_target=len(self._target[0].splits["train"]),
            skeleton=self._source[0].skeleton,
        )
        inputs = pretraining_inputs(self.trial, data, digits)
        return Span("pretrain", inputs, num_epochs, goes_on=True)

    def __getstate__(self) -> dict[str, Any]:
        """The settings alone: every process opens the stages for itself."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @property
    def lineage(self) -> dict[str, list[str | float]]:
        """Stages it came from, see :func:`trainables.stages.data_stages.lineage`."""
        return lineage(self._entries)

    @property
    def _entries(self) -> dict[str, StageEntry]:
        entries = {
            "images/source": self._source[1],
            "images/target": self._target[1],
            "pose_vae": self._scores[1],
            "pose_vae/reference": self._reference[1],
        }
        if self.trial.restyles:
            entries["style"] = self._style[1]
        return entries

    @property
    def digests(self) -> dict[str, str]:
        """Content digests of both domains."""
        return {"source": self._source[0].digest, "target": self._target[0].digest}

    @property
    def tags(self) -> dict[str, str]:
        """What a reader of the results should know beside the settings."""
        tags = {}
        if self.trial.restyles:
            own = self.trial.style.encoder is None
            tags["style_encoder"] = "trained on both domains" if own else "vgg19"
        for name, scored in {
            "pose_vae": self._scores,
            "pose_vae_reference": self._reference,
        }.items():
            found = scored[0].information
            if found.is_collapsed:
                tags[name] = (
                    f"collapsed: {found.kl_nats:.2g} nat, scores correlate with the distance to "
                    f"the mean pose by {found.mean_pose_correlation:.2f}"
                )
        return tags

    @property
    def information(self) -> Information:
        """What the latent code of the trial's Pose VAE says of poses."""
        return self._scores[0].information

    @cached_property
    def _source(self) -> tuple[ImageStore, StageEntry]:
        return image_stage(self.cache, self.trial.data, "source", self.num_threads)

    @cached_property
    def _target(self) -> tuple[ImageStore, StageEntry]:
        return image_stage(self.cache, self.trial.data, "target", self.num_threads)

    @cached_property
    def _scores(self) -> tuple[ScoredPoses, StageEntry]:
        trial = self.trial
        return self._pose_vae(trial.vae, trial.seed, _SCORED)

    @cached_property
    def _difficulty(self) -> DifficultyView:
        scores, ids = self._scores[0].scores["source/train"], _ids(self._source[0], "train")
        return DifficultyView(
            num_samples=len(ids),
            order=difficulty_order(scores, ids),
            bin_index=assign_bins(scores, ids, self.trial.bins.count),
        )

    @cached_property
    def _reference(self) -> tuple[ScoredPoses, StageEntry]:
        judged = (*_JUDGED, "target/test") if self.read_test else _JUDGED
        return self._pose_vae(REFERENCE_VAE, 0, judged)

    @cached_property
    def _style(self) -> tuple[Any, StageEntry]:
        style, device = self.trial.style, _device_type()
        return style_stage(self.cache, self._source, self._target, style, self.num_threads, device)

    def _pose_vae(
        self, vae: VAEConfig, seed: int, splits: tuple[str, ...]
    ) -> tuple[ScoredPoses, StageEntry]:
        return pose_vae_stage(self.cache, self._source, self._target, vae, seed, splits)

    def _domains(self, device: torch.device) -> Domains:
        source, target = self._source[0], self._target[0]
        reference = self._reference[0]
        return Domains(
            source=source,
            target=target,
            difficulty=self._difficulty,
            scorer=PoseScorer(
                reference.model,
                reference.joints,
                REFERENCE_VAE.norm,
                source.skeleton,
                source.image_size,
            ),
            target_val_bins=self._evaluation_bins("val"),
            style=StyleTransfer(self._style[0], source, target, device)
            if self.trial.restyles
            else None,
            target_test_bins=self._evaluation_bins("test") if self.read_test else None,
        )

    def _evaluation_bins(self, split: str) -> NDArray[np.int64]:
        scores = self._reference[0].scores[f"target/{split}"]
        ids = _ids(self._target[0], split)
        return assign_bins(scores, ids, self.trial.evaluation.bin_count)


def stage_keys(
    trial: TrialConfig,
    image_keys: Mapping[str, str],
    key_of: Callable[[str, Mapping[str, Any]], str],
) -> dict[str, str]:
    """Keys of the stages of a search's trial, named as in its lineage; computes none of them.

    Args:
        trial: Settings.
        image_keys: ``source`` and ``target`` to the key of its images.
        key_of: Stage name and inputs to the key.
    """
    source, target = image_keys["source"], image_keys["target"]

    def pose_vae(vae: VAEConfig, seed: int, splits: tuple[str, ...]) -> str:
        return key_of("pose_vae", pose_vae_stage_inputs(source, target, vae, seed, splits))

    keys = {
        "images/source": source,
        "images/target": target,
        "pose_vae": pose_vae(trial.vae, trial.seed, _SCORED),
        "pose_vae/reference": pose_vae(REFERENCE_VAE, 0, _JUDGED),
    }
    if trial.restyles:
        keys["style"] = key_of("style", style_stage_inputs(source, target, trial.style))
    return keys


def training_span(
    trial: TrialConfig, keys: Mapping[str, str], read_test: bool, digits: Mapping[str, Any]
) -> Span | None:
    """A whole training, whose results equal trials reuse; None if it ends with its pre-training.

    Args:
        trial: Settings.
        keys: Of its stages.
        read_test: Whether the target test split is judged on.
        digits: See :func:`arithmetic`.
    """
    if trial.adapt.epochs == 0:
        return None
    inputs = training_inputs(trial, keys, read_test, digits)
    num_epochs = trial.adapt.pretrain_epochs + trial.adapt.epochs
    return Span("training", inputs, num_epochs, goes_on=False)


def arithmetic(
    trial: TrialConfig, device_type: str, num_threads: int, num_replicas: int
) -> dict[str, Any]:
    """What decides the last digits of a training."""
    device = torch.device(device_type)
    is_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name()
        if is_gpu
        else torch.backends.cpu.get_cpu_capability(),
        "bfloat16": uses_bfloat16(trial.adapt.precision, device),
        "threads": num_threads,
        "processes": num_replicas,
        "torch": str(torch.__version__),
    }


def start_run(
    build: RunBuilder, num_replicas: int, num_threads: int
) -> AdaptationRun | ReplicatedRun:
    """A run on this process's devices.

    Args:
        build: Usually :class:`TrialStages`.
        num_replicas: Processes that share each batch; on a machine with GPUs, one for each.
        num_threads: CPU threads of each process.
    """
    device_type = _device_type()
    if num_replicas > 1:
        return ReplicatedRun(build, num_replicas, device_type, num_threads)
    return build(torch.device(device_type), WHOLE)


def _device_type() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _ids(store: ImageStore, split: str) -> list[str]:
    return [store.ids[i] for i in store.splits[split]]
