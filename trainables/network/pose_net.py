"""Pose network: backbone, three deconvolutions, heatmap head.

The ResNet's parameter names are torchvision's (``conv1``, ``layer1.0.conv1``, ...), so files of
ImageNet weights fit without torchvision. With heatmaps a quarter of the image's size its stem is
torchvision's; with heatmaps half the image's size, for small images, it has no max-pool.
"""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.distributed.collectives import BatchNorm2d
from trainables.network.efficientnet_lite import EfficientNetLite0
from trainables.network.memory_format import in_format, trusted_format
from trainables.network.weight_file import load_backbone

_BLOCKS = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}
NUM_DECONVOLUTIONS = 3


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a residual (He et al. 2016, Fig. 5 left)."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = BatchNorm2d(planes)
        self.downsample = _shortcut(inputs, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, planes, H / stride, W / stride)."""
        identity = x if self.downsample is None else self.downsample(x)
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + identity)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a residual; the stride is on the 3x3 (v1.5)."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * 4, 1, bias=False)
        self.bn3 = BatchNorm2d(planes * 4)
        self.downsample = _shortcut(inputs, planes * 4, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 4 planes, H / stride, W / stride)."""
        identity = x if self.downsample is None else self.downsample(x)
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        return torch.relu(self.bn3(self.conv3(out)) + identity)


class StridedPointwise(nn.Conv2d):
    """A 1x1 convolution without bias on every ``step``-th row and column.

    Equal to ``Conv2d(inputs, outputs, 1, stride=step)``, whose backward pass corrupts memory with
    few channels (:mod:`trainables.network.memory_format`), and as fast. A pooling window of one
    pixel selects the pixels; a slice would too, but its backward pass takes three times as long.
    """

    def __init__(self, inputs: int, outputs: int, step: int) -> None:
        super().__init__(inputs, outputs, 1, bias=False)
        self.step = step

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, ceil(H / step), ceil(W / step))."""
        return super().forward(F.avg_pool2d(input, 1, self.step, ceil_mode=True))

    def extra_repr(self) -> str:
        """The layer's settings in ``repr``, by which the memory format check compares layers."""
        # PyTorch's own method has no types.
        convolution: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{convolution}, step={self.step}"


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(StridedPointwise(inputs, outputs, stride), BatchNorm2d(outputs))


class ResNet(nn.Module):
    """Image to features at 1/32 of its side (1/16 without the max-pool)."""

    def __init__(self, depth: int, width: int, use_max_pool: bool) -> None:
        super().__init__()
        block: type[BasicBlock] | type[Bottleneck] = Bottleneck if depth >= 50 else BasicBlock
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if use_max_pool else nn.Identity()
        channels = width
        for stage, num_blocks in enumerate(_BLOCKS[depth]):
            planes = width * 2**stage
            blocks: list[nn.Module] = []
            for i in range(num_blocks):
                blocks.append(block(channels, planes, 2 if stage > 0 and i == 0 else 1))
                channels = planes * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.out_channels = (channels,)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised images to one map of features (B, C, H / s, W / s).

        s is 32, or 16 without the max-pool.
        """
        x = self.maxpool(torch.relu(self.bn1(self.conv1(images))))
        for stage in range(4):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return [x]

    def load_imagenet(self, path: Path) -> None:
        """Load weights with torchvision's names; the classifier ``fc.*`` is ignored.

        Raises:
            ValueError: If the file cannot be read, lacks a parameter, has another one or one of
                another shape.
        """
        load_backbone(self, path, ("fc.",))


class Upsampling(nn.Module):
    """Three 4x4 deconvolutions of stride 2, each doubling the resolution (Xiao et al. 2018).

    Finer features of the backbone, if it returns any, are added to the output of the
    deconvolution that reaches their resolution (as in Lin et al. 2017, Feature Pyramid Networks).

    Args:
        inputs: Channels of the backbone's features, the coarsest first.
        channels: Channels of each deconvolution.
        std: Standard deviation of the initial weights; None keeps the variance of the features.
    """

    def __init__(self, inputs: Sequence[int], channels: int, std: float | None = None) -> None:
        super().__init__()
        coarsest, *finer = inputs
        deconvolutions = [
            nn.ConvTranspose2d(coarsest if i == 0 else channels, channels, 4, 2, 1, bias=False)
            for i in range(NUM_DECONVOLUTIONS)
        ]
        lateral = [nn.Conv2d(each, channels, 1, bias=False) for each in finer]
        for deconvolution in deconvolutions:
            spread = std or (2 / (4 * deconvolution.in_channels)) ** 0.5
            nn.init.normal_(deconvolution.weight, std=spread)
        for convolution in lateral:
            nn.init.normal_(convolution.weight, std=std or convolution.in_channels**-0.5)
        self.deconvolutions = nn.ModuleList(deconvolutions)
        self.norms = nn.ModuleList(BatchNorm2d(channels) for _ in deconvolutions)
        self.lateral = nn.ModuleList(lateral)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features (B, C, h, w) of a backbone to (B, channels, 8 h, 8 w) of the coarsest."""
        x, *finer = features
        for i, (deconvolution, norm) in enumerate(
            zip(self.deconvolutions, self.norms, strict=True)
        ):
            x = deconvolution(x)
            if finer:
                x = x + self.lateral[i](finer[i])
            x = torch.relu_(norm(x))
        return x


