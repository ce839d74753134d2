"""Pseudo-labels and the mean teacher against values worked out by hand."""

import pytest
import torch

from trainables.adapt.pseudo_labels import (
    PseudoLabels,
    confident_mask,
    occlude_confident_joints,
    peak_confidence,
    pseudo_labels,
)
from trainables.adapt.udape import update_teacher
from trainables.data.augment import (
    AugmentRanges,
    between_views,
    draw_augmentation,
    warp_keypoints,
)
from trainables.data.heatmaps import default_sigma, gaussian_heatmaps


def _peaks(cells, size=16, height=20.0):
    """Logit maps that peak at whole cells (x, y)."""
    logits = torch.zeros(1, len(cells), size, size)
    for k, (x, y) in enumerate(cells):
        logits[0, k, y, x] = height
    return logits


def test_labels_move_with_the_matrix_between_the_views():
    # Cells are two pixels wide: cell (3, 5) is centred on pixel (6.5, 10.5); a quarter turn
    # (x, y) -> (31 - y, x) brings it to (20.5, 6.5), the centre of cell (10, 3).
    turn = torch.tensor([[[0.0, -1.0, 31.0], [1.0, 0.0, 0.0]]])
    labels = pseudo_labels(_peaks([(3, 5)]), turn, image_size=32, keep=1.0, per_joint=False)
    torch.testing.assert_close(labels.keypoints_px, torch.tensor([[[20.5, 6.5]]]))
    expected = gaussian_heatmaps(torch.tensor([[[10.0, 3.0]]]), 16, default_sigma(16))
    torch.testing.assert_close(labels.maps, expected)
    assert labels.weights.tolist() == [[1.0]]


def test_a_label_outside_the_students_view_is_dropped():
    shift = torch.tensor([[[1.0, 0.0, 40.0], [0.0, 1.0, 0.0]]])
    labels = pseudo_labels(_peaks([(3, 5)]), shift, 32, keep=1.0, per_joint=False)
    assert labels.weights.tolist() == [[0.0]]


def test_matrices_between_two_views_compose():
    generator = torch.Generator().manual_seed(0)
    first, second = (draw_augmentation(5, 32, AugmentRanges(), generator).matrix for _ in "ab")
    keypoints = torch.rand((5, 7, 2), generator=generator) * 32
    there = warp_keypoints(warp_keypoints(keypoints, first), between_views(first, second))
    torch.testing.assert_close(there, warp_keypoints(keypoints, second), atol=1e-4, rtol=1e-5)


def test_a_perfectly_learned_map_has_confidence_one_and_a_flat_one_none():
    maps = gaussian_heatmaps(torch.tensor([[[31.0, 31.0]]]), 64, 2.0)
    perfect = torch.where(maps > 0, maps.clamp_min(1e-30).log(), torch.tensor(-1e9))
    # The window cuts the Gaussian at three sigma on either axis: 2 pi 4 / 25.08 = 1.002.
    assert peak_confidence(perfect).item() == pytest.approx(1.0, abs=5e-3)
    flat = peak_confidence(torch.zeros(1, 1, 64, 64)).item()
    assert flat == pytest.approx(2 * torch.pi * 4 / 4096, rel=1e-5)


@pytest.mark.parametrize(
    ("keep", "per_joint", "expected"),
    [
        (1.0, False, [[1, 1], [1, 1], [1, 1], [1, 1]]),
        # Of eight values the highest four: .9 .8 .7 .6, all of the first joint.
        (0.5, False, [[1, 0], [1, 0], [1, 0], [1, 0]]),
        # Two of each joint.
        (0.5, True, [[1, 0], [1, 0], [0, 1], [0, 1]]),
    ],
)
def test_the_most_confident_labels_are_kept(keep, per_joint, expected):
    confidence = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    assert confident_mask(confidence, keep, per_joint).int().tolist() == expected


def _labels(confidence):
    keypoints = torch.tensor([[[16.0, 10.0], [4.0, 28.0]]])
    ones = torch.ones(1, 2)
    return PseudoLabels(keypoints, torch.zeros(1, 2, 16, 16), torch.tensor([confidence]), ones)


def test_an_occlusion_covers_the_window_around_a_known_joint_and_nothing_else():
    images = torch.rand((1, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(0)
    hidden = occlude_confident_joints(images, _labels([0.9, 0.1]), 1.0, 0.5, generator)
    changed = (hidden != images).any(1)[0]
    rows, columns = changed.nonzero().T
    # 20 of 256 pixels are 2.5 of 32: one pixel to either side of (16, 10).
    assert set(rows.tolist()) == {9, 10, 11}
    assert set(columns.tolist()) == {15, 16, 17}


@pytest.mark.parametrize(("confidence", "probability"), [([0.1, 0.1], 1.0), ([0.9, 0.9], 0.0)])
def test_nothing_is_hidden_without_a_known_joint_or_a_chance(confidence, probability):
    images = torch.rand((1, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(0)
    hidden = occlude_confident_joints(images, _labels(confidence), probability, 0.5, generator)
    assert torch.equal(hidden, images)


def test_the_teacher_is_the_exponential_mean_of_the_students_parameters():
    student, teacher = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        teacher.weight.fill_(1.0)
        student.weight.fill_(3.0)
    student.running_mean.fill_(9.0)
    for _ in range(2):
        update_teacher(teacher, student, decay=0.9)
    # 3 - 2 * 0.9^2
    torch.testing.assert_close(teacher.weight.detach(), torch.full((2,), 1.38))
    assert teacher.running_mean.tolist() == [0.0, 0.0]
