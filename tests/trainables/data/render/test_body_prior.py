"""The body prior: anatomy, frame and the meaning of complexity."""

import numpy as np
import pytest

from trainables.data.render.body_prior import (
    FOREARM,
    HALF_HIPS,
    HALF_SHOULDERS,
    SHIN,
    THIGH,
    UPPER_ARM,
    sample_body_poses,
)

NUM = 400


def sample(complexity, yaw_limit=0.4, seed=0):
    rng = np.random.default_rng(seed)
    return sample_body_poses(rng, np.full(NUM, complexity), np.full(NUM, yaw_limit))


def length(joints, a, b):
    return np.linalg.norm(joints[:, a] - joints[:, b], axis=1)


@pytest.mark.parametrize("complexity", [0.0, 0.5, 1.0])
def test_poses_are_finite_at_every_complexity(complexity):
    joints = sample(complexity, yaw_limit=np.pi)
    assert joints.shape == (NUM, 16, 3)
    assert np.isfinite(joints).all()


@pytest.mark.parametrize("complexity", [0.0, 1.0])
@pytest.mark.parametrize(
    ("right", "left", "metres"),
    [
        ((1, 0), (4, 5), SHIN),
        ((2, 1), (3, 4), THIGH),
        ((11, 10), (14, 15), FOREARM),
        ((12, 11), (13, 14), UPPER_ARM),
        ((6, 2), (6, 3), HALF_HIPS),
        ((12, 13), (12, 13), 2 * HALF_SHOULDERS),
    ],
)
def test_bones_have_the_length_of_the_build_on_both_sides(complexity, right, left, metres):
    # Poses differ in build by at most 15 %; bending must not stretch a bone.
    joints = sample(complexity)
    ratio = length(joints, *right) / metres
    assert 0.85 - 1e-9 <= ratio.min() < 0.95
    assert 1.05 < ratio.max() <= 1.15 + 1e-9
    np.testing.assert_allclose(length(joints, *left), length(joints, *right), rtol=1e-9)


def test_the_same_generator_state_gives_the_same_poses():
    np.testing.assert_array_equal(sample(0.5, seed=3), sample(0.5, seed=3))
    assert not np.array_equal(sample(0.5, seed=3), sample(0.5, seed=4))


def test_simple_people_stand_upright_facing_the_camera():
    x, y, _ = np.moveaxis(sample(0.02), -1, 0)  # x right, y down
    assert (x[:, 12] < x[:, 13]).all()  # the right shoulder is on the left of the image
    assert (x[:, 2] < x[:, 3]).all()
    assert (y[:, 9] < y[:, 8]).all()  # head above neck
    assert (y[:, [10, 15]] > y[:, [12, 13]]).mean() > 0.95  # wrists below shoulders
    assert (y[:, [0, 5]] > y[:, [1, 4]]).all()  # ankles below knees


def test_people_who_may_turn_away_are_seen_from_behind_half_the_time():
    x = sample(0.02, yaw_limit=np.pi)[..., 0]
    assert 0.35 < (x[:, 12] > x[:, 13]).mean() < 0.65


def test_complexity_spreads_the_limbs():
    spread = [sample(c)[:, [0, 5, 10, 15]].std(axis=0).mean() for c in (0.0, 0.3, 0.6, 1.0)]
    assert spread == sorted(spread)
    assert spread[-1] > 2 * spread[0]


def test_simple_arms_hang_and_complex_arms_are_raised():
    def share_raised(complexity):
        joints = sample(complexity)
        return (joints[:, [10, 15], 1] < joints[:, [12, 13], 1]).mean()

    assert share_raised(0.0) < 0.05
    assert share_raised(1.0) > 0.25
