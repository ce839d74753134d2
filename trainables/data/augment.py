"""Random warps and colours for a whole batch on the training device.

One affine matrix per image moves its pixels (a single bilinear ``grid_sample``) and its
keypoints, so the two cannot drift apart. Draws come from a CPU generator: the same seed gives
the same batch on every device.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class AugmentRanges:
    """How far images are warped and recoloured; the defaults are RegDA's for bodies."""

    rotation_deg: float = 30.0
    """Largest rotation to either side."""
    min_area: float = 0.6
    """Smallest share of the image a random crop keeps; crops zoom in, never out."""
    colour: float = 0.25
    """Largest relative change of brightness, contrast and saturation."""


@dataclass(frozen=True)
class AugmentDraw:
    """Random numbers of one batch, before they touch pixels.

    Attributes:
        matrix: (B, 2, 3) from input to output pixel coordinates (pixel centres are integers).
        brightness: (B,) factor.
        contrast: (B,) factor.
        saturation: (B,) factor.
    """

    matrix: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor


def normalise(images: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 images to (B, 3, H, W) floats with ImageNet's mean and deviation."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1) * 255
    return (images.permute(0, 3, 1, 2).float() - mean) / std


def draw_augmentation(
    num: int, image_size: int, ranges: AugmentRanges, generator: torch.Generator
) -> AugmentDraw:
    """Draw rotation about the centre, then a random square crop scaled back to full size.

    Args:
        num: Batch size B.
        image_size: Side in pixels.
        ranges: Limits of the draws.
        generator: CPU generator.
    """
    u = torch.rand((num, 7), generator=generator)
    angle = (2 * u[:, 0] - 1) * (ranges.rotation_deg * torch.pi / 180)
    area = ranges.min_area + (1 - ranges.min_area) * u[:, 1]
    scale = area.rsqrt()
    side = image_size / scale
    corner = u[:, 2:4] * (image_size - side).unsqueeze(1) - 0.5  # left and top pixel edges
    centre = (image_size - 1) / 2
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    linear = rotation * scale.view(-1, 1, 1)
    middle = torch.full((num, 2), centre)
    # A point is turned about the centre, then measured from the corner of the crop, in pixels
    # of the output.
    rotated_middle = (rotation @ middle.unsqueeze(-1)).squeeze(-1)
    shift = (middle - rotated_middle - corner) * scale.unsqueeze(1) - 0.5
    factors = 1 + (2 * u[:, 4:] - 1) * ranges.colour
    return AugmentDraw(
        matrix=torch.cat([linear, shift.unsqueeze(-1)], dim=-1),
        brightness=factors[:, 0],
        contrast=factors[:, 1],
        saturation=factors[:, 2],
    )


def warp_images(images: Tensor, matrix: Tensor) -> Tensor:
    """Resample images so that input pixel x appears at ``matrix @ (x, 1)``; zero outside.

    Args:
        images: (B, C, H, W) float.
        matrix: (B, 2, 3) in pixel coordinates.

    Returns:
        (B, C, H, W), bilinear.
    """
    height, width = images.shape[-2:]
    inverse = torch.linalg.inv(matrix[:, :, :2])  # (B, 2, 2) output to input
    offset = -(inverse @ matrix[:, :, 2:])  # (B, 2, 1)
    # grid_sample counts from -1 to 1 between the outer pixel edges: n = (2 x + 1) / size - 1
    size = torch.tensor([width, height], device=matrix.device, dtype=matrix.dtype).view(1, 2, 1)
    theta_linear = inverse * (size.view(1, 1, 2) / size)
    edge = (size - 1) / 2
    theta_shift = (2 * (inverse @ edge + offset) + 1) / size - 1
    theta = torch.cat([theta_linear, theta_shift], dim=-1)
    grid = torch.nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    return torch.nn.functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )


def warp_keypoints(keypoints_px: Tensor, matrix: Tensor) -> Tensor:
    """Move keypoints (B, K, 2) by the matrix (B, 2, 3) that moved their image."""
    return keypoints_px @ matrix[:, :, :2].mT + matrix[:, :, 2].unsqueeze(1)


def between_views(first: Tensor, second: Tensor) -> Tensor:
    """The matrix (B, 2, 3) from one view of an image to another, given each view's matrix.

    Args:
        first: (B, 2, 3) from the image to the view the result starts from.
        second: (B, 2, 3) from the image to the view the result leads to.
    """
    inverse = torch.linalg.inv(first[:, :, :2])
    linear = second[:, :, :2] @ inverse
    return torch.cat([linear, second[:, :, 2:] - linear @ first[:, :, 2:]], dim=-1)


def augment_images(images: Tensor, draw: AugmentDraw) -> Tensor:
    """Warp, jitter and normalise a batch.

    Args:
        images: (B, H, W, 3) uint8 on the training device.
        draw: Random numbers for this batch.

    Returns:
        (B, 3, H, W) float, ImageNet-normalised; pixels from outside the image are black.
    """
    device = images.device
    pixels = images.permute(0, 3, 1, 2).float() / 255
    pixels = warp_images(pixels, draw.matrix.to(device))
    brightness, contrast, saturation = (
        factor.to(device).view(-1, 1, 1, 1)
        for factor in (draw.brightness, draw.contrast, draw.saturation)
    )
    pixels = pixels * brightness
    grey = _grey(pixels)
    pixels = (pixels - grey.mean((1, 2, 3), keepdim=True)) * contrast + grey.mean(
        (1, 2, 3), keepdim=True
    )
    grey = _grey(pixels)
    pixels = ((pixels - grey) * saturation + grey).clamp(0, 1)
    mean = torch.tensor(IMAGENET_MEAN, device=device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=device).view(1, 3, 1, 1)
    return (pixels - mean) / std


def _grey(pixels: Tensor) -> Tensor:
    """ITU-R 601 luma of (B, 3, H, W): (B, 1, H, W)."""
    return 0.299 * pixels[:, 0:1] + 0.587 * pixels[:, 1:2] + 0.114 * pixels[:, 2:3]
