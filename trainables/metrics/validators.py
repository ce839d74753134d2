"""Label-free validators: measures of a network's predictions on target images without labels.

Computed after each epoch (:mod:`trainables.evaluation.validation`) to choose a checkpoint
(:mod:`trainables.metrics.selection`). Those that compare two sets, of features or of pose scores,
are in :mod:`trainables.metrics.discrepancies`. Higher is better for every validator. Each can be
gamed; its docstring says how. They serve to rank the checkpoints of one run and are not comparable
between tasks, losses or skeletons.

Notation: B images, K joints; a map's probabilities p sum to 1 over its cells; H is the entropy
in nats. Coordinates are ``(x, y)`` pixels with y down.
"""

import math

import torch
from torch import Tensor

from trainables.config import Loss
from trainables.data.augment import are_mirrored, warp_keypoints
from trainables.data.frame import in_frame
from trainables.data.skeleton import Skeleton
from trainables.metrics.pck import pck_pooled

MAX_POOLED_SIDE = 16
"""Maps are pooled to at most this many cells per side before images are compared by them, so that
neighbouring cells count as the same place."""


def map_probabilities(maps: Tensor, loss: Loss) -> Tensor:
    """Turn predicted maps into distributions over their cells.

    Args:
        maps: (B, K, H, W) as the network gives them, finite.
        loss: For ``kl`` the softmax of the logits, which that loss trains. For ``mse`` the
            positive part divided by its sum, uniform for a map without a positive value (the
            softmax of values from 0 to 1 is nearly uniform).

    Returns:
        (B, K, H, W), each map not negative and of sum 1.

    Raises:
        ValueError: If the maps are empty or not finite, or the loss is unknown.
    """
    _check_maps(maps)
    flat = maps.float().flatten(2)  # (B, K, H*W)
    if loss == "kl":
        return flat.softmax(-1).view(maps.shape)
    if loss == "mse":
        positive = flat.relu()
        total = positive.sum(-1, keepdim=True)
        uniform = torch.full_like(flat, 1 / flat.shape[-1])
        return torch.where(total > 0, positive / total, uniform).view(maps.shape)
    raise _unknown(loss)


def confidence(maps: Tensor, loss: Loss) -> float:
    """Confidence of the network in its maps, in [0, 1]; comparable within one loss only.

    For ``kl`` the mean of 1 - H(p) / ln(cells) over images and joints: 0 for uniform maps, 1
    for a single cell; a perfectly learned Gaussian reaches 0.59 on maps of 32 x 32 cells, 0.49 on
    64 x 64. For ``mse`` the mean peak, clamped to [0, 1]: 1 for a perfectly learned map, low for
    an uncertain one.

    Source: the entropy validator (Morerio et al. 2018), normalised.
    Gamed by: sharp maps at wrong places; every loss that sharpens maps raises it.

    Args:
        maps: (B, K, H, W) as the network gives them, finite.
        loss: ``kl`` or ``mse``.

    Raises:
        ValueError: If the maps are empty or not finite, or the loss is unknown.
    """
    if loss == "kl":
        flat = map_probabilities(maps, loss).flatten(2)
        if flat.shape[-1] == 1:
            return 1.0
        sure = 1 - _entropy(flat) / math.log(flat.shape[-1])
        return float(sure.clamp(0, 1).mean())
    return float(joint_confidence(maps, loss).mean())


def joint_confidence(maps: Tensor, loss: Loss) -> Tensor:
    """Confidence of the network in each joint, in [0, 1]; comparable within one loss only.

    For ``kl`` the probability of the highest cell: 1 / cells for a uniform map; a perfectly
    learned Gaussian reaches 0.16 on maps of 32 x 32 cells, 0.04 on 64 x 64. For ``mse`` the
    highest value, clamped to [0, 1]: 1 for a perfectly learned map.

    Args:
        maps: (B, K, H, W) as the network gives them, finite.
        loss: ``kl`` or ``mse``.

    Returns:
        (B, K).

    Raises:
        ValueError: If the maps are empty or not finite, or the loss is unknown.
    """
    if loss == "kl":
        return map_probabilities(maps, loss).amax((2, 3))
    if loss == "mse":
        _check_maps(maps)
        return maps.float().amax((2, 3)).clamp(0, 1)
    raise _unknown(loss)


def information_maximisation(probabilities: Tensor) -> float:
    """Mutual information between a joint's place and the image, in nats, mean over joints.

    I = H(mean_b p_b) - mean_b H(p_b) on maps pooled to C cells: high if maps are confident in each
    image and differ between images. From 0 to ln(min(B, C)): 0 if all images have the same map
    (uniform, or collapsed to one place), the maximum if each image has a cell of its own.

    Source: the mutual information of Shi and Sha 2012, classes replaced by places.
    Gamed by: sharp maps at random places.

    Args:
        probabilities: (B, K, H, W) of :func:`map_probabilities`.

    Raises:
        ValueError: If there is no map.
    """
    pooled = _pool(probabilities)  # (B, K, C)
    information = _entropy(pooled.mean(0)) - _entropy(pooled).mean(0)
    return float(information.clamp_min(0).mean())


