"""Pseudo-labels of a mean teacher: values worked out by hand, and the loops of the paper."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import udape_per_image
from tests.reference.teacher_views import IDENTITY, peaks, random_maps, random_views, shift
from trainables.adapt.losses import heatmap_mse, spatial_kl
from trainables.adapt.pseudo_labels import (
    confident_mask,
    pseudo_labels,
    warped_pseudo_labels,
)
from trainables.data.augment import between_views, warp_keypoints
from trainables.data.heatmaps import default_sigma, gaussian_heatmaps

# --- Confidence and the choice of labels


def confidence(maps, loss):
    """Of the labels of a teacher that sees the student's view."""
    return pseudo_labels(maps, IDENTITY, 64, 1.0, False, loss).confidence


def test_a_perfectly_learned_distribution_has_confidence_one_and_a_flat_one_almost_none():
    maps = gaussian_heatmaps(torch.tensor([[[31.0, 31.0]]]), 64, 2.0)
    perfect = torch.where(maps > 0, maps.clamp_min(1e-30).log(), torch.tensor(-1e9))
    # The window cuts the Gaussian at three sigma on either axis: 2 pi 4 / 25.08 = 1.002.
    assert confidence(perfect, "kl").item() == pytest.approx(1.0, abs=5e-3)
    flat = confidence(torch.zeros(1, 1, 64, 64), "kl").item()
    assert flat == pytest.approx(2 * math.pi * 4 / 4096, rel=1e-5)


@pytest.mark.parametrize(("peak", "expected"), [(1.0, 1.0), (0.7, 0.7), (1.3, 1.0), (-0.2, 0.0)])
def test_the_confidence_of_a_learned_gaussian_is_its_height_between_zero_and_one(peak, expected):
    maps = torch.full((1, 1, 16, 16), -0.5)
    maps[0, 0, 3, 7] = peak
    assert confidence(maps, "mse").item() == pytest.approx(expected)


CONFIDENCE = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])


@pytest.mark.parametrize(
    ("keep", "per_joint", "expected"),
    [
        (1.0, False, [[1, 1], [1, 1], [1, 1], [1, 1]]),
        # Of eight values the highest four: .9 .8 .7 .6, all of the first joint.
        (0.5, False, [[1, 0], [1, 0], [1, 0], [1, 0]]),
        # Two of each joint.
        (0.5, True, [[1, 0], [1, 0], [0, 1], [0, 1]]),
        # floor(0.7 * 8) = 5 are dropped of all, floor(0.7 * 4) = 2 of each joint.
        (0.3, False, [[1, 0], [1, 0], [1, 0], [0, 0]]),
        (0.3, True, [[1, 0], [1, 0], [0, 1], [0, 1]]),
        # floor(0.1 * 8) = floor(0.1 * 4) = 0.
        (0.9, False, [[1, 1], [1, 1], [1, 1], [1, 1]]),
        (0.9, True, [[1, 1], [1, 1], [1, 1], [1, 1]]),
    ],
)
def test_the_most_confident_labels_are_kept(keep, per_joint, expected):
    assert confident_mask(CONFIDENCE, keep, per_joint).int().tolist() == expected


@given(
    st.integers(1, 12), st.integers(1, 5), st.integers(1, 10), st.booleans(), st.integers(0, 99)
)
def test_the_share_that_is_kept_is_the_one_asked_for(batch, joints, tenths, per_joint, seed):
    generator = torch.Generator().manual_seed(seed)
    confidence = torch.randperm(batch * joints, generator=generator).view(batch, joints).float()
    mask = confident_mask(confidence, tenths / 10, per_joint)
    ranked = batch if per_joint else batch * joints
    num_kept = ranked - (10 - tenths) * ranked // 10  # in whole numbers
    assert mask.sum().item() == num_kept * (joints if per_joint else 1)


@pytest.mark.parametrize("loss", ["kl", "mse"])
@pytest.mark.parametrize("way", [pseudo_labels, warped_pseudo_labels])
def test_overconfident_labels_are_still_told_apart(way, loss):
    # All four have confidence 1, of which none is above the median.
    maps = torch.cat([peaks([(3, 5)], height=h) for h in (30.0, 31.0, 32.0, 33.0)])
    if loss == "kl":
        maps = maps / 4  # no probability rounds to 1
    labels = way(maps, IDENTITY.expand(4, 2, 3), 32, keep=0.5, per_joint=False, loss=loss)
    assert labels.confidence.flatten().tolist() == [1.0] * 4
    assert labels.weights.flatten().tolist() == [0.0, 0.0, 1.0, 1.0]


# --- Coordinates moved into the student's view


@pytest.mark.parametrize("loss", ["kl", "mse"])
def test_labels_move_with_the_matrix_between_the_views(loss):
    # Cells are two pixels wide: cell (3, 5) is centred on pixel (6.5, 10.5); a quarter turn
    # (x, y) -> (31 - y, x) brings it to (20.5, 6.5), the centre of cell (10, 3).
    turn = torch.tensor([[[0.0, -1.0, 31.0], [1.0, 0.0, 0.0]]])
    labels = pseudo_labels(peaks([(3, 5)]), turn, 32, keep=1.0, per_joint=False, loss=loss)
    torch.testing.assert_close(labels.keypoints_px, torch.tensor([[[20.5, 6.5]]]))
    expected = gaussian_heatmaps(torch.tensor([[[10.0, 3.0]]]), 16, default_sigma(16))
    torch.testing.assert_close(labels.maps, expected)
    assert labels.weights.tolist() == [[1.0]]


