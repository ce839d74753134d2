"""EvalPose: known angles and scores, invariances, validity of triplets, agreement with loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.reference.evalpose_loops import evalpose_loops
from trainables.data.skeleton import BODY16, HAND21, Skeleton
from trainables.metrics.evalpose import evalpose_readings, triplet_angles

VARIANTS = ("printed", "cosines", "within_20", "unit_signed", "unit_unsigned")
FANS = Skeleton(
    name="fans",  # four triplets that share no joint, so that each angle can be set alone
    joint_names=tuple(f"{joint}{i}" for i in range(4) for joint in "abc"),
    groups={"vertex": (1, 4, 7, 10)},
    all_joints=tuple(range(12)),
    triplets=((0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)),
    left_right=(),
    torso=(0, 0, 1, 1),
)
ALL_VISIBLE = torch.ones(1, 12, dtype=torch.bool)


def fans(degrees, limb_px=10.0):
    """One pose (1, 12, 2) whose signed triplet angles are the given degrees."""
    pose = []
    for i, angle in enumerate(degrees):
        b = np.array([30.0 * i, 20.0])
        towards = np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
        pose += [b + [limb_px, 0.0], b, b + limb_px * towards]
    return torch.tensor(np.array(pose)).unsqueeze(0)


def evalpose(predicted_px, keypoints_px, visible, skeleton, variant="printed", *, min_limb_px):
    """A single reading."""
    arguments = predicted_px, keypoints_px, visible, skeleton, (variant,)
    return evalpose_readings(*arguments, min_limb_px=min_limb_px)[variant]


def random_case(skeleton, num_poses, seed, visible_share=0.8):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 64, (num_poses, skeleton.num_joints, 2))
    predicted = keypoints + rng.normal(0, 6, keypoints.shape)
    visible = rng.random((num_poses, skeleton.num_joints)) < visible_share
    return predicted, keypoints, visible


def tensors(*arrays):
    return tuple(torch.from_numpy(array) for array in arrays)


@pytest.mark.parametrize(
    ("a", "c", "degrees"),
    [
        ((1.0, 0.0), (0.0, 1.0), 90.0),  # from x towards y, which points down
        ((0.0, 1.0), (1.0, 0.0), -90.0),
        ((2.0, 0.0), (-3.0, 0.0), 180.0),
        ((2.0, 0.0), (5.0, 0.0), 0.0),
        ((1.0, 0.0), (1.0, 1.0), 45.0),
        ((1.0, 0.0), (-1.0, -math.sqrt(3)), -120.0),
        ((0.0, 0.0), (1.0, 1.0), 0.0),  # a limb of length zero
    ],
)
def test_triplet_angles_are_signed_interior_angles(a, c, degrees):
    vertex = torch.tensor([7.0, -3.0])
    pose = (torch.tensor([a, (0.0, 0.0), c]) + vertex).unsqueeze(0)
    angles = triplet_angles(pose, ((0, 1, 2),))
    assert math.degrees(angles.signed_rad.item()) == pytest.approx(degrees, abs=1e-4)
    expected = min(math.hypot(*a), math.hypot(*c))
    assert angles.shorter_limb.item() == pytest.approx(expected, rel=1e-5)


def test_triplet_angles_read_nothing_back_from_the_device():
    poses = torch.zeros(2, 16, 2, device="meta")  # has no values, so that reading one raises
    assert triplet_angles(poses, BODY16.triplets).signed_rad.shape == (2, 14)


def test_small_angles_keep_their_precision():
    # arccos in single precision would give 0 here.
    pose = torch.tensor([[[1000.0, 0.0], [0.0, 0.0], [1000.0, 0.01]]])
    assert triplet_angles(pose, ((0, 1, 2),)).signed_rad.item() == pytest.approx(1e-5, rel=1e-4)


@pytest.mark.parametrize(
    ("true", "predicted", "variant", "expected"),
    [
        ((90, 90, 90, 90), (90, 90, 90, 90), "printed", 100.0),
        ((180, 180, 180, 180), (180, 180, 180, 180), "printed", 100.0),
        ((180, 180, 180, 180), (180, 180, 180, 180), "unit_signed", 100.0),
        # 90 against 180 in one of four: (3 + 2) / (2 sqrt 7), and cos 90 = 0.
        ((90, 90, 90, 90), (90, 90, 90, 180), "printed", 94.4911),
        ((90, 90, 90, 90), (90, 90, 90, 180), "unit_signed", 75.0),
        ((90, 90, 90, 90), (90, 90, 90, 180), "unit_unsigned", 75.0),
        # 180 against 0 in one of four: 3 / (sqrt 7 sqrt 3), and cos 180 = -1.
        ((90, 90, 90, 180), (90, 90, 90, 0), "printed", 65.4654),
        ((90, 90, 90, 180), (90, 90, 90, 0), "unit_signed", 50.0),
        # A joint bent to the other side is seen by the signed variant alone.
        ((90, 90, 90, 90), (90, 90, 90, -90), "printed", 100.0),
        ((90, 90, 90, 90), (90, 90, 90, -90), "unit_signed", 50.0),
        ((90, 90, 90, 90), (90, 90, 90, -90), "unit_unsigned", 100.0),
        # Two degrees across the seam at 180: (3 + cos 2) / 4.
        ((90, 90, 90, 179), (90, 90, 90, -179), "unit_signed", 99.98477),
        ((60, 60, 60, 60), (120, 120, 120, 120), "printed", 100.0),  # blind to a common factor
        ((60, 60, 60, 60), (120, 120, 120, 120), "unit_signed", 50.0),
        ((60, 60, 60, 60), (-120, -120, -120, -120), "unit_signed", -100.0),
        ((60, 60, 60, 60), (-120, -120, -120, -120), "unit_unsigned", 50.0),
        # A vector of angles that are all zero has no direction.
        ((90, 90, 90, 90), (0, 0, 0, 0), "printed", 0.0),
        # Cosines (1, 1, 0, -1) and (1, 0, 0, -1): 2 / sqrt 6.
        ((0, 0, 90, 180), (0, 90, 90, 180), "cosines", 81.6497),
        ((0, 0, 0, 60), (180, 180, 180, 120), "cosines", -100.0),
        ((60, 60, 60, 60), (-60, -60, -60, -60), "cosines", 100.0),  # blind to mirroring
        ((60, 60, 60, 60), (120, 120, 120, 120), "cosines", -100.0),
        ((30, 90, 120, 170), (49.9, 110.1, 100.1, -170), "within_20", 75.0),
        ((90, 90, 90, 90), (-90, -90, -90, -90), "within_20", 100.0),  # blind to mirroring
    ],
)
def test_scores_of_known_angles(true, predicted, variant, expected):
    result = evalpose(fans(predicted), fans(true), ALL_VISIBLE, FANS, variant, min_limb_px=1.0)
    assert result.mean == pytest.approx(expected, abs=1e-3)
    assert result.per_pose.tolist() == pytest.approx([expected], abs=1e-3)
    assert (result.num_scored, result.num_skipped) == (1, 0)
    assert (result.coverage, result.num_degenerate) == (1.0, 0)


def test_printed_is_the_default():
    predicted, true = fans((90, 90, 90, -90)), fans((90, 90, 90, 90))
    assert evalpose(predicted, true, ALL_VISIBLE, FANS, min_limb_px=1.0).mean == pytest.approx(100)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        # The lost one contributes 0: 3 * 90 * 90 / (90 sqrt 7 * 90 sqrt 3).
        ("printed", 65.4654),
        ("cosines", 0.0),  # cos 90 = 0 in the three others
        ("within_20", 75.0),  # 3 of 4
        ("unit_signed", 75.0),
        ("unit_unsigned", 75.0),
    ],
)
@pytest.mark.parametrize("end", [9, 11])
def test_a_predicted_limb_of_length_zero_stays_and_is_counted(variant, expected, end):
    true = fans((90, 90, 90, 180))
    predicted = true.clone()
    predicted[0, end] = predicted[0, 10]
    result = evalpose(predicted, true, ALL_VISIBLE, FANS, variant, min_limb_px=1.0)
    assert result.mean == pytest.approx(expected, abs=1e-3)
    assert (result.coverage, result.num_degenerate) == (1.0, 1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_prediction_collapsed_to_a_point_is_scored(variant):
    true = fans((90, 90, 90, 180))
    result = evalpose(torch.zeros_like(true), true, ALL_VISIBLE, FANS, variant, min_limb_px=1.0)
    assert (result.num_scored, result.num_degenerate) == (1, 4)
    assert result.mean == 0.0


@pytest.mark.parametrize("joint", [9, 10, 11])
def test_a_triplet_with_an_invisible_joint_does_not_count(joint):
    true, predicted = fans((90, 90, 90, 90)), fans((90, 90, 90, 0))
    visible = ALL_VISIBLE.clone()
    visible[0, joint] = False
    true[0, joint] = math.nan
    result = evalpose(predicted, true, visible, FANS, "unit_signed", min_limb_px=1.0)
    assert result.mean == pytest.approx(100.0)
    assert result.coverage == 0.75


@pytest.mark.parametrize(("min_limb_px", "expected"), [(4.0, 75.0), (4.001, 100.0)])
@pytest.mark.parametrize("end", [9, 11])
def test_a_true_limb_shorter_than_the_minimum_does_not_count(min_limb_px, expected, end):
    true, predicted = fans((90, 90, 90, 90)), fans((90, 90, 90, 0))
    true[0, end] = true[0, 10] + (true[0, end] - true[0, 10]).sign() * 4.0
    true[0, end] = true[0, end].round()
    result = evalpose(predicted, true, ALL_VISIBLE, FANS, "unit_signed", min_limb_px=min_limb_px)
    assert result.mean == pytest.approx(expected, abs=1e-3)


def test_predicted_limbs_may_be_shorter_than_the_minimum():
    true, predicted = fans((90, 90, 90, 90)), fans((90, 90, 90, 90), limb_px=0.5)
    result = evalpose(predicted, true, ALL_VISIBLE, FANS, min_limb_px=4.0)
    assert (result.coverage, result.num_degenerate) == (1.0, 0)


def test_an_image_with_two_valid_triplets_is_skipped_and_counted():
    true = fans((90, 90, 90, 90)).repeat(3, 1, 1)
    predicted = torch.cat([fans((90, 90, 90, 90)), fans((90, 90, 0, 0)), fans((0, 0, 0, 0))])
    predicted[2, 0] = predicted[2, 1]  # degenerate, but in a skipped image
    visible = ALL_VISIBLE.repeat(3, 1)
    visible[1, 11] = False  # three are left
    visible[2, [8, 11]] = False  # two are left
    result = evalpose(predicted, true, visible, FANS, "unit_signed", min_limb_px=1.0)
    expected = torch.tensor([100.0, 200 / 3, math.nan], dtype=torch.float64)
    torch.testing.assert_close(result.per_pose, expected, equal_nan=True)
    assert result.mean == pytest.approx(250 / 3)
    assert (result.num_scored, result.num_skipped, result.num_degenerate) == (2, 1, 0)
    assert result.coverage == pytest.approx(7 / 12)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("skeleton", [BODY16, HAND21], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-3)])
def test_evalpose_agrees_with_the_loops(variant, skeleton, dtype, tolerance):
    predicted, keypoints, visible = random_case(skeleton, 60, seed=4, visible_share=0.65)
    predicted = predicted.round()
    predicted[::7, :6] = 0.0  # lost joints decode to (0, 0): limbs of length zero
    keypoints[~visible] = np.nan
    with np.errstate(invalid="ignore"):
        expected = evalpose_loops(predicted, keypoints, visible, skeleton, variant, 4.0)
    assert expected["num_skipped"] > 0
    assert expected["num_degenerate"] > 0
    predicted_px, keypoints_px, mask = tensors(predicted, keypoints, visible)
    result = evalpose(
        predicted_px.to(dtype), keypoints_px.to(dtype), mask, skeleton, variant, min_limb_px=4.0
    )
    np.testing.assert_allclose(result.per_pose, expected["per_pose"], atol=tolerance)
    assert result.mean == pytest.approx(expected["mean"], abs=tolerance)
    for count in ("num_scored", "num_skipped", "num_degenerate"):
        assert getattr(result, count) == expected[count]
    assert result.coverage == pytest.approx(expected["coverage"])


def test_integer_predictions_of_a_decoder_are_taken():
    true = fans((90, 180, -90, 0)).round()
    for variant in VARIANTS:
        result = evalpose(true.long(), true, ALL_VISIBLE, FANS, variant, min_limb_px=1.0)
        assert result.mean == pytest.approx(100.0)


@given(
    seed=st.integers(0, 10_000),
    variant=st.sampled_from(VARIANTS),
    radians=st.floats(-math.pi, math.pi),
    scale=st.floats(0.1, 10.0),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
)
def test_rotation_scale_and_translation_change_nothing(seed, variant, radians, scale, shift):
    predicted, keypoints, visible = tensors(*random_case(BODY16, 3, seed, visible_share=1.1))
    rotation = torch.tensor(
        [[math.cos(radians), math.sin(radians)], [-math.sin(radians), math.cos(radians)]],
        dtype=torch.float64,
    )
    moved = scale * predicted @ rotation + torch.tensor(shift, dtype=torch.float64)
    before = evalpose(predicted, keypoints, visible, BODY16, variant, min_limb_px=1e-6)
    after = evalpose(moved, keypoints, visible, BODY16, variant, min_limb_px=1e-6)
    torch.testing.assert_close(after.per_pose, before.per_pose, atol=1e-5, rtol=0)


@given(seed=st.integers(0, 10_000))
def test_only_the_signed_variant_sees_a_mirrored_pose(seed):
    _, keypoints, visible = tensors(*random_case(BODY16, 3, seed, visible_share=1.1))
    mirrored = keypoints * torch.tensor([-1.0, 1.0], dtype=torch.float64)
    scores = {
        variant: evalpose(mirrored, keypoints, visible, BODY16, variant, min_limb_px=1e-6).per_pose
        for variant in VARIANTS
    }
    perfect = torch.full((3,), 100.0, dtype=torch.float64)
    for blind in set(VARIANTS) - {"unit_signed"}:
        torch.testing.assert_close(scores[blind], perfect)
    # Mirroring negates every angle, so the score is the mean of cos 2 theta.
    theta = triplet_angles(keypoints, BODY16.triplets).signed_rad
    torch.testing.assert_close(scores["unit_signed"], 100 * torch.cos(2 * theta).mean(dim=1))
    assert (scores["unit_signed"] < 95).all()


@given(seed=st.integers(0, 10_000), variant=st.sampled_from(VARIANTS))
def test_a_perfect_prediction_scores_100_and_nothing_scores_more(seed, variant):
    case = tensors(*random_case(HAND21, 3, seed, visible_share=1.1))
    predicted, keypoints, visible = case[0].float(), case[1].float(), case[2]
    perfect = evalpose(keypoints, keypoints, visible, HAND21, variant, min_limb_px=1e-6)
    torch.testing.assert_close(perfect.per_pose, torch.full((3,), 100.0))
    assert perfect.per_pose.max() <= 100.0
    other = evalpose(predicted, keypoints, visible, HAND21, variant, min_limb_px=1e-6)
    lowest = 0.0 if variant in ("printed", "within_20") else -100.0
    assert ((other.per_pose >= lowest) & (other.per_pose <= 100.0)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"variant": "signed"},
            "variant must be one of printed, cosines, within_20, unit_signed, unit_unsigned, got",
        ),
        ({"min_limb_px": 0.0}, "min_limb_px must be > 0, got 0.0"),
        ({"min_limb_px": math.nan}, "min_limb_px must be > 0, got nan"),
        ({"visible": torch.zeros(1, 12, dtype=torch.bool)}, "got none in 1 images"),
        ({"min_limb_px": 11.0}, "needs an image with 3 valid triplets"),
        ({"visible": torch.ones(1, 12)}, "visible must be"),
        ({"predicted_px": torch.zeros(1, 11, 2)}, "keypoints_px must have shape"),
        ({"skeleton": BODY16}, "16 joints of body16"),
        ({"predicted_px": torch.full((1, 12, 2), math.nan)}, "finite, got 24"),
        ({"keypoints_px": torch.full((1, 12, 2), math.inf)}, "finite, got 24"),
    ],
)
def test_evalpose_refuses_wrong_input(change, message):
    arguments = {
        "predicted_px": fans((90, 90, 90, 90)),
        "keypoints_px": fans((90, 90, 90, 90)),
        "visible": ALL_VISIBLE,
        "skeleton": FANS,
        "min_limb_px": 1.0,
    }
    with pytest.raises(ValueError, match=message):
        evalpose(**(arguments | change))


def test_evalpose_refuses_an_empty_set():
    empty = torch.zeros(0, 12, 2)
    with pytest.raises(ValueError, match="got none in 0 images"):
        evalpose(empty, empty, torch.zeros(0, 12, dtype=torch.bool), FANS, min_limb_px=1.0)
