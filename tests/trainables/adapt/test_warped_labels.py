"""Maps warped into the stored image: values worked out by hand, and the loops of the paper."""

import pytest
import torch

from tests.reference import udape_per_image
from tests.reference.teacher_views import IDENTITY, peaks, random_maps, random_views, shift
from trainables.adapt.losses import heatmap_mse, spatial_kl
from trainables.adapt.pseudo_labels import (
    PseudoLabels,
    compare_in_stored,
    pseudo_labels,
    warp_to_stored,
    warped_pseudo_labels,
)
from trainables.data.augment import between_views, warp_keypoints
from trainables.data.heatmaps import (
    decode_keypoints,
    default_sigma,
    gaussian_heatmaps,
    to_cells,
    to_pixels,
)

CASES = [
    (loss, per_joint, size, image_size, seed)
    for seed, (size, image_size) in enumerate([(16, 64), (32, 64), (16, 16)])
    for loss in ("kl", "mse")
    for per_joint in (False, True)
]


# --- Maps warped into the stored image


def test_the_identity_keeps_maps_and_covers_all():
    maps = random_maps(2, 3, 16, seed=0)
    warped, covered = warp_to_stored(maps, IDENTITY.expand(2, 2, 3), 64)
    torch.testing.assert_close(warped, maps, atol=1e-5, rtol=0)
    assert covered.shape == (2, 1, 16, 16)
    assert covered.all()


def test_a_shift_by_whole_cells_moves_cells_exactly_and_leaves_the_rest_uncovered():
    # The view is the stored image moved right by two cells of four pixels, so cells go back left
    # by two and the last two columns are not in the view.
    maps = torch.rand((1, 2, 8, 8), generator=torch.Generator().manual_seed(0)) + 1
    warped, covered = warp_to_stored(maps, shift(8.0), 32)
    torch.testing.assert_close(warped[..., :6], maps[..., 2:], atol=1e-5, rtol=0)
    assert covered[0, 0, 0].tolist() == [True] * 6 + [False] * 2


def test_a_shift_by_pixels_interpolates_between_cells_and_continues_to_the_edge():
    # One pixel is a quarter of a cell: stored cell c lies at c - 1/4 in the view.
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    warped, covered = warp_to_stored(ramp, shift(-1.0), 32)
    expected = torch.arange(8.0) - 0.25
    expected[0] = 0.0  # -1/4 lies in the view's first cell, beyond its centre
    torch.testing.assert_close(warped[0, 0], expected.expand(8, 8), atol=1e-5, rtol=0)
    assert covered.all()


@pytest.mark.parametrize(("size", "image_size"), [(64, 256), (32, 64)])
def test_a_gaussian_warped_back_is_the_gaussian_at_the_keypoint_of_the_stored_image(
    size, image_size
):
    # Turned and slid, not scaled, so that the Gaussian keeps its shape.
    view = random_views(16, image_size, seed=0, zoom=(1.0, 1.0), shear=0.0)
    generator = torch.Generator().manual_seed(1)
    keypoints = (0.3 + 0.4 * torch.rand((16, 4, 2), generator=generator)) * image_size
    stride, sigma = image_size / size, 2.0
    in_view = gaussian_heatmaps(to_cells(warp_keypoints(keypoints, view), stride), size, sigma)
    warped, covered = warp_to_stored(in_view, view, image_size)
    warped = warped * covered
    expected = gaussian_heatmaps(to_cells(keypoints, stride), size, sigma) * covered
    # Linear interpolation is off by at most h^2 / 8 |f''| = 1 / (8 sigma^2) on each axis; the
    # windows, cut at three sigma, are turned against each other where the Gaussian is below
    # exp(-4.5) = 0.011.
    assert (warped - expected).abs().max() < 2 / (8 * sigma**2)
    assert (warped - expected).abs().mean() < 1e-3


def test_coordinates_there_and_back_agree_to_a_twentieth_of_a_pixel():
    image_size, size = 256, 64
    view = random_views(32, image_size, seed=0)
    generator = torch.Generator().manual_seed(1)
    keypoints = (0.3 + 0.4 * torch.rand((32, 4, 2), generator=generator)) * image_size
    moved = warp_keypoints(keypoints, view)
    back = warp_keypoints(moved, between_views(view, IDENTITY.expand(32, 2, 3)))
    assert (back - keypoints).abs().max() < 0.05
    # The same through maps: a map that is its own coordinate, read at the stored cell.
    cells = torch.arange(float(size))
    coordinate = torch.stack([cells.expand(size, size), cells.view(-1, 1).expand(size, size)])
    read, covered = warp_to_stored(coordinate.expand(32, 2, size, size), view, image_size)
    centres = to_pixels(torch.stack(torch.meshgrid(cells, cells, indexing="xy"), -1), 4.0)
    expected = warp_keypoints(centres.reshape(1, -1, 2).expand(32, -1, 2), view)
    found = to_pixels(read, 4.0).flatten(2).mT
    # Between the outermost centres of cells; beyond, the outermost value continues.
    inside = ((expected >= 1.5) & (expected <= 253.5)).all(-1)
    assert inside.float().mean() > 0.5
    assert covered.flatten(1)[inside].all()
    assert (found - expected)[inside].abs().max() < 0.05


