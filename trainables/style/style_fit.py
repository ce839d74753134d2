"""Training of a style network on the unlabelled training images of two domains.

Without a file of VGG-19 weights, an autoencoder is trained first: its halves are the encoder and
the decoder's start. Then the encoder is frozen and the decoder trained with the losses of AdaIN.
Images stay in the memory maps of their stores; each step reads only its own.

Differs from the reference: images are not warped, so that no black border is learned as style;
rates fall to zero; the batch is a setting.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.config import StyleConfig
from trainables.data.augment import normalise
from trainables.data.image_store import ImageStore
from trainables.style.style_net import (
    VGG19_PLAN,
    StyleNet,
    adain,
    channel_statistics,
    small_plan,
)

ENCODER_RATE = 6e-3
DECODER_RATE = 2e-3
VGG19_DECODER_RATE = 1e-4
"""Peak rates of Adam, falling to zero along a cosine. AdaIN trains the decoder of VGG-19 at 1e-4
for some 100,000 steps, the reference at 1e-5 for 500,000. A small network tolerates higher rates
and its decoder can already reconstruct: some hundred steps are enough."""
CHECKED_STEPS = 50
"""Steps between checks that the losses are finite; each check waits for the device."""
CALIBRATION_IMAGES = 64
"""Images of each domain from which the scales of the encoder's levels are measured."""


@dataclass(frozen=True)
class UnlabelledImages:
    """The images of a split, without labels.

    Attributes:
        images: (N, H, W, 3) uint8, may be a memory map.
        rows: (n,) indices of those that may be read.
    """

    images: NDArray[np.uint8]
    rows: NDArray[np.int64]

    @classmethod
    def training_split(cls, store: ImageStore) -> "UnlabelledImages":
        """The training images of a domain."""
        return cls(store.images, store.splits["train"])

    def draw(self, num: int, generator: torch.Generator, device: torch.device) -> Tensor:
        """(num, 3, H, W) normalised images, drawn uniformly with replacement on the CPU."""
        index = torch.randint(len(self.rows), (num,), generator=generator).numpy()
        return self.read(self.rows[index], device)

    def read(self, rows: NDArray[np.int64], device: torch.device) -> Tensor:
        """(len(rows), 3, H, W) normalised images."""
        return normalise(torch.from_numpy(self.images[rows]).to(device))


def style_losses(net: StyleNet, content: Tensor, style: Tensor) -> Tensor:
    """Content and style loss of AdaIN at full strength, equations (12) and (13).

    L_c = MSE(f(g(t)), t), L_s = sum over levels l of MSE(mu_l(g(t)), mu_l(s)) +
    MSE(sigma_l(g(t)), sigma_l(s)), with t = AdaIN(f(c), f(s)) and g the decoder.

    Differs from the reference: features are in units of their level's root mean square, see
    :class:`trainables.style.style_net.Encoder`.

    Args:
        net: Encoder, frozen, and decoder.
        content: (B, 3, H, W) normalised images c.
        style: (B, 3, H, W) normalised images s.

    Returns:
        (2,) L_c and L_s.
    """
    with torch.no_grad():
        targets = [channel_statistics(level) for level in net.encoder(style)]
        transferred = adain(net.encoder(content)[-1], *targets[-1])
    levels = net.encoder(net.decode(transferred))
    style_loss = torch.zeros((), device=content.device)
    for level, (mean, std) in zip(levels, targets, strict=True):
        own_mean, own_std = channel_statistics(level)
        style_loss = style_loss + F.mse_loss(own_mean, mean) + F.mse_loss(own_std, std)
    return torch.stack([F.mse_loss(levels[-1].float(), transferred), style_loss])


def fit_encoder(
    net: StyleNet,
    domains: tuple[UnlabelledImages, UnlabelledImages],
    steps: int,
    batch_size: int,
    generator: torch.Generator,
) -> Tensor:
    """Train encoder and decoder in place as an autoencoder, then set the encoder's scales.

    Args:
        net: Freshly initialised network on the training device.
        domains: Images of the source and of the target.
        steps: Optimiser steps; with 0 the encoder stays random.
        batch_size: Images of each domain in a step.
        generator: CPU generator.

    Returns:
        (steps, 1) mean squared errors of normalised pixels, on the CPU.

    Raises:
        FloatingPointError: If a loss is not finite.
    """
    device = net.encoder.scale.device

    def losses() -> Tensor:
        images = torch.cat([domain.draw(batch_size, generator, device) for domain in domains])
        return F.mse_loss(net(images), images).unsqueeze(0)

    parameters = list(net.parameters())
    recorded = _descend(parameters, ENCODER_RATE, steps, losses, ("reconstruction",), (1.0,))
    net.encoder.calibrate(_calibration(domains, generator, device))
    with torch.no_grad():  # undo the new scale, so that the decoder still fits its input
        net.first_convolution.weight.mul_(net.encoder.scale[-1])
    return recorded


