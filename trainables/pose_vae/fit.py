"""Training of the Pose VAE by equation (1) of the paper.

Poses stay in memory as one tensor and batches are slices of a permutation: with so small a model,
the per-item work of a DataLoader would take most of the time.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.pose_vae.model import PoseVAE, pack

BATCH_SIZE = 64
LEARNING_RATE = 5e-3
"""Chosen on source validation poses by the label-free measures of :mod:`score`: with these and
64 hidden units the corruption AUC is 0.70 and two seeds agree (Spearman 0.996) after 100 epochs;
batches of 512, 256 hidden units and 2e-3 gave 0.58 and took longer."""
JOINT_DROP = 0.1
"""Probability that a visible joint is hidden from the encoder during training, so that the model
learns to reconstruct poses with missing joints."""
ACTIVE_VARIANCE = 0.01
"""A latent unit is active if its mean varies more than this over the poses (Burda et al.)."""


@dataclass(frozen=True)
class VAEEpoch:
    """Means over one epoch of training.

    Attributes:
        epoch: From 1.
        loss: Equation (1).
        reconstruction: Its first term, in squared normalised units.
        kl: Its KL divergence in nats, unweighted.
    """

    epoch: int
    loss: float
    reconstruction: float
    kl: float


def reconstruction_error(poses: Tensor, decoded: Tensor, mask: Tensor) -> Tensor:
    """Squared error summed over visible joints, scaled to all K joints.

    sum_k m_k |y_k - yhat_k|^2 * K / sum_k m_k: the first term of equation (1) and the score of
    equation (2); the scaling keeps poses with missing joints from looking easy.

    Args:
        poses: (N, K, 2) normalised.
        decoded: (N, K, 2) reconstructions.
        mask: (N, K) 1 for joints that count.

    Returns:
        (N,).
    """
    return weighted_error(poses, decoded, joint_weights(mask))


def joint_weights(mask: Tensor) -> Tensor:
    """Weights m_k * K / sum_k m_k of the joints' errors, from masks (N, K); 0 without joints."""
    return mask * (mask.shape[1] / mask.sum(1, keepdim=True).clamp_min(1))


def weighted_error(poses: Tensor, decoded: Tensor, weights: Tensor) -> Tensor:
    """Squared error (N,) of (N, K, 2) poses under joint weights (N, K)."""
    return ((poses - decoded).square().sum(-1) * weights).sum(1)


def kl_to_standard_normal(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL[N(mu, exp(logvar)) || N(0, I)] of (N, Z) posteriors in nats: (N,)."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(-1)


def fit_pose_vae(
    model: PoseVAE,
    poses: Tensor,
    mask: Tensor,
    kl_weight: float,
    epochs: int,
    generator: torch.Generator,
) -> Iterator[VAEEpoch]:
    """Train in place; the iterator runs one epoch per item.

    Args:
        model: Freshly initialised model on the device of the poses.
        poses: (N, K, 2) normalised, invisible joints 0.
        mask: (N, K) float, 1 for visible joints.
        kl_weight: Lambda of equation (1).
        epochs: Number of epochs; the learning rate falls to zero over them along a cosine.
        generator: CPU generator of permutations, dropped joints and latent noise.

    Yields:
        The means of each epoch.

    Raises:
        FloatingPointError: If the loss stops being finite.
    """
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, fused=True)
    num = len(poses)
    num_steps = epochs * -(-num // BATCH_SIZE)
    weights = joint_weights(mask)
    step = 0
    for epoch in range(1, epochs + 1):
        order = torch.randperm(num, generator=generator).to(poses.device)
        keep = torch.rand((num, mask.shape[1]), generator=generator) >= JOINT_DROP
        noise = torch.randn((num, model.latent_dim), generator=generator).to(poses)
        # Shuffled once per epoch, so that a batch is a view.
        batches = zip(
            torch.split(poses[order], BATCH_SIZE),
            torch.split(pack(poses[order], mask[order] * keep.to(poses)), BATCH_SIZE),
            torch.split(weights[order], BATCH_SIZE),
            torch.split(noise, BATCH_SIZE),
            strict=True,
        )
        total_error = torch.zeros((), device=poses.device)
        total_kl = torch.zeros((), device=poses.device)
        for batch, packed, weight, draw in batches:
            decoded, mu, logvar = model(packed, draw)
            error = weighted_error(batch, decoded, weight).sum()
            kl = kl_to_standard_normal(mu, logvar).sum()
            # A scheduler object would cost as much as the optimiser's step.
            cosine = 0.5 * (1 + math.cos(math.pi * step / num_steps))
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * cosine
            optimizer.zero_grad()
            ((error + kl_weight * kl) / len(batch)).backward()
            optimizer.step()
            step += 1
            total_error += error.detach()
            total_kl += kl.detach()
        mean_reconstruction, mean_kl = float(total_error) / num, float(total_kl) / num
        loss = mean_reconstruction + kl_weight * mean_kl
        if not math.isfinite(loss):
            raise FloatingPointError(f"the Pose VAE loss is {loss} in epoch {epoch}")
        yield VAEEpoch(epoch, loss, mean_reconstruction, mean_kl)


def active_units(mu: Tensor) -> int:
    """Latent units whose posterior mean (N, Z) varies over the poses; 0 is collapse."""
    return int((mu.var(dim=0) > ACTIVE_VARIANCE).sum())
