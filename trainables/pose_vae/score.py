"""Difficulty scores of poses, and measures of how far to trust them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.data.skeleton import MIN_VISIBLE
from trainables.pose_vae.fit import active_units, kl_to_standard_normal, reconstruction_error
from trainables.pose_vae.model import PoseVAE

MIN_KL_NATS = 0.5
"""Below this, 0.72 bit, a latent code says almost nothing about its pose."""
MAX_MEAN_POSE_CORRELATION = 0.9
"""Above this scores order poses like their distance to the mean pose. Default Pose VAEs have 0.79
on ``people_clean`` and 0.34 on LSPET; with a KL weight of 1 they collapse: 1.00 and 0.98."""


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


@dataclass(frozen=True)
class Information:
    """How much the latent code of a Pose VAE says about poses.

    Attributes:
        active_units: Latent units whose posterior mean varies over the poses.
        kl_nats: Mean KL divergence of the posteriors from the prior: the information that a code
            holds about its pose, in nats.
        mean_pose_correlation: Spearman correlation of the scores with the squared distances to the
            mean pose, in [-1, 1]; NaN if all scores are equal.
    """

    active_units: int
    kl_nats: float
    mean_pose_correlation: float

    @property
    def is_collapsed(self) -> bool:
        """Whether the decoder ignores the code, so that a score is a distance to the mean pose.

        The number of active units does not show this: on LSPET a KL weight of 1 leaves 3 to 4
        "active" units, 0.06 to 0.08 nat and a correlation of 0.98.
        """
        return not (
            self.kl_nats >= MIN_KL_NATS and self.mean_pose_correlation <= MAX_MEAN_POSE_CORRELATION
        )


def information_metrics(found: Information) -> dict[str, float]:
    """Metrics ``vae/*`` of a Pose VAE's latent code."""
    return {
        "vae/active_units": float(found.active_units),
        "vae/kl": found.kl_nats,
        "vae/mean_pose_correlation": found.mean_pose_correlation,
        "vae/is_collapsed": float(found.is_collapsed),
    }


@torch.no_grad()
def information(model: PoseVAE, poses: Tensor, mask: Tensor) -> Information:
    """Measure how much the latent code says about some poses.

    Args:
        model: Trained Pose VAE.
        poses: (N, K, 2) normalised.
        mask: (N, K) float, 1 for visible joints.

    Raises:
        ValueError: If fewer than two poses can be scored.
    """
    mu, logvar = model.encode(poses, mask)
    seen = mask.unsqueeze(-1)
    mean_pose = (poses * seen).sum(0) / seen.sum(0).clamp_min(1)
    distances = reconstruction_error(poses, mean_pose.expand_as(poses), mask)
    return Information(
        active_units(mu),
        float(kl_to_standard_normal(mu, logvar).mean()),
        rank_stability(score_poses(model, poses, mask), distances),
    )


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
    """How well scores separate poses from the same poses with one joint moved, in [0, 1].

    One joint of each pose is replaced by the same joint of another pose. The result is the area
    under the ROC curve; at 0.5 the score cannot tell a plausible pose.

    Args:
        model: Trained Pose VAE.
        poses: (N, K, 2) normalised.
        mask: (N, K) float.
        generator: CPU generator of the corruption.

    Raises:
        ValueError: If no pose can be corrupted.
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
