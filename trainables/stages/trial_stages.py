"""All stages of a trial in order, from its settings to a run that can be trained.

Images of both domains, the trial's own Pose VAE and its scores, the reference Pose VAE, the style
network, pre-training, training.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from trainables.adapt.adaptation_run import AdaptationRun, uses_bfloat16
from trainables.adapt.methods import build_net
from trainables.adapt.replicas import ReplicatedRun, RunBuilder
from trainables.config import TrialConfig, VAEConfig
from trainables.data.image_store import ImageStore
from trainables.distributed.shard import WHOLE, Shard
from trainables.evaluation.judge import Domains, SplitDifficulty
from trainables.network.weight_file import backbone_file
from trainables.pose_vae.pose_scorer import PoseScorer
from trainables.pose_vae.score import Information
from trainables.sampling.bins import assign_bins, difficulty_order
from trainables.sampling.difficulty_view import DifficultyView
from trainables.stages.cache_keys import PretrainingData, pretraining_inputs, training_inputs
from trainables.stages.cached_run import Span
from trainables.stages.data_stages import (
    ImageStage,
    PoseVAEStage,
    image_stage,
    lineage,
    pose_vae_stage,
    pose_vae_stage_inputs,
)
from trainables.stages.protocol import StageCache, StageEntry
from trainables.stages.style_stage import StyleStage, style_stage, style_stage_inputs
from trainables.style.style_transfer import StyleTransfer

REFERENCE_VAE = VAEConfig()
"""Settings of the reference Pose VAE, which scores the target poses behind ``pck_bin/*`` and the
predictions behind ``validator/plausibility``. It is the same for all trials, whatever their
``vae.*``, so that these metrics mean the same in all of them."""

_SCORED = ("source/train", "target/val")
"""Splits that every Pose VAE of a search scores. A trial uses the source scores of its own and the
target scores of the reference; if both are the same Pose VAE, one fit is enough."""


@dataclass(frozen=True)
class TrialStages:
    """The stages of one trial, each fetched from the cache or computed at its first use.

    Only the settings are pickled: every process opens the stages for itself.

    Attributes:
        trial: Settings.
        cache: The stage cache.
        num_threads: Threads of the run, also of a style network that is trained here.
        read_test: Whether the target test split may be read.
        image_threads: Cores that may draw or decode images here: those of all runs of the study,
            as the others wait for the same images.
    """

    trial: TrialConfig
    cache: StageCache
    num_threads: int
    read_test: bool
    image_threads: int = 1

    def __call__(self, device: torch.device, shard: Shard) -> AdaptationRun:
        """A run before its first epoch, see :class:`trainables.adapt.replicas.RunBuilder`."""
        trial = self.trial
        net = build_net(trial, self._source.store.skeleton.num_joints)
        weights = backbone_file(trial.net.backbone, trial.net.weights)
        if weights is not None:
            net.backbone.load_imagenet(weights)
        return AdaptationRun(trial, self._domains(device), net, device, shard)

    def spans(self, num_replicas: int) -> list[Span]:
        """Parts of the training that trials can share, the longer one first.

        Args:
            num_replicas: Processes that share each batch.
        """
        environment = numerics(self.trial, _device_type(), self.num_threads, num_replicas)
        keys = {name: entry.key for name, entry in self._entries.items()}
        whole = training_span(self.trial, keys, self.read_test, environment)
        spans = whole, self._pretraining_span(environment)
        return [span for span in spans if span is not None]

    def _pretraining_span(self, environment: Mapping[str, Any]) -> Span | None:
        num_epochs = self.trial.adapt.pretrain_epochs
        if num_epochs == 0:
            return None
        data = PretrainingData(
            image_keys={"source": self._source.entry.key, "target": self._target.entry.key},
            reference_key=self._reference.entry.key,
            style_key=None if self._style is None else self._style.entry.key,
            difficulty=self._difficulty,
            num_target=len(self._target.store.splits["train"]),
            skeleton=self._source.store.skeleton,
        )
        inputs = pretraining_inputs(self.trial, data, environment)
        return Span("pretrain", inputs, num_epochs, is_resumable=True)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @property
    def lineage(self) -> dict[str, list[str | float]]:
        """Outcome, key and seconds of every stage, see :func:`data_stages.lineage`."""
        return lineage(self._entries)

    @property
    def _entries(self) -> dict[str, StageEntry]:
        entries = {
            "images/source": self._source.entry,
            "images/target": self._target.entry,
            "pose_vae": self._own_vae.entry,
            "pose_vae/reference": self._reference.entry,
        }
        if self._style is not None:
            entries["style"] = self._style.entry
        return entries

    @property
    def digests(self) -> dict[str, str]:
        """Content digests of both domains."""
        return {"source": self._source.store.digest, "target": self._target.store.digest}

    @property
    def tags(self) -> dict[str, str]:
        """Notes for readers of the results, beside the settings."""
        tags = {
            f"images_{role}": "; ".join(stage.store.notes)
            for role, stage in (("source", self._source), ("target", self._target))
            if stage.store.notes
        }
        if self.trial.restyling is not None:
            is_trained = self.trial.style.encoder is None
            tags["style_encoder"] = "trained on both domains" if is_trained else "vgg19"
        for name, vae in {
            "pose_vae": self._own_vae,
            "pose_vae_reference": self._reference,
        }.items():
            found = vae.scored.information
            if found.is_collapsed:
                tags[name] = (
                    f"collapsed: {found.kl_nats:.2g} nat, scores correlate with the distance to "
                    f"the mean pose by {found.mean_pose_correlation:.2f}"
                )
        return tags

    @property
    def information(self) -> Information:
        """How much the latent code of the trial's own Pose VAE says about poses."""
        return self._own_vae.scored.information

    @cached_property
    def _source(self) -> ImageStage:
        return image_stage(self.cache, self.trial, "source", self.image_threads)

    @cached_property
    def _target(self) -> ImageStage:
        return image_stage(self.cache, self.trial, "target", self.image_threads)

    @cached_property
    def _own_vae(self) -> PoseVAEStage:
        return self._pose_vae(self.trial.vae, self.trial.seed)

    @cached_property
    def _difficulty(self) -> DifficultyView:
        scores = self._own_vae.scored.scores["source/train"]
        ids = _ids(self._source.store, "train")
        return DifficultyView(
            num_samples=len(ids),
            order=difficulty_order(scores, ids),
            bin_index=assign_bins(scores, ids, self.trial.bins.count),
        )

    @cached_property
    def _reference(self) -> PoseVAEStage:
        return self._pose_vae(REFERENCE_VAE, 0)

    @cached_property
    def _style(self) -> StyleStage | None:
        if self.trial.restyling is None:
            return None
        style, device = self.trial.style, _device_type()
        return style_stage(self.cache, self._source, self._target, style, self.num_threads, device)

    def _pose_vae(self, vae: VAEConfig, seed: int) -> PoseVAEStage:
        splits = (*_SCORED, "target/test") if self.read_test else _SCORED
        return pose_vae_stage(self.cache, self._source, self._target, vae, seed, splits)

    def _domains(self, device: torch.device) -> Domains:
        source, target = self._source.store, self._target.store
        reference = self._reference.scored
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
            target_val=self._target_difficulty("val"),
            style=None
            if self._style is None
            else StyleTransfer(self._style.net, source, target, device),
            target_test=self._target_difficulty("test") if self.read_test else None,
        )

    def _target_difficulty(self, split: str) -> SplitDifficulty:
        scores = self._reference.scored.scores[f"target/{split}"]
        ids = _ids(self._target.store, split)
        bins = assign_bins(scores, ids, self.trial.evaluation.bin_count)
        return SplitDifficulty(scores, bins)


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

    def pose_vae(vae: VAEConfig, seed: int) -> str:
        return key_of("pose_vae", pose_vae_stage_inputs(source, target, vae, seed, _SCORED))

    keys = {
        "images/source": source,
        "images/target": target,
        "pose_vae": pose_vae(trial.vae, trial.seed),
        "pose_vae/reference": pose_vae(REFERENCE_VAE, 0),
    }
    if trial.restyling is not None:
        keys["style"] = key_of("style", style_stage_inputs(source, target, trial.style))
    return keys


def training_span(
    trial: TrialConfig, keys: Mapping[str, str], read_test: bool, environment: Mapping[str, Any]
) -> Span | None:
    """The whole training, which equal trials reuse; None if it is only pre-training.

    Args:
        trial: Settings.
        keys: Of its stages.
        read_test: Whether the target test split is evaluated.
        environment: See :func:`numerics`.
    """
    if trial.adapt.epochs == 0:
        return None
    inputs = training_inputs(trial, keys, read_test, environment)
    num_epochs = trial.adapt.pretrain_epochs + trial.adapt.epochs
    return Span("training", inputs, num_epochs, is_resumable=False)


def numerics(
    trial: TrialConfig, device_type: str, num_threads: int, num_replicas: int
) -> dict[str, Any]:
    """The numeric environment: what can change the last digits of a result."""
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
    """Build a run, on several processes if ``num_replicas`` > 1.

    Args:
        build: Usually a :class:`TrialStages`.
        num_replicas: Processes that share each batch; on a machine with GPUs, one per GPU.
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
