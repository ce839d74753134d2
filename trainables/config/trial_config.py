"""The configuration of one trial: every field, its default and its range.

The dotted path of a field, such as ``vae.kl_weight``, is its name in ``parameters``, ``fixed``
and ``baselines`` of a study, in Optuna and in MLflow. Defaults live here and nowhere else. This
module imports neither torch nor numpy, so that a study file is checked within a second.
"""

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trainables.config.field_paths import as_type, build, field_types, read_path, require
from trainables.config.reference_recipe import reference_fields

DomainName = Literal[
    "people_clean", "people_wild", "people_wild_hard", "hands_clean", "hands_wild", "lsp", "lspet"
]
PoseNorm = Literal["bbox", "raw", "root"]
Strategy = Literal["all", "hardest", "easiest", "random", "bins", "curriculum"]
Phase = Literal["pretrain", "adapt", "both"]
Order = Literal["easy_to_hard", "hard_to_easy", "random"]
Mode = Literal["cumulative", "exclusive", "window"]
Method = Literal["source_only", "oracle", "regda", "udape"]
Depth = Literal[10, 18, 34, 50, 101]
Loss = Literal["kl", "mse"]
Pacing = Literal["linear", "quadratic", "root", "exponential", "log", "step", "fixed_exponential"]

SCORED_STRATEGIES = frozenset({"hardest", "easiest", "bins", "curriculum"})
"""Strategies that read the scores of the Pose VAE; the others do not depend on ``vae.*``."""
FOLDER_DOMAINS = frozenset({"lsp", "lspet"})
"""Domains read from a folder on disk; the others are rendered."""
POSE_VAE_REPORTS = 5
"""Most reports of a ``pose_vae`` trial, evenly spread over its epochs."""


@dataclass(frozen=True)
class DataConfig:
    """The two domains, the number of images of each, and their size."""

    source: DomainName = "people_clean"
    """Labelled source domain."""
    target: DomainName = "people_wild"
    """Target domain; no method but the oracle trains on its labels."""
    source_root: str | None = None
    """Folder of the source data set; None for rendered domains."""
    target_root: str | None = None
    """Folder of the target data set; None for rendered domains."""
    image_size: int = 64
    """Side of the square network input in pixels."""
    heatmap_size: int = 32
    """Side of the square heatmaps in cells: image_size / 2 or image_size / 4."""
    num_source: int = 4000
    """Source images in all splits together; a data set on disk is cut to this many."""
    num_target: int = 3000
    """Target images in all splits together; a data set on disk is cut to this many."""

    def __post_init__(self) -> None:
        require(
            self.image_size % 32 == 0 and 32 <= self.image_size <= 512,
            "data.image_size", "a multiple of 32 from 32 to 512", self.image_size,
        )  # fmt: skip
        require(
            self.heatmap_size * 2 == self.image_size or self.heatmap_size * 4 == self.image_size,
            "data.heatmap_size", f"a half or a quarter of data.image_size ({self.image_size})",
            self.heatmap_size,
        )  # fmt: skip
        for name in ("num_source", "num_target"):
            value = getattr(self, name)
            require(50 <= value <= 1_000_000, f"data.{name}", "from 50 to 1000000", value)
        if self.source.startswith("hands_") != self.target.startswith("hands_"):
            raise ValueError(
                f"data.target must show the same figure as data.source ({self.source}), "
                f"got {self.target!r}"
            )
        for domain, root in (("source", self.source_root), ("target", self.target_root)):
            if getattr(self, domain) in FOLDER_DOMAINS and root is None:
                raise ValueError(
                    f"data.{domain}_root must name the folder of the {getattr(self, domain)} "
                    f"data set, got null"
                )

    def of(self, role: str) -> tuple[DomainName, str | None, int]:
        """Domain, folder and number of images of ``source`` or ``target``."""
        if role == "source":
            return self.source, self.source_root, self.num_source
        return self.target, self.target_root, self.num_target


