"""Fields that only one built-in method reads; their paths are ``adapt.<method>.<field>``."""

from dataclasses import dataclass
from typing import Literal

from trainables.config.field_paths import require
from trainables.config.trial_config import MethodOptions, Restyling, TrialConfig


@dataclass(frozen=True)
class RegDAOptions(MethodOptions):
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

    def check(self, trial: TrialConfig) -> None:
        """Refuse losses that are not of distributions."""
        if trial.adapt.loss != "kl":
            raise ValueError(
                "adapt.loss must be kl for RegDA, whose disparities compare distributions, "
                f"got {trial.adapt.loss!r}"
            )


@dataclass(frozen=True)
class UDAPEOptions(MethodOptions):
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

    def check(self, trial: TrialConfig) -> None:
        """Keep the loss of the reference with ``parity``."""
        if trial.parity and trial.adapt.loss != "mse":
            raise ValueError(
                f"adapt.loss must be mse for UDAPE's recipe, got {trial.adapt.loss!r}"
            )

    @property
    def restyling(self) -> Restyling:
        """The style transfer of source batches and of the teacher's views."""
        return Restyling(self.style_source, self.style_target, self.style_alpha)
