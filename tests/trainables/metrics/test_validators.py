"""Validators of maps and predictions: known values, extremes, invariances, degenerate input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.augment import warp_keypoints
from trainables.data.skeleton import BODY16, HAND21, Skeleton
from trainables.metrics.validators import (
    agreement,
    batch_nuclear_norm,
    confidence,
    equivariance,
    information_maximisation,
    map_probabilities,
)

TOY = Skeleton(
    name="toy",
    joint_names=("left", "right", "middle"),
    groups={"sides": (0, 1)},
    all_joints=(0, 1),
    triplets=((0, 2, 1),),
    left_right=((0, 1),),
    torso=(0, 1, 2, 2),
)
SIZE = 100  # a keypoint agrees within 5 px
IDENTITY = torch.eye(2, 3)
MIRROR = torch.tensor([[-1.0, 0.0, SIZE - 1.0], [0.0, 1.0, 0.0]])


def one_hot_maps(cells, size=4, value=1.0):
    """(B, 1, size, size) maps that are ``value`` at a flat cell and 0 elsewhere."""
    maps = torch.zeros(len(cells), 1, size * size)
    maps[torch.arange(len(cells)), 0, torch.tensor(cells)] = value
    return maps.view(-1, 1, size, size)


def random_logits(seed, shape=(5, 3, 8, 8)):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 3, shape)).float()


def test_probabilities_of_logits_are_their_softmax():
    logits = torch.tensor([[[[0.0, math.log(2)], [math.log(3), math.log(4)]]]])
    expected = torch.tensor([[[[0.1, 0.2], [0.3, 0.4]]]])
    torch.testing.assert_close(map_probabilities(logits, "kl"), expected)
    torch.testing.assert_close(map_probabilities(logits + 70, "kl"), expected)


def test_probabilities_of_regressed_maps_are_their_positive_part():
    maps = torch.tensor([[[[-1.0, 0.2], [0.6, 0.0]], [[-1.0, -2.0], [0.0, -1.0]]]])
    expected = torch.tensor([[[[0.0, 0.25], [0.75, 0.0]], [[0.25, 0.25], [0.25, 0.25]]]])
    torch.testing.assert_close(map_probabilities(maps, "mse"), expected)


@pytest.mark.parametrize("loss", ["kl", "mse"])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e30])
def test_probabilities_are_distributions_whatever_the_maps(loss, scale):
    p = map_probabilities(random_logits(0) * scale, loss)
    assert (p >= 0).all()
    torch.testing.assert_close(p.sum((2, 3)), torch.ones(5, 3))


def test_confidence_of_logits_is_one_less_the_share_of_the_entropy():
    uniform = torch.full((2, 1, 4, 4), 7.0)
    assert confidence(uniform, "kl") == pytest.approx(0, abs=1e-6)
    assert confidence(one_hot_maps([3, 9], value=100.0), "kl") == pytest.approx(1)
    # Two of four cells: ln 2 of ln 4.
    halves = torch.tensor([[[[50.0, 50.0], [0.0, 0.0]]]])
    assert confidence(halves, "kl") == pytest.approx(0.5)
    both = torch.cat([halves, torch.zeros(1, 1, 2, 2)])
    assert confidence(both, "kl") == pytest.approx(0.25)  # mean of 0.5 and 0


def test_confidence_of_regressed_maps_is_the_mean_peak():
    maps = one_hot_maps([0, 1, 2, 3]) * torch.tensor([0.5, 1.0, 1.5, -2.0]).view(4, 1, 1, 1)
    maps[3] -= 1  # a map that is nowhere positive
    assert confidence(maps, "mse") == pytest.approx((0.5 + 1 + 1 + 0) / 4)


def test_confidence_of_a_single_cell_is_complete():
    assert confidence(torch.zeros(2, 1, 1, 1), "kl") == 1.0


def test_information_is_the_logarithm_of_equally_used_places():
    # Four images at four places, twice: ln 4 nats, however often each is taken.
    maps = one_hot_maps([0, 1, 2, 3])
    assert information_maximisation(maps) == pytest.approx(math.log(4))
    assert information_maximisation(maps.repeat(2, 1, 1, 1)) == pytest.approx(math.log(4))


def test_information_of_unequal_places_is_the_entropy_of_their_shares():
    # Three of four images at one place: H(3/4, 1/4).
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert information_maximisation(one_hot_maps([5, 5, 5, 6])) == pytest.approx(expected)


@pytest.mark.parametrize(
    "maps",
    [one_hot_maps([7] * 4), torch.full((4, 1, 4, 4), 1 / 16), one_hot_maps([7])],
    ids=["collapsed", "uniform", "single"],
)
def test_maps_that_do_not_differ_between_images_carry_no_information(maps):
    assert information_maximisation(maps) == pytest.approx(0, abs=1e-6)


def test_information_is_averaged_over_joints():
    maps = torch.cat([one_hot_maps([0, 1, 2, 3]), one_hot_maps([7] * 4)], dim=1)
    assert information_maximisation(maps) == pytest.approx(math.log(4) / 2)


def test_places_within_a_pooled_cell_are_one_place():
    # 32 x 32 maps are pooled to 16 x 16: cells 0 and 1 of a row are one, 2 is another.
    same, different = one_hot_maps([0, 1], size=32), one_hot_maps([0, 2], size=32)
    assert information_maximisation(same) == 0
    assert information_maximisation(different) == pytest.approx(math.log(2))


def test_maps_that_sixteen_does_not_divide_are_pooled_by_the_next_divisor():
    # 24 x 24 maps are pooled to 12 x 12: again two by two.
    same, different = one_hot_maps([0, 1], size=24), one_hot_maps([1, 2], size=24)
    assert information_maximisation(same) == 0
    assert information_maximisation(different) == pytest.approx(math.log(2))


def test_nuclear_norm_of_hand_made_batches():
    # C = 16 cells. All cells used equally often: 1. One place: 1 / 4. Uniform: 1 / 16.
    everywhere = one_hot_maps(list(range(16)))
    assert batch_nuclear_norm(everywhere) == pytest.approx(1)
    assert batch_nuclear_norm(everywhere.repeat(3, 1, 1, 1)) == pytest.approx(1)
    assert batch_nuclear_norm(one_hot_maps([7] * 5)) == pytest.approx(1 / 4)
    assert batch_nuclear_norm(torch.full((5, 1, 4, 4), 1 / 16)) == pytest.approx(1 / 16)
    # Fewer images than cells: four different places give 4 / sqrt(4 * 16).
    assert batch_nuclear_norm(one_hot_maps([0, 1, 2, 3])) == pytest.approx(0.5)


def test_nuclear_norm_is_averaged_over_joints():
    maps = torch.cat([one_hot_maps(list(range(16))), one_hot_maps([7] * 16)], dim=1)
    assert batch_nuclear_norm(maps) == pytest.approx((1 + 1 / 4) / 2)


@given(st.integers(0, 10_000), st.sampled_from(["kl", "mse"]))
def test_map_validators_stay_in_range_and_do_not_depend_on_the_order(seed, loss):
    logits = random_logits(seed)
    p = map_probabilities(logits, loss)
    images, joints = torch.randperm(5, generator=torch.Generator().manual_seed(seed)), [2, 0, 1]
    shuffled = p[images][:, joints]
    assert 0 <= confidence(logits, loss) <= 1
    assert 0 <= information_maximisation(p) <= math.log(5) + 1e-6
    assert 0 < batch_nuclear_norm(p) <= math.sqrt(5 / 64) + 1e-6
    for validator in (information_maximisation, batch_nuclear_norm):
        assert validator(shuffled) == pytest.approx(validator(p), rel=1e-4)
    # Nor on where in the image everything happens.
    for validator in (information_maximisation, batch_nuclear_norm):
        assert validator(p.flip(3)) == pytest.approx(validator(p), rel=1e-4)


@pytest.mark.parametrize("validator", [information_maximisation, batch_nuclear_norm])
@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (torch.zeros(0, 3, 4, 4), "not empty"),
        (torch.zeros(2, 3, 4), r"\(B, K, H, H\)"),
        (torch.zeros(2, 3, 4, 5), r"\(B, K, H, H\)"),
        (torch.full((1, 1, 2, 2), math.nan), "finite, got 4"),
    ],
)
def test_maps_that_are_none_are_refused(validator, maps, message):
    with pytest.raises(ValueError, match=message):
        validator(maps)
    for loss in ("kl", "mse"):
        for function in (map_probabilities, confidence):
            with pytest.raises(ValueError, match=message):
                function(maps, loss)


@pytest.mark.parametrize("function", [map_probabilities, confidence])
def test_an_unknown_loss_is_refused(function):
    with pytest.raises(ValueError, match="loss must be kl or mse, got 'l1'"):
        function(torch.zeros(1, 1, 2, 2), "l1")


def poses(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def test_agreement_is_the_pck_of_one_prediction_with_the_other():
    first = poses([[10, 10], [50, 50], [90, 90]], [[20, 20], [60, 60], [0, 0]])
    second = first + torch.tensor([[[4.9, 0], [5, 0], [99, 0]], [[0, 0], [3, 3], [99, 0]]])
    # left: 2 of 2 within 5 px; right: 1 of 2; the middle is not of the joints behind "All".
    assert agreement(first, second, TOY, SIZE) == pytest.approx(75)
    assert agreement(second, first, TOY, SIZE) == pytest.approx(75)
    assert agreement(first, first, TOY, SIZE) == 100
    counted = torch.tensor([[True, False, True], [True, True, True]])
    assert agreement(first, second, TOY, SIZE, counted) == 100


def test_agreement_on_nothing_is_none():
    pose = poses([[10, 10], [50, 50], [90, 90]])
    only_middle = torch.tensor([[False, False, True]])
    assert agreement(pose, pose, TOY, SIZE, only_middle) == 0


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (torch.zeros(0, 3, 2), torch.zeros(0, 3, 2), "at least one pose"),
        (torch.zeros(1, 3, 2), torch.zeros(2, 3, 2), "keypoints_px must have shape"),
        (torch.full((1, 3, 2), math.nan), torch.zeros(1, 3, 2), "finite"),
    ],
)
def test_agreement_refuses_wrong_input(first, second, message):
    with pytest.raises(ValueError, match=message):
        agreement(first, second, TOY, SIZE)


def turn(degrees, scale=1.0):
    """A rotation about the image's centre with a scaling."""
    angle, middle = math.radians(degrees), torch.full((2, 1), (SIZE - 1) / 2)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = torch.tensor([[cos, -sin], [sin, cos]])
    return torch.cat([linear, middle - linear @ middle], dim=1)


