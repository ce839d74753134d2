"""Spatial KL, ground-truth and ground-false maps: hand-computed values and slow loops."""

import math

import numpy as np
import pytest
import torch

from tests.reference.ground_false_loops import (
    gaussian_table,
    ground_false_by_dot,
    ground_false_by_joint,
    ground_false_by_matmul,
    ground_truth_from_table,
)
from trainables.adapt.losses import (
    disparity,
    ground_false_maps,
    ground_truth_maps,
    heatmap_mse,
    spatial_kl,
    supervised_loss,
)


def spatial_kl_loops(logits, maps, weights, epsilon):
    total = 0.0
    num_images, num_joints, height, width = logits.shape
    for b in range(num_images):
        for k in range(num_joints):
            if weights[b, k] == 0:
                continue
            p, q = np.exp(logits[b, k]), maps[b, k] + epsilon
            p, q = p / p.sum(), q / q.sum()
            for y in range(height):
                for x in range(width):
                    if q[y, x] > 0:
                        total += weights[b, k] * q[y, x] * math.log(q[y, x] / p[y, x])
    return total / (num_images * num_joints)


def random_maps(seed, shape=(2, 3, 5, 4)):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    maps = torch.rand(shape, generator=generator, dtype=torch.float64)
    maps = maps * (maps > 0.4)  # some cells are exactly zero
    weights = torch.tensor([[1.0, 0.0, 1.0], [0.5, 2.0, 0.0]], dtype=torch.float64)
    return logits, maps, weights


def with_peaks(*cells, size=16):
    """Logits (1, K, size, size) whose maps peak at (column, row)."""
    logits = torch.zeros(1, len(cells), size, size)
    for joint, (column, row) in enumerate(cells):
        logits[0, joint, row, column] = 5.0
    return logits


@pytest.mark.parametrize("epsilon", [0.0, 1e-7, 0.1])
def test_spatial_kl_agrees_with_a_loop_over_pixels(epsilon):
    logits, maps, weights = random_maps(0)
    expected = spatial_kl_loops(logits.numpy(), maps.numpy(), weights.numpy(), epsilon)
    assert spatial_kl(logits, maps, weights, epsilon).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([1.0, 1.0], (math.log(4) + math.log(2)) / 2),
        ([1.0, 0.0], math.log(4) / 2),  # divided by both joints, though one counts
        ([0.0, 1.0], math.log(2) / 2),
        ([0.5, 0.0], math.log(4) / 4),
        ([0.0, 0.0], 0.0),
    ],
)
def test_spatial_kl_of_uniform_logits(weights, expected):
    # A one-hot map is ln 4 from the uniform distribution over 4 cells, two equal cells are ln 2.
    maps = torch.tensor([[[3.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]]).unsqueeze(0)
    loss = spatial_kl(torch.full((1, 2, 2, 2), 7.0), maps, torch.tensor([weights]))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_spatial_kl_is_zero_when_the_softmax_is_the_map():
    _, maps, weights = random_maps(1)
    maps = maps + 0.1
    assert spatial_kl(maps.log(), maps, weights).item() == pytest.approx(0, abs=1e-12)


def test_a_joint_that_does_not_count_may_have_an_empty_map():
    logits, maps, weights = random_maps(2)
    maps = maps * (weights > 0).view(2, 3, 1, 1)
    logits.requires_grad_()
    loss = spatial_kl(logits, maps, weights)
    loss.backward()
    assert math.isfinite(loss.item())
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[weights == 0] == 0).all()
    assert (logits.grad[weights > 0].abs().amax((-1, -2)) > 0).all()


def test_the_map_of_a_joint_that_does_not_count_is_not_read():
    logits, maps, weights = random_maps(3)
    changed = torch.where((weights > 0).view(2, 3, 1, 1), maps, torch.full_like(maps, 9.0))
    assert spatial_kl(logits, maps, weights) == spatial_kl(logits, changed, weights)


def test_epsilon_is_added_before_the_map_is_normalised():
    # One cell of four, epsilon 1: q = (2, 1, 1, 1) / 5.
    maps = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    entropy = 0.4 * math.log(2.5) + 0.6 * math.log(5)
    loss = spatial_kl(torch.zeros(1, 1, 2, 2), maps, torch.ones(1, 1), epsilon=1.0)
    assert loss.item() == pytest.approx(math.log(4) - entropy, abs=1e-6)


def test_the_disparity_to_an_empty_map_is_that_to_the_uniform_distribution():
    # Softmax (1/2, 1/6, 1/6, 1/6): sum of 1/4 ln(1/4 / p) = 1/4 ln(1/2) + 3/4 ln(3/2).
    logits = torch.tensor([[[[math.log(3.0), 0.0], [0.0, 0.0]]]])
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    loss = disparity(logits, torch.zeros(1, 1, 2, 2), torch.ones(1, 1))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 1e-3])
def test_the_gradient_of_spatial_kl_is_right(epsilon):
    logits, maps, weights = random_maps(4)
    maps[0, 1] = 0  # empty, of weight 0
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: spatial_kl(x, maps, weights, epsilon), (logits,))


