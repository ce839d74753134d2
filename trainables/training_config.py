"""The fields that say how networks are trained: ``adapt.*``, ``net.*``, ``style.*``."""

from dataclasses import dataclass, field
from typing import Literal

from trainables.field_paths import require

Method = Literal["source_only", "oracle", "regda", "udape"]
Depth = Literal[10, 18, 34, 50, 101]
Loss = Literal["kl", "mse"]


@dataclass(frozen=True)
class RegDAConfig:
    """Fields only RegDA reads."""

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
    """Fields only UDAPE reads."""

    ema_decay: float = 0.98
    """Share of the teacher that stays each step."""
    consistency: float = 1.0
    """Weight of the target loss."""
    keep: float = 0.5
    """Fraction of the pseudo-labels, the most confident, to learn from."""
    mask: Literal["batch", "joint"] = "batch"
    """Whether that fraction is taken over the batch or for each joint."""
    occlusion: float = 0.5
    """Chance that an image with a confident joint has one hidden."""
    occlusion_confidence: float = 0.5
    """Confidence from which a joint may be hidden, relative to a perfectly learned peak."""
    labels: Literal["coord", "warp"] = "coord"
    """coord moves the teacher's keypoints into the student's view; warp resamples the maps of
    both into the image they are views of and compares there, as the reference does."""
    style_source: float = 0.5
    """Chance that a source batch is shown in the style of target images, in both phases."""
    style_target: float = 0.5
    """Chance that the teacher's view of a target batch is shown in the style of the source."""
    style_alpha: float = 1.0
    """Largest strength of a transfer; each image's is uniform from 0 to this."""

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
    """Two phases of training: source pre-training, then adaptation. Equal for every arm."""

    method: Method = "regda"
    """Adaptation method of the second phase; oracle trains on target labels in both."""
    pretrain_epochs: int = 4
    """Epochs of supervised source training."""
    epochs: int = 4
    """Epochs of the method."""
    steps_per_epoch: int = 75
    """Optimiser steps of an epoch, whatever the sampling."""
    batch_size: int = 32
    """Source images (and as many target images) of a step."""
    lr: float = 3e-3
    """Peak learning rate of AdamW, the same for all layers; not read with ``parity``."""
    loss: Loss = "kl"
    """Loss of labelled maps: kl, the spatial KL of RegDA, or mse, the heatmap error of UDAPE."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the network's products; auto is bfloat16 on GPUs that have it."""
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
    """Whether torch.compile fuses the network; worth it on a GPU and for long trainings."""

    def __post_init__(self) -> None:
        require(4 <= self.width <= 256, "net.width", "from 4 to 256", self.width)
        if self.weights is not None and self.width != 64:
            raise ValueError(
                f"net.width must be 64 to load net.weights ({self.weights}), got {self.width}"
            )


@dataclass(frozen=True)
class StyleConfig:
    """Style transfer between two domains (AdaIN), trained once for a pair and shared by trials.

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
    """Steps that train an encoder as an autoencoder; none for VGG-19."""
    steps: int = 800
    """Steps that train the decoder; with VGG-19, whose decoder starts from nothing, tens of
    thousands."""
    batch_size: int = 8
    """Content images (and as many style images) of a step."""
    style_weight: float = 0.1
    """Weight of the style loss beside the content loss."""

    def __post_init__(self) -> None:
        require(4 <= self.width <= 256, "style.width", "from 4 to 256", self.width)
        require(self.encoder_steps >= 0, "style.encoder_steps", ">= 0", self.encoder_steps)
        require(self.steps >= 1, "style.steps", ">= 1", self.steps)
        require(2 <= self.batch_size <= 4096, "style.batch_size", "2 to 4096", self.batch_size)
        require(self.style_weight >= 0, "style.style_weight", ">= 0", self.style_weight)
