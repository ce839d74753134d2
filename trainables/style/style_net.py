"""Networks of AdaIN style transfer (Huang and Belongie 2017): encoder, decoder, their file.

An encoder turns an image into four levels of features. The transfer gives the deepest level the
channel means and deviations of another image and decodes it. While the decoder is trained
(:mod:`trainables.style.style_fit`), the style loss compares all four levels.

There are two encoders: VGG-19 up to relu4_1 from a file with torchvision's parameter names, and a
small one trained on the images of the two domains, for machines without such a file.

Notation: f(.) encoder, c content image, s style image, t = AdaIN(f(c), f(s)).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from trainables.network.memory_format import in_format, trusted_format
from trainables.network.weight_file import read_weights

POOL: Literal["pool"] = "pool"


@dataclass(frozen=True)
class EncoderPlan:
    """The layers of an encoder.

    Attributes:
        levels: For each level the output channels of its 3x3 convolutions; ``pool`` halves the
            resolution.
        leak: Slope of the activations below 0; 0 is ReLU.
    """

    levels: tuple[tuple[int | Literal["pool"], ...], ...]
    leak: float = 0.0


VGG19_PLAN = EncoderPlan(((64,), (64, POOL, 128), (128, POOL, 256), (256, 256, 256, POOL, 512)))
"""VGG-19 cut after relu1_1, relu2_1, relu3_1 and relu4_1."""
_VGG19_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 16, 19)
"""Indices of those convolutions in torchvision's ``features``."""

EPSILON = 1e-5
"""Added to variances: keeps the deviation of a constant channel, and its gradient, small."""
OUTPUT_GAIN = 0.1
"""Factor on the decoder's last initial weights."""


def small_plan(width: int) -> EncoderPlan:
    """Levels of the encoder that is trained on the two domains.

    It halves the resolution only once: in images of 64 px a limb is 3 px wide. At a half, a
    quarter and an eighth of the resolution the mean absolute error of reconstructed source images
    was 0.026, 0.038 and 0.052 of the range of pixels, and the edges of restyled images correlated
    with those of the originals by 0.73, 0.56 and 0.28 (people_clean and people_wild, settings of
    :class:`trainables.config.StyleConfig`). The activations leak because at the same learning rate
    ReLUs died and a colour was lost.
    """
    return EncoderPlan(((width,), (POOL, 2 * width), (4 * width,), (4 * width,)), leak=0.2)


