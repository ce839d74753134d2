"""Adaptive occlusion (Kim et al. 2022): hides confident joints from the student."""

import torch
from torch import Tensor

from trainables.adapt.pseudo_labels import PseudoLabels
from trainables.data.augment import send
from trainables.data.frame import in_frame
from trainables.distributed.shard import WHOLE, Shard

WINDOW_SHARE = 20 / 256
"""Side of the hidden window as a share of the image's: 20 pixels of 256 in UDAPE."""


def occlude_confident_joints(
    images: Tensor,
    labels: PseudoLabels,
    probability: float,
    threshold: float,
    generator: torch.Generator,
    shard: Shard = WHOLE,
) -> Tensor:
    """Hide one confident joint per image behind a patch from elsewhere in the image.

    Each image with a confident joint is occluded with probability ``probability``. The joint is
    drawn uniformly among its confident ones, the patch uniformly among those that lie within the
    image. A joint is confident if its confidence reaches ``threshold``, whether or not its label
    is among the trusted fraction of the batch. Nothing here makes the host wait for the device.

    Differs from the reference: the window is placed around the joint in the student's view. The
    reference un-warps the image, pastes and warps it back, which displaces the window by up to ten
    pixels, blurs the image twice and loses what leaves the frame. The window therefore keeps its
    size and stays upright whatever the view. Joints outside the view are not hidden; the reference
    would hide a strip along the border for them.

    Args:
        images: (B, 3, S, S) student images.
        labels: Pseudo-labels whose ``keypoints_px`` are in the student's view; the caller moves
            those of :func:`~trainables.adapt.pseudo_labels.warped_pseudo_labels` there.
        probability: In [0, 1].
        threshold: Confidence in [0, 1]; 0.9 in UDAPE.
        generator: CPU generator; it always advances by the same number of draws.
        shard: Part of the batch that the images are.

    Returns:
        (B, 3, S, S) new images.
    """
    batch, _, size, _ = images.shape
    device = images.device
    whole, joints = batch * shard.world, labels.confidence.shape[1]
    draws = shard.take(torch.rand((whole, 3 + joints), generator=generator))
    draws = send(draws, device)
    chance, column_draw, row_draw, scores = torch.split(draws, [1, 1, 1, joints], dim=1)
    confident = (labels.confidence >= threshold) & in_frame(labels.keypoints_px, size, size)
    joint = torch.where(confident, scores, -1.0).argmax(1, keepdim=True)  # a random one of these
    chosen = confident.any(1, keepdim=True) & (chance < probability)  # (B, 1)
    centre = labels.keypoints_px.gather(1, joint.unsqueeze(-1).expand(-1, -1, 2)).squeeze(1)

    column, from_column = _window(centre[:, :1], chosen, column_draw, size)  # (B, W) each
    row, from_row = _window(centre[:, 1:], chosen, row_draw, size)
    index = torch.arange(batch, device=device).view(-1, 1, 1)
    occluded = images.clone()
    occluded[index, :, row.unsqueeze(2), column.unsqueeze(1)] = images[
        index, :, from_row.unsqueeze(2), from_column.unsqueeze(1)
    ]
    return occluded


def _window(
    centre: Tensor, chosen: Tensor, draw: Tensor, image_size: int
) -> tuple[Tensor, Tensor]:
    """Pixels of the window along one axis, and the pixels its patch is copied from.

    Window and patch are cut at the border in the same way: a pixel beyond the border is clamped to
    the outermost one, with the same origin, so writing it twice changes nothing. For an image that
    is not chosen the patch is the window itself.

    Args:
        centre: (B, 1) centre of the window, in pixels.
        chosen: (B, 1) bool.
        draw: (B, 1) in [0, 1): place of the patch.
        image_size: S.

    Returns:
        Twice (B, W) int64 in 0..S-1.
    """
    width = max(1, round(WINDOW_SHARE * image_size))
    # The pixels p with -W/2 <= p - centre < W/2; the centre is arbitrary if not chosen.
    first = torch.where(chosen, (centre - width / 2).ceil(), 0.0).long()
    window = first + torch.arange(width, device=centre.device)
    window = window.clamp(0, image_size - 1)
    start, stop = window[:, :1], window[:, -1:] + 1
    patch_start = (draw * (image_size - (stop - start) + 1)).long()
    return window, torch.where(chosen, window + (patch_start - start), window)
