"""The renderer: what covers what, shading by hand, noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trainables.data.render.rendered import LOOKS
from trainables.data.render.scene import CHUNK, add_camera_effects
from trainables.data.render.shapes import Capsules, paint, smooth_noise

FRONTAL = torch.tensor([[0.0, 0.0, 1.0]])
RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


def capsules(*parts):
    """Capsules of one image from (start, end, radius, colour) tuples."""
    start, end, radius, colour = (
        torch.tensor([values], dtype=torch.float32) for values in zip(*parts, strict=True)
    )
    return Capsules(start, end, radius, colour, torch.zeros_like(radius))


def draw(*parts, ambient=1.0, light=FRONTAL, size=17):
    background = torch.full((1, 3, size, size), 0.25)
    return paint(background, capsules(*parts), light, torch.tensor([ambient]))[0]


def test_a_sphere_covers_the_pixels_within_its_radius():
    image = draw(((8, 6), (8, 6), 3.0, RED))
    assert image[:, 6, 8].tolist() == pytest.approx(RED)  # rows are y
    assert image[:, 6, 10].tolist() == pytest.approx(RED)  # 2 px from the centre
    assert image[:, 6, 11].tolist() == pytest.approx([0.625, 0.125, 0.125])  # on the rim
    assert image[:, 6, 12].tolist() == [0.25] * 3
    assert image[:, 2, 8].tolist() == [0.25] * 3


def test_a_capsule_covers_the_band_around_its_axis():
    image = draw(((3, 8), (12, 8), 1.0, RED))
    red = image[0] > 0.9
    assert red[8].nonzero().flatten().tolist() == list(range(3, 13))
    assert not red[[6, 10]].any()


def test_a_later_capsule_is_in_front():
    small = ((8, 8), (8, 8), 3.0, RED)
    large = ((8, 8), (8, 8), 5.0, BLUE)
    image = draw(large, small)
    assert image[:, 8, 8].tolist() == pytest.approx(RED)
    assert image[:, 8, 12].tolist() == pytest.approx(BLUE)
    assert draw(small, large)[:, 8, 8].tolist() == pytest.approx(BLUE)


def test_shading_falls_with_the_angle_to_the_light():
    sphere = ((8, 8), (8, 8), 5.0, (1.0, 1.0, 1.0))
    frontal = draw(sphere, ambient=0.4)[0]
    assert frontal[8, 8].item() == pytest.approx(1.0)  # faces the light
    # At 3 of 5 px the normal is (0.6, 0, 0.8): 0.4 + 0.6 * 0.8.
    assert frontal[8, 11].item() == pytest.approx(0.88, abs=1e-5)
    lit_from_the_right = draw(sphere, ambient=0.4, light=torch.tensor([[1.0, 0.0, 0.0]]))[0]
    assert lit_from_the_right[8, 11].item() == pytest.approx(0.4 + 0.6 * 0.6, abs=1e-5)
    assert lit_from_the_right[8, 5].item() == pytest.approx(0.4, abs=1e-5)


def test_stripes_follow_the_axis():
    plain = capsules(((2, 8), (14, 8), 2.0, (0.5, 0.5, 0.5)))
    striped = Capsules(plain.start, plain.end, plain.radius, plain.colour, torch.tensor([[0.4]]))
    image = paint(torch.zeros(1, 3, 17, 17), striped, FRONTAL, torch.ones(1))[0, 0]
    along = image[8, 2:15]
    assert along.max() > 0.6
    assert along.min() < 0.4
    assert image[8, 8].item() == pytest.approx(image[7, 8].item(), abs=1e-5)


def test_images_of_a_batch_are_painted_apart():
    both = Capsules(
        start=torch.tensor([[[2.0, 2.0]], [[12.0, 12.0]]]),
        end=torch.tensor([[[2.0, 2.0]], [[12.0, 12.0]]]),
        radius=torch.full((2, 1), 2.0),
        colour=torch.ones(2, 1, 3),
        stripe=torch.zeros(2, 1),
    )
    images = paint(torch.zeros(2, 3, 16, 16), both, FRONTAL.expand(2, 3), torch.ones(2))
    assert images[:, 0, 2, 2].tolist() == [1.0, 0.0]
    assert images[:, 0, 12, 12].tolist() == [0.0, 1.0]


def test_noise_is_bounded_smooth_and_repeatable():
    noise = smooth_noise(32, 3, 2, torch.Generator().manual_seed(0))
    again = smooth_noise(32, 3, 2, torch.Generator().manual_seed(0))
    assert noise.shape == (2, 3, 32, 32)
    assert torch.equal(noise, again)
    assert noise.min() >= 0
    assert noise.max() <= 1
    finer = smooth_noise(32, 16, 2, torch.Generator().manual_seed(0))
    assert finer.diff(dim=-1).abs().mean() > 3 * noise.diff(dim=-1).abs().mean()


def test_the_camera_blurs_each_image_by_up_to_the_looks_share_of_the_side():
    look = replace(LOOKS["people_clean"], cast=0.0, blur=1.0, noise=0.0)
    images = torch.zeros(CHUNK, 3, 64, 64)
    images[:, :, 30, 30] = 1
    blurred = add_camera_effects(images, look, np.random.default_rng(0), torch.Generator())
    torch.testing.assert_close(blurred.sum((2, 3)), torch.ones(CHUNK, 3))
    square = (torch.arange(64) - 30.0).square()
    sigma = (blurred[:, 0].sum(1) * square).sum(1).sqrt()
    assert sigma.max() == pytest.approx(1.0, abs=0.03)
    assert sigma.min() < 0.1
