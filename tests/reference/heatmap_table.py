"""RegDA's maps from a look-up table with one ground-truth map per cell: slow and obvious.

For correctness (separable Gaussians must equal it) and as the baseline of the speed
benchmark. At 64 x 64 cells the table takes 64 MiB.
"""

import torch


def ground_truth_table(heatmap_size, sigma):
    """Paint the map of every whole cell; returns (H, H, H, H) indexed ``[y, x]``.

    A map is exp(-d^2 / (2 sigma^2)) in a square window of floor(3 sigma) cells to either side,
    13 x 13 for sigma 2, cut at the border.
    """
    reach = int(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    square_distance = offsets[:, None] ** 2 + offsets[None, :] ** 2
    window = torch.exp(-square_distance / (2 * sigma**2)).float()
    table = torch.zeros((heatmap_size,) * 4)
    for y in range(heatmap_size):
        for x in range(heatmap_size):
            top, bottom = max(y - reach, 0), min(y + reach + 1, heatmap_size)
            left, right = max(x - reach, 0), min(x + reach + 1, heatmap_size)
            table[y, x, top:bottom, left:right] = window[
                top - y + reach : bottom - y + reach, left - x + reach : right - x + reach
            ]
    return table


def ground_truth_by_table(peaks, table):
    """Look up the maps of whole peaks (B, K, 2), x before y: (B, K, H, H)."""
    return table[peaks[..., 1].long(), peaks[..., 0].long()]


def ground_false_by_table(peaks, table):
    """Sum the other joints' maps joint by joint, clipped to [0, 1]: (B, K, H, H)."""
    truth = ground_truth_by_table(peaks, table)
    false = torch.zeros_like(truth)
    num_joints = truth.shape[1]
    for joint in range(num_joints):
        for other in range(num_joints):
            if other != joint:
                false[:, joint] += truth[:, other]
    return false.clamp(0, 1)
