"""A picture of the bins of a run: what easy, middle and hard poses look like.

The scores are those of the run: of source training poses by its own Pose VAE, whose bins it trains
on, and of target validation poses by the reference Pose VAE, behind ``pck_bin/*``.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.config import TrialConfig
from trainables.data.domain import image_request
from trainables.data.image_store import ImageStore, open_image_store
from trainables.data.prepared import prepared_store
from trainables.data.view import strip
from trainables.sampling.bins import assign_bins, difficulty_order
from trainables.stages.data_stages import read_scores


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
    for role, split, vae, num_bins in (
        ("source", "train", "pose_vae", trial.bins.count),
        ("target", "val", "pose_vae/reference", trial.evaluation.bin_count),
    ):
        if vae not in keys:  # a run that trains nothing but its own Pose VAE
            continue
        store = _store(root, trial, role, keys[f"images/{role}"])
        rows = store.splits[split]
        scores = read_scores(_folder(root, "pose_vae", keys[vae]), f"{role}/{split}")
        ids = [store.ids[row] for row in rows]
        order = difficulty_order(scores, ids)
        bin_index = assign_bins(scores, ids, num_bins)[order]
        for index in range(num_bins):
            members = order[bin_index == index]
            low, high = scores[members[0]], scores[members[-1]]
            place = {0: " (easiest)", num_bins - 1: " (hardest)"}.get(index, "")
            caption = (
                f"{role} {split}, bin {index:02d}{place}: {len(members):,} poses, "
                f"score {low:.3g} to {high:.3g}"
            )
            strips.append(strip(store, rows[members], caption, columns, 1, zoom_px))
    return np.vstack(strips)


def _store(root: Path, trial: TrialConfig, role: str, key: str) -> ImageStore:
    prepared = prepared_store(trial.data.of(role)[0], image_request(trial, role, 1))
    return prepared or open_image_store(_folder(root, "images", key))


def _folder(root: Path, stage: str, key: str) -> Path:
    folder = root / stage / key
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not in the cache any more; run the study again")
    return folder
