"""Bodies of procedural people: coloured capsules on a sixteen-joint skeleton."""

import numpy as np
from numpy.typing import NDArray

from trainables.data.renderer import Capsules
from trainables.data.scene import Look, as_tensor

SKIN, HAIR, SHIRT, TROUSERS, SHOES = range(5)

# joint a, joint b, radius in metres, palette entry
_PARTS = (
    (0, 1, 0.055, TROUSERS), (1, 2, 0.075, TROUSERS),
    (5, 4, 0.055, TROUSERS), (4, 3, 0.075, TROUSERS),
    (2, 3, 0.085, TROUSERS), (2, 12, 0.085, SHIRT), (3, 13, 0.085, SHIRT),
    (6, 8, 0.110, SHIRT), (12, 13, 0.070, SHIRT), (8, 9, 0.045, SKIN),
    (12, 11, 0.050, SHIRT), (13, 14, 0.050, SHIRT),
    (11, 10, 0.040, SKIN), (14, 15, 0.040, SKIN),
)  # fmt: skip


def body_capsules(
    joints: NDArray[np.float64],
    keypoints: NDArray[np.float64],
    scale: NDArray[np.float64],
    look: Look,
    rng: np.random.Generator,
) -> Capsules:
    """Capsules of a chunk of dressed people.

    Args:
        joints: (B, 16, 3) metres in the camera frame.
        keypoints: (B, 16, 2) the same in pixels.
        scale: (B,) pixels per metre.
        look: Colours and patterns of the domain.
        rng: Source of all randomness.
    """
    num = len(joints)
    palette = 0.5 + (rng.uniform(0.05, 0.95, (num, 5, 3)) - 0.5) * look.saturation
    tone = rng.uniform(0.35, 0.95, (num, 1))
    palette[:, SKIN] = tone * (1.0, 0.78, 0.62)
    palette[:, HAIR] = rng.uniform(0.05, 0.45, (num, 1)) * (1.0, 0.8, 0.6)
    girth = scale * rng.normal(1.0, 0.08, num).clip(0.8, 1.25)

    start, end = [keypoints[:, a] for a, *_ in _PARTS], [keypoints[:, b] for _, b, *_ in _PARTS]
    depth = [(joints[:, a, 2] + joints[:, b, 2]) / 2 for a, b, *_ in _PARTS]
    radius = [girth * r for *_, r, _ in _PARTS]
    entry = [p for *_, p in _PARTS]

    # The head is hair with a face on the side that the person looks to: it shows front from back.
    up = joints[:, 9] - joints[:, 8]
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    across = joints[:, 13] - joints[:, 12]
    facing = np.cross(across, up)
    facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    centre = joints[:, 9] - 0.09 * up
    for offset, size, colour in ((-0.01, 0.105, HAIR), (0.055, 0.075, SKIN)):
        middle = centre + facing * offset
        point = keypoints[:, 9] + (middle - joints[:, 9])[:, :2] * scale[:, None]
        start.append(point)
        end.append(point)
        depth.append(middle[:, 2])
        radius.append(girth * size)
        entry.append(colour)
    for toe_of, foot in ((1, 0), (4, 5)):
        ahead = facing * 0.10 + (joints[:, foot] - joints[:, toe_of]) * 0.08
        start.append(keypoints[:, foot])
        end.append(keypoints[:, foot] + ahead[:, :2] * scale[:, None])
        depth.append(joints[:, foot, 2] + ahead[:, 2] / 2)
        radius.append(girth * 0.05)
        entry.append(SHOES)
    stripes = rng.uniform(0, 1, (num, 5)) * look.stripe * (rng.random((num, 5)) < 0.6)
    stripes[:, [SKIN, HAIR]] = 0
    return Capsules(
        start=as_tensor(np.stack(start, 1)),
        end=as_tensor(np.stack(end, 1)),
        radius=as_tensor(np.stack(radius, 1)),
        depth=as_tensor(np.stack(depth, 1)),
        colour=as_tensor(palette[:, entry]),
        stripe=as_tensor(stripes[:, entry]),
    )
