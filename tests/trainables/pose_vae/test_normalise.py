"""Normalisation of poses: values by hand, invariances, missing joints."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.pose_vae.normalise import normalise_poses

TORSO = (0, 1, 2, 3)
NORMS = pytest.mark.parametrize("norm", ["bbox", "raw", "root"])


def normalise(points, visible=None, norm="bbox", image_size=64, torso=TORSO):
    keypoints = torch.tensor([points], dtype=torch.float32)
    mask = torch.ones(keypoints.shape[:2], dtype=torch.bool)
    if visible is not None:
        mask = torch.tensor([visible], dtype=torch.bool)
    return normalise_poses(keypoints, mask, norm, image_size, torso)[0]


def close(points, expected):
    torch.testing.assert_close(points, torch.tensor(expected), atol=1e-6, rtol=0)


def test_bbox_centres_the_box_and_divides_by_its_longer_side():
    # The box is 10..30 by 20..60, its centre (20, 40), its longer side 40.
    points = normalise([(10, 20), (30, 20), (20, 60)])
    close(points, [[-0.25, -0.5], [0.25, -0.5], [0.0, 0.5]])


def test_bbox_divides_by_the_width_of_a_wide_pose():
    close(normalise([(0, 10), (20, 20)]), [[-0.5, -0.25], [0.5, 0.25]])


def test_bbox_is_the_box_of_the_visible_joints():
    points = normalise([(10, 20), (500, -500), (30, 40)], visible=[True, False, True])
    close(points, [[-0.5, -0.5], [0.0, 0.0], [0.5, 0.5]])


def test_raw_divides_by_the_image_side():
    points = normalise([(32, 16), (64, 0), (8, 8)], [True, True, False], norm="raw")
    close(points, [[0.5, 0.25], [1.0, 0.0], [0.0, 0.0]])


def test_root_centres_the_mid_hip_and_divides_by_the_torso_length():
    # Hips at (10, 50) and (20, 50), shoulders at (10, 20) and (20, 20): mid hip (15, 50),
    # torso 30.
    points = normalise([(10, 50), (20, 50), (10, 20), (20, 20), (15, 5)], norm="root")
    close(points, [[-1 / 6, 0.0], [1 / 6, 0.0], [-1 / 6, -1.0], [1 / 6, -1.0], [0.0, -1.5]])


def test_root_takes_the_torso_from_the_joints_it_is_told():
    points = [(15, 5), (10, 20), (20, 20), (10, 50), (20, 50)]
    upright = normalise(points, norm="root", torso=(3, 4, 1, 2))
    close(upright[0], [0.0, -1.5])


def random_poses(seed, num=5):
    generator = torch.Generator().manual_seed(seed)
    keypoints = 64 * torch.rand((num, 16, 2), generator=generator)
    visible = torch.rand((num, 16), generator=generator) < 0.8
    visible[:, :4] = True
    return keypoints, visible


@pytest.mark.parametrize("norm", ["bbox", "root"])
@given(
    seed=st.integers(0, 1000),
    scale=st.floats(0.5, 20),
    shift=st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
)
def test_place_and_size_in_the_image_do_not_matter(norm, seed, scale, shift):
    keypoints, visible = random_poses(seed)
    # Short torsos amplify rounding; they are not what this is about.
    keypoints[:, 2:4, 1] += 100
    moved = keypoints * scale + torch.tensor(shift)
    first = normalise_poses(keypoints, visible, norm, 64, TORSO)
    second = normalise_poses(moved, visible, norm, 64, TORSO)
    torch.testing.assert_close(first, second, atol=1e-3, rtol=0)


@given(seed=st.integers(0, 1000))
def test_bbox_poses_span_exactly_one(seed):
    keypoints, visible = random_poses(seed)
    poses = normalise_poses(keypoints, visible, "bbox", 64, TORSO)
    assert poses.abs().max() <= 0.5 + 1e-5
    for pose, seen in zip(poses, visible, strict=True):
        side = (pose[seen].amax(0) - pose[seen].amin(0)).max()
        assert side.item() == pytest.approx(1.0, abs=1e-5)


def test_raw_keeps_place_and_size():
    keypoints, visible = random_poses(0)
    first = normalise_poses(keypoints, visible, "raw", 64, TORSO)
    assert not torch.allclose(normalise_poses(keypoints / 2, visible, "raw", 64, TORSO), first)


@NORMS
def test_invisible_joints_are_0_whatever_their_coordinates(norm):
    keypoints, visible = random_poses(1)
    reference = normalise_poses(keypoints, visible, norm, 64, TORSO)
    assert not reference[~visible].any()
    for garbage in (-1.0, 1e6, math.nan, math.inf):
        keypoints[~visible] = garbage
        again = normalise_poses(keypoints, visible, norm, 64, TORSO)
        assert torch.equal(again, reference)


@NORMS
def test_a_pose_without_visible_joints_is_0(norm):
    assert not normalise([(10, 20), (30, 20), (5, 5), (6, 6)], [False] * 4, norm).any()


@NORMS
def test_a_pose_in_one_point_stays_finite(norm):
    assert normalise([(10, 20)] * 4, norm=norm).isfinite().all()


@NORMS
def test_poses_of_a_batch_do_not_see_each_other(norm):
    keypoints, visible = random_poses(2)
    together = normalise_poses(keypoints, visible, norm, 64, TORSO)
    alone = normalise_poses(keypoints[2:3], visible[2:3], norm, 64, TORSO)
    torch.testing.assert_close(together[2:3], alone)


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="norm must be bbox, raw or root, got 'procrustes'"):
        normalise([(1, 2)], norm="procrustes")
