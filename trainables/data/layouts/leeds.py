"""Samples in the layouts of LSP and LSPET; see :mod:`trainables.data.leeds`."""

from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray

from trainables.data.layouts.jpeg import write_jpeg

_SLOTS = (0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 8, 9)
"""Body joint behind each of the fourteen Leeds joints; pelvis and thorax have no place there."""


def write_leeds(
    name: str,
    out: Path,
    images: NDArray[np.uint8],
    keypoints_px: NDArray[np.float32],
    visible: NDArray[np.bool_],
) -> None:
    """Write samples in the layout of ``lsp`` or ``lspet``.

    Args:
        name: ``lsp`` or ``lspet``.
        out: Folder without samples; made if it does not exist.
        images: (N, H, W, 3) RGB.
        keypoints_px: (N, 16, 2), pixel centres are integers.
        visible: (N, 16).
    """
    joints = np.empty((len(images), 14, 3))
    seen = visible[:, _SLOTS]
    joints[..., :2] = keypoints_px[:, _SLOTS] + 1
    if name == "lsp":
        joints[..., 2] = ~seen
        axes = (2, 1, 0)
    else:
        joints[..., :2][~seen] = -1
        joints[..., 2] = seen
        axes = (1, 2, 0)
    out.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(out / "joints.mat", {"joints": joints.transpose(axes)})
    digits = 4 if name == "lsp" else 5
    for i, image in enumerate(images):
        write_jpeg(out / "images" / f"im{i + 1:0{digits}d}.jpg", image)
