"""Augmentation: images and keypoints move together; colours and draws follow their ranges."""

import math
from dataclasses import replace

import pytest
import torch

from trainables.data.augment import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    AffineRanges,
    AugmentDraw,
    AugmentRanges,
    are_mirrored,
    augment_images,
    between_views,
    compose,
    draw_augmentation,
    draw_views,
    normalise,
    warp_images,
    warp_keypoints,
)

IDENTITY = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])


def blobs(keypoints, size, sigma=2.5):
    """One channel per keypoint (B, K, 2) with a Gaussian blob on it: (B, K, H, W)."""
    grid = torch.arange(size).float()
    x = torch.exp(-0.5 * ((grid - keypoints[..., 0, None]) / sigma) ** 2)
    y = torch.exp(-0.5 * ((grid - keypoints[..., 1, None]) / sigma) ** 2)
    return y[..., :, None] * x[..., None, :]


def centroids(maps):
    grid = torch.arange(maps.shape[-1]).float()
    total = maps.sum((-1, -2))
    x = (maps.sum(-2) * grid).sum(-1) / total
    y = (maps.sum(-1) * grid).sum(-1) / total
    return torch.stack([x, y], -1)


def draw(num=16, size=64, seed=0, **ranges):
    generator = torch.Generator().manual_seed(seed)
    return draw_augmentation(num, size, AugmentRanges(**ranges), generator)


def plain_draw(num=1, **factors):
    ones = torch.ones(num)
    return AugmentDraw(
        matrix=IDENTITY.expand(num, 2, 3),
        brightness=factors.get("brightness", ones),
        contrast=factors.get("contrast", ones),
        saturation=factors.get("saturation", ones),
    )


def to_unit_range(normalised):
    mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    return normalised * torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) + mean


def random_images(num=2, size=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num, size, size, 3), generator=generator, dtype=torch.uint8)


def test_images_and_keypoints_move_together():
    size = 64
    matrix = draw(num=32, size=size, seed=3, rotation_deg=180.0).matrix
    generator = torch.Generator().manual_seed(4)
    keypoints = 24 + 16 * torch.rand((32, 3, 2), generator=generator)
    moved = warp_keypoints(keypoints, matrix)
    found = centroids(warp_images(blobs(keypoints, size), matrix))
    # Blobs that reach over the border lose part of their mass.
    whole = ((moved > 13) & (moved < size - 14)).all(-1)
    assert whole.sum() > 40
    assert (found - moved)[whole].norm(dim=-1).max() < 0.05


def test_images_that_are_not_square_move_with_their_keypoints():
    keypoints = torch.tensor([[[40.0, 12.0]]])
    wide = blobs(keypoints, 64, sigma=1.5)[:, :, :24]
    cos, sin = math.cos(0.3), math.sin(0.3)
    matrix = torch.tensor([[[cos, -sin, 2.0], [sin, cos, -9.0]]])
    moved = warp_keypoints(keypoints, matrix)
    warped = warp_images(wide, matrix)
    assert warped.shape == (1, 1, 24, 64)
    total = warped.sum()
    x = (warped.sum(-2) * torch.arange(64)).sum() / total
    y = (warped.sum(-1) * torch.arange(24)).sum() / total
    assert torch.stack([x, y]).tolist() == pytest.approx(moved[0, 0].tolist(), abs=0.05)


def test_the_identity_keeps_images_and_keypoints():
    images = torch.rand((2, 3, 12, 12), generator=torch.Generator().manual_seed(0))
    matrix = IDENTITY.expand(2, 2, 3)
    torch.testing.assert_close(warp_images(images, matrix), images, atol=1e-5, rtol=0)
    keypoints = torch.tensor([[[3.0, 4.0]], [[0.0, 11.0]]])
    assert torch.equal(warp_keypoints(keypoints, matrix), keypoints)


def test_a_shift_by_whole_pixels_moves_pixels_exactly_and_leaves_zeros():
    images = torch.rand((1, 1, 8, 8), generator=torch.Generator().manual_seed(0)) + 1
    matrix = torch.tensor([[[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]]])  # right by 2, up by 1
    warped = warp_images(images, matrix)
    torch.testing.assert_close(warped[..., :7, 2:], images[..., 1:, :6], atol=1e-5, rtol=0)
    assert warped[..., :2].abs().max() < 1e-5
    assert warped[..., 7, :].abs().max() < 1e-5