@dataclass(frozen=True)
class VAEConfig:
    """Pose VAE of equation (1) of the paper."""

    kl_weight: float = 1e-4
    """Lambda of equation (1), in squared normalised units; 2 sigma^2 of the Gaussian ELBO."""
    latent_dim: int = 8
    """Size of the latent code z."""
    hidden_dim: int = 64
    """Width of the two hidden layers of encoder and decoder."""
    epochs: int = 100
    """Epochs over the source training poses."""
    norm: PoseNorm = "bbox"
    """Pose normalisation: tight box, crop pixels / image size, or hip and torso."""

    def __post_init__(self) -> None:
        require(0 < self.kl_weight <= 1e3, "vae.kl_weight", "in (0, 1000]", self.kl_weight)
        require(1 <= self.latent_dim <= 256, "vae.latent_dim", "from 1 to 256", self.latent_dim)
        require(8 <= self.hidden_dim <= 4096, "vae.hidden_dim", "from 8 to 4096", self.hidden_dim)
        require(1 <= self.epochs <= 10_000, "vae.epochs", "from 1 to 10000", self.epochs)


@dataclass(frozen=True)
class BinsConfig:
    """Equal-size bins of the source poses, easiest = 0."""

    count: int = 6
    """Number of bins."""
    subset: tuple[int, ...] | None = None
    """Bins that ``sampling.strategy: bins`` trains on; None for the other strategies."""

    def __post_init__(self) -> None:
        require(2 <= self.count <= 100, "bins.count", "from 2 to 100", self.count)
        if self.subset is not None:
            require(len(self.subset) >= 1, "bins.subset", "at least one bin", self.subset)
            require(
                len(set(self.subset)) == len(self.subset) <= self.count
                and all(0 <= b < self.count for b in self.subset),
                "bins.subset", f"different bins from 0 to {self.count - 1}", list(self.subset),
            )  # fmt: skip


@dataclass(frozen=True)
class SamplingConfig:
    """Which source samples training draws."""

    strategy: Strategy = "all"
    """all; hardest (VAE-HM); easiest, random (controls); bins; curriculum (VAE-CL)."""
    keep: float = 1 / 3
    """Fraction of the scored samples that hardest, easiest and random keep, after ``trim``."""
    trim: float = 0.0
    """Fraction of the scored samples, the hardest ones, that no strategy draws in either phase;
    0.5 to 1 % is meant for label errors. A curriculum's fractions refer to the remaining ones."""
    phase: Phase = "both"
    """Phases the strategy applies to; the other phase draws from all samples not trimmed."""

    def __post_init__(self) -> None:
        require(0 < self.keep <= 1, "sampling.keep", "in (0, 1]", self.keep)
        require(0 <= self.trim <= 0.5, "sampling.trim", "in [0, 0.5]", self.trim)


@dataclass(frozen=True)
class CurriculumConfig:
    """Growth of the active set; the defaults are VAE-CL: easy, easy and medium, all.

    Progress is measured over the epochs of ``sampling.phase``, at the start of each epoch: in the
    last of E epochs it is (E - 1) / E.
    """

    order: Order = "easy_to_hard"
    """Order in which samples become active. random is the control for the other two: one
    permutation for the whole training, with the same numbers of active samples."""
    mode: Mode = "cumulative"
    """cumulative keeps earlier samples active (baby-step); exclusive draws from the newest band
    only (one-pass), with the defaults easy, medium, hard; window draws from the newest ``window``
    of the samples."""
    window: float = 1 / 3
    """Size of the sliding window as a fraction of the samples; read by mode window only."""
    pacing: Pacing = "step"
    """Shape of the growth from start_fraction to 1 (:mod:`trainables.sampling.schedule`)."""
    start_fraction: float = 1 / 3
    """Fraction of the samples active at the start (b of the pacing formulas); in mode exclusive
    also the width of the first of about 1 / b bands."""
    full_at: float = 2 / 3
    """Progress at which all samples have become active (a of the formulas); with a value above
    (E - 1) / E, E epochs end before that."""

    def __post_init__(self) -> None:
        require(
            0 < self.start_fraction <= 1, "curriculum.start_fraction", "in (0, 1]",
            self.start_fraction,
        )  # fmt: skip
        require(0 < self.full_at <= 1, "curriculum.full_at", "in (0, 1]", self.full_at)
        require(0 < self.window <= 1, "curriculum.window", "in (0, 1]", self.window)


