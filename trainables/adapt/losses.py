"""Losses between predicted and target maps, and RegDA's ground-truth and ground-false maps.

Notation: y are the main head's logits, y' the adversarial head's, both (B, K, H, W); GT(y) are
Gaussians at the peaks of y; GF(y) is, for joint k, the clipped sum of the other joints' Gaussians;
w (B, K) are weights.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from trainables.data.heatmaps import default_sigma, gaussian_heatmaps, peak_cells

SupervisedLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From predicted maps, target maps and weights to a scalar."""
DISPARITY_EPSILON = 1e-7
"""Added to the maps of the disparities, as in RegDA, so that an empty ground-false map becomes
the uniform distribution."""


def spatial_kl(logits: Tensor, maps: Tensor, weights: Tensor, epsilon: float = 0.0) -> Tensor:
    """Mean KL divergence from normalised target maps to the spatial softmax of the logits.

    KL = sum_px q (ln q - log_softmax(logits)), q = (maps + epsilon) / sum(maps + epsilon),
    averaged over B * K joints, including those of weight 0 (RegDA, JointsKLLoss).

    Differs from the reference: joints of weight 0 are masked before the division, so an empty map
    cannot turn the loss into NaN.

    Args:
        logits: (B, K, H, W).
        maps: (B, K, H, W), not negative; no gradient reaches them.
        weights: (B, K), not negative.
        epsilon: Added to the maps.

    Returns:
        Scalar in nats.
    """
    log_p = logits.flatten(2).log_softmax(-1)  # (B, K, H*W)
    with torch.no_grad():
        # Masked before the loss: 0 times a non-finite value would make the gradient NaN.
        m = torch.where((weights > 0).unsqueeze(-1), maps.flatten(2), 0.0) + epsilon
        mass = m.sum(-1)
        z = mass.clamp_min(1e-12)
        # With q = m / z: sum q ln q = (sum m ln m) / z - ln z * mass / z, without a map of q.
        negative_entropy = torch.special.xlogy(m, m).sum(-1) / z - z.log() * mass / z
    per_joint = negative_entropy - torch.linalg.vecdot(m, log_p) / z
    mean: Tensor = (per_joint * weights).mean()
    return mean


def heatmap_mse(predicted: Tensor, maps: Tensor, weights: Tensor) -> Tensor:
    """Half the squared error of heatmaps, the loss of UDAPE and of tllib's baseline.

    0.5 * mean over B * K * H * W of w (y - t)^2; joints of weight 0 count in the denominator
    (tllib, JointsMSELoss).

    Differs from the reference: a joint of weight 0 is masked instead of multiplied by 0, so the
    content of its map does not matter.

    Args:
        predicted: (B, K, H, W) predictions of the map itself.
        maps: (B, K, H, W) with peak 1.
        weights: (B, K), not negative.
    """
    # Flattened first, which copies maps with the joints last in memory: subtracting tensors of two
    # memory formats takes three times as long.
    error = predicted.flatten(2) - maps.flatten(2)  # (B, K, H*W)
    # Masked before the square: 0 times a non-finite value would make the gradient NaN.
    error = torch.where((weights > 0).unsqueeze(-1), error, 0.0)
    per_joint = torch.linalg.vecdot(error, error) / error.shape[-1]
    mean: Tensor = 0.5 * (per_joint * weights).mean()
    return mean


def supervised_loss(kind: str) -> SupervisedLoss:
    """The loss named by ``adapt.loss``: ``kl`` or ``mse``."""
    losses: dict[str, SupervisedLoss] = {"kl": spatial_kl, "mse": heatmap_mse}
    return losses[kind]


def ground_truth_maps(logits: Tensor) -> Tensor:
    """GT(y): a Gaussian at the peak of each map of (B, K, H, H) logits, no gradient."""
    size = logits.shape[-1]
    return gaussian_heatmaps(peak_cells(logits.detach()), size, default_sigma(size))


def ground_false_maps(truth: Tensor) -> Tensor:
    """GF(y) from GT(y) (B, K, H, W): for each joint the other joints' maps, clipped to 1.

    RegDA (Jiang et al. 2021), section 4.2: wrong predictions tend to lie on other joints, so the
    adversarial head is trained to predict those.
    """
    return (truth.sum(1, keepdim=True) - truth).clamp_(0, 1)


def disparity(logits: Tensor, maps: Tensor, weights: Tensor) -> Tensor:
    """Regression disparity of RegDA: KL from GT(y) or GF(y) to the other head's logits."""
    return spatial_kl(logits, maps, weights, DISPARITY_EPSILON)