def test_a_rotation_by_90_degrees_turns_pixels_and_keypoints_alike():
    # About the centre (3.5, 3.5): (x, y) -> (7 - y, x), clockwise on the screen.
    matrix = torch.tensor([[[0.0, -1.0, 7.0], [1.0, 0.0, 0.0]]])
    images = torch.rand((1, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    expected = torch.rot90(images, -1, dims=(2, 3))
    torch.testing.assert_close(warp_images(images, matrix), expected, atol=1e-5, rtol=0)
    corners = torch.tensor([[[0.0, 0.0], [7.0, 0.0], [2.0, 1.0]]])
    assert warp_keypoints(corners, matrix).tolist() == [[[7.0, 0.0], [7.0, 7.0], [6.0, 2.0]]]


def test_the_inverse_matrix_brings_a_smooth_image_back():
    size = 48
    keypoints = torch.full((4, 1, 2), (size - 1) / 2)
    images = blobs(keypoints, size, sigma=4.0)
    matrix = draw(num=4, size=size, seed=1, min_area=0.9).matrix
    square = torch.eye(3).repeat(4, 1, 1)
    square[:, :2] = matrix
    inverse = torch.linalg.inv(square)[:, :2]
    back = warp_images(warp_images(images, matrix), inverse)
    assert (back - images).abs().max() < 0.03
    there = warp_keypoints(keypoints, matrix)
    torch.testing.assert_close(warp_keypoints(there, inverse), keypoints, atol=1e-3, rtol=0)


def test_no_rotation_and_no_crop_is_the_identity():
    drawn = draw(rotation_deg=0.0, min_area=1.0, colour=0.0)
    torch.testing.assert_close(drawn.matrix, IDENTITY.expand(16, 2, 3), atol=1e-4, rtol=0)
    for factor in (drawn.brightness, drawn.contrast, drawn.saturation):
        assert torch.equal(factor, torch.ones(16))


def test_crops_only_zoom_in_and_stay_inside_the_image():
    size = 64
    matrix = draw(num=500, size=size, rotation_deg=0.0, min_area=0.6).matrix
    scale = matrix[:, 0, 0]
    assert scale.min() >= 1 - 1e-5
    assert 1.2 < scale.max() <= 0.6**-0.5 + 1e-5  # a crop of 60 % of the area
    # Where the output's outer edges come from.
    low = (-0.5 - matrix[:, :, 2]) / scale[:, None]
    high = (size - 0.5 - matrix[:, :, 2]) / scale[:, None]
    assert low.min() >= -0.5 - 1e-3
    assert high.max() <= size - 0.5 + 1e-3
    assert low.max() > 5  # crops are not all at the corner


def test_a_rotated_crop_keeps_angles_and_stays_in_its_range():
    matrix = draw(num=500, rotation_deg=30.0).matrix
    scale = torch.linalg.det(matrix[:, :, :2]).sqrt()
    angle = torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]) * 180 / torch.pi
    assert angle.abs().max() <= 30 + 1e-3
    assert angle.min() < -25
    assert angle.max() > 25
    similar = matrix[:, :, :2] / scale.view(-1, 1, 1)
    eye = torch.eye(2).expand(500, 2, 2)
    torch.testing.assert_close(similar @ similar.mT, eye, atol=1e-4, rtol=0)


def test_rotation_without_crop_is_about_the_centre_of_the_image():
    matrix = draw(rotation_deg=90.0, min_area=1.0, size=64).matrix
    centre = torch.full((16, 1, 2), 31.5)
    torch.testing.assert_close(warp_keypoints(centre, matrix), centre, atol=1e-3, rtol=0)


def test_the_same_seed_draws_the_same_batch():
    first, second, other = draw(seed=7), draw(seed=7), draw(seed=8)
    for name in ("matrix", "brightness", "contrast", "saturation"):
        assert torch.equal(getattr(first, name), getattr(second, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))


def test_colour_factors_stay_in_their_range():
    drawn = draw(num=500, colour=0.25)
    factors = torch.stack([drawn.brightness, drawn.contrast, drawn.saturation])
    assert factors.min() >= 0.75
    assert factors.max() <= 1.25
    assert factors.amin(1).max() < 0.78  # each of the three uses its range
    assert factors.amax(1).min() > 1.22