def fit_decoder(
    net: StyleNet,
    domains: tuple[UnlabelledImages, UnlabelledImages],
    steps: int,
    batch_size: int,
    style_weight: float,
    rate: float,
    generator: torch.Generator,
) -> Tensor:
    """Train the decoder in place on content loss + style_weight * style loss, equation (11).

    Each step restyles a batch of one domain as the other, each direction with probability 1/2.

    Args:
        net: Network with a finished encoder, which is frozen.
        domains: Images of the source and of the target.
        steps: Optimiser steps.
        batch_size: Content images, and as many style images, of a step.
        style_weight: Weight of the style loss.
        rate: Peak learning rate.
        generator: CPU generator.

    Returns:
        (steps, 2) content and style losses, on the CPU.

    Raises:
        FloatingPointError: If a loss is not finite.
    """
    device = net.encoder.scale.device
    net.encoder.requires_grad_(False)

    def losses() -> Tensor:
        is_to_target = bool(torch.rand((), generator=generator) < 0.5)
        content, style = domains if is_to_target else domains[::-1]
        return style_losses(
            net,
            content.draw(batch_size, generator, device),
            style.draw(batch_size, generator, device),
        )

    parameters = list(net.decoder.parameters())
    weights = (1.0, style_weight)
    return _descend(parameters, rate, steps, losses, ("content", "style"), weights)


def train_style_net(
    domains: tuple[UnlabelledImages, UnlabelledImages],
    style: StyleConfig,
    generator: torch.Generator,
    device: torch.device,
) -> StyleNet:
    """Train the style network of two domains.

    Args:
        domains: Images of the source and of the target, square and of one size.
        style: Settings.
        generator: CPU generator of weights and batches.
        device: Where to train.

    Returns:
        The network on the device, frozen.

    Raises:
        ValueError: If the file of the encoder is not VGG-19.
        FloatingPointError: If a loss is not finite.
    """
    is_trained = style.encoder is None
    net = StyleNet(small_plan(style.width) if is_trained else VGG19_PLAN)
    net.initialise(generator)
    if style.encoder is not None:
        net.encoder.load_vgg19(Path(style.encoder))
    net.place(device, domains[0].images.shape[1])
    if is_trained:
        fit_encoder(net, domains, style.encoder_steps, style.batch_size, generator)
    else:
        net.encoder.calibrate(_calibration(domains, generator, device))
    rate = DECODER_RATE if is_trained else VGG19_DECODER_RATE
    fit_decoder(net, domains, style.steps, style.batch_size, style.style_weight, rate, generator)
    return net.requires_grad_(False).eval()


def _calibration(
    domains: tuple[UnlabelledImages, UnlabelledImages],
    generator: torch.Generator,
    device: torch.device,
) -> Tensor:
    return torch.cat([domain.draw(CALIBRATION_IMAGES, generator, device) for domain in domains])


def _descend(
    parameters: list[nn.Parameter],
    rate: float,
    steps: int,
    losses: Callable[[], Tensor],
    names: tuple[str, ...],
    weights: tuple[float, ...],
) -> Tensor:
    """Adam along a cosine to zero on the weighted sum of ``losses()`` (L,): (steps, L)."""
    optimizer = torch.optim.Adam(parameters, rate, fused=True)
    recorded = torch.empty((steps, len(names)))
    waiting: list[Tensor] = []
    for step in range(steps):
        values = losses()
        optimizer.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        total = sum(weight * value for weight, value in zip(weights, values, strict=True))
        total.backward()
        optimizer.step()
        waiting.append(values.detach())
        if len(waiting) == CHECKED_STEPS or step + 1 == steps:
            # One transfer from the device for many steps.
            first = step + 1 - len(waiting)
            recorded[first : step + 1] = torch.stack(waiting).cpu()
            waiting.clear()
            _check_finite(recorded[: step + 1], first, names)
    return recorded


def _check_finite(recorded: Tensor, first: int, names: tuple[str, ...]) -> None:
    for step, values in enumerate(recorded[first:].tolist(), first + 1):
        for name, value in zip(names, values, strict=True):
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the {name} loss of the style network is {value} in step {step}"
                )
