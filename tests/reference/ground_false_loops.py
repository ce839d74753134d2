"""Ground-truth and ground-false maps from a look-up table of Gaussians, joint by joint.

For correctness (the separable maps must agree) and as the baseline of the speed benchmark. The
logits are copied to the host, decoded in numpy, and one map per joint is gathered from a table
that holds the map of every cell.
"""

import numpy as np
import torch


def gaussian_table(size, sigma):
    """Maps (size, size, size, size) of a Gaussian at each cell: [row, column] of its peak."""
    radius = int(3 * sigma)
    table = np.zeros((size, size, size, size), dtype=np.float32)
    for row in range(size):
        for column in range(size):
            for y in range(max(0, row - radius), min(size, row + radius + 1)):
                squares = (np.arange(size) - column) ** 2 + (y - row) ** 2
                line = np.exp(-squares / (2 * sigma**2))
                line[np.abs(np.arange(size) - column) > radius] = 0
                table[row, column, y] = line
    return table


def ground_truth_from_table(logits, table):
    """The table's map at the highest cell of each map of (B, K, H, H) logits."""
    host = logits.detach().cpu().numpy()
    peaks = host.reshape(*host.shape[:2], -1).argmax(-1)
    rows, columns = np.divmod(peaks, host.shape[-1])
    return torch.from_numpy(table[rows, columns]).to(logits.device)


def ground_false_by_joint(truth):
    """For each joint the sum of the other joints' maps, clipped to 1."""
    host = truth.cpu().numpy()
    false = np.zeros_like(host)
    for joint in range(host.shape[1]):
        for other in range(host.shape[1]):
            if other != joint:
                false[:, joint] += host[:, other]
    return torch.from_numpy(false.clip(0, 1)).to(truth.device)


def ground_false_by_dot(truth):
    """The same by a dot product along the joints, moved to the end, with ones off a diagonal."""
    host = truth.cpu().numpy()
    joints_last = np.dot(np.moveaxis(host, 1, -1), _off_diagonal(host.shape[1]))
    false = np.ascontiguousarray(np.moveaxis(joints_last.clip(0, 1), -1, 1))
    return torch.from_numpy(false).to(truth.device)


def ground_false_by_matmul(truth):
    """The same by one matrix product per image, with the joints left in place."""
    host = truth.cpu().numpy()
    false = _off_diagonal(host.shape[1]) @ host.reshape(*host.shape[:2], -1)
    return torch.from_numpy(false.clip(0, 1).reshape(host.shape)).to(truth.device)


def _off_diagonal(num_joints):
    return 1 - np.eye(num_joints, dtype=np.float32)
