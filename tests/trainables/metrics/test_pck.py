"""PCK: known values, agreement with the loops, missing joints, the reference convention."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.reference.pck_loops import pck_loops, pck_ref_loops, per_bin_mean_loops
from trainables.data.skeleton import BODY16, HAND21, Skeleton
from trainables.metrics.pck import correct_keypoints, pck_pooled, pck_ref, per_bin_mean

TOY = Skeleton(
    name="toy",
    joint_names=("a", "b", "c", "d"),
    groups={"ab": (0, 1), "c": (2,)},
    all_joints=(0, 1, 2),  # d counts in per_joint and per_pose alone
    triplets=((0, 1, 2),),
    left_right=(),
    torso=(0, 0, 1, 1),
)

NO_POSES = {
    "predicted_px": torch.zeros(0, 4, 2),
    "keypoints_px": torch.zeros(0, 4, 2),
    "visible": torch.zeros(0, 4, dtype=torch.bool),
}


def random_case(skeleton, num_poses, seed, visible_share=0.7):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 64, (num_poses, skeleton.num_joints, 2))
    predicted = keypoints + rng.normal(0, 3, keypoints.shape)
    visible = rng.random((num_poses, skeleton.num_joints)) < visible_share
    return predicted, keypoints, visible


def tensors(*arrays):
    return tuple(torch.from_numpy(array) for array in arrays)


@pytest.mark.parametrize(
    ("offset", "image_size", "threshold", "expected"),
    [
        ((3.0, 4.0), 100, 0.05, False),  # exactly 5 px = 5 % of 100: the comparison is strict
        ((3.0, 3.9), 100, 0.05, True),  # 4.92 px
        ((0.0, -4.999), 100, 0.05, True),
        ((4.0, 4.0), 100, 0.05, False),  # 5.66 px: Euclidean distance, not per axis
        ((12.0, 0.0), 256, 0.05, True),  # 12.8 px
        ((12.0, 0.0), 128, 0.05, False),  # 6.4 px
        ((12.0, 0.0), 128, 0.1, True),  # 12.8 px
    ],
)
def test_a_keypoint_is_correct_within_the_threshold(offset, image_size, threshold, expected):
    keypoints = torch.full((1, 1, 2), 50.0)
    visible = torch.ones(1, 1, dtype=torch.bool)
    predicted = keypoints + torch.tensor(offset)
    result = correct_keypoints(predicted, keypoints, visible, image_size, threshold)
    assert result.item() is expected


def test_an_invisible_keypoint_is_never_correct():
    keypoints = torch.tensor([[[1.0, 1.0], [math.nan, math.nan]]])
    predicted = torch.ones(1, 2, 2)
    visible = torch.tensor([[False, False]])
    assert not correct_keypoints(predicted, keypoints, visible, 100).any()


def toy_errors(errors_px, visible):
    keypoints = torch.full((len(errors_px), 4, 2), 40.0)
    predicted = keypoints.clone()
    predicted[..., 0] += torch.tensor(errors_px)
    return predicted, keypoints, torch.tensor(visible, dtype=torch.bool)


def test_pooled_gives_hand_computed_values_with_invisible_joints():
    # Errors in px at a tolerance of 5 px; a: 2 of 3, b: 0 of 1, c: 3 of 3, d: 0 of 2.
    errors = [[0.0, 9.0, 0.0, 9.0], [9.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 9.0]]
    visible = [[1, 1, 1, 1], [1, 0, 1, 0], [1, 0, 1, 1]]
    result = pck_pooled(*toy_errors(errors, visible), TOY, image_size=100)
    torch.testing.assert_close(result.per_joint, torch.tensor([200 / 3, 0.0, 100.0, 0.0]))
    assert result.groups == pytest.approx({"ab": 100 / 3, "c": 100.0})
    # Mean over joints (66.67 + 0 + 100) / 3; pooling keypoints would give 5 / 7 = 71.4.
    assert result.all == pytest.approx(500 / 9)
    # Of 4, 2 and 3 visible joints 2, 1 and 2 are right; d counts like the others.
    torch.testing.assert_close(result.per_pose, torch.tensor([50.0, 50.0, 200 / 3]))
    assert result.num_visible == 9


def test_joints_groups_and_poses_without_a_visible_joint_are_nan_and_left_out():
    errors = [[0.0, 0.0, 0.0, 0.0], [9.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0] * 4]
    visible = [[1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    result = pck_pooled(*toy_errors(errors, visible), TOY, image_size=100)
    expected = torch.tensor([50.0, math.nan, math.nan, 100.0])
    torch.testing.assert_close(result.per_joint, expected, equal_nan=True)
    assert result.groups["ab"] == 50.0
    assert math.isnan(result.groups["c"])
    assert result.all == 50.0
    expected = torch.tensor([100.0, 0.0, 100.0, math.nan])  # the third pose shows only d
    torch.testing.assert_close(result.per_pose, expected, equal_nan=True)


def test_all_of_the_body_is_the_mean_of_the_six_groups_of_limbs_when_everything_is_visible():
    predicted, keypoints, visible = random_case(BODY16, 50, seed=1, visible_share=1.1)
    result = pck_pooled(*tensors(predicted, keypoints, visible), BODY16, image_size=64)
    assert 0 < result.all < 100
    limbs = [value for name, value in result.groups.items() if name != "head"]
    assert len(limbs) == 6
    assert result.all == pytest.approx(np.mean(limbs))


@pytest.mark.parametrize("skeleton", [BODY16, HAND21], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("visible_share", [0.02, 0.7, 1.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pooled_agrees_with_the_loops(skeleton, visible_share, dtype):
    predicted, keypoints, visible = random_case(skeleton, 40, 2, visible_share)
    keypoints[~visible] = np.nan
    expected = pck_loops(predicted, keypoints, visible, skeleton, 64)
    predicted_px, keypoints_px, mask = tensors(predicted, keypoints, visible)
    result = pck_pooled(predicted_px.to(dtype), keypoints_px.to(dtype), mask, skeleton, 64)
    np.testing.assert_allclose(result.per_joint, expected["per_joint"], rtol=1e-6)
    np.testing.assert_allclose(result.per_pose, expected["per_pose"], rtol=1e-6)
    assert result.groups == pytest.approx(expected["groups"], nan_ok=True)
    assert result.all == pytest.approx(expected["all"])
    assert result.num_visible == expected["num_visible"]


def test_integer_predictions_of_a_decoder_are_taken():
    predicted = torch.full((1, 4, 2), 8)
    keypoints = torch.full((1, 4, 2), 10.5)
    visible = torch.ones(1, 4, dtype=torch.bool)
    assert pck_pooled(predicted, keypoints, visible, TOY, image_size=100).all == 100.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predicted_px": torch.zeros(2, 4, 3)}, r"predicted_px must be \(N, K, 2\)"),
        ({"keypoints_px": torch.zeros(2, 3, 2)}, "keypoints_px must have shape"),
        ({"visible": torch.ones(2, 4)}, r"visible must be \(2, 4\) bool"),
        ({"visible": torch.zeros(2, 4, dtype=torch.bool)}, "needs a visible joint"),
        ({"visible": torch.tensor([[False] * 3 + [True]] * 2)}, "needs a visible joint"),
        ({"predicted_px": torch.full((2, 4, 2), math.nan)}, "finite, got 16"),
        ({"keypoints_px": torch.full((2, 4, 2), math.inf)}, "finite, got 16"),
        (NO_POSES, "got none in 0 poses"),
        ({"skeleton": BODY16}, "16 joints of body16"),
        ({"image_size": 0}, "image_size must be > 0, got 0"),
        ({"threshold": -0.1}, "threshold must be > 0, got -0.1"),
        ({"threshold": math.nan}, "threshold must be > 0"),
    ],
)
def test_pooled_refuses_wrong_input(change, message):
    arguments = {
        "predicted_px": torch.zeros(2, 4, 2),
        "keypoints_px": torch.zeros(2, 4, 2),
        "visible": torch.ones(2, 4, dtype=torch.bool),
        "skeleton": TOY,
        "image_size": 100,
    }
    with pytest.raises(ValueError, match=message):
        pck_pooled(**(arguments | change))


def heatmaps_at(cells, size=64):
    """Heatmaps with a single positive cell (x, y); all zero where the cell is None."""
    heatmaps = torch.zeros(len(cells), len(cells[0]), size, size)
    for n, row in enumerate(cells):
        for k, cell in enumerate(row):
            if cell is not None:
                heatmaps[n, k, cell[1], cell[0]] = 1.0
    return heatmaps


def test_ref_differs_from_pooled_as_documented():
    # Batches of 2 and 1. All predictions are right but b's in the first pose.
    true = [
        [(20, 20), (20, 20), (1, 30), (20, 20)],
        [(20, 20), None, (30, 1), (20, 20)],
        [(20, 20), None, (30, 30), (20, 20)],
    ]
    predicted = [row[:] for row in true]
    predicted[0][1] = (30, 20)
    result = pck_ref(heatmaps_at(predicted), heatmaps_at(true), 2, skeleton=TOY)
    # b: 0 % in the batch of 2, nowhere in the batch of 1. c: columns and rows 0 and 1 do not
    # count, so nowhere in the first batch, 100 % in the second.
    expected = [100.0, (2 * 0 - 100) / 3, (2 * -100 + 100) / 3, 100.0]
    torch.testing.assert_close(result.per_joint, torch.tensor(expected))
    assert result.groups == pytest.approx({"ab": 100 / 3, "c": -100 / 3}, abs=1e-4)
    assert result.all == pytest.approx(100 / 9, abs=1e-4)

    visible = torch.tensor([[cell is not None for cell in row] for row in true])
    true_px, predicted_px = (
        torch.tensor([[cell or (0, 0) for cell in row] for row in rows])
        for rows in (true, predicted)
    )
    pooled = pck_pooled(predicted_px, true_px, visible, TOY, image_size=64)
    torch.testing.assert_close(pooled.per_joint, torch.tensor([100.0, 0.0, 100.0, 100.0]))
    assert pooled.all == pytest.approx(200 / 3)


def test_ref_weights_batches_by_their_size_and_not_by_their_joints():
    # Joint a: right once of once in the first batch, wrong twice of twice in the second.
    true = [[(20, 20)] * 4, [None] + [(20, 20)] * 3] + [[(20, 20)] * 4] * 2
    predicted = [row[:] for row in true]
    predicted[2][0] = predicted[3][0] = (40, 20)
    result = pck_ref(heatmaps_at(predicted), heatmaps_at(true), 2, skeleton=TOY)
    assert result.per_joint[0] == 50.0  # pooled over the joints it would be 33.3


@pytest.mark.parametrize(("cell", "expected"), [((23, 20), 100.0), ((24, 20), 0.0)])
def test_ref_counts_within_three_point_two_cells_of_64(cell, expected):
    true = heatmaps_at([[(20, 20)] * 4])
    assert pck_ref(heatmaps_at([[cell] * 4]), true, skeleton=TOY).all == expected


def test_ref_decodes_a_map_without_a_positive_peak_to_the_corner():
    true = heatmaps_at([[(3, 2)] * 4])  # 3.6 cells from the corner
    negative = -torch.ones(1, 4, 64, 64)
    negative[0, :, 2, 3] = -0.5  # the peak is right, but not positive
    assert pck_ref(negative, true, skeleton=TOY).all == 0.0
    assert pck_ref(negative, true, skeleton=TOY, threshold=0.06).all == 100.0  # 3.84 cells


def test_ref_takes_the_first_of_equal_peaks():
    true = heatmaps_at([[(20, 20)] * 4])
    tied = heatmaps_at([[(20, 20)] * 4]) + heatmaps_at([[(5, 40)] * 4])
    assert pck_ref(tied, true, skeleton=TOY).all == 100.0
    assert pck_ref(tied.flip(2), true.flip(2), skeleton=TOY).all == 0.0


@pytest.mark.parametrize("batch_size", [1, 4, 7, 32])
def test_ref_agrees_with_the_loops(batch_size):
    rng = np.random.default_rng(3)
    true = rng.random((11, 16, 16, 16)).astype(np.float32)
    true[rng.random((11, 16)) < 0.4] = 0.0
    predicted = np.where(rng.random((11, 16, 1, 1)) < 0.5, true, rng.random(true.shape) - 0.5)
    predicted = predicted.astype(np.float32)
    per_joint, groups, mean = pck_ref_loops(predicted, true, batch_size, BODY16, threshold=0.2)
    result = pck_ref(*tensors(predicted, true), batch_size, skeleton=BODY16, threshold=0.2)
    np.testing.assert_allclose(result.per_joint, per_joint, atol=1e-4)
    assert result.groups == pytest.approx(groups, abs=1e-4)
    assert result.all == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize(
    ("shape_pred", "shape_true", "batch_size", "message"),
    [
        ((2, 3, 8, 8), (2, 3, 8, 8), 32, r"heatmaps must be \(N, 4, S, S\)"),
        ((2, 4, 8, 9), (2, 4, 8, 9), 32, "heatmaps must be"),
        ((2, 4, 8, 8), (1, 4, 8, 8), 32, "heatmaps must be"),
        ((2, 4, 8, 8), (2, 4, 8, 8), 0, "batch_size must be >= 1, got 0"),
        ((0, 4, 8, 8), (0, 4, 8, 8), 32, "got none in 0 poses"),
        ((2, 4, 8, 8), (2, 4, 8, 8), 32, "got none in 2 poses"),  # all zero: nothing counts
    ],
)
def test_ref_refuses_wrong_input(shape_pred, shape_true, batch_size, message):
    with pytest.raises(ValueError, match=message):
        pck_ref(torch.zeros(shape_pred), torch.zeros(shape_true), batch_size, skeleton=TOY)


def test_bin_means_leave_out_nan_and_give_nan_for_an_empty_bin():
    values = torch.tensor([10.0, 20.0, math.nan, 40.0, math.nan, 60.0])
    bin_index = torch.tensor([0, 0, 0, 3, 1, -1])  # -1: in no bin
    expected = torch.tensor([15.0, math.nan, math.nan, 40.0])
    torch.testing.assert_close(per_bin_mean(values, bin_index, 4), expected, equal_nan=True)


def test_bin_means_of_pck_weigh_poses_alike():
    # One pose with 1 of 1 right and one with 1 of 3: 66.7 by poses, 50 by keypoints.
    case = toy_errors([[0.0, 0.0, 0.0, 0.0], [0.0, 9.0, 9.0, 0.0]], [[1, 0, 0, 0], [1, 1, 1, 0]])
    result = pck_pooled(*case, TOY, image_size=100)
    means = per_bin_mean(result.per_pose, torch.tensor([0, 0]), 1)
    torch.testing.assert_close(means, torch.tensor([200 / 3]))


@given(st.integers(0, 10_000), st.integers(0, 30), st.integers(1, 8))
def test_bin_means_agree_with_the_loops(seed, num_poses, num_bins):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 100, num_poses)
    values[rng.random(num_poses) < 0.2] = np.nan
    bin_index = rng.integers(-1, num_bins, num_poses)
    means = per_bin_mean(*tensors(values, bin_index), num_bins)
    np.testing.assert_allclose(means, per_bin_mean_loops(values, bin_index, num_bins))


def test_marks_and_bin_means_read_nothing_back_from_the_device():
    poses = torch.zeros(2, 4, 2, device="meta")  # has no values, so that reading one raises
    correct = correct_keypoints(poses, poses, poses[..., 0].bool(), 100)
    means = per_bin_mean(correct.sum(dim=1) / 4, torch.zeros(2, device="meta").long(), 3)
    assert (correct.shape, means.shape) == ((2, 4), (3,))


@pytest.mark.parametrize(
    ("values", "bin_index", "num_bins", "message"),
    [
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), 0, "num_bins must be >= 1"),
        (torch.zeros(3, 1), torch.zeros(3, 1, dtype=torch.int64), 2, r"got \(3, 1\)"),
        (torch.zeros(3), torch.zeros(2, dtype=torch.int64), 2, r"got \(3,\) and \(2,\)"),
        (torch.zeros(3), torch.zeros(3), 2, "integers"),
    ],
)
def test_bin_means_refuse_wrong_input(values, bin_index, num_bins, message):
    with pytest.raises(ValueError, match=message):
        per_bin_mean(values, bin_index, num_bins)
