"""Random warps and colours for a whole batch on the training device.

One affine matrix per image moves both its pixels (a single bilinear ``grid_sample``) and its
keypoints, so the two always match. Random numbers come from a CPU generator: the same seed gives
the same batch on every device.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainables.data.blur import gaussian_blur

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class AffineRanges:
    """A second warp about the centre, after the crop; the defaults are UDAPE's for bodies."""

    rotation_deg: float = 60.0
    """Largest rotation to either side."""
    shear_deg: float = 30.0
    """Largest horizontal shear to either side."""
    translation: float = 0.05
    """Largest shift along each axis as a share of the side."""
    scale: tuple[float, float] = (0.6, 1.3)
    """Smallest and largest magnification."""


@dataclass(frozen=True)
class AugmentRanges:
    """How far images are warped and recoloured; the defaults are RegDA's for bodies."""

    rotation_deg: float = 30.0
    """Largest rotation to either side, before the crop."""
    min_area: float = 0.6
    """Smallest share of the image a random crop keeps; crops zoom in, never out."""
    colour: float = 0.25
    """Largest relative change of brightness, contrast and saturation."""
    blur_px: float = 0.0
    """Largest deviation of a Gaussian blur in pixels; 0.8 at 256 pixels in RegDA."""
    affine: AffineRanges | None = None
    """A second warp, drawn anew for each view of an image, whereas the views share the crop."""
    flip: float = 0.0
    """Probability that an image is mirrored; all views of it are then."""


@dataclass(frozen=True)
class AugmentDraw:
    """Random warps and colours of one batch, not yet applied to pixels.

    Attributes:
        matrix: (B, 2, 3) from input to output pixel coordinates (pixel centres are integers).
        brightness: (B,) factor.
        contrast: (B,) factor.
        saturation: (B,) factor.
        blur_px: (B,) deviation of the blur in pixels, or None without blur.
    """

    matrix: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    blur_px: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> "AugmentDraw":
        """Apply a function to each tensor of the draw."""
        moved = {name: function(value) for name, value in vars(self).items() if value is not None}
        return replace(self, **moved)

    def to(self, device: torch.device) -> "AugmentDraw":
        """Copy the draw to a device, see :func:`send`."""
        return self.map(lambda tensor: send(tensor, device))


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device without waiting for it.

    A copy to a GPU overlaps the GPU's work only from pinned memory.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


@functools.cache
def imagenet_mean_std(device: torch.device) -> tuple[Tensor, Tensor]:
    """ImageNet's mean and deviation (1, 3, 1, 1) of colours in [0, 1], cached per device.

    Without the cache every step would copy them to the device and wait for it.
    """
    mean, std = torch.tensor((IMAGENET_MEAN, IMAGENET_STD), device=device).view(2, 1, 3, 1, 1)
    return mean, std


def normalise(images: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 images to (B, 3, H, W) floats with ImageNet's mean and deviation."""
    mean, std = imagenet_mean_std(images.device)
    return (images.permute(0, 3, 1, 2).float() - mean * 255) / (std * 255)


def draw_augmentation(
    num: int, image_size: int, ranges: AugmentRanges, generator: torch.Generator
) -> AugmentDraw:
    """Draw rotation about the centre, a random square crop scaled back to full size, colours.

    Args:
        num: Batch size B.
        image_size: Side in pixels.
        ranges: Limits of the draws.
        generator: CPU generator.
    """
    return draw_views(num, image_size, ranges, generator, num_views=1)[0]


def draw_views(
    num: int, image_size: int, ranges: AugmentRanges, generator: torch.Generator, num_views: int
) -> list[AugmentDraw]:
    """Draw several random views of the same images.

    Without ``ranges.affine`` each view has its own rotation and crop. With it, all views share
    one rotation and crop and each has its own second warp, as in UDAPE.
    """
    before = None
    if ranges.flip > 0:
        before = _mirror_matrix(torch.rand(num, generator=generator) < ranges.flip, image_size)
    shared = None
    views = []
    for _ in range(num_views):
        u = torch.rand((num, 7), generator=generator)
        crop = _crop_matrix(u[:, :4], image_size, ranges)
        if ranges.affine is not None:
            shared = crop if shared is None else shared
            further = torch.rand((num, 5), generator=generator)
            crop = compose(_affine_matrix(further, image_size, ranges.affine), shared)
        matrix = crop if before is None else compose(crop, before)
        blur = None
        if ranges.blur_px > 0:
            blur = ranges.blur_px * torch.rand(num, generator=generator)
        factors = 1 + (2 * u[:, 4:] - 1) * ranges.colour
        views.append(AugmentDraw(matrix, factors[:, 0], factors[:, 1], factors[:, 2], blur))
    return views


def _mirror_matrix(is_mirrored: Tensor, image_size: int) -> Tensor:
    """(B, 2, 3) that exchanges left and right of some images (B,) bool and leaves the others."""
    matrix = torch.eye(2, 3).repeat(len(is_mirrored), 1, 1)
    matrix[is_mirrored, 0, 0] = -1
    matrix[is_mirrored, 0, 2] = image_size - 1
    return matrix


def are_mirrored(matrix: Tensor) -> Tensor:
    """Which of the matrices (B, 2, 3) mirror their image: (B,) bool."""
    (a, b), (c, d) = matrix[:, 0, :2].unbind(-1), matrix[:, 1, :2].unbind(-1)
    return a * d - b * c < 0


def _crop_matrix(u: Tensor, image_size: int, ranges: AugmentRanges) -> Tensor:
    """(B, 2, 3) of a rotation and a crop from uniform draws (B, 4)."""
    num = len(u)
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
    # Rotate a point about the centre, then measure it from the corner of the crop, in pixels of
    # the output.
    rotated_middle = (rotation @ middle.unsqueeze(-1)).squeeze(-1)
    shift = (middle - rotated_middle - corner) * scale.unsqueeze(1) - 0.5
    return torch.cat([linear, shift.unsqueeze(-1)], dim=-1)


def _affine_matrix(u: Tensor, image_size: int, ranges: AffineRanges) -> Tensor:
    """(B, 2, 3) of T C R Shear s C^-1 (C: about the centre) from uniform draws (B, 5)."""
    degree = torch.pi / 180
    angle = (2 * u[:, 0] - 1) * (ranges.rotation_deg * degree)
    shear = ((2 * u[:, 1] - 1) * (ranges.shear_deg * degree)).tan()
    low, high = ranges.scale
    scale = low + (high - low) * u[:, 2]
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    sheared = torch.eye(2).repeat(len(u), 1, 1)
    sheared[:, 0, 1] = shear
    linear = rotation @ sheared * scale.view(-1, 1, 1)
    middle = torch.full((len(u), 2, 1), (image_size - 1) / 2)
    moved = (2 * u[:, 3:] - 1) * (ranges.translation * image_size)
    return torch.cat([linear, middle - linear @ middle + moved.unsqueeze(-1)], dim=-1)


def warp_images(images: Tensor, matrix: Tensor) -> Tensor:
    """Resample images so that input pixel x appears at ``matrix @ (x, 1)``; zero outside.

    Args:
        images: (B, C, H, W) float.
        matrix: (B, 2, 3) in pixel coordinates.

    Returns:
        (B, C, H, W), bilinear.
    """
    height, width = images.shape[-2:]
    inverse = _inverse(matrix[:, :, :2])  # (B, 2, 2) output to input
    offset = -(inverse @ matrix[:, :, 2:])  # (B, 2, 1)
    # grid_sample counts from -1 to 1 between the outer pixel edges: n = (2 x + 1) / size - 1.
    # Row by row with Python numbers: a tensor of sizes would have to be copied to the device.
    edges = ((width - 1) / 2, (height - 1) / 2)
    rows = []
    for row, size in enumerate((width, height)):
        along = inverse[:, row]  # (B, 2)
        shift = along[:, 0] * edges[0] + along[:, 1] * edges[1] + offset[:, row, 0]
        scaled = (along[:, 0] * (width / size), along[:, 1] * (height / size))
        rows.append(torch.stack([*scaled, (2 * shift + 1) / size - 1], dim=-1))
    theta = torch.stack(rows, dim=1)
    grid = torch.nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    return torch.nn.functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )


def warp_keypoints(keypoints_px: Tensor, matrix: Tensor) -> Tensor:
    """Move keypoints (B, K, 2) by the matrix (B, 2, 3) that moved their image."""
    return keypoints_px @ matrix[:, :, :2].mT + matrix[:, :, 2].unsqueeze(1)


def _inverse(linear: Tensor) -> Tensor:
    """Inverse of (B, 2, 2) matrices; ``torch.linalg.inv`` would wait for the device to check."""
    (a, b), (c, d) = linear[:, 0].unbind(-1), linear[:, 1].unbind(-1)
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    return adjugate / (a * d - b * c).view(-1, 1, 1)


def compose(second: Tensor, first: Tensor) -> Tensor:
    """The matrix (B, 2, 3) that applies ``first`` and then ``second``."""
    linear = second[:, :, :2] @ first[:, :, :2]
    shift = second[:, :, :2] @ first[:, :, 2:] + second[:, :, 2:]
    return torch.cat([linear, shift], dim=-1)


def between_views(first: Tensor, second: Tensor) -> Tensor:
    """The matrix (B, 2, 3) from one view of an image to another.

    Args:
        first: (B, 2, 3) from the image to the view that the result maps from.
        second: (B, 2, 3) from the image to the view that the result maps to.
    """
    inverse = _inverse(first[:, :, :2])
    linear = second[:, :, :2] @ inverse
    return torch.cat([linear, second[:, :, 2:] - linear @ first[:, :, 2:]], dim=-1)


def augment_images(images: Tensor, draw: AugmentDraw) -> Tensor:
    """Warp, jitter and normalise a batch.

    Args:
        images: (B, H, W, 3) uint8 on the training device.
        draw: Random warps and colours of this batch.

    Returns:
        (B, 3, H, W) float, ImageNet-normalised; pixels from outside the image are black.
    """
    device = images.device
    pixels = images.permute(0, 3, 1, 2).float() / 255
    draw = draw.to(device)
    pixels = warp_images(pixels, draw.matrix)
    brightness, contrast, saturation = (
        factor.view(-1, 1, 1, 1) for factor in (draw.brightness, draw.contrast, draw.saturation)
    )
    pixels = pixels * brightness
    grey = _grey(pixels)
    pixels = (pixels - grey.mean((1, 2, 3), keepdim=True)) * contrast + grey.mean(
        (1, 2, 3), keepdim=True
    )
    grey = _grey(pixels)
    pixels = ((pixels - grey) * saturation + grey).clamp(0, 1)
    if draw.blur_px is not None:
        # Three deviations of RegDA's widest blur, 0.8 pixels of 256.
        radius = max(1, math.ceil(3 * 0.8 * pixels.shape[-1] / 256))
        pixels = gaussian_blur(pixels, draw.blur_px, radius)
    mean, std = imagenet_mean_std(device)
    return (pixels - mean) / std


def _grey(pixels: Tensor) -> Tensor:
    """ITU-R 601 luma of (B, 3, H, W): (B, 1, H, W)."""
    return 0.299 * pixels[:, 0:1] + 0.587 * pixels[:, 1:2] + 0.114 * pixels[:, 2:3]
