"""A procedural prior over 3D poses of one hand in the 21-joint order.

Joint order: the wrist, then four joints for each finger from the palm to the tip, thumb first. As
in ``body_prior``, a complexity in [0, 1] widens the range of every angle: near 0 an open hand
faces the camera, near 1 fingers curl and cross and the hand turns away. Camera frame: x right,
y down, z away from the camera.
"""

import numpy as np
from numpy.typing import NDArray

from trainables.data.render.body_prior import rotation_matrix, turn_towards

Array = NDArray[np.float64]

_PALM = ((-0.030, -0.025), (-0.028, -0.088), (-0.008, -0.092), (0.011, -0.088), (0.028, -0.080))
"""First joint of each finger in the plane of the palm, metres from the wrist, thumb first."""
_BONES = (
    (0.042, 0.034, 0.028), (0.043, 0.026, 0.021), (0.047, 0.030, 0.023),
    (0.043, 0.028, 0.023), (0.034, 0.021, 0.019),
)  # fmt: skip
"""Lengths of each finger's three bones in metres."""
_FAN_RAD = (-0.85, -0.12, 0.0, 0.10, 0.22)
"""Direction of each stretched finger in the plane of the palm, from straight up."""


def sample_hand_poses(rng: np.random.Generator, complexity: Array, yaw_limit: Array) -> Array:
    """Draw one 3D hand pose per entry of ``complexity``.

    Args:
        rng: Source of all randomness.
        complexity: (N,) in [0, 1].
        yaw_limit: (N,) largest turn away from the camera in radians, in [0, pi].

    Returns:
        (N, 21, 3) joints in metres in the camera frame, wrist at the origin.
    """
    num, c = len(complexity), complexity
    joints = np.zeros((num, 21, 3))
    towards_palm = np.tile([0.0, 0.0, -1.0], (num, 1))
    curl = rng.uniform(0, 1, num)  # the fingers of one hand curl to a similar degree
    for finger, (bones, fan) in enumerate(zip(_BONES, _FAN_RAD, strict=True)):
        base = 1 + 4 * finger
        joints[:, base, :2] = _PALM[finger]
        spread = fan + rng.uniform(-1, 1, num) * (0.06 + 0.2 * c)
        direction = np.stack([np.sin(spread), -np.cos(spread), np.zeros(num)], axis=1)
        share = 0.6 * curl + 0.4 * rng.uniform(0, 1, num)
        bend = share * (0.25 + 1.25 * c) * (0.6 if finger == 0 else 1.0)
        for bone, length in enumerate(bones):
            direction = turn_towards(direction, towards_palm, bend * (1.0, 1.1, 0.7)[bone])
            joints[:, base + bone + 1] = joints[:, base + bone] + direction * length
    yaw = rng.uniform(-1, 1, num) * yaw_limit
    pitch = rng.uniform(-1, 1, num) * (0.15 + 0.6 * c)
    roll = rng.normal(0, 1, num).clip(-2.5, 2.5) * (0.15 + 0.8 * c)
    return np.asarray(joints @ rotation_matrix(yaw, pitch, roll).transpose(0, 2, 1))