@pytest.mark.parametrize("warp", [IDENTITY, MIRROR, turn(30, 0.7), turn(-20, 1.2)])
def test_a_network_that_moves_with_its_image_is_equivariant(warp):
    predicted = poses([[30, 40], [60, 45], [50, 50]])
    matrix = warp.unsqueeze(0)
    moved = warp_keypoints(predicted, matrix)
    if warp is MIRROR:  # who turns to the other side has left and right exchanged
        moved = moved[:, [1, 0, 2]]
    assert equivariance(predicted, moved, matrix, TOY, SIZE) == 100


def test_a_mirrored_prediction_that_keeps_left_and_right_is_wrong():
    predicted = poses([[30, 40], [60, 45], [50, 50]])
    matrix = MIRROR.unsqueeze(0)
    kept = warp_keypoints(predicted, matrix)
    assert equivariance(predicted, kept, matrix, TOY, SIZE) == 0
    # A rotation together with a mirror is a mirror still.
    both = torch.cat([turn(10)[:, :2] @ MIRROR[:, :2], torch.full((2, 1), 50.0)], 1).unsqueeze(0)
    moved = warp_keypoints(predicted, both)
    assert equivariance(predicted, moved[:, [1, 0, 2]], both, TOY, SIZE) == 100


def test_a_mirrored_hand_keeps_its_joints():
    predicted = torch.rand((1, 21, 2), generator=torch.Generator().manual_seed(0)) * (SIZE - 1)
    matrix = MIRROR.unsqueeze(0)
    moved = warp_keypoints(predicted, matrix)
    assert equivariance(predicted, moved, matrix, HAND21, SIZE) == 100


def test_joints_that_leave_the_image_do_not_count():
    shift = torch.tensor([[[1.0, 0.0, 50.0], [0.0, 1.0, 0.0]]])
    predicted = poses([[49.4, 10], [49.6, 10], [0, 0]])  # to 99.4, inside, and to 99.6, outside
    on_warped = poses([[99.4, 10], [0, 0], [0, 0]])
    assert equivariance(predicted, on_warped, shift, TOY, SIZE) == 100
    nothing_left = predicted + torch.tensor([50.0, 0.0])
    assert equivariance(nothing_left, on_warped, shift, TOY, SIZE) == 0


def test_equivariance_without_a_warp_is_agreement():
    generator = torch.Generator().manual_seed(1)
    first = torch.rand((20, 16, 2), generator=generator) * (SIZE - 1)
    second = first + torch.randn((20, 16, 2), generator=generator) * 3
    matrix = IDENTITY.expand(20, 2, 3)
    expected = agreement(second, first, BODY16, SIZE)
    assert 0 < expected < 100
    assert equivariance(first, second, matrix, BODY16, SIZE) == pytest.approx(expected)