def test_factors_of_1_keep_the_image():
    images = random_images()
    augmented = augment_images(images, plain_draw(num=2))
    torch.testing.assert_close(augmented, normalise(images), atol=1e-4, rtol=0)


def test_normalise_uses_imagenets_mean_and_deviation():
    images = torch.tensor([255, 0, 51], dtype=torch.uint8).view(1, 1, 1, 3)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    assert normalise(images).flatten().tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        # Two pixels: (102, 102, 102) and (204, 51, 0); grey 0.4 and 0.3566 (0.299, 0.587).
        ({"brightness": 1.2}, [[0.48, 0.48, 0.48], [0.96, 0.24, 0.0]]),
        # Mean grey 0.3783: pixels move away from it by half.
        ({"contrast": 1.5}, [[0.41085, 0.41085, 0.41085], [1.0, 0.11085, 0.0]]),
        ({"saturation": 0.0}, [[0.4, 0.4, 0.4], [0.3566, 0.3566, 0.3566]]),
        ({"saturation": 0.5}, [[0.4, 0.4, 0.4], [0.5783, 0.2783, 0.1783]]),
    ],
)
def test_colours_change_as_computed_by_hand(factors, expected):
    images = torch.tensor([[[[102, 102, 102], [204, 51, 0]]]], dtype=torch.uint8)
    drawn = plain_draw(**{name: torch.tensor([value]) for name, value in factors.items()})
    pixels = to_unit_range(augment_images(images, drawn))  # (1, 3, 1, 2)
    torch.testing.assert_close(pixels[0, :, 0].T, torch.tensor(expected), atol=2e-3, rtol=0)


def test_pixels_from_outside_the_image_are_black():
    images = torch.full((1, 16, 16, 3), 200, dtype=torch.uint8)
    shifted = AugmentDraw(
        matrix=torch.tensor([[[1.0, 0.0, 40.0], [0.0, 1.0, 0.0]]]),
        brightness=torch.ones(1),
        contrast=torch.ones(1),
        saturation=torch.ones(1),
    )
    assert to_unit_range(augment_images(images, shifted)).abs().max() < 1e-5


def test_images_of_a_batch_do_not_see_each_other():
    images = random_images(num=4)
    drawn = draw(num=4, size=16, seed=2)
    together = augment_images(images, drawn)
    alone = augment_images(
        images[2:3],
        AugmentDraw(
            drawn.matrix[2:3], drawn.brightness[2:3], drawn.contrast[2:3], drawn.saturation[2:3]
        ),
    )
    torch.testing.assert_close(together[2:3], alone, atol=1e-5, rtol=0)


def test_composed_matrices_move_points_one_after_the_other():
    first, second = draw(seed=1).matrix, draw(seed=2).matrix
    points = torch.rand(16, 5, 2) * 64
    expected = warp_keypoints(warp_keypoints(points, first), second)
    torch.testing.assert_close(warp_keypoints(points, compose(second, first)), expected)


def test_a_way_there_and_back_ends_within_a_twentieth_of_a_pixel():
    affine = AffineRanges()
    first, second = draw_views(
        64, 256, AugmentRanges(affine=affine), torch.Generator().manual_seed(0), num_views=2
    )
    points = torch.rand(64, 9, 2) * 256
    there = warp_keypoints(points, between_views(first.matrix, second.matrix))
    back = warp_keypoints(there, between_views(second.matrix, first.matrix))
    assert (back - points).abs().max() < 0.05


def test_views_without_a_further_warp_are_drawn_apart():
    generator = torch.Generator().manual_seed(0)
    first, second = draw_views(16, 64, AugmentRanges(), generator, num_views=2)
    assert torch.equal(first.matrix, draw(seed=0).matrix)  # the first is what one view would be
    assert not torch.equal(first.matrix, second.matrix)


def test_views_with_a_further_warp_share_their_crop():
    still = AffineRanges(rotation_deg=0, shear_deg=0, translation=0, scale=(1.0, 1.0))
    generator = torch.Generator().manual_seed(0)
    ranges = AugmentRanges(rotation_deg=0, affine=still)
    first, second = draw_views(16, 64, ranges, generator, num_views=2)
    torch.testing.assert_close(first.matrix, second.matrix)
    crop = draw(seed=0, rotation_deg=0).matrix
    torch.testing.assert_close(first.matrix, crop)
    assert not torch.equal(first.brightness, second.brightness)  # colours are each view's own