def test_a_ground_truth_map_is_a_gaussian_at_the_peak():
    # 16 cells: sigma 1/2 and a window of one cell, exp(-2) beside the peak, exp(-4) diagonally.
    (truth,) = ground_truth_maps(with_peaks((3, 5)))[0]
    side, corner = math.exp(-2), math.exp(-4)
    expected = torch.zeros(16, 16)
    expected[4:7, 2:5] = torch.tensor(
        [[corner, side, corner], [side, 1.0, side], [corner, side, corner]]
    )
    torch.testing.assert_close(truth, expected)


def test_ground_truth_maps_of_several_joints_agree_with_the_table():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((4, 6, 16, 16), generator=generator)
    expected = ground_truth_from_table(logits, gaussian_table(16, 0.5))
    torch.testing.assert_close(ground_truth_maps(logits), expected, atol=1e-6, rtol=0)


def test_ground_truth_maps_carry_no_gradient():
    logits = with_peaks((3, 5)).requires_grad_()
    assert not ground_truth_maps(logits).requires_grad


def test_with_two_joints_the_ground_false_map_of_each_is_the_truth_of_the_other():
    truth = ground_truth_maps(with_peaks((3, 5), (10, 2)))
    assert torch.equal(ground_false_maps(truth), truth.flip(1))


def test_a_joint_alone_has_an_empty_ground_false_map():
    truth = ground_truth_maps(with_peaks((3, 5)))
    assert torch.equal(ground_false_maps(truth), torch.zeros(1, 1, 16, 16))


def test_overlapping_joints_are_clipped_to_one():
    # Joints 1 and 2 lie on one cell, joint 3 beside it.
    false = ground_false_maps(ground_truth_maps(with_peaks((2, 2), (8, 8), (8, 8), (9, 8))))[0]
    side = math.exp(-2)
    assert false[0, 8, 8] == 1  # 1 + 1 + side, clipped
    assert false[0, 8, 7].item() == pytest.approx(2 * side)  # not clipped
    assert false[1, 8, 8] == 1  # 1 + side, clipped
    assert false[3, 8, 9].item() == pytest.approx(2 * side)  # joint 3's own peak left out
    assert false[1, 2, 2] == 1
    assert false[0, 2, 2] == 0


@pytest.mark.parametrize(
    "by", [ground_false_by_joint, ground_false_by_dot, ground_false_by_matmul]
)
def test_ground_false_maps_agree_with_the_sum_over_the_other_joints(by):
    # A coarse pool of cells makes joints overlap.
    cells = np.random.default_rng(0).integers(6, 10, (3, 8, 2))
    logits = torch.cat([with_peaks(*image) for image in cells])
    truth = ground_truth_maps(logits)
    before = truth.clone()
    false = ground_false_maps(truth)
    torch.testing.assert_close(false, by(truth), atol=1e-6, rtol=0)
    assert false.min() >= 0
    assert false.max() == 1
    assert torch.equal(truth, before)


def test_heatmap_mse_is_half_the_mean_square_with_unweighted_joints_in_the_denominator():
    predicted = torch.zeros(1, 3, 2, 2)
    maps = torch.tensor([[[[1.0, 0], [0, 0]], [[2.0, 2], [2, 2]], [[5.0, 5], [5, 5]]]])
    weights = torch.tensor([[1.0, 0.5, 0.0]])
    # The joints have a mean square of 1/4, 4 and 25; the first two count 1 and 0.5.
    assert heatmap_mse(predicted, maps, weights).item() == pytest.approx(0.5 * 2.25 / 3)


@pytest.mark.parametrize("loss", [heatmap_mse, spatial_kl])
def test_what_is_written_in_a_map_without_weight_does_not_matter(loss):
    predicted = torch.ones(1, 2, 2, 2, requires_grad=True)
    maps, weights = torch.eye(2).repeat(1, 2, 1, 1), torch.tensor([[1.0, 0.0]])
    expected = loss(predicted, maps, weights)
    (gradient,) = torch.autograd.grad(expected, predicted)
    maps[0, 1] = float("nan")
    found = loss(predicted, maps, weights)
    found.backward()
    assert found == expected
    assert torch.equal(predicted.grad, gradient)
    assert gradient[0, 1].abs().max() == 0


def test_losses_have_names():
    assert supervised_loss("kl") is spatial_kl
    assert supervised_loss("mse") is heatmap_mse