def test_gradients_reach_the_maps_that_are_warped():
    maps = random_maps(2, 2, 8, seed=0).double().requires_grad_()
    view = random_views(2, 32, seed=3)
    weight = torch.rand((2, 2, 8, 8), generator=torch.Generator().manual_seed(0))
    warped, _ = warp_to_stored(maps, view, 32)
    (warped * weight).sum().backward()
    # The warp is linear: its gradient is the weight each cell has in the sum.
    for i in (0, 9, 30):
        unit = torch.zeros_like(maps)
        unit.view(2, -1)[:, i] = 1
        by_definition = (warp_to_stored(unit, view, 32)[0] * weight).sum((1, 2, 3))
        torch.testing.assert_close(maps.grad.view(2, -1)[:, i].float(), by_definition)


@pytest.mark.parametrize("loss", ["kl", "mse"])
def test_warped_labels_are_in_the_stored_image(loss):
    # The view is the stored image turned by a quarter, (x, y) -> (31 - y, x); the teacher's cell
    # (10, 3), centred on (20.5, 6.5), is (6.5, 10.5) in the stored image, cell (3, 5).
    turn = torch.tensor([[[0.0, -1.0, 31.0], [1.0, 0.0, 0.0]]])
    labels = warped_pseudo_labels(peaks([(10, 3)]), turn, 32, 1.0, False, loss)
    torch.testing.assert_close(labels.keypoints_px, torch.tensor([[[6.5, 10.5]]]))
    expected = gaussian_heatmaps(torch.tensor([[[3.0, 5.0]]]), 16, default_sigma(16))
    torch.testing.assert_close(labels.maps, expected)


def test_cells_that_the_teacher_does_not_see_are_no_candidates():
    # All the teacher's values are negative; zeros from outside the view would win.
    maps = torch.full((1, 1, 16, 16), -2.0)
    maps[0, 0, 5, 9] = -1.0
    labels = warped_pseudo_labels(maps, shift(8.0), 32, 1.0, False, "mse")
    assert to_cells(labels.keypoints_px, 2.0).tolist() == [[[5.0, 5.0]]]
    assert labels.confidence.tolist() == [[0.0]]
    assert labels.weights.tolist() == [[1.0]]


@pytest.mark.parametrize("loss", ["kl", "mse"])
def test_a_stored_image_that_the_teacher_does_not_see_has_no_labels(loss):
    labels = warped_pseudo_labels(peaks([(3, 5)]), shift(4000.0), 32, 1.0, False, loss)
    assert labels.weights.tolist() == [[0.0]]
    assert labels.confidence.tolist() == [[0.0]]
    assert torch.isfinite(labels.maps).all()


def test_the_confidence_of_a_distribution_does_not_depend_on_the_zoom():
    maps = gaussian_heatmaps(torch.tensor([[[31.0, 31.0]]]), 64, 2.0)
    perfect = torch.where(maps > 0, maps.clamp_min(1e-30).log(), torch.tensor(-1e9))
    for zoom in (0.6, 1.0, 1.3):
        # About the centre of cell (31, 31), which is on pixel 125.5.
        view = torch.tensor([[[zoom, 0.0, 125.5 * (1 - zoom)], [0.0, zoom, 125.5 * (1 - zoom)]]])
        labels = warped_pseudo_labels(perfect, view, 256, 1.0, False, "kl")
        assert labels.keypoints_px.tolist() == [[[125.5, 125.5]]]
        assert labels.confidence.item() == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize("per_joint", [False, True])
@pytest.mark.parametrize("loss", ["kl", "mse"])
def test_no_value_is_read_on_the_host(loss, per_joint):
    # Tensors on the meta device have no values; reading one is an error.
    with torch.device("meta"):
        maps, view = torch.empty(4, 3, 16, 16), torch.empty(4, 2, 3)
    labels = warped_pseudo_labels(maps, view, 32, 0.5, per_joint, loss)
    student, left = compare_in_stored(maps, view, 32, labels, loss)
    assert student.shape == left.maps.shape == (4, 3, 16, 16)


# --- The student's maps beside them


