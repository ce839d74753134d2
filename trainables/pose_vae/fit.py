"""Training of the Pose VAE by equation (1) of the paper.

Poses stay in memory as one tensor and batches are slices of a permutation: there is no
DataLoader, whose per-item work would take most of the time of so small a model.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.pose_vae.model import PoseVAE

BATCH_SIZE = 512
LEARNING_RATE = 2e-3
JOINT_DROP = 0.1
"""Chance that a visible joint is hidden from the encoder during training, so that poses with
missing joints are reconstructed rather than guessed."""
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
    error = (poses - decoded).square().sum(-1) * mask  # (N, K)
    return error.sum(1) * mask.shape[1] / mask.sum(1).clamp_min(1)


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
    """Train in place, one epoch per item.

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
    steps = -(-num // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    for epoch in range(1, epochs + 1):
        order = torch.randperm(num, generator=generator).to(poses.device)
        # Shuffled once, so that a batch is a view.
        shuffled, shuffled_mask = poses[order], mask[order]
        keep = torch.rand((num, mask.shape[1]), generator=generator) >= JOINT_DROP
        given = shuffled_mask * keep.to(poses)
        noise = torch.randn((num, model.latent_dim), generator=generator).to(poses)
        totals = torch.zeros(2, device=poses.device)
        for start in range(0, num, BATCH_SIZE):
            rows = slice(start, start + BATCH_SIZE)
            batch, seen = shuffled[rows], shuffled_mask[rows]
            decoded, mu, logvar = model(batch, given[rows], noise[rows])
            reconstruction = reconstruction_error(batch, decoded, seen).mean()
            kl = kl_to_standard_normal(mu, logvar).mean()
            optimizer.zero_grad()
            (reconstruction + kl_weight * kl).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            totals += torch.stack([reconstruction.detach(), kl.detach()]) * len(batch)
        mean_reconstruction, mean_kl = (totals / num).tolist()
        loss = mean_reconstruction + kl_weight * mean_kl
        if not torch.isfinite(torch.tensor(loss)):
            raise FloatingPointError(f"the Pose VAE loss is {loss} in epoch {epoch}")
        yield VAEEpoch(epoch, loss, mean_reconstruction, mean_kl)


def active_units(mu: Tensor) -> int:
    """Latent units whose posterior mean (N, Z) varies over the poses; 0 is collapse."""
    return int((mu.var(dim=0) > ACTIVE_VARIANCE).sum())
