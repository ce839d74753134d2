"""The edges of a frame: the same for arrays, tensors, images and heatmaps."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.frame import in_frame
from trainables.data.heatmaps import heatmap_targets, to_cells
from trainables.data.render.rendered import LOOKS, render_domain

SIZE = 16


@pytest.mark.parametrize(
    ("x", "y", "inside"),
    [
        (0, 0, True),
        (-0.5, -0.5, True),
        (-0.51, 3, False),
        (3, -0.51, False),
        (4.49, 2.49, True),  # five columns, three rows
        (4.5, 2, False),
        (4, 2.5, False),
        (305, 2, False),
        (math.nan, 2, False),
        (2, math.nan, False),
        (math.inf, 2, False),
        (-math.inf, 2, False),
    ],
)
def test_a_point_is_in_the_frame_if_the_pixel_it_rounds_to_is(x, y, inside):
    assert bool(in_frame(np.array([x, y]), 5, 3)) is inside
    assert bool(in_frame(torch.tensor([x, y], dtype=torch.float64), 5, 3)) is inside


def test_every_image_has_its_own_frame():
    points = np.array([[[9.0, 4.0]], [[9.0, 4.0]]])
    width, height = np.array([[10], [9]]), np.array([[5], [5]])
    assert in_frame(points, width, height).tolist() == [[True], [False]]


COORDINATE = st.floats(-40, 60, width=32) | st.just(math.nan) | st.sampled_from([-0.5, 15.5])


@given(x=COORDINATE, y=COORDINATE)
def test_a_joint_is_learned_from_if_it_is_in_the_frame(x, y):
    point = torch.tensor([[[x, y]]])
    inside = in_frame(point, SIZE, SIZE)
    # Cells of two pixels share their outer edges with the image.
    assert torch.equal(inside, in_frame(to_cells(point, 2), SIZE // 2, SIZE // 2))
    _, weights = heatmap_targets(point, torch.ones(1, 1, dtype=torch.bool), SIZE, SIZE // 2)
    assert torch.equal(weights, inside.float())


@pytest.mark.parametrize("domain", LOOKS)
def test_rendered_joints_are_visible_only_in_the_frame(domain):
    chunk = next(render_domain(domain, 40, SIZE, 0))
    assert not (chunk.visible & ~in_frame(chunk.keypoints_px, SIZE, SIZE)).any()