def batch_nuclear_norm(probabilities: Tensor) -> float:
    """Nuclear norm of a joint's B maps as rows of a matrix, in (0, 1], mean over joints.

    ||P||_* / sqrt(B C), P of shape (B, C) with the pooled maps' cells as columns: 1 if maps are
    certain and spread evenly over all cells, 1 / sqrt(C) for a certain collapse to one place,
    1 / C for uniform maps. With fewer images than cells at most sqrt(B / C).

    Source: batch nuclear-norm maximisation (Cui et al. 2020), as a validator by Musgrave et al.
    2022; classes replaced by places.
    Gamed by: sharp maps at random places, also at places where a joint cannot be.

    Args:
        probabilities: (B, K, H, W) of :func:`map_probabilities`.

    Raises:
        ValueError: If there is no map.
    """
    pooled = _pool(probabilities).transpose(0, 1)  # (K, B, C)
    norms = torch.linalg.svdvals(pooled).sum(-1)
    return float((norms / math.sqrt(pooled.shape[1] * pooled.shape[2])).mean())


def agreement(
    first_px: Tensor,
    second_px: Tensor,
    skeleton: Skeleton,
    image_size: float,
    counted: Tensor | None = None,
) -> float:
    """PCK@0.05 in percent between two predictions, the second taken as labels.

    From 0 to 100, over the joints behind "All"; 100 for equal predictions.

    Source: agreement of a mean teacher with its student or of two heads.
    Gamed by: two networks with the same errors, such as a student copied from its teacher.

    Args:
        first_px: (N, K, 2) predicted keypoints, finite.
        second_px: (N, K, 2) the other predicted keypoints, finite.
        skeleton: Joint order and the joints behind "All".
        image_size: Side of the square image in pixels, > 0.
        counted: (N, K) bool, joints to compare; None for all. If none of those behind "All" is
            counted the agreement is 0.

    Raises:
        ValueError: If there is no pose, a shape is wrong or a coordinate is not finite.
    """
    if len(first_px) == 0:
        raise ValueError("agreement needs at least one pose, got none")
    if counted is None:
        counted = torch.ones(first_px.shape[:2], dtype=torch.bool, device=first_px.device)
    if not counted[:, list(skeleton.all_joints)].any():
        return 0.0
    return pck_pooled(first_px, second_px, counted, skeleton, image_size).all


def equivariance(
    predicted_px: Tensor,
    on_warped_px: Tensor,
    matrix: Tensor,
    skeleton: Skeleton,
    image_size: float,
) -> float:
    """PCK@0.05 in percent between predictions on warped images and warped predictions.

    From 0 to 100. A warp with a negative determinant mirrors the image, so there left and right
    joints are exchanged before the comparison. Joints that the warp moves out of the image do not
    count; if none is left the equivariance is 0.

    Source: equivariance of landmarks under known warps (Thewlis et al. 2017), as a measure.
    Gamed by: all joints at the image's centre, which rotations and mirrors do not move.

    Args:
        predicted_px: (N, K, 2) keypoints predicted in the images, finite.
        on_warped_px: (N, K, 2) keypoints predicted in the warped images, finite.
        matrix: (N, 2, 3) from pixels of the image to pixels of the warped image.
        skeleton: Joint order, left and right, and the joints behind "All".
        image_size: Side of the square image in pixels, > 0.

    Raises:
        ValueError: If there is no pose, a shape is wrong or a coordinate is not finite.
    """
    mirrored = are_mirrored(matrix)
    exchanged = predicted_px[:, list(skeleton.mirror)]
    named = torch.where(mirrored.view(-1, 1, 1), exchanged, predicted_px)
    expected = warp_keypoints(named, matrix)
    is_inside = in_frame(expected, image_size, image_size)
    return agreement(on_warped_px, expected, skeleton, image_size, is_inside)


def _entropy(probabilities: Tensor) -> Tensor:
    """Entropy in nats over the last dimension."""
    terms: Tensor = torch.special.xlogy(probabilities, probabilities)
    return -terms.sum(-1)


def _pool(probabilities: Tensor) -> Tensor:
    """Sum (B, K, H, H) over blocks: (B, K, C), C from the finest allowed grid that divides H."""
    _check_maps(probabilities)
    size = probabilities.shape[-1]
    side = max(n for n in range(1, MAX_POOLED_SIDE + 1) if size % n == 0)
    block = size // side
    pooled: Tensor = torch.nn.functional.avg_pool2d(probabilities, block) * block**2
    return pooled.flatten(2)


def _check_maps(maps: Tensor) -> None:
    if maps.ndim != 4 or maps.shape[2] != maps.shape[3] or maps.numel() == 0:
        raise ValueError(f"maps must be (B, K, H, H) and not empty, got {tuple(maps.shape)}")
    num_broken = int((~maps.isfinite()).sum())
    if num_broken:
        raise ValueError(f"maps must be finite, got {num_broken} values that are not")


def _unknown(loss: str) -> ValueError:
    return ValueError(f"loss must be kl or mse, got {loss!r}")