def test_a_mirrored_image_and_its_keypoints_exchange_left_and_right():
    matrix = draw(num=8, rotation_deg=0.0, min_area=1.0, flip=1.0).matrix
    assert are_mirrored(matrix).all()
    images = torch.rand(8, 3, 64, 64)
    torch.testing.assert_close(warp_images(images, matrix), images.flip(-1), atol=1e-4, rtol=0)
    points = torch.tensor([[3.0, 5.0]]).expand(8, 1, 2)
    assert warp_keypoints(points, matrix).tolist() == [[[60.0, 5.0]]] * 8


@pytest.mark.parametrize("affine", [None, AffineRanges()])
def test_views_of_an_image_are_mirrored_together(affine):
    ranges = AugmentRanges(affine=affine, flip=0.3)
    generator = torch.Generator().manual_seed(0)
    first, second = draw_views(1000, 64, ranges, generator, num_views=2)
    mirrored = are_mirrored(first.matrix)
    assert torch.equal(mirrored, are_mirrored(second.matrix))
    assert mirrored.float().mean().item() == pytest.approx(0.3, abs=0.05)
    assert not are_mirrored(draw(num=1000).matrix).any()


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [  # of the point one unit right of the centre and of the point one unit below it
        ({"scale": (2.0, 2.0)}, [(2, 0), (0, 2)]),
        ({"translation": 0.0}, [(1, 0), (0, 1)]),
    ],
)
def test_a_further_warp_turns_about_the_centre(ranges, expected):
    still = {"rotation_deg": 0, "shear_deg": 0, "translation": 0, "scale": (1.0, 1.0)} | ranges
    matrix = draw(rotation_deg=0, min_area=1.0, affine=AffineRanges(**still)).matrix
    centre = 31.5
    points = torch.tensor([[centre + 1, centre], [centre, centre + 1]]).expand(16, 2, 2)
    moved = warp_keypoints(points, matrix) - centre
    torch.testing.assert_close(moved, torch.tensor(expected).float().expand(16, 2, 2))


def test_further_warps_stay_in_their_ranges():
    ranges = AffineRanges(rotation_deg=0, shear_deg=30, translation=0.05, scale=(0.6, 1.3))
    matrix = draw(500, rotation_deg=0, min_area=1.0, affine=ranges).matrix
    scale = matrix[:, 1, 1]  # without rotation: [[s, s tan], [0, s]]
    torch.testing.assert_close(matrix[:, 0, 0], scale)
    assert matrix[:, 1, 0].abs().max() < 1e-6
    assert 0.6 <= scale.min() < 0.65
    assert 1.25 < scale.max() <= 1.3
    tangent = matrix[:, 0, 1] / scale
    assert 0.5 < tangent.abs().max() <= math.tan(math.radians(30)) + 1e-6
    centre = torch.full((500, 1, 2), 31.5)
    shift = (warp_keypoints(centre, matrix) - centre).abs()
    assert 2.5 < shift.max() <= 0.05 * 64 + 1e-4


def test_a_further_rotation_turns_by_up_to_its_angle():
    ranges = AffineRanges(rotation_deg=60, shear_deg=0, translation=0, scale=(1.0, 1.0))
    matrix = draw(500, rotation_deg=0, min_area=1.0, affine=ranges).matrix
    angle = torch.rad2deg(torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    assert -60 <= angle.min() < -55
    assert 55 < angle.max() <= 60


def test_images_are_blurred_as_far_as_drawn():
    images = torch.zeros(2, 256, 256, 3, dtype=torch.uint8)
    images[:, 100, 100] = 255
    drawn = replace(plain_draw(num=2), blur_px=torch.tensor([0.0, 0.8]))
    sharp, blurred = to_unit_range(augment_images(images, drawn))
    assert sharp[0, 100, 100].item() == pytest.approx(1, abs=1e-3)
    variance = (blurred[0].sum(0) * (torch.arange(256) - 100.0).square()).sum()
    assert variance.item() == pytest.approx(0.64, rel=0.05)


def test_blur_is_drawn_only_where_it_is_asked_for():
    assert draw().blur_px is None
    deviation = draw(500, blur_px=0.8).blur_px
    assert deviation.min() >= 0
    assert 0.7 < deviation.max() <= 0.8
    assert torch.equal(draw(blur_px=0.8).matrix, draw().matrix)
