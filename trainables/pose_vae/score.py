"""Difficulty scores of poses, and how far to trust them."""

import torch
from torch import Tensor

from trainables.data.skeleton import MIN_VISIBLE
from trainables.pose_vae.fit import reconstruction_error
from trainables.pose_vae.model import PoseVAE


@torch.no_grad()
def score_poses(model: PoseVAE, poses: Tensor, mask: Tensor) -> Tensor:
    """Equation (2): reconstruction error through the posterior mean, no sampling.

    Args:
        model: Trained Pose VAE.
        poses: (N, K, 2) normalised.
        mask: (N, K) float, 1 for visible joints.

    Returns:
        (N,) scores, larger is harder; NaN for poses with fewer than :data:`MIN_VISIBLE`
        visible joints.
    """
    mu, _ = model.encode(poses, mask)
    scores = reconstruction_error(poses, model.decode(mu), mask)
    return torch.where(mask.sum(1) >= MIN_VISIBLE, scores, torch.nan)


def rank_stability(first: Tensor, second: Tensor) -> float:
    """Spearman correlation of two scorings of the same poses, in [-1, 1].

    Args:
        first: (N,) scores.
        second: (N,) scores by another model; poses with NaN in either are left out.

    Raises:
        ValueError: If fewer than two poses are scored by both.
    """
    scored = ~(first.isnan() | second.isnan())
    if int(scored.sum()) < 2:
        raise ValueError("rank_stability needs two poses scored by both models")
    ranks = torch.stack([_ranks(first[scored]), _ranks(second[scored])])
    return float(torch.corrcoef(ranks)[0, 1])


def corruption_auc(
    model: PoseVAE, poses: Tensor, mask: Tensor, generator: torch.Generator
) -> float:
    """How well scores tell poses from the same poses with one joint moved, in [0, 1].

    A joint of each pose is replaced by the same joint of another pose. The result is the area
    under the ROC curve: 0.5 says the score knows nothing of plausible poses.

    Args:
        model: Trained Pose VAE.
        poses: (N, K, 2) normalised.
        mask: (N, K) float.
        generator: CPU generator of the corruption.
    """
    num, joints = mask.shape
    donor = torch.randperm(num, generator=generator).to(poses.device)
    is_other = donor != torch.arange(num, device=poses.device)
    joint = torch.randint(joints, (num,), generator=generator).to(poses.device)
    moved = torch.nn.functional.one_hot(joint, joints).to(poses) * mask * mask[donor]
    corrupted = torch.where(moved.unsqueeze(-1) > 0, poses[donor], poses)
    changed = (moved.sum(1) > 0) & is_other
    real = score_poses(model, poses, mask)
    fake = score_poses(model, corrupted, mask)
    valid = changed & ~real.isnan()
    real, fake = real[valid], fake[valid]
    if len(real) == 0:
        raise ValueError("corruption_auc needs poses with a visible joint to move")
    ranks = _ranks(torch.cat([real, fake]))
    # Mann-Whitney: the share of (real, fake) pairs in which the corrupted pose scores higher.
    wins = ranks[len(real) :].sum() - len(fake) * (len(fake) - 1) / 2
    return float(wins / (len(real) * len(fake)))


def _ranks(values: Tensor) -> Tensor:
    """Average ranks from 0 of (N,) values, in double precision."""
    unique, inverse, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0)
    mean: Tensor = (last - counts).double() + (counts.double() - 1) / 2
    return mean[inverse]
