"""Difficulty scores of keypoints in pixels, comparable whichever joints are visible."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.skeleton import Skeleton
from trainables.pose_vae.model import PoseVAE
from trainables.pose_vae.normalise import pose_vae_inputs
from trainables.pose_vae.score import score_poses

MIN_COMPLETE = 50
"""Fewest complete poses (every joint visible) that suffice for a calibration."""
MAX_COMPLETE = 512
"""Most complete poses used; each set of visible joints takes one pass over them, 2 ms."""


@dataclass(frozen=True)
class PoseScorer:
    """Difficulty scores of keypoints by a frozen Pose VAE.

    Attributes:
        model: Fitted Pose VAE on the CPU.
        joints: (K,) bool, the joints of the skeleton that it covers.
        norm: Pose normalisation it was fitted with.
        skeleton: Joint order of the keypoints.
        image_size: Side of the images in pixels.
    """

    model: PoseVAE
    joints: NDArray[np.bool_]
    norm: str
    skeleton: Skeleton
    image_size: int

    def score(self, keypoints_px: Tensor, visible: Tensor | None = None) -> Tensor:
        """Equation (2) of poses in pixels.

        Args:
            keypoints_px: (N, K, 2) pixels on the CPU.
            visible: (N, K) bool; None for predictions, which have every joint.

        Returns:
            (N,) scores, larger for poses less like those the Pose VAE was fitted on; NaN for
            poses with too few visible joints.
        """
        if visible is None:
            visible = torch.ones(keypoints_px.shape[:2], dtype=torch.bool)
        joints = torch.from_numpy(self.joints)
        poses, mask = pose_vae_inputs(
            keypoints_px, visible, joints, self.norm, self.image_size, self.skeleton.torso
        )
        return score_poses(self.model, poses, mask)

    def calibrated(self, keypoints_px: Tensor, visible: Tensor) -> Tensor:
        """Scores of poses as if all of their joints were visible.

        A pose with hidden joints scores higher than the same pose with all joints: the box that
        scales it is smaller, and less is left to reconstruct it from. To correct this, the
        complete poses are scored a second time with the same joints hidden, and a score becomes
        the score of the same rank among those with all joints. On LSPET the change of rank by
        hidden ankles falls from +0.16 to -0.01.

        The complete poses are taken from the given poses, not from the source: if the target's
        poses are harder, the source's correct too much (-0.13, LSPET on ``people_clean``).

        Args:
            keypoints_px: (N, K, 2) pixels on the CPU.
            visible: (N, K) bool.

        Returns:
            (N,) scores, those of complete poses unchanged; NaN for poses with too few visible
            joints. With fewer than :data:`MIN_COMPLETE` complete poses, plain scores.
        """
        scores = self.score(keypoints_px, visible)
        joints = torch.from_numpy(self.joints)
        counted = visible & joints
        complete = keypoints_px[counted[:, joints].all(1)][:MAX_COMPLETE]
        if len(complete) < MIN_COMPLETE:
            return scores
        of_all = self._sorted_scores(complete, joints)
        shown, member = torch.unique(counted, dim=0, return_inverse=True)
        for index, mask in enumerate(shown):
            rows = member == index
            if not torch.equal(mask, joints) and not scores[rows].isnan().all():
                of_shown = self._sorted_scores(complete, mask)
                scores[rows] = _at_same_rank(scores[rows], of_shown, of_all)
        return scores

    def _sorted_scores(self, keypoints_px: Tensor, shown: Tensor) -> NDArray[np.float64]:
        scores = self.score(keypoints_px, shown.expand(keypoints_px.shape[:2]))
        return np.sort(scores.double().numpy())


def _at_same_rank(
    scores: Tensor, among: NDArray[np.float64], rank_in: NDArray[np.float64]
) -> Tensor:
    """Map scores from their rank in ``among`` to the value of that rank in ``rank_in``.

    Both arrays are sorted. Scores beyond either end are scaled like that end, which keeps their
    order.
    """
    values = scores.double().numpy()
    within = np.interp(values, among, rank_in)
    tiny = np.finfo(np.float64).tiny
    below = values * (rank_in[0] / max(among[0], tiny))
    above = values * (rank_in[-1] / max(among[-1], tiny))
    mapped = np.where(values < among[0], below, np.where(values > among[-1], above, within))
    return torch.from_numpy(mapped).to(scores)
