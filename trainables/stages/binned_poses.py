"""The poses of a run in bins of difficulty, as its training and its evaluation saw them.

The scores are those of the run: of source training poses by its own Pose VAE, whose bins it trains
on, and of target validation poses by the reference Pose VAE, behind ``pck_bin/*``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainables.config import TrialConfig
from trainables.data.domain import image_request
from trainables.data.image_store import ImageStore, open_image_store
from trainables.data.prepared import prepared_store
from trainables.sampling.bins import assign_bins, difficulty_order
from trainables.stages.data_stages import prepared_key, read_scores

Role = Literal["source", "target"]
SPLITS: dict[Role, str] = {"source": "train", "target": "val"}
"""The split of each domain that is in bins."""
SCORED_BY: dict[Role, str] = {"source": "pose_vae", "target": "pose_vae/reference"}
"""The stage that scores it."""


@dataclass(frozen=True)
class BinnedPoses:
    """N poses of one split, their scores and bins.

    Attributes:
        role: ``source`` or ``target``.
        store: The domain's images and poses.
        rows: (N,) rows of the store.
        scores: (N,) reconstruction errors, NaN where unscored.
        bins: (N,) bin from 0 (easiest), -1 where unscored.
        order: (M,) indices of the scored poses, easiest first; M <= N.
    """

    role: Role
    store: ImageStore
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    bins: NDArray[np.int64]
    order: NDArray[np.int64]

    @property
    def num_bins(self) -> int:
        """Number of bins."""
        return int(self.bins.max()) + 1

    @property
    def keypoints_px(self) -> NDArray[np.float32]:
        """(N, K, 2) poses in pixels, NaN where a joint is not visible."""
        return np.asarray(self.store.keypoints_px[self.rows])

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(N, K) visible joints."""
        return np.asarray(self.store.visible[self.rows])

    def members(self, index: int) -> NDArray[np.int64]:
        """Indices of the poses of a bin, easiest first."""
        found: NDArray[np.int64] = self.order[self.bins[self.order] == index]
        return found


def binned_poses(
    root: Path, trial: TrialConfig, keys: Mapping[str, str], role: Role
) -> BinnedPoses:
    """Read the poses of a domain and their bins back from the stage cache.

    Args:
        root: Folder of the stage cache.
        trial: Settings of the run.
        keys: Name of each of its stages to its key, see
            :attr:`trainables.stages.trial_stages.TrialStages.lineage`.
        role: Which domain.

    Raises:
        OSError, ValueError: If a stage is not in the cache any more, or damaged.
        KeyError: If the run has no such stage: one that trains nothing but a Pose VAE has no bins
            of the target.
    """
    key, split = keys[SCORED_BY[role]], SPLITS[role]
    store = _store(root, trial, role, keys[f"images/{role}"])
    rows = store.splits[split]
    scores = read_scores(_folder(root, "pose_vae", key), f"{role}/{split}")
    ids = [store.ids[row] for row in rows]
    num_bins = trial.bins.count if role == "source" else trial.evaluation.bin_count
    order = difficulty_order(scores, ids)
    return BinnedPoses(role, store, rows, scores, assign_bins(scores, ids, num_bins), order)


def _store(root: Path, trial: TrialConfig, role: str, key: str) -> ImageStore:
    prepared = prepared_store(trial.data.of(role)[0], image_request(trial, role, 1))
    if prepared is None:
        return open_image_store(_folder(root, "images", key))
    if prepared_key(prepared) != key:
        raise ValueError(f"{trial.data.of(role)[1]} holds other images than the run used")
    return prepared


def _folder(root: Path, stage: str, key: str) -> Path:
    folder = root / stage / key
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not in the cache any more; run the study again")
    return folder