@dataclass(frozen=True)
class EvaluationConfig:
    """How predictions are evaluated; never searched, so that trials stay comparable."""

    bin_count: int = 6
    """Number of equal-size bins of the target poses, for ``pck_bin/*``. One Pose VAE with default
    settings scores these poses for all trials, whatever their ``vae.*``."""

    def __post_init__(self) -> None:
        require(2 <= self.bin_count <= 100, "evaluation.bin_count", "2 to 100", self.bin_count)


@dataclass(frozen=True)
class RegDAConfig:
    """Fields that only RegDA reads."""

    margin: float = 4.0
    """Weight of the source disparity term of step A."""
    tradeoff: float = 1.0
    """Weight of every disparity term."""
    gradient_scale: float = 1.0
    """Final factor of the gradient from the adversarial head to the features (h of RegDA)."""

    def __post_init__(self) -> None:
        require(self.margin >= 0, "adapt.regda.margin", ">= 0", self.margin)
        require(
            self.gradient_scale >= 0, "adapt.regda.gradient_scale", ">= 0", self.gradient_scale
        )
        require(self.tradeoff >= 0, "adapt.regda.tradeoff", ">= 0", self.tradeoff)


@dataclass(frozen=True)
class UDAPEConfig:
    """Fields that only UDAPE reads."""

    ema_decay: float = 0.98
    """Decay of the teacher's exponential moving average, per step."""
    consistency: float = 1.0
    """Weight of the target loss."""
    keep: float = 0.5
    """Fraction of the pseudo-labels to learn from: the most confident ones."""
    mask: Literal["batch", "joint"] = "batch"
    """Whether that fraction is taken over the batch or for each joint."""
    occlusion: float = 0.5
    """Probability that one confident joint of an image is hidden."""
    occlusion_confidence: float = 0.5
    """Lowest confidence of a joint that may be hidden, relative to a perfectly learned peak."""
    labels: Literal["coord", "warp"] = "coord"
    """coord moves the teacher's keypoints into the student's view; warp resamples the maps of
    both into the stored image and compares them there, as the reference does."""
    style_source: float = 0.5
    """Probability that a source batch is restyled as target images, in both phases."""
    style_target: float = 0.5
    """Probability that the teacher's view of a target batch is restyled as source images."""
    style_alpha: float = 1.0
    """Largest strength of a style transfer; each image's is uniform from 0 to this."""

    def __post_init__(self) -> None:
        require(0 <= self.ema_decay < 1, "adapt.udape.ema_decay", "in [0, 1)", self.ema_decay)
        require(self.consistency >= 0, "adapt.udape.consistency", ">= 0", self.consistency)
        require(0 < self.keep <= 1, "adapt.udape.keep", "in (0, 1]", self.keep)
        for name in (
            "occlusion", "occlusion_confidence", "style_source", "style_target", "style_alpha",
        ):  # fmt: skip
            value = getattr(self, name)
            require(0 <= value <= 1, f"adapt.udape.{name}", "in [0, 1]", value)


