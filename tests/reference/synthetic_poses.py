"""Normalised poses without images, and small Pose VAEs fitted to them."""

import numpy as np
import torch

from trainables.data.render.body_prior import sample_body_poses
from trainables.pose_vae.fit import fit_pose_vae
from trainables.pose_vae.model import PoseVAE
from trainables.pose_vae.normalise import normalise_poses


def body_poses(num, seed=0):
    rng = np.random.default_rng(seed)
    joints = sample_body_poses(rng, rng.beta(1.1, 2.6, num), np.full(num, 0.8))
    keypoints = torch.from_numpy(joints[..., :2]).float() * 30
    visible = torch.ones(num, 16, dtype=torch.bool)
    return normalise_poses(keypoints, visible, "bbox", 64, (2, 3, 12, 13)), visible.float()


def plane_poses(num, seed=0):
    """Poses of three degrees of freedom, which a small model learns in a few hundred steps."""
    layout = torch.Generator().manual_seed(1234)
    middle = torch.rand((16, 2), generator=layout) - 0.5
    directions = 0.15 * torch.randn((3, 16, 2), generator=layout)
    codes = torch.randn((num, 3), generator=torch.Generator().manual_seed(seed))
    return middle + torch.einsum("nz,zkc->nkc", codes, directions), torch.ones(num, 16)


def new_model(hidden_dim=32, latent_dim=4, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PoseVAE(16, latent_dim, hidden_dim)


def fit(model, poses, mask, kl_weight=1e-3, epochs=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return list(fit_pose_vae(model, poses, mask, kl_weight, epochs, generator))
