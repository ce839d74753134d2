"""The mean similarity of all pairs, without going through all pairs."""

import itertools

import numpy as np
import pytest

from analysis.pose_similarity import bin_similarity, similarity_heatmap
from tests.reference.evalpose_loops import evalpose_loops
from trainables.data.skeleton import BODY16, HAND21

VARIANTS = ("printed", "cosines", "within_20", "unit_signed", "unit_unsigned")


def _poses(num, skeleton, seed):
    poses = np.random.default_rng(seed).uniform(0, 64, (num, skeleton.num_joints, 2))
    return poses.astype(np.float32), np.ones((num, skeleton.num_joints), bool)


def _pairs_one_by_one(poses, visible, first, second, skeleton, variant):
    pairs = [(i, j) for i, j in itertools.product(first, second) if i != j]
    rows, columns = np.array(pairs).T
    scored = evalpose_loops(poses[columns], poses[rows], visible[rows], skeleton, variant, 1e-3)
    return scored["mean"]


@pytest.mark.parametrize("skeleton", [BODY16, HAND21], ids=lambda s: s.name)
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_equals_the_mean_over_all_pairs_one_by_one(variant, skeleton):
    poses, visible = _poses(13, skeleton, seed=3)
    bins = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, -1])
    found = bin_similarity(poses, visible, bins, skeleton, 1e-3, variant)
    members = [np.flatnonzero(bins == index) for index in range(3)]
    expected = [
        [_pairs_one_by_one(poses, visible, a, b, skeleton, variant) for b in members]
        for a in members
    ]
    np.testing.assert_allclose(found.percent, expected, atol=1e-3)
    assert found.num_poses.tolist() == [4, 5, 3]


def test_a_pose_with_a_missing_joint_or_a_short_limb_is_left_out_and_counted():
    poses, visible = _poses(6, BODY16, seed=0)
    bins = np.array([0, 0, 0, 1, 1, 1])
    whole = bin_similarity(poses, visible, bins, BODY16, 1e-3)
    assert whole.num_left_out == 0
    visible[2, 9] = False  # the head, which two triplets need
    poses[2, 9] = np.nan
    poses[5, 0] = poses[5, 1] + 0.5  # an ankle beside its knee
    found = bin_similarity(poses, visible, bins, BODY16, 1.0)
    assert found.num_left_out == 2
    assert found.num_poses.tolist() == [2, 2]
    few = bin_similarity(poses[[0, 1, 3, 4]], visible[[0, 1, 3, 4]], bins[[0, 1, 3, 4]], BODY16, 1)
    np.testing.assert_allclose(found.percent, few.percent)


def test_a_single_pose_is_like_others_but_not_like_itself():
    poses, visible = _poses(3, BODY16, seed=1)
    found = bin_similarity(poses, visible, np.array([0, 1, 1]), BODY16, 1e-3)
    assert np.isnan(found.percent[0, 0])
    assert not np.isnan(found.percent[[0, 1, 1], [1, 0, 1]]).any()


def test_mirrored_poses_are_the_same_in_the_printed_reading_and_not_with_signs():
    poses, visible = _poses(1, BODY16, seed=2)
    both = np.concatenate([poses, poses * [-1, 1]]).astype(np.float32)
    bins, seen = np.array([0, 1]), np.concatenate([visible, visible])
    assert bin_similarity(both, seen, bins, BODY16, 1e-3).percent[0, 1] == pytest.approx(100)
    signed = bin_similarity(both, seen, bins, BODY16, 1e-3, "unit_signed").percent[0, 1]
    assert signed < 60


def test_poses_that_are_all_incomplete_are_refused():
    poses, visible = _poses(4, BODY16, seed=0)
    visible[:, 0] = False
    with pytest.raises(ValueError, match="no pose has all 14 triplets"):
        bin_similarity(poses, visible, np.zeros(4, int), BODY16, 1.0)


@pytest.mark.parametrize(("num_bins", "num_texts"), [(6, 36), (25, 0)])
def test_the_heatmap_writes_its_values_where_they_can_be_read(num_bins, num_texts):
    poses, visible = _poses(2 * num_bins, BODY16, seed=0)
    bins = np.arange(2 * num_bins) % num_bins
    figure = similarity_heatmap(bin_similarity(poses, visible, bins, BODY16, 1e-3))
    assert len(figure.axes[0].texts) == num_texts
    assert figure.axes[0].images[0].get_array().shape == (num_bins, num_bins)