@dataclass(frozen=True)
class AdaptConfig:
    """Training in two phases, the same for every method: source pre-training, then adaptation."""

    method: Method = "regda"
    """Adaptation method of the second phase; oracle trains on target labels in both."""
    pretrain_epochs: int = 4
    """Epochs of supervised source training."""
    epochs: int = 4
    """Epochs of adaptation."""
    steps_per_epoch: int = 75
    """Optimiser steps per epoch, whatever the sampling."""
    batch_size: int = 32
    """Source images (and as many target images) per step."""
    lr: float = 3e-3
    """Peak learning rate of AdamW, the same for all layers; ignored with ``parity``."""
    loss: Loss = "kl"
    """Loss of labelled maps: kl, the spatial KL of RegDA, or mse, the heatmap error of UDAPE."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the network's products; auto is bfloat16 on GPUs that support it."""
    regda: RegDAConfig = field(default_factory=RegDAConfig)
    """Fields of RegDA."""
    udape: UDAPEConfig = field(default_factory=UDAPEConfig)
    """Fields of UDAPE."""

    def __post_init__(self) -> None:
        require(self.pretrain_epochs >= 0, "adapt.pretrain_epochs", ">= 0", self.pretrain_epochs)
        require(self.epochs >= 0, "adapt.epochs", ">= 0", self.epochs)
        require(
            self.pretrain_epochs + self.epochs >= 1, "adapt.pretrain_epochs + adapt.epochs",
            ">= 1", self.pretrain_epochs + self.epochs,
        )  # fmt: skip
        require(self.steps_per_epoch >= 1, "adapt.steps_per_epoch", ">= 1", self.steps_per_epoch)
        require(2 <= self.batch_size <= 4096, "adapt.batch_size", "2 to 4096", self.batch_size)
        require(0 < self.lr <= 10, "adapt.lr", "in (0, 10]", self.lr)
        if self.method == "regda" and self.loss != "kl":
            raise ValueError(
                "adapt.loss must be kl for RegDA, whose disparities compare distributions, "
                f"got {self.loss!r}"
            )


@dataclass(frozen=True)
class NetConfig:
    """Pose network: a ResNet, three deconvolutions, a heatmap head."""

    depth: Depth = 10
    """ResNet depth; 10 has one basic block per stage."""
    width: int = 16
    """Channels of the first stage; 64 is torchvision's ResNet."""
    weights: str | None = None
    """File of ImageNet weights with torchvision's parameter names; None trains from scratch."""
    compile: bool = False
    """Whether to fuse the network with torch.compile; pays off on a GPU and in long trainings."""

    def __post_init__(self) -> None:
        require(4 <= self.width <= 256, "net.width", "from 4 to 256", self.width)
        if self.weights is not None and self.width != 64:
            raise ValueError(
                f"net.width must be 64 to load net.weights ({self.weights}), got {self.width}"
            )


@dataclass(frozen=True)
class StyleConfig:
    """AdaIN style transfer between the two domains, trained once per pair and shared by trials.

    Example:
        >>> StyleConfig().encoder is None  # an encoder trained on the two domains
        True
    """

    encoder: str | None = None
    """File of VGG-19 weights with torchvision's names; None trains an encoder on the two
    domains."""
    width: int = 8
    """Channels of the first level of a trained encoder; VGG-19 has 64."""
    encoder_steps: int = 600
    """Steps that train the encoder as an autoencoder; not used with VGG-19."""
    steps: int = 800
    """Steps that train the decoder; with VGG-19 the decoder starts from random weights and needs
    tens of thousands."""
    batch_size: int = 8
    """Content images (and as many style images) per step."""
    style_weight: float = 0.1
    """Weight of the style loss beside the content loss."""

    def __post_init__(self) -> None:
        require(4 <= self.width <= 256, "style.width", "from 4 to 256", self.width)
        require(self.encoder_steps >= 0, "style.encoder_steps", ">= 0", self.encoder_steps)
        require(self.steps >= 1, "style.steps", ">= 1", self.steps)
        require(2 <= self.batch_size <= 4096, "style.batch_size", "2 to 4096", self.batch_size)
        require(self.style_weight >= 0, "style.style_weight", ">= 0", self.style_weight)


