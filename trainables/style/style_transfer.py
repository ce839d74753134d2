"""Style transfer between the domains, in both directions, while a pose network trains (UDAPE).

The style of an image is the channel means and deviations of its deepest features. These are
computed once for every un-augmented training image of both domains: a transfer then runs the
encoder on the content only, and no style contains the black borders of warped images. The borders
are kept out of the content's statistics, too.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.data.augment import IMAGENET_MEAN, IMAGENET_STD
from trainables.data.image_store import ImageStore
from trainables.style.style_fit import UnlabelledImages
from trainables.style.style_net import StyleNet, adain, channel_statistics

Domain = Literal["source", "target"]

STATISTICS_BATCH = 256
"""Number of images whose statistics are computed in one batch."""
_COVER_TOLERANCE_PX = 1e-3
"""Keeps the outermost row of an unmoved image covered although the view's matrix is rounded."""


def covered_pixels(view: Tensor, image_size: int) -> Tensor:
    """Mark the pixels of a view that are interpolated from image pixels only.

    Args:
        view: (B, 2, 3) from pixels of the stored image to pixels of the view (integers are
            pixel centres).
        image_size: Side of both in pixels.

    Returns:
        (B, 1, H, W) 1.0 where the pixel's place in the stored image lies between the centres of
        its outer pixels, else 0.0.
    """
    view = view.float()
    (a, b, x0), (c, d, y0) = (row.unbind(1) for row in view.unbind(1))
    position = torch.arange(image_size, device=view.device, dtype=view.dtype)
    dx = position.view(1, 1, -1) - x0.view(-1, 1, 1)
    dy = position.view(1, -1, 1) - y0.view(-1, 1, 1)
    # Written out: linalg.inv would wait for the device, and autocast would round the products.
    a, b, c, d = (entry.view(-1, 1, 1) for entry in (a, b, c, d))
    determinant = a * d - b * c
    stored = torch.stack([d * dx - b * dy, a * dy - c * dx]) / determinant  # (2, B, H, W)
    low, high = -_COVER_TOLERANCE_PX, image_size - 1 + _COVER_TOLERANCE_PX
    return ((stored >= low) & (stored <= high)).all(0).float().unsqueeze(1)


class StyleTransfer:
    """Restyles images of one domain as the other; neither trains nor draws random numbers.

    :class:`trainables.adapt.restyle.Restyler` decides when, how strongly and in whose style.

    Args:
        net: Trained network; moved to the device and frozen.
        source: Source images, of which the training split is read, without labels.
        target: Target images, likewise.
        device: Where images are restyled.
    """

    def __init__(
        self, net: StyleNet, source: ImageStore, target: ImageStore, device: torch.device
    ) -> None:
        net.place(device, source.image_size)
        self._net = net.requires_grad_(False).eval()
        self._device = device
        mean = torch.tensor(IMAGENET_MEAN, device=device).view(1, 3, 1, 1)
        std = torch.tensor(IMAGENET_STD, device=device).view(1, 3, 1, 1)
        self._black, self._white = (0 - mean) / std, (1 - mean) / std
        self._styles: dict[Domain, tuple[Tensor, Tensor, Tensor]] = {
            "source": self._styles_of(source),
            "target": self._styles_of(target),
        }

    @torch.no_grad()
    def restyle(
        self, images: Tensor, view: Tensor, towards: Domain, rows: Tensor, alpha: Tensor
    ) -> Tensor:
        """Give images the style of images of a domain.

        t = alpha * AdaIN(f(c), f(s)) + (1 - alpha) * f(c), decoded and clamped to the range of
        pixels. Does not wait for the device; may run under autocast.

        Differs from the reference: the statistics of c cover only pixels inside the stored image;
        pixels outside take the mean colour of those before encoding and keep their own colour in
        the result; f(s) is computed from the un-augmented image.

        Args:
            images: (B, 3, H, W) normalised images c on the device; black outside the stored
                image.
            view: (B, 2, 3) from pixels of the stored image to pixels of ``images``.
            towards: Domain of the style images.
            rows: (B,) int64, rows of the style images in that domain's store. A row outside its
                training split gives NaN; checking it would wait for the device.
            alpha: (B,) strengths in [0, 1]; 0 gives the decoder's reconstruction.

        Returns:
            (B, 3, H, W) of the type of ``images``.
        """
        places, *tables = self._styles[towards]
        at = places[rows.to(self._device)]
        mean, std = (table[at][:, :, None, None] for table in tables)
        cover = covered_pixels(view.to(self._device), images.shape[-1])
        # Otherwise the black borders would affect the features beside them.
        colour, _ = channel_statistics(images, cover)
        content = torch.where(cover > 0, images, colour.to(images.dtype))
        features = self._net.encoder(content)[-1].float()
        weight = F.adaptive_avg_pool2d(cover, features.shape[-2:])
        strength = alpha.to(self._device).view(-1, 1, 1, 1)
        blended = torch.lerp(features, adain(features, mean, std, weight), strength)
        decoded = self._net.decode(blended).to(images.dtype)
        restyled = torch.clamp(decoded, self._black, self._white)
        return torch.where(cover > 0, restyled, images)

    @torch.no_grad()
    def _styles_of(self, store: ImageStore) -> tuple[Tensor, Tensor, Tensor]:
        """Statistics of the n training images of a domain.

        Returns:
            (N,) the place in the tables of each of the store's N images; means and deviations,
            (n + 1, C) each, the last row NaN, which is the place of all other images. A study may
            use few images of a large prepared store.
        """
        images = UnlabelledImages.training_split(store)
        num = len(images.rows)
        places = torch.full((len(store.images),), num)
        places[torch.from_numpy(images.rows)] = torch.arange(num)
        tables: list[Tensor] = []
        for first in range(0, num, STATISTICS_BATCH):
            rows = images.rows[first : first + STATISTICS_BATCH]
            features = self._net.encoder(images.read(rows, self._device))[-1]
            statistics = [statistic.flatten(1) for statistic in channel_statistics(features)]
            if not tables:
                shape = (num + 1, statistics[0].shape[1])
                tables = [torch.full(shape, torch.nan, device=self._device) for _ in range(2)]
            for table, statistic in zip(tables, statistics, strict=True):
                table[first : first + len(rows)] = statistic
        mean, std = tables
        return places.to(self._device), mean, std
