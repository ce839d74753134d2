"""The blur that drawing and augmentation share."""

import numpy as np
import pytest
import torch

from trainables.data.blur import gaussian_blur


def test_it_spreads_a_point_by_its_own_sigma():
    images = torch.zeros(3, 3, 15, 15)
    images[:, :, 7, 7] = 1
    blurred = gaussian_blur(images, torch.tensor([0.0, 0.5, 1.0]), radius=3)
    torch.testing.assert_close(blurred[0], images[0])
    torch.testing.assert_close(blurred.sum((2, 3)), torch.ones(3, 3))
    for image, sigma in zip(blurred[1:, 0], (0.5, 1.0), strict=True):
        assert (image[7, 8] / image[7, 7]).item() == pytest.approx(np.exp(-0.5 / sigma**2))
        assert (image[7, 5] / image[7, 7]).item() == pytest.approx(np.exp(-2 / sigma**2))
        torch.testing.assert_close(image, image.T)


def test_it_keeps_constant_images_up_to_the_border():
    images = torch.full((2, 3, 9, 9), 0.7)
    torch.testing.assert_close(gaussian_blur(images, torch.tensor([0.3, 1.0]), radius=3), images)
