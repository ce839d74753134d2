"""Writes samples in the published layouts of LSP and LSPET."""

import cv2
import numpy as np
import scipy.io

SLOTS = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 8, 9]
"""Body joint behind each of the fourteen Leeds joints; pelvis and thorax have no place there."""


def write_leeds(name, root, images, keypoints_px, visible):
    """Write (N, H, W, 3) RGB images, (N, 16, 2) keypoints and (N, 16) flags to a new folder."""
    joints = np.empty((len(images), 14, 3))
    seen = visible[:, SLOTS]
    joints[..., :2] = keypoints_px[:, SLOTS] + 1
    if name == "lsp":
        joints[..., 2] = ~seen
        axes = (2, 1, 0)
    else:
        joints[..., :2][~seen] = -1
        joints[..., 2] = seen
        axes = (1, 2, 0)
    (root / "images").mkdir(parents=True)
    scipy.io.savemat(root / "joints.mat", {"joints": joints.transpose(axes)})
    digits = 4 if name == "lsp" else 5
    for i, image in enumerate(images):
        done, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]))
        assert done, f"image {i} cannot be encoded"
        data.tofile(root / "images" / f"im{i + 1:0{digits}d}.jpg")
