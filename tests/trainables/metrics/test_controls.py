"""Controls: predictions of nobody, and which readings of EvalPose tell them from a network."""

import math

import numpy as np
import pytest
import torch

from trainables.data.render.body_prior import sample_body_poses
from trainables.data.skeleton import BODY16, HAND21
from trainables.metrics.controls import control_predictions, mean_pose
from trainables.metrics.evalpose import evalpose_readings
from trainables.metrics.metric_keys import CONTROLS
from trainables.metrics.pck import pck_pooled

SIZE = 256
READINGS = ("printed", "cosines", "within_20", "unit_signed")


def test_the_mean_pose_is_over_the_poses_in_which_a_joint_is_visible():
    keypoints = torch.tensor([[[0.0, 2.0], [4.0, 4.0]], [[2.0, 6.0], [math.nan, math.nan]]])
    visible = torch.tensor([[True, True], [True, False]])
    assert mean_pose(keypoints, visible, 64).tolist() == [[1.0, 4.0], [4.0, 4.0]]
    nobody = torch.zeros(2, 2, dtype=torch.bool)
    assert mean_pose(keypoints, nobody, 65).tolist() == [[32.0, 32.0], [32.0, 32.0]]


def test_controls_of_a_pose_by_hand():
    true = torch.arange(32.0).view(1, 16, 2)
    visible = torch.ones(1, 16, dtype=torch.bool)
    visible[0, 0] = False
    true[0, 0] = math.nan
    constants = {
        "mean_pose": torch.full((16, 2), 7.0),
        "mean_target_pose": torch.full((16, 2), 9.0),
    }
    found = control_predictions(true, visible, constants, BODY16, 65)
    assert tuple(found) == CONTROLS
    assert all(predicted.isfinite().all() for predicted, _ in found.values())
    assert found["centre"][0][0, 3].tolist() == [32.0, 32.0]
    assert found["mean_pose"][0][0, 3].tolist() == [7.0, 7.0]
    assert found["mean_target_pose"][0][0, 3].tolist() == [9.0, 9.0]
    assert found["mirrored"][0][0, 3].tolist() == [64 - 6.0, 7.0]  # left hip
    assert found["swapped"][0][0, 3].tolist() == true[0, 2].tolist()  # right hip
    # The left ankle cannot be judged where the right one is unknown.
    assert not found["swapped"][1][0, 5]
    assert found["mirrored"][1][0, 5]
    assert visible[0, 5]


def test_a_hand_has_no_left_and_right_to_exchange():
    true = torch.zeros(1, 21, 2)
    visible = torch.ones(1, 21, dtype=torch.bool)
    assert "swapped" not in control_predictions(true, visible, {}, HAND21, 64)


@pytest.fixture(scope="module")
def scores():
    """EvalPose of the controls and of a network's likely errors, on 400 varied poses of people."""
    rng = np.random.default_rng(0)
    complexity, yaw = rng.uniform(0.6, 1.0, 400), np.full(400, math.pi)
    true = torch.from_numpy(sample_body_poses(rng, complexity, yaw)[..., :2]) * 100 + 128
    visible = torch.ones(400, 16, dtype=torch.bool)
    judged = control_predictions(
        true, visible, {"mean_pose": mean_pose(true, visible, SIZE)}, BODY16, SIZE
    )
    # A network with four of five joints right: small errors, exchanged sides, lost joints.
    seen = true + torch.from_numpy(rng.normal(0, 3, true.shape))
    is_swapped, is_lost = rng.random((400, 16)) < 0.07, rng.random((400, 16)) < 0.15
    seen = torch.where(torch.from_numpy(is_swapped)[..., None], seen[:, list(BODY16.mirror)], seen)
    lost = true + torch.from_numpy(rng.normal(0, 35, true.shape))
    judged["network"] = torch.where(torch.from_numpy(is_lost)[..., None], lost, seen), visible
    assert 75 < pck_pooled(judged["network"][0], true, visible, BODY16, SIZE).all < 90
    return {
        name: {
            variant: result.mean
            for variant, result in evalpose_readings(
                predicted, true, mask, BODY16, READINGS, min_limb_px=4.0
            ).items()
        }
        for name, (predicted, mask) in judged.items()
    }


@pytest.mark.parametrize(
    ("reading", "mistaken"),
    [
        ("printed", {"mean_pose", "mirrored", "swapped"}),
        ("cosines", {"mean_pose", "mirrored"}),
        ("within_20", {"mirrored"}),
        ("unit_signed", set()),
    ],
)
def test_which_controls_a_reading_takes_for_a_network(scores, reading, mistaken):
    network = scores["network"][reading]
    assert {
        name
        for name, values in scores.items()
        if name != "network" and values[reading] > network - 10
    } == mistaken


def test_a_collapsed_prediction_scores_nothing_in_any_reading(scores):
    assert set(scores["centre"].values()) == {0.0}