@dataclass(frozen=True)
class TrialConfig:
    """Everything that determines a trial's numbers.

    Example:
        >>> TrialConfig.from_flat({"vae.kl_weight": 0.01}).vae.kl_weight
        0.01
    """

    data: DataConfig = field(default_factory=DataConfig)
    """Domains."""
    vae: VAEConfig = field(default_factory=VAEConfig)
    """Pose VAE."""
    bins: BinsConfig = field(default_factory=BinsConfig)
    """Bins."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Sampling."""
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    """Curriculum."""
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    """Training."""
    net: NetConfig = field(default_factory=NetConfig)
    """Pose network."""
    style: StyleConfig = field(default_factory=StyleConfig)
    """Style transfer between the domains, used by UDAPE."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Evaluation."""
    parity: bool = False
    """Train as the reference code does: its losses, optimisers, schedules, heads and
    augmentations. Omitted fields take its values (:mod:`trainables.config.reference_recipe`)."""
    seed: int = 0
    """Seed from which all random streams of the trial are derived."""

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**31, "seed", "from 0 to 2147483647", self.seed)
        if self.parity and self.adapt.method == "udape" and self.adapt.loss != "mse":
            raise ValueError(f"adapt.loss must be mse for UDAPE's recipe, got {self.adapt.loss!r}")
        if self.adapt.method == "oracle":
            for name, plain in (("strategy", "all"), ("trim", 0)):
                value = getattr(self.sampling, name)
                rule = f"{plain!r} for the oracle, which draws target samples"
                require(value == plain, f"sampling.{name}", rule, value)
        if self.sampling.strategy != "all":
            self._check_phase()
        if self.sampling.strategy == "bins":
            self._check_subset()

    @property
    def uses_style_transfer(self) -> bool:
        """Whether any image of the trial can be restyled."""
        udape = self.adapt.udape
        probability = max(udape.style_source, udape.style_target)
        return self.adapt.method == "udape" and probability > 0 and udape.style_alpha > 0

    def _check_phase(self) -> None:
        """Reject a strategy that applies in no epoch: it would silently mean ``all``."""
        phase, adapt = self.sampling.phase, self.adapt
        epochs = {"pretrain": adapt.pretrain_epochs, "adapt": adapt.epochs}
        if epochs.get(phase) == 0:
            name = "adapt.pretrain_epochs" if phase == "pretrain" else "adapt.epochs"
            raise ValueError(
                f"sampling.phase must be a phase with epochs, got {phase!r} with {name} = 0"
            )

    def _check_subset(self) -> None:
        """Reject missing bins, and bins of which ``sampling.trim`` leaves nothing."""
        subset, count, trim = self.bins.subset, self.bins.count, self.sampling.trim
        if subset is None:
            raise ValueError(
                "bins.subset must list the bins to train on when sampling.strategy is 'bins', "
                "got null"
            )
        # The last j of k bins hold at most j / k of the samples, whatever their number.
        require(
            min(subset) < count * (1 - trim) - 1e-9, "bins.subset",
            f"bins of which sampling.trim ({trim}) leaves samples", list(subset),
        )  # fmt: skip

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> "TrialConfig":
        """Build a config from dotted field paths.

        Args:
            values: Field path to value. Omitted fields keep their default or, with ``parity``,
                take the reference recipe's value. A tuple field accepts a list, an int field a
                whole float.

        Raises:
            ValueError: On an unknown path, a wrong type or a value out of range; the message
                names the path, the rule and the value.
        """
        for path in values:
            if path not in FIELD_TYPES:
                raise ValueError(f"{path} is not a field of a trial")
        checked = {path: coerce(path, value) for path, value in values.items()}
        if checked.get("parity"):
            method = checked.get("adapt.method", AdaptConfig().method)
            checked = {**reference_fields(method), **checked}
        return typing.cast(TrialConfig, build(cls, checked))

    def to_flat(self) -> dict[str, Any]:
        """Every field path with its value; tuples become lists (JSON and YAML have no tuple)."""
        return {path: _plain(read_path(self, path)) for path in FIELD_TYPES}


FIELD_TYPES: dict[str, Any] = field_types(TrialConfig)
"""Dotted path of every field of :class:`TrialConfig` to its type."""


def num_reports(trainable: str, fields: Mapping[str, Any]) -> int:
    """Reports of a trial that runs to its end: one per epoch, or those of a ``pose_vae`` trial.

    Args:
        trainable: ``adaptation`` or ``pose_vae``.
        fields: Flat fields of the trial, with those that it leaves out.
    """
    if trainable == "pose_vae":
        return min(POSE_VAE_REPORTS, int(fields["vae.epochs"]))
    return int(fields["adapt.pretrain_epochs"]) + int(fields["adapt.epochs"])


def coerce(path: str, value: object) -> Any:
    """Check a value against the type of a field and return it as that type.

    Raises:
        ValueError: If the value does not fit; the message names what the field takes.
    """
    return as_type(path, FIELD_TYPES[path], value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
