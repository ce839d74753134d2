"""A picture of the bins of a run: what easy, middle and hard poses look like.

See :mod:`trainables.stages.binned_poses` for whose scores these are.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.config import TrialConfig
from trainables.data.view import strip
from trainables.stages.binned_poses import SCORED_BY, SPLITS, binned_poses


def bin_sheet(
    root: Path, trial: TrialConfig, keys: Mapping[str, str], columns: int, zoom_px: int
) -> NDArray[np.uint8]:
    """Draw a row of images for each bin, in it from the easiest to the hardest pose.

    Args:
        root: Folder of the stage cache.
        trial: Settings of the run.
        keys: Name of each of its stages to its key, see
            :attr:`trainables.stages.trial_stages.TrialStages.lineage`.
        columns: Images of each bin.
        zoom_px: Side at which an image is drawn.

    Returns:
        (H, W, 3) uint8 in OpenCV's order: blue, green, red.

    Raises:
        OSError, ValueError: If a stage is not in the cache any more, or damaged.
    """
    strips = []
    for role, split in SPLITS.items():
        if SCORED_BY[role] not in keys:  # a run that trains nothing but its own Pose VAE
            continue
        poses = binned_poses(root, trial, keys, role)
        for index in range(poses.num_bins):
            members = poses.members(index)
            low, high = poses.scores[members[0]], poses.scores[members[-1]]
            place = {0: " (easiest)", poses.num_bins - 1: " (hardest)"}.get(index, "")
            caption = (
                f"{role} {split}, bin {index:02d}{place}: {len(members):,} poses, "
                f"score {low:.3g} to {high:.3g}"
            )
            strips.append(strip(poses.store, poses.rows[members], caption, columns, 1, zoom_px))
    return np.vstack(strips)
