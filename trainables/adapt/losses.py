"""Losses between logit heatmaps and target maps, and RegDA's ground-truth and ground-false.

Notation: y main head logits, y' adversarial head logits, both (B, K, H, W); GT(y) the
Gaussians at the peaks of y; GF(y) for joint k the clipped sum of the other joints' Gaussians;
w (B, K) weights.
"""

import torch
from torch import Tensor

from trainables.data.heatmaps import default_sigma, gaussian_heatmaps, peak_cells

DISPARITY_EPSILON = 1e-7
"""Added to the maps of the disparities, as in RegDA, so that a ground-false map that happens
to be empty stands for the uniform distribution."""


def spatial_kl(logits: Tensor, maps: Tensor, weights: Tensor, epsilon: float = 0.0) -> Tensor:
    """Mean KL divergence from normalised target maps to the spatial softmax of the logits.

    KL = sum_px q (ln q - log_softmax(logits)), q = (maps + epsilon) / sum(maps + epsilon),
    averaged over B * K joints, those of weight 0 included (RegDA, JointsKLLoss).

    Differs from the reference: joints of weight 0 are left out before the division, so an
    empty map cannot turn the loss into NaN.

    Args:
        logits: (B, K, H, W).
        maps: (B, K, H, W), not negative.
        weights: (B, K), not negative.
        epsilon: Added to the maps.

    Returns:
        Scalar in nats.
    """
    log_p = logits.flatten(2).log_softmax(-1)  # (B, K, H*W)
    q = maps.flatten(2) + epsilon
    q = q / q.sum(-1, keepdim=True).clamp_min(1e-12)
    per_joint = (torch.special.xlogy(q, q) - q * log_p).sum(-1)  # (B, K)
    per_joint = torch.where(weights > 0, per_joint * weights, torch.zeros_like(per_joint))
    return per_joint.mean()


def ground_truth_maps(logits: Tensor) -> Tensor:
    """GT(y): a Gaussian at the peak of each map of (B, K, H, H) logits, no gradient."""
    size = logits.shape[-1]
    return gaussian_heatmaps(peak_cells(logits.detach()), size, default_sigma(size))


def ground_false_maps(truth: Tensor) -> Tensor:
    """GF(y) from GT(y) (B, K, H, W): for each joint the other joints' maps, clipped to 1.

    RegDA (Jiang et al. 2021), section 4.2: a wrong prediction lands on another joint, so the
    adversarial head is led there.
    """
    return (truth.sum(1, keepdim=True) - truth).clamp_(0, 1)


def disparity(logits: Tensor, maps: Tensor, weights: Tensor) -> Tensor:
    """Regression disparity of RegDA: KL from GT(y) or GF(y) to the other head's logits."""
    return spatial_kl(logits, maps, weights, DISPARITY_EPSILON)
