"""Scores of keypoints by a frozen Pose VAE."""

import numpy as np
import pytest
import torch

from tests.reference.synthetic_poses import body_poses, fit, new_model
from trainables.data.skeleton import BODY16
from trainables.pose_vae.model import PoseVAE
from trainables.pose_vae.pose_scorer import PoseScorer


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


ALL = np.ones(16, dtype=bool)


@pytest.fixture(scope="module")
def fitted():
    """A scorer of rendered people's poses."""
    poses, mask = body_poses(1000)
    model = new_model()
    fit(model, poses, mask, kl_weight=1e-4, epochs=40)
    return PoseScorer(model, ALL, "bbox", BODY16, 64)


def in_pixels(num, seed):
    return body_poses(num, seed)[0] * 50 + 32


def ranks(scores, among):
    return torch.searchsorted(among.sort().values, scores) / len(among)


@pytest.mark.parametrize("hidden", [[0, 5], [10, 15], [0, 1, 4, 5], [0, 1, 10, 11]])
def test_hiding_joints_does_not_move_the_rank_of_a_pose_on_average(fitted, hidden):
    keypoints = in_pixels(600, seed=5)
    visible = torch.ones(600, 16, dtype=torch.bool)
    visible[300:, hidden] = False
    complete = fitted.score(keypoints)
    moved = {
        "plain": ranks(fitted.score(keypoints, visible), complete) - ranks(complete, complete),
        "calibrated": ranks(fitted.calibrated(keypoints, visible), complete)
        - ranks(complete, complete),
    }
    assert (moved["calibrated"][:300] == 0).all()
    assert abs(float(moved["calibrated"][300:].mean())) < 0.04  # the two halves are samples
    if hidden == [0, 5]:
        assert float(moved["plain"][300:].mean()) > 0.1


def test_scores_of_complete_poses_and_the_order_of_incomplete_ones_stay(fitted):
    keypoints = in_pixels(400, seed=6)
    visible = torch.ones(400, 16, dtype=torch.bool)
    visible[200:, [0, 5]] = False
    visible[399, :9] = False  # too few are left
    plain, calibrated = fitted.score(keypoints, visible), fitted.calibrated(keypoints, visible)
    assert torch.equal(calibrated[:200], plain[:200])
    assert torch.equal(calibrated[200:399].argsort(), plain[200:399].argsort())
    assert calibrated.isnan().tolist() == plain.isnan().tolist() == [False] * 399 + [True]


def test_without_enough_complete_poses_scores_stay_as_they_are(fitted):
    keypoints = in_pixels(100, seed=7)
    visible = torch.ones(100, 16, dtype=torch.bool)
    visible[49:, 3] = False
    assert torch.equal(fitted.calibrated(keypoints, visible), fitted.score(keypoints, visible))
