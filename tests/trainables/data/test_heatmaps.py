"""Heatmaps: the pixel-centre convention, the Gaussian window, weights and decoding."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.reference.heatmap_table import ground_truth_by_table, ground_truth_table
from trainables.data.heatmaps import (
    decode_keypoints,
    default_sigma,
    gaussian_heatmaps,
    heatmap_targets,
    peak_cells,
    to_cells,
    to_pixels,
)


@pytest.mark.parametrize(
    ("pixel", "stride", "cell"),
    [
        (0.0, 1, 0.0),
        (1.5, 4, 0.0),  # the first cell covers pixels 0 to 3, whose middle is 1.5
        (-0.5, 4, -0.5),  # left edge of the image is the left edge of the map
        (255.5, 4, 63.5),  # right edge of 256 pixels is that of 64 cells
        (5.5, 4, 1.0),
        (3.5, 4, 0.5),  # the border of cells 0 and 1
        (0.5, 2, 0.0),
    ],
)
def test_pixels_and_cells_share_their_outer_edges(pixel, stride, cell):
    assert to_cells(torch.tensor([pixel]), stride).item() == pytest.approx(cell)
    assert to_pixels(torch.tensor([cell]), stride).item() == pytest.approx(pixel)


@given(
    x=st.floats(-1000, 1000, width=32),
    stride=st.sampled_from([1.0, 2.0, 4.0, 8.0]),
)
def test_to_pixels_inverts_to_cells(x, stride):
    point = torch.tensor([x, -x])
    assert torch.allclose(to_pixels(to_cells(point, stride), stride), point, atol=1e-3)


def test_default_sigma_is_that_of_the_references_at_64_cells():
    assert default_sigma(64) == 2.0
    assert default_sigma(32) == 1.0


@pytest.mark.parametrize(("size", "sigma"), [(32, 2.0), (32, 1.0), (24, 1.5)])
def test_whole_cells_equal_the_look_up_table(size, sigma):
    table = ground_truth_table(size, sigma)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    cells = torch.stack([x, y], dim=-1).float()
    maps = gaussian_heatmaps(cells, size, sigma)
    torch.testing.assert_close(maps, table, atol=2e-7, rtol=0)
    torch.testing.assert_close(maps, ground_truth_by_table(cells, table), atol=2e-7, rtol=0)


def test_a_window_of_sigma_2_has_the_sum_and_the_size_of_the_references():
    heatmap = gaussian_heatmaps(torch.tensor([20.0, 30.0]), 64, 2.0)
    assert heatmap.sum().item() == pytest.approx(25.08, abs=0.005)
    assert heatmap.max().item() == 1.0
    assert int((heatmap > 0).sum()) == 13 * 13


@pytest.mark.parametrize(
    ("x", "y", "value"),
    [
        (10, 12, 1.0),
        (11, 12, math.exp(-1 / 8)),
        (10, 14, math.exp(-4 / 8)),
        (13, 8, math.exp(-25 / 8)),
        (16, 18, math.exp(-72 / 8)),  # the corner of the window
        (17, 12, 0.0),  # just outside
        (12, 10, math.exp(-8 / 8)),  # x and y are not exchanged
    ],
)
def test_a_map_has_hand_computed_values(x, y, value):
    heatmap = gaussian_heatmaps(torch.tensor([10.0, 12.0]), 32, 2.0)
    assert heatmap[y, x].item() == pytest.approx(value, abs=1e-7)


def test_a_centre_between_cells_keeps_its_fraction():
    heatmap = gaussian_heatmaps(torch.tensor([10.5, 12.0]), 32, 2.0)
    assert heatmap[12, 10] == heatmap[12, 11]
    columns = heatmap.sum(0)
    centroid = (columns * torch.arange(32)).sum() / columns.sum()
    assert centroid.item() == pytest.approx(10.5, abs=1e-4)


def test_a_centre_far_outside_gives_an_empty_map():
    assert gaussian_heatmaps(torch.tensor([-7.0, 5.0]), 32, 2.0).sum() == 0
    assert gaussian_heatmaps(torch.tensor([-5.0, 5.0]), 32, 2.0).sum() > 0


@pytest.mark.parametrize(
    ("x", "y", "visible", "weight"),
    [
        (10.0, 10.0, True, 1.0),
        (10.0, 10.0, False, 0.0),
        (-0.5, 10.0, True, 1.0),  # the very edge of the first pixel
        (-2.6, 10.0, True, 0.0),
        (63.4, 63.4, True, 1.0),
        (63.6, 10.0, True, 0.0),
        (10.0, 63.6, True, 0.0),
        (10.0, -1.0, True, 0.0),
        (200.0, 10.0, True, 0.0),
    ],
)
def test_a_joint_weighs_1_if_it_is_visible_and_in_the_frame(x, y, visible, weight):
    _, weights = heatmap_targets(torch.tensor([[[x, y]]]), torch.tensor([[visible]]), 64, 16)
    assert weights.tolist() == [[weight]]


def test_targets_peak_at_the_nearest_cell_of_each_joint():
    keypoints = torch.tensor([[[1.0, 40.0], [33.0, 7.0]]])
    maps, weights = heatmap_targets(keypoints, torch.ones(1, 2, dtype=torch.bool), 64, 32)
    assert maps.shape == (1, 2, 32, 32)
    assert weights.dtype == torch.float32
    # (1 + 0.5) / 2 - 0.5 = 0.25, 19.75; 16.25, 3.25
    assert peak_cells(maps).tolist() == [[[0.0, 20.0], [16.0, 3.0]]]


@given(
    x=st.floats(-0.5, 63.25, width=32),
    y=st.floats(-0.5, 63.25, width=32),
    heatmap_size=st.sampled_from([16, 32]),
)
def test_a_decoded_keypoint_is_within_a_quarter_of_a_cell_of_the_encoded(x, y, heatmap_size):
    keypoints = torch.tensor([[[x, y]]])
    maps, weights = heatmap_targets(keypoints, torch.tensor([[True]]), 64, heatmap_size)
    assert weights.item() == 1
    stride = 64 / heatmap_size
    cells = peak_cells(maps)
    is_inner = (cells > 0) & (cells < heatmap_size - 1)  # else within half a cell
    bound = torch.where(is_inner, stride / 4, stride / 2) + 1e-4
    assert ((decode_keypoints(maps, 64) - keypoints).abs() <= bound).all()
    whole = (decode_keypoints(maps, 64, is_quantised=True) - keypoints).abs().max().item()
    assert whole <= stride / 2 + 1e-4


def test_the_highest_cell_is_given_x_before_y():
    heatmaps = torch.zeros(1, 1, 8, 16)
    heatmaps[0, 0, 3, 9] = 1
    assert peak_cells(heatmaps).tolist() == [[[9.0, 3.0]]]


def test_ties_go_to_the_first_cell_in_row_order():
    heatmaps = torch.zeros(1, 2, 8, 8)
    heatmaps[0, 0, 5, 1] = heatmaps[0, 0, 2, 6] = 1
    assert peak_cells(heatmaps).tolist() == [[[6.0, 2.0], [0.0, 0.0]]]


def test_a_map_without_positive_values_is_decoded_like_any_other():
    logits = torch.full((1, 1, 16, 16), -5.0)
    logits[0, 0, 4, 7] = -1.0
    assert decode_keypoints(logits, 64).tolist() == [[[29.5, 17.5]]]


@pytest.mark.parametrize(
    ("neighbours", "cell"),
    [  # values of the cells left, right, above and below the highest one, which is (7, 4)
        ((0.2, 0.6, 0.5, 0.5), (7.25, 4.0)),
        ((0.6, 0.2, 0.1, 0.4), (6.75, 4.25)),
        ((-0.6, -0.2, -0.1, -0.4), (7.25, 3.75)),
    ],
)
def test_a_keypoint_lies_a_quarter_of_a_cell_towards_the_higher_neighbours(neighbours, cell):
    maps = torch.full((1, 1, 16, 16), -1.0)
    maps[0, 0, 4, 7] = 1.0
    (maps[0, 0, 4, 6], maps[0, 0, 4, 8], maps[0, 0, 3, 7], maps[0, 0, 5, 7]) = neighbours
    expected = torch.tensor([[cell]])  # cells of 4 pixels
    torch.testing.assert_close(decode_keypoints(maps, 64), (expected + 0.5) * 4 - 0.5)
    assert decode_keypoints(maps, 64, is_quantised=True).tolist() == [[[29.5, 17.5]]]


def test_a_keypoint_at_the_edge_of_the_map_stays_there():
    maps = torch.zeros(1, 1, 4, 4)
    maps[0, 0, 0, 2] = 1.0
    maps[0, 0, 0, 1] = 0.5
    assert decode_keypoints(maps, 4).tolist() == [[[1.75, 0.0]]]


@pytest.mark.parametrize(
    ("x", "cell", "weight"),
    [
        (-6.1, None, 0.0),
        (-6.0, None, 0.0),
        (-5.9, 0, 1.0),  # -5.9 / 4 + 0.5 = -0.975, whose whole part is 0
        (-2.1, 0, 1.0),
        (-1.9, 0, 1.0),
        (1.9, 0, 1.0),
        (2.0, 1, 1.0),
        (61.9, 15, 1.0),
        (62.0, None, 0.0),
    ],
)
def test_quantised_targets_cut_towards_zero_as_the_references_do(x, cell, weight):
    keypoints = torch.tensor([[[x, 20.0]]])
    maps, weights = heatmap_targets(keypoints, torch.tensor([[True]]), 64, 16, is_quantised=True)
    assert weights.tolist() == [[weight]]
    if cell is not None:
        assert peak_cells(maps).tolist() == [[[cell, 5.0]]]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_highest_cell_is_found_in_every_number_and_memory_format(dtype, memory_format):
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand((3, 5, 8, 16), generator=generator).to(dtype)
    maps = maps.contiguous(memory_format=memory_format).requires_grad_()
    for n, k in np.ndindex(3, 5):
        values = maps.detach()[n, k]
        best = max((float(values[y, x]), -y, -x) for y in range(8) for x in range(16))
        assert peak_cells(maps)[n, k].tolist() == [-best[2], -best[1]]
