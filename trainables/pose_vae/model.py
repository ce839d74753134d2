"""The Pose VAE: a small fully connected autoencoder of normalised 2D poses."""

import torch
from torch import Tensor, nn

LOGVAR_RANGE = (-12.0, 8.0)
"""Bounds of the predicted log variance, so that neither loss nor sampling overflows."""


class PoseVAE(nn.Module):
    """Encoder and decoder with two hidden layers each.

    There is no batch norm: the score of a pose must not depend on the rest of its batch, and
    ``torch.func.vmap`` can train many models as one.

    Args:
        num_joints: K.
        latent_dim: Z.
        hidden_dim: Width of the hidden layers.
    """

    def __init__(self, num_joints: int, latent_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.num_joints = num_joints
        self.latent_dim = latent_dim
        self.encoder = nn.Sequential(
            nn.Linear(3 * num_joints, hidden_dim),
            nn.SiLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.SiLU(),
            nn.Linear(hidden_dim, 2 * latent_dim),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim),
            nn.SiLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.SiLU(),
            nn.Linear(hidden_dim, 2 * num_joints),
        )

    def encode(self, poses: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior of each pose.

        Args:
            poses: (N, K, 2) normalised coordinates.
            mask: (N, K) 1 for visible joints; the coordinates of the others are ignored.

        Returns:
            mu and logvar, each (N, Z).
        """
        return self._posterior(pack(poses, mask))

    def _posterior(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.encoder(packed).chunk(2, dim=-1)
        return mu, logvar.clamp(*LOGVAR_RANGE)

    def decode(self, latent: Tensor) -> Tensor:
        """(N, Z) codes to (N, K, 2) normalised poses."""
        poses: Tensor = self.decoder(latent)
        return poses.view(*latent.shape[:-1], self.num_joints, 2)

    def forward(self, packed: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruct through z = mu + exp(logvar / 2) * noise.

        Args:
            packed: (N, 3K) from :func:`pack`.
            noise: (N, Z) standard normal.

        Returns:
            (N, K, 2) reconstructions, mu and logvar.
        """
        mu, logvar = self._posterior(packed)
        return self.decode(mu + (0.5 * logvar).exp() * noise), mu, logvar


def pack(poses: Tensor, mask: Tensor) -> Tensor:
    """Encoder input (N, 3K) of poses (N, K, 2) and masks (N, K): masked coordinates, mask."""
    return torch.cat([(poses * mask.unsqueeze(-1)).flatten(1), mask], dim=-1)