class HeatmapHead(nn.Sequential):
    """Features to one map per joint, in float32.

    Args:
        channels: Channels of the features.
        num_joints: K.
        is_deep: Conv3x3, BN, ReLU before the Conv1x1 (RegDA's two-layer head), or the Conv1x1
            alone (RegDA's pre-training, UDAPE).
        std: Standard deviation of the initial weights; 0.001 in the references.
    """

    use_bfloat16 = False

    def __init__(
        self, channels: int, num_joints: int, is_deep: bool = True, std: float = 0.01
    ) -> None:
        hidden: list[nn.Module] = []
        if is_deep:
            hidden = [
                nn.Conv2d(channels, channels, 3, 1, 1),
                BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*hidden, nn.Conv2d(channels, num_joints, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=std)
                nn.init.zeros_(cast(Tensor, module.bias))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, h) to (B, K, h, h)."""
        *hidden, last = self
        with torch.autocast(features.device.type, torch.bfloat16, self.use_bfloat16):
            for layer in hidden:
                features = layer(features)
        # In bfloat16 neighbouring cells of a peak would round to equal values and the first would
        # be the arg max: a bias of 0.15 cells.
        return cast(Tensor, last(features.float()))


class PoseNet(nn.Module):
    """Images to heatmaps of the joints.

    Args:
        num_joints: K.
        depth: Depth of the ResNet.
        width: Channels of its first stage; the deconvolutions have 2 ``width``.
        image_size: Side of the images in pixels.
        heatmap_size: Side h of the maps in cells, a half or a quarter of the image's; with
            another backbone a quarter.
        is_reference: Whether to build it as the references do: deconvolutions of 4 ``width``
            instead of 2 ``width`` channels, a 1x1 head, initial weights of deviation 0.001.
        backbone: Backbone instead of a ResNet of this depth and width.

    Attributes:
        backbone: Backbone.
        upsampling: Deconvolutions.
        is_reference: Whether it is built and evaluated as in the references.
        head: Main heatmap head; the only one that evaluation reads.
    """

    def __init__(
        self,
        num_joints: int,
        depth: int,
        width: int,
        image_size: int,
        heatmap_size: int,
        is_reference: bool = False,
        backbone: EfficientNetLite0 | None = None,
    ) -> None:
        super().__init__()
        self.num_joints = num_joints
        self.is_reference = is_reference
        self._image_size = image_size
        self._memory_format = torch.contiguous_format
        self._use_bfloat16 = False
        self._is_compiled = False
        self.backbone = backbone or ResNet(
            depth, width, use_max_pool=heatmap_size * 4 == image_size
        )
        self.channels = (4 if is_reference else 2) * width
        self.upsampling = Upsampling(
            self.backbone.out_channels, self.channels, 0.001 if is_reference else None
        )
        self.head = self.new_head(is_deep=not is_reference)

    def new_head(self, is_deep: bool = True) -> HeatmapHead:
        """A fresh head for this network's features, on its device and in its formats."""
        std = 0.001 if self.is_reference else 0.01
        head = HeatmapHead(self.channels, self.num_joints, is_deep, std)
        head.use_bfloat16 = self._use_bfloat16
        if self._is_compiled:
            head.compile()
        return in_format(head, next(self.parameters()).device, self._memory_format)

    def renew_head(self) -> None:
        """Replace the head by a fresh deep one, as RegDA does before its second phase."""
        self.head = self.new_head()

    def place(self, device: torch.device) -> None:
        """Move to a device, in the fastest memory format that is computed correctly there.

        CPUs are checked (:func:`trainables.network.memory_format.trusted_format`); GPUs always
        use channels last.

        Raises:
            RuntimeError: If this CPU computes wrong gradients in any format.
        """
        self._memory_format = torch.channels_last
        if device.type == "cpu":
            self._memory_format = trusted_format(self, self._image_size)
        in_format(self, device, self._memory_format)

    def accelerate(self, use_bfloat16: bool, is_compiled: bool) -> None:
        """Choose the number format of the products and whether torch.compile fuses the layers.

        Weights, running statistics and maps stay float32.
        """
        self._use_bfloat16 = self.head.use_bfloat16 = use_bfloat16
        self._is_compiled = is_compiled
        if is_compiled:
            for module in (self.backbone, self.upsampling, self.head):
                module.compile()

    def frozen_copy(self) -> "PoseNet":
        """A copy without gradients, accelerated like the original; a teacher starts as one."""
        copy = deepcopy(self).requires_grad_(False)
        if self._is_compiled:
            copy.accelerate(self._use_bfloat16, is_compiled=True)
        return copy

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, channels, h, h)."""
        images = images.contiguous(memory_format=self._memory_format)
        with torch.autocast(images.device.type, torch.bfloat16, self._use_bfloat16):
            return cast(Tensor, self.upsampling(self.backbone(images)))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images to (B, K, h, h) maps: logits, or values under MSE."""
        return cast(Tensor, self.head(self.features(images)))