def channel_statistics(features: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every channel of every image, in float32.

    Args:
        features: (B, C, H, W).
        weight: (B, 1, H, W) >= 0, weight of each cell; None weighs all alike. An image whose
            weights are all 0 has mean 0 and the smallest deviation.

    Returns:
        (B, C, 1, 1) each; the deviation is sqrt(variance + EPSILON).
    """
    features = features.float()  # a variance of bfloat16 differences has two digits
    if weight is None:
        mean = features.mean((2, 3), keepdim=True)
        variance = (features - mean).square().mean((2, 3), keepdim=True)
    else:
        share = weight / weight.sum((2, 3), keepdim=True).clamp_min(EPSILON)
        mean = (features * share).sum((2, 3), keepdim=True)
        variance = ((features - mean).square() * share).sum((2, 3), keepdim=True)
    return mean, (variance + EPSILON).sqrt()


def adain(content: Tensor, mean: Tensor, std: Tensor, weight: Tensor | None = None) -> Tensor:
    """AdaIN(x, y) = sigma(y) (x - mu(x)) / sigma(x) + mu(y), equation (8).

    Args:
        content: (B, C, H, W) features x.
        mean: (B, C, 1, 1) mu(y).
        std: (B, C, 1, 1) sigma(y).
        weight: (B, 1, H, W), see :func:`channel_statistics`, for the statistics of x.

    Returns:
        (B, C, H, W) float32.
    """
    own_mean, own_std = channel_statistics(content, weight)
    return (content.float() - own_mean) * (std / own_std) + mean


class Encoder(nn.Module):
    """Convolutions with reflection padding, (leaky) ReLU and max-pooling, in levels.

    The features of each level are divided by a constant, so that their mean square over the
    training images is 1 (:meth:`calibrate`). The reference's VGG was normalised for the same
    reason. Torchvision's is not, and the scale of a trained encoder is arbitrary: without the
    scales, the weight between the losses would depend on the encoder.

    Attributes:
        plan: What the levels consist of.
        scale: (L,) root mean squares of the levels.
    """

    scale: Tensor

    def __init__(self, plan: EncoderPlan) -> None:
        super().__init__()
        self.plan = plan
        inputs = 3
        self.levels = nn.ModuleList()
        for level in plan.levels:
            layers: list[nn.Module] = []
            for step in level:
                if step == POOL:
                    layers.append(nn.MaxPool2d(2))
                else:
                    layers += [_convolution(inputs, step), nn.LeakyReLU(plan.leak)]
                    inputs = step
            self.levels.append(nn.Sequential(*layers))
        self.register_buffer("scale", torch.ones(len(plan.levels)))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised images to features (B, C_l, H_l, W_l), deepest last."""
        levels: list[Tensor] = []
        x = images
        for level, layers in enumerate(self.levels):
            x = layers(x)
            levels.append(x / self.scale[level])
        return levels

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Set the scales from the features of some images (B, 3, H, W)."""
        self.scale.fill_(1)
        rms = torch.stack([level.square().mean().sqrt() for level in self(images)])
        self.scale.copy_(rms.clamp_min(EPSILON))

    def load_vgg19(self, path: Path) -> None:
        """Load torchvision's VGG-19, ignoring its deeper layers and its classifier.

        Raises:
            ValueError: If the file cannot be read, lacks a parameter or has one of another
                shape.
        """
        state = read_weights(path)
        for index, convolution in zip(_VGG19_CONVOLUTIONS, _convolutions(self), strict=True):
            for kind, parameter in convolution.named_parameters():
                name = f"features.{index}.{kind}"
                value = state.get(name)
                if not isinstance(value, Tensor):
                    raise ValueError(f"{path} does not hold weights of VGG-19: {name} is missing")
                if value.shape != parameter.shape:
                    raise ValueError(
                        f"{path} does not hold weights of VGG-19: {name} must be "
                        f"{tuple(parameter.shape)}, got {tuple(value.shape)}"
                    )
                with torch.no_grad():
                    parameter.copy_(value)


class Decoder(nn.Sequential):
    """The encoder mirrored: nearest upsampling in place of pooling, no activation at the end."""

    def __init__(self, plan: EncoderPlan) -> None:
        steps = [step for level in plan.levels for step in level]
        channels = [3, *(step for step in steps if step != POOL)]
        mirrored = [(after, before) for before, after in pairwise(channels)]
        layers: list[nn.Module] = []
        for step in reversed(steps):
            if step == POOL:
                layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
            else:
                layers += [_convolution(*mirrored.pop()), nn.LeakyReLU(plan.leak)]
        super().__init__(*layers[:-1])


class StyleNet(nn.Module):
    """Encoder and decoder of a pair of domains.

    Weights are uninitialised until :meth:`initialise` or a file sets them.

    Args:
        plan: Levels of the encoder.
    """

    def __init__(self, plan: EncoderPlan) -> None:
        super().__init__()
        self.encoder = Encoder(plan)
        self.decoder = Decoder(plan)

    @property
    def first_convolution(self) -> nn.Conv2d:
        """The decoder's first layer, which reads the deepest features."""
        return next(_convolutions(self.decoder))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights (He et al. 2015) from a CPU generator; biases are 0."""
        for convolution in _convolutions(self):
            nn.init.kaiming_normal_(
                convolution.weight, self.encoder.plan.leak, generator=generator
            )
            nn.init.zeros_(cast(Tensor, convolution.bias))
        with torch.no_grad():  # start near the mean colour instead of large random colours
            cast(nn.Conv2d, self.decoder[-1]).weight.mul_(OUTPUT_GAIN)

    def place(self, device: torch.device, image_size: int) -> None:
        """Move to a device, in the fastest memory format that is computed correctly there.

        Raises:
            RuntimeError: If this CPU computes wrong gradients in any format.
        """
        memory_format = torch.channels_last
        if device.type == "cpu":
            memory_format = trusted_format(self, image_size)
        in_format(self, device, memory_format)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images to their reconstructions, of the same shape."""
        return self.decode(self.encoder(images)[-1])

    def decode(self, features: Tensor) -> Tensor:
        """(B, C, h, w) deepest features to (B, 3, H, W) images, unclamped."""
        return cast(Tensor, self.decoder(features))


def save_style_net(path: Path, net: StyleNet) -> None:
    """Write a network to a file of tensors and plain values."""
    plan = net.encoder.plan
    torch.save({"levels": plan.levels, "leak": plan.leak, "weights": net.state_dict()}, path)


def load_style_net(path: Path) -> StyleNet:
    """Load a network of :func:`save_style_net` to the CPU, frozen; pickled code is refused.

    Raises:
        ValueError: If the file cannot be read or holds something else.
    """
    state = read_weights(path)
    try:
        net = StyleNet(EncoderPlan(state["levels"], state["leak"]))
        net.load_state_dict(state["weights"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} does not hold a style network: {error}") from error
    return net.requires_grad_(False).eval()


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    # The constructor's initialisation would advance the global generator.
    convolution = nn.utils.skip_init(
        nn.Conv2d, inputs, outputs, 3, padding=1, padding_mode="reflect"
    )
    return cast(nn.Conv2d, convolution)


def _convolutions(module: nn.Module) -> Iterator[nn.Conv2d]:
    return (layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