def stored_labels(cells, size=16, stride=2.0):
    cells = torch.tensor([cells], dtype=torch.float32)
    ones = torch.ones(cells.shape[:2])
    maps = gaussian_heatmaps(cells, size, default_sigma(size))
    return PseudoLabels(to_pixels(cells, stride), maps, ones, ones)


@pytest.mark.parametrize("loss", ["kl", "mse"])
def test_a_student_that_is_right_about_all_it_sees_has_no_loss(loss):
    # The student's view is the stored image moved left by three cells: labels on the right.
    labels = stored_labels([(9, 5), (4, 8)])
    student = torch.zeros(1, 2, 16, 16)
    student[..., :13] = labels.maps[..., 3:]
    if loss == "kl":
        student = student.clamp_min(1e-30).log()
    maps, left = compare_in_stored(student, shift(-6.0), 32, labels, loss)
    value = {"kl": spatial_kl, "mse": heatmap_mse}[loss](maps, left.maps, left.weights)
    assert left.weights.tolist() == [[1.0, 1.0]]
    assert value.item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("loss", ["kl", "mse"])
def test_labels_that_the_student_does_not_see_count_nothing_and_have_finite_gradients(loss):
    # Moved left by three cells: columns 0 to 2 of the stored image are out of view.
    labels = stored_labels([(2, 5), (3, 5)])
    student = torch.randn((1, 2, 16, 16), generator=torch.Generator().manual_seed(0))
    student.requires_grad_()
    maps, left = compare_in_stored(student, shift(-6.0), 32, labels, loss)
    assert left.weights.tolist() == [[0.0, 1.0]]
    assert torch.equal(left.maps[..., :3], torch.zeros(1, 2, 16, 3))
    value = {"kl": spatial_kl, "mse": heatmap_mse}[loss](maps, left.maps, left.weights)
    value.backward()
    assert torch.isfinite(value)
    assert torch.equal(student.grad[0, 0], torch.zeros(16, 16))
    assert student.grad[0, 1].abs().max() > 0
    assert torch.isfinite(student.grad).all()


def test_what_the_student_puts_beyond_the_stored_image_does_not_matter_to_kl():
    labels = stored_labels([(8, 8)])
    student = torch.zeros(1, 1, 16, 16)
    far_off = student.clone()
    far_off[..., :2] = 50.0  # the view's first columns lie left of the stored image
    values = []
    for logits in (student, far_off):
        maps, left = compare_in_stored(logits, shift(6.0), 32, labels, "kl")
        values.append(spatial_kl(maps, left.maps, left.weights).item())
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_both_ways_agree_where_labels_can_be_decoded_to_a_cell():
    # No warp: the stored image, the teacher's and the student's view are one.
    maps = random_maps(4, 3, 16, seed=0)
    identity = IDENTITY.expand(4, 2, 3)
    coord = pseudo_labels(maps, identity, 32, 0.5, False, "mse")
    warp = warped_pseudo_labels(maps, identity, 32, 0.5, False, "mse")
    assert torch.equal(coord.keypoints_px, warp.keypoints_px)
    assert torch.equal(coord.keypoints_px, decode_keypoints(maps, 32, is_quantised=True))
    torch.testing.assert_close(coord.maps, warp.maps)
    assert torch.equal(coord.weights, warp.weights)


@pytest.mark.parametrize(("loss", "per_joint", "size", "image_size", "seed"), CASES)
def test_warped_labels_and_the_student_beside_them_are_those_of_the_loops(
    loss, per_joint, size, image_size, seed
):
    maps = random_maps(6, 5, size, seed, loss)
    student = random_maps(6, 5, size, seed + 100, loss)
    teacher_view, student_view = (
        random_views(6, image_size, seed=10 * seed + i, slide=0.3) for i in range(2)
    )
    arguments = (maps, teacher_view, image_size, 0.5, per_joint, loss)
    fast = warped_pseudo_labels(*arguments)
    slow = udape_per_image.labels_in_stored_image(*arguments)
    assert torch.equal(fast.keypoints_px, slow.keypoints_px)
    torch.testing.assert_close(fast.maps, slow.maps, atol=1e-6, rtol=0)
    torch.testing.assert_close(fast.confidence, slow.confidence, atol=1e-5, rtol=1e-5)
    assert torch.equal(fast.weights, slow.weights)

    results = []
    for compare, labels in (
        (compare_in_stored, fast),
        (udape_per_image.student_in_stored_image, slow),
    ):
        leaf = student.clone().requires_grad_()
        warped, left = compare(leaf, student_view, image_size, labels, loss)
        udape_per_image.consistency(warped, left, loss).backward()
        results.append((warped.detach(), left.maps, left.weights, leaf.grad))
    assert 0 < results[0][2].sum() < fast.weights.sum()  # some are out of the student's view
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
