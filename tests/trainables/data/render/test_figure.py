"""Drawn figures: labels on the flesh, hidden joints, clothes, framing."""

import numpy as np
import pytest
import torch

from trainables.data.render.body_prior import sample_body_poses
from trainables.data.render.figure import HAND, PERSON, draw_figures
from trainables.data.render.rendered import LOOKS

SIZE = 96


def drawn(figure, num=60, complexity=0.5, size=SIZE):
    rng = np.random.default_rng(0)
    joints = figure.sample_poses(rng, np.full(num, complexity), np.full(num, 1.0))
    return draw_figures(figure, joints, size, np.ones((num, 2)), LOOKS["people_clean"], rng)


def cover_at(pictures, points):
    """Share of the pixel under each of (B, K, 2) points that the figure covers."""
    x, y = points.round().long().clamp(0, pictures.cover.shape[-1] - 1).unbind(-1)
    return pictures.cover[torch.arange(len(x))[:, None], 0, y, x]


@pytest.mark.parametrize("figure", [PERSON, HAND])
def test_joints_lie_on_the_figure_and_mirrored_ones_do_not(figure):
    pictures = drawn(figure)
    # A fingertip is the outermost point of its finger.
    assert (cover_at(pictures, pictures.keypoints_px) > 0.2).float().mean() > 0.98
    mirrored = pictures.keypoints_px.clone()
    mirrored[..., 0] = SIZE - 1 - mirrored[..., 0]
    assert (cover_at(pictures, mirrored) > 0.5).float().mean() < 0.6


def test_wrists_lie_in_the_middle_of_a_thin_limb():
    pictures = drawn(PERSON, size=192)
    elbow, wrist = pictures.keypoints_px[:, [11, 14]], pictures.keypoints_px[:, [10, 15]]
    along = wrist - elbow
    long = along.norm(dim=-1) > 20  # seen from the side, not from its end
    across = torch.nn.functional.normalize(along.flip(-1) * torch.tensor([1.0, -1.0]), dim=-1)
    assert (cover_at(pictures, wrist)[long] > 0.5).float().mean() > 0.98
    for side in (-1, 1):
        beside = cover_at(pictures, wrist + side * 9 * across)[long]
        assert (beside < 0.5).float().mean() > 0.7


def test_an_arm_behind_the_back_is_hidden_and_one_in_front_is_not():
    joints = sample_body_poses(np.random.default_rng(0), np.zeros(2), np.zeros(2))
    for row, depth in ((0, 0.35), (1, -0.35)):  # away from the camera, towards it
        middle = (joints[row, 6] + joints[row, 7]) / 2
        joints[row, 10] = middle + (0, 0, depth)
        joints[row, 11] = (joints[row, 12] + joints[row, 10]) / 2 + (-0.05, 0, depth)
    look = LOOKS["people_clean"]
    hidden = draw_figures(
        PERSON, joints, SIZE, np.ones((len(joints), 2)), look, np.random.default_rng(0)
    ).hidden
    assert hidden[:, 10].tolist() == [True, False]


def test_standing_people_hide_none_of_their_joints():
    joints = sample_body_poses(np.random.default_rng(0), np.zeros(40), np.zeros(40))
    look = LOOKS["people_clean"]
    hidden = draw_figures(
        PERSON, joints, SIZE, np.ones((len(joints), 2)), look, np.random.default_rng(1)
    ).hidden
    assert hidden.float().mean() < 0.02


def test_the_joints_fill_the_share_of_the_frame_that_the_look_asks_for():
    box = drawn(PERSON, num=200).keypoints_px
    share = (box.amax(1) - box.amin(1)).amax(1) / SIZE
    low, high = LOOKS["people_clean"].figure_share
    assert low - 1e-4 < share.min()
    assert share.max() < high + 1e-4
    assert share.std() > 0.03


def test_people_differ_in_their_clothes():
    pictures = drawn(PERSON, num=100)
    chest = pictures.keypoints_px[:, 7].round().long()
    colour = pictures.colour[torch.arange(100), :, chest[:, 1], chest[:, 0]]
    assert (colour.std(0) > 0.12).all()
