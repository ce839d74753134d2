"""Keypoints to heatmaps and back.

Pixels and cells are indexed by their centres: image coordinate x lies at heatmap coordinate
``(x + 0.5) / stride - 0.5``. The references use ``x / stride`` and rotate about another
point, which biases every warped map by up to one cell (measured in their code).
"""

import torch
from torch import Tensor

from trainables.data.frame import in_frame


def to_cells(keypoints_px: Tensor, stride: float) -> Tensor:
    """Image coordinates in pixels to heatmap coordinates in cells, same shape."""
    return (keypoints_px + 0.5) / stride - 0.5


def to_pixels(cells: Tensor, stride: float) -> Tensor:
    """Heatmap coordinates in cells to image coordinates in pixels, same shape."""
    return (cells + 0.5) * stride - 0.5


def default_sigma(heatmap_size: int) -> float:
    """Standard deviation of the target Gaussian in cells: 2 on the references' 64 x 64 maps."""
    return heatmap_size / 32


def gaussian_heatmaps(cells: Tensor, heatmap_size: int, sigma: float) -> Tensor:
    """Unnormalised Gaussians with peak 1, zero beyond three sigma on either axis.

    The window is separable, so a map is the outer product of two one-dimensional Gaussians;
    with whole cells and sigma 2 it equals the references' 13 x 13 look-up table.

    Args:
        cells: (..., 2) centres in cells. A centre outside the map gives the part of its Gaussian
            that reaches into the map, or an empty map.
        heatmap_size: Side H of the maps.
        sigma: Standard deviation in cells.

    Returns:
        (..., H, H) maps, rows are y.
    """
    grid = torch.arange(heatmap_size, device=cells.device, dtype=torch.float32)
    offset = grid - cells.unsqueeze(-1)  # (..., 2, H)
    line = torch.exp(offset.square() * (-0.5 / sigma**2))
    line = line * (offset.abs() <= 3 * sigma)
    return line[..., 1, :, None] * line[..., 0, None, :]


def heatmap_targets(
    keypoints_px: Tensor,
    visible: Tensor,
    image_size: int,
    heatmap_size: int,
    is_quantised: bool = False,
) -> tuple[Tensor, Tensor]:
    """Heatmap labels of a batch.

    Args:
        keypoints_px: (B, K, 2) pixel coordinates.
        visible: (B, K) bool.
        image_size: Side of the image in pixels.
        heatmap_size: Side H of the maps in cells.
        is_quantised: Whether to centre the Gaussians on whole cells, as the references do, instead
            of on the keypoint. The cell is x / stride + 0.5 without its fraction: the nearest one
            by the references' coordinates, not by this module's. A keypoint up to 1.5 strides
            outside the left or upper edge thus counts as lying on it.

    Returns:
        (B, K, H, H) maps and (B, K) float weights: 1, or 0 for joints that are invisible or whose
        nearest cell lies outside the map; the maps of these are meaningless.
    """
    stride = image_size / heatmap_size
    cells = (
        (keypoints_px / stride + 0.5).trunc() if is_quantised else to_cells(keypoints_px, stride)
    )
    inside = in_frame(cells, heatmap_size, heatmap_size)
    maps = gaussian_heatmaps(cells, heatmap_size, default_sigma(heatmap_size))
    return maps, (visible & inside).float()


def peak_cells(heatmaps: Tensor) -> Tensor:
    """Cell of the highest value of each map, ties to the first in row order.

    Args:
        heatmaps: (B, K, H, W).

    Returns:
        (B, K, 2) whole numbers as floats, x before y.
    """
    # Copied first: maps with the joints last in memory take five times as long to search.
    flat = heatmaps.detach().contiguous().flatten(2)
    if flat.is_cpu and flat.dtype == torch.float32:
        # NumPy's search is vectorised: 15 ms for 6,400 maps of 64 x 64 where PyTorch's takes 74.
        index = torch.from_numpy(flat.numpy().argmax(-1))
    else:
        index = flat.argmax(-1)
    width = heatmaps.shape[-1]
    return torch.stack([index % width, index // width], dim=-1).float()


def decode_keypoints(heatmaps: Tensor, image_size: int, *, is_quantised: bool = False) -> Tensor:
    """Decode (B, K, H, H) maps to keypoints (B, K, 2) in pixels.

    A keypoint lies a quarter of a cell from the centre of the highest cell, along each axis
    towards the higher one of its two neighbours (Newell et al. 2016, Stacked Hourglass Networks);
    at the edge of the map it is the centre.

    Differs from the references, which take the centre itself (``is_quantised``): a map whose
    highest value is not positive is decoded like any other; the references return (0, 0), although
    the sign of a logit has no meaning.
    """
    cells = peak_cells(heatmaps)
    if not is_quantised:
        cells = cells + 0.25 * _uphill(heatmaps, cells)
    return to_pixels(cells, image_size / heatmaps.shape[-1])


def _uphill(heatmaps: Tensor, cells: Tensor) -> Tensor:
    """Which neighbour of a cell is higher, along x and y: (B, K, 2) of -1, 0 (equal) and 1.

    0 where a cell has only one neighbour, at the edge of the map.
    """
    size = heatmaps.shape[-1]
    flat, (x, y) = heatmaps.flatten(2), cells.long().unbind(-1)
    inner_x, inner_y = x.clamp(1, size - 2), y.clamp(1, size - 2)

    def value(x: Tensor, y: Tensor) -> Tensor:
        return flat.gather(2, (y * size + x).unsqueeze(-1)).squeeze(-1)

    along_x = value(inner_x + 1, y) - value(inner_x - 1, y)
    along_y = value(x, inner_y + 1) - value(x, inner_y - 1)
    signs = [along_x.sign() * (inner_x == x), along_y.sign() * (inner_y == y)]
    return torch.stack(signs, dim=-1)
