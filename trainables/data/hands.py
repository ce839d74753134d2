"""Procedural hands: skin-coloured capsules on a 21-joint skeleton."""

import numpy as np
from numpy.typing import NDArray

from trainables.data.renderer import Capsules
from trainables.data.scene import Look, as_tensor

_FINGERS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
_BONE_RADIUS = (0.0095, 0.0085, 0.0075)
"""Metres, from the palm to the tip."""


def hand_capsules(
    joints: NDArray[np.float64],
    keypoints: NDArray[np.float64],
    scale: NDArray[np.float64],
    look: Look,
    rng: np.random.Generator,
) -> Capsules:
    """Capsules of a chunk of hands.

    Args:
        joints: (B, 21, 3) metres in the camera frame.
        keypoints: (B, 21, 2) the same in pixels.
        scale: (B,) pixels per metre.
        look: Colours and patterns of the domain.
        rng: Source of all randomness.
    """
    num = len(joints)
    girth = scale * rng.normal(1.0, 0.1, num).clip(0.75, 1.3)
    bones = [(0, finger[0], 0.016) for finger in _FINGERS]
    bones += [(a[0], b[0], 0.012) for a, b in zip(_FINGERS[1:], _FINGERS[2:], strict=False)]
    bones += [(finger[i], finger[i + 1], _BONE_RADIUS[i]) for finger in _FINGERS for i in range(3)]
    start = np.stack([keypoints[:, a] for a, _, _ in bones], axis=1)
    end = np.stack([keypoints[:, b] for _, b, _ in bones], axis=1)
    depth = np.stack([(joints[:, a, 2] + joints[:, b, 2]) / 2 for a, b, _ in bones], axis=1)
    radius = np.stack([girth * r for _, _, r in bones], axis=1)
    tone = rng.uniform(0.35, 0.95, (num, 1, 1)) * np.array([1.0, 0.78, 0.62])
    # Neighbouring fingers differ a little in shade; otherwise they would look like one.
    shade = rng.uniform(0.92, 1.06, (num, len(bones), 1))
    stripe = rng.uniform(0, 0.3 * look.stripe, (num, 1)).repeat(len(bones), axis=1)
    return Capsules(
        start=as_tensor(start),
        end=as_tensor(end),
        radius=as_tensor(radius),
        depth=as_tensor(depth),
        colour=as_tensor((tone * shade).clip(0, 1)),
        stripe=as_tensor(stripe),
    )