@pytest.mark.parametrize(("x", "weight"), [(24.5, 1.0), (25.0, 0.0), (-7.0, 1.0), (-7.5, 0.0)])
def test_a_label_outside_the_outer_edges_of_the_students_view_is_dropped(x, weight):
    # The label is at x = 6.5 + shift; pixels reach from -0.5 to 31.5.
    labels = pseudo_labels(peaks([(3, 5)]), shift(x), 32, keep=1.0, per_joint=False, loss="kl")
    assert labels.weights.tolist() == [[weight]]


def test_a_label_outside_the_students_view_is_ranked_but_not_learned_from():
    # Ranked from above: joints 1, 0, 2, 3; half of four are trusted, of which joint 1 is outside.
    maps = torch.cat(
        [
            peaks([cell], height=h)
            for cell, h in (((3, 5), 0.8), ((15, 5), 0.9), ((4, 5), 0.7), ((5, 5), 0.6))
        ],
        dim=1,
    )
    labels = pseudo_labels(maps, shift(8.0), 32, keep=0.5, per_joint=False, loss="mse")
    assert labels.weights.tolist() == [[1.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize("loss", ["kl", "mse"])
def test_labels_that_nobody_sees_give_no_loss_and_finite_gradients(loss):
    labels = pseudo_labels(peaks([(3, 5)]), shift(4000.0), 32, 1.0, False, loss)
    student = torch.randn((1, 1, 16, 16), generator=torch.Generator().manual_seed(0))
    student.requires_grad_()
    value = {"kl": spatial_kl, "mse": heatmap_mse}[loss](student, labels.maps, labels.weights)
    value.backward()
    assert value.item() == 0.0
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_coordinates_keep_their_precision_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        labels = pseudo_labels(peaks([(50, 49)], 64), shift(0.5), 256, 1.0, False, "kl")
    # 4 * 50 + 1.5 + 0.5; bfloat16 has no number between 201 and 202.
    assert labels.keypoints_px.tolist() == [[[202.0, 197.5]]]


@pytest.mark.parametrize("way", [pseudo_labels, warped_pseudo_labels])
def test_memory_format_and_number_format_of_the_teachers_maps_do_not_matter(way):
    maps = random_maps(4, 3, 16, seed=0).bfloat16()
    matrix = random_views(4, 32, seed=1)
    expected = way(maps.float(), matrix, 32, 0.5, False, "mse")
    labels = way(maps.contiguous(memory_format=torch.channels_last), matrix, 32, 0.5, False, "mse")
    for name in ("keypoints_px", "maps", "confidence", "weights"):
        assert torch.equal(getattr(labels, name), getattr(expected, name))


def test_matrices_between_two_views_compose():
    first, second = random_views(5, 32, seed=0), random_views(5, 32, seed=1)
    keypoints = torch.rand((5, 7, 2), generator=torch.Generator().manual_seed(2)) * 32
    there = warp_keypoints(warp_keypoints(keypoints, first), between_views(first, second))
    torch.testing.assert_close(there, warp_keypoints(keypoints, second), atol=1e-4, rtol=1e-5)


# --- Against the loops of the paper

CASES = [
    (loss, per_joint, size, image_size, seed)
    for seed, (size, image_size) in enumerate([(16, 64), (32, 64), (16, 16)])
    for loss in ("kl", "mse")
    for per_joint in (False, True)
]


@pytest.mark.parametrize(("loss", "per_joint", "size", "image_size", "seed"), CASES)
def test_moved_labels_are_those_of_the_loops(loss, per_joint, size, image_size, seed):
    maps = random_maps(6, 5, size, seed, loss)
    first, second = (random_views(6, image_size, seed=10 * seed + i) for i in range(2))
    arguments = (maps, between_views(first, second), image_size, 0.5, per_joint, loss)
    fast = pseudo_labels(*arguments)
    slow = udape_per_image.labels_in_student_view(*arguments)
    # Batched and single products round differently in their last bit.
    torch.testing.assert_close(fast.keypoints_px, slow.keypoints_px, atol=1e-4, rtol=0)
    torch.testing.assert_close(fast.maps, slow.maps, atol=1e-4, rtol=0)
    torch.testing.assert_close(fast.confidence, slow.confidence, atol=1e-6, rtol=1e-6)
    assert torch.equal(fast.weights, slow.weights)
    assert 0 < fast.weights.mean() < 1


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from(["kl", "mse"]), st.booleans())
def test_the_losses_are_those_of_the_loops(seed, loss, per_joint):
    maps, student = (random_maps(3, 4, 16, seed + i, loss) for i in range(2))
    labels = pseudo_labels(maps, random_views(3, 32, seed), 32, 0.5, per_joint, loss)
    slow = udape_per_image.consistency(student, labels, loss)
    if loss == "kl":
        fast = spatial_kl(student, labels.maps, labels.weights)
    else:
        fast = 2 * heatmap_mse(student, labels.maps, labels.weights)
    torch.testing.assert_close(fast, slow, atol=1e-6, rtol=1e-5)
