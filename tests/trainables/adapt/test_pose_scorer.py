"""Scores of keypoints by a frozen Pose VAE."""

import numpy as np
import torch

from trainables.adapt.validation import PoseScorer
from trainables.data.skeleton import BODY16
from trainables.pose_vae.model import PoseVAE


def test_a_scorer_reads_only_the_joints_it_knows_and_that_are_visible():
    keypoints = torch.rand((6, 16, 2), generator=torch.Generator().manual_seed(0)) * 31
    joints = np.isin(np.arange(16), [6, 7], invert=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        scorer = PoseScorer(PoseVAE(14, 3, 16), joints, "bbox", BODY16, image_size=32)
    scores = scorer.score(keypoints)
    assert scores.shape == (6,)
    assert (scores > 0).all()
    moved = keypoints.clone()
    moved[:, [6, 7]] += 100  # pelvis and thorax
    assert torch.equal(scorer.score(moved), scores)
    visible = torch.ones(6, 16, dtype=torch.bool)
    visible[0, 0] = visible[1, :8] = False  # 13 and 8 of the 14 joints are left
    visible[2, :9] = False  # 7 are left
    moved[0, 0] += 100
    moved[1, :8] += 100
    partial = scorer.score(moved, visible)
    expected = scorer.score(keypoints, visible)
    torch.testing.assert_close(partial, expected, rtol=0, atol=0, equal_nan=True)
    assert partial.isnan().tolist() == [False, False, True, False, False, False]
    assert torch.equal(partial[3:], scores[3:])
    # The box makes a pose's place and size no part of its score.
    torch.testing.assert_close(scorer.score(keypoints * 0.5 + 7), scores)


def test_torso_poses_without_their_torso_are_unscored():
    scorer = PoseScorer(PoseVAE(16, 3, 16), np.ones(16, dtype=bool), "root", BODY16, 32)
    keypoints = torch.rand((2, 16, 2), generator=torch.Generator().manual_seed(0)) * 31
    visible = torch.ones(2, 16, dtype=torch.bool)
    visible[1, 12] = False  # a shoulder
    assert scorer.score(keypoints, visible).isnan().tolist() == [False, True]
    assert not scorer.score(keypoints).isnan().any()
