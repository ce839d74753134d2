"""EfficientNet-Lite0: a small backbone whose ImageNet weights come from a Python package.

EfficientNet-B0 (Tan and Le 2019, Table 1) as its authors adapt it to phones: no squeeze and
excitation, ReLU6 instead of swish. Left out are the last convolution and the classifier, and what
only regularises a training on ImageNet (dropout, stochastic depth). Parameter names are those of
the published PyTorch weights (``_conv_stem``, ``_blocks.0._depthwise_conv``, ...).
"""

from pathlib import Path
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.data.augment import IMAGENET_MEAN, IMAGENET_STD
from trainables.distributed.collectives import BatchNorm2d
from trainables.network.weight_file import load_backbone

_STEM_CHANNELS = 32
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, side of the kernel, stride of the first block, expansion, output channels."""
_PYRAMID = (15, 10, 4, 2)
"""Last block at 1/32, 1/16, 1/8 and 1/4 of the image's side."""
_CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")


def _batch_norm(channels: int) -> BatchNorm2d:
    """Batch norm with the published epsilon.

    Differs from the published training: running statistics have PyTorch's momentum 0.1 like the
    other networks here; 0.01, made for hundreds of thousands of steps, would lag behind ours.
    """
    return BatchNorm2d(channels, eps=1e-3)


class SameConv2d(nn.Conv2d):
    """Convolution without bias on input that is zero-padded like TensorFlow's ``SAME``.

    Each side of the output is ceil(side / stride). Of an odd number of zeros the right and the
    bottom get one more than the left and the top: a 3x3 kernel of stride 2 on an even side sees
    none at the left.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        if stride == 1:  # an odd kernel: equal numbers of zeros, which the convolution can add
            return F.conv2d(input, self.weight, padding=kernel // 2, groups=self.groups)
        padding: list[int] = []
        for side in (input.shape[3], input.shape[2]):
            zeros = max(0, (-(-side // stride) - 1) * stride + kernel - side)
            padding += [zeros // 2, zeros - zeros // 2]
        return super().forward(F.pad(input, padding))


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection (Sandler et al. 2018, Fig. 3b).

    The projection has no activation. The input is added where it has the shape of the output.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        self._is_expanding = expansion > 1
        self._is_residual = stride == 1 and inputs == outputs
        if self._is_expanding:
            self._expand_conv = SameConv2d(inputs, hidden, 1)
            self._bn0 = _batch_norm(hidden)
        self._depthwise_conv = SameConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self._bn1 = _batch_norm(hidden)
        self._project_conv = SameConv2d(hidden, outputs, 1)
        self._bn2 = _batch_norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        out = x
        if self._is_expanding:
            out = F.relu6(self._bn0(self._expand_conv(out)), inplace=True)
        out = F.relu6(self._bn1(self._depthwise_conv(out)), inplace=True)
        out = self._bn2(self._project_conv(out))
        return cast(Tensor, x + out if self._is_residual else out)


class EfficientNetLite0(nn.Module):
    """Image to features at 1/32, 1/16, 1/8 and 1/4 of its side.

    A person of 50 pixels covers two cells at 1/32, which do not hold where its joints are; the
    finer features do.

    Args:
        num_frozen: Number of first blocks, from 0 to 16, that training leaves as they are:
            parameters and statistics of the batch norms. With the first block the stem is frozen.
    """

    out_channels = (320, 112, 40, 24)
    """Channels of each of the features."""

    def __init__(self, num_frozen: int = 0) -> None:
        super().__init__()
        self._num_frozen = num_frozen
        self._conv_stem = SameConv2d(3, _STEM_CHANNELS, 3, 2)
        self._bn0 = _batch_norm(_STEM_CHANNELS)
        blocks, channels = [], _STEM_CHANNELS
        for num_blocks, kernel, stride, expansion, outputs in _STAGES:
            for i in range(num_blocks):
                blocks.append(
                    InvertedResidual(channels, outputs, kernel, stride if i == 0 else 1, expansion)
                )
                channels = outputs
        self._blocks = nn.ModuleList(blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # As published: the variance counts only the outputs that share an input channel.
                fan_out = module.weight[0, 0].numel() * module.out_channels / module.groups
                nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
        # From normalised colours to (colour - 127) / 128 with colours from 0 to 255. Not saved.
        scale, shift = (torch.tensor(values) * 255 for values in (IMAGENET_STD, IMAGENET_MEAN))
        self.register_buffer("_scale", (scale / 128).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_shift", ((shift - 127) / 128).view(1, 3, 1, 1), persistent=False)
        for part in self._frozen:
            part.requires_grad_(False)
        self.train()

    @property
    def _frozen(self) -> list[nn.Module]:
        if self._num_frozen == 0:
            return []
        return [self._conv_stem, self._bn0, *self._blocks[: self._num_frozen]]

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; frozen blocks always evaluate."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) images to features (B, C, H / s, W / s), the coarsest first.

        Args:
            images: Normalised as for all networks (:func:`trainables.data.augment.normalise`).
        """
        colours = torch.addcmul(cast(Tensor, self._shift), images, cast(Tensor, self._scale))
        x = F.relu6(self._bn0(self._conv_stem(colours)), inplace=True)
        outputs = []
        for block in self._blocks:
            x = block(x)
            outputs.append(x)
        return [outputs[i] for i in _PYRAMID]

    def load_imagenet(self, path: Path) -> None:
        """Load the published weights; those of last convolution and classifier are ignored.

        Raises:
            ValueError: If the file cannot be read, lacks a parameter, has another one or one of
                another shape.
        """
        load_backbone(self, path, _CLASSIFIER)
