"""A procedural prior over 3D body poses in the sixteen-joint order.

A few anatomical angles attach the limbs to a torso. One number per pose, its *complexity* in
[0, 1], widens the range of every angle: near 0 people stand with their arms down, near 1 they
kick, bend and turn. Camera frame: x right, y down, z away from the camera, so a person who faces
the camera has the right arm at negative x and looks towards negative z.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TORSO, NECK, HEAD = 0.52, 0.10, 0.20
UPPER_ARM, FOREARM = 0.30, 0.27
THIGH, SHIN = 0.44, 0.43
HALF_SHOULDERS, HALF_HIPS = 0.19, 0.11
"""Lengths in metres of an adult of 1.75 m."""


def sample_body_poses(
    rng: np.random.Generator, complexity: Array, yaw_limit: Array
) -> NDArray[np.float64]:
    """Draw one 3D pose per entry of ``complexity``.

    Args:
        rng: Source of all randomness.
        complexity: (N,) in [0, 1].
        yaw_limit: (N,) largest turn away from the camera in radians, in [0, pi].

    Returns:
        (N, 16, 3) joints in metres in the camera frame, pelvis near the origin.
    """
    num = len(complexity)
    c = complexity
    build = rng.normal(1.0, 0.05, (num, 4)).clip(0.85, 1.15)  # torso, arms, legs, width
    joints = np.zeros((num, 16, 3))
    down = np.array([0.0, 1.0, 0.0])

    # Everything is built upright and facing the camera, then turned as a whole.
    spine = _bend(-down, rng.uniform(-0.15 - 0.2 * c, 0.25 + 0.8 * c), _spread(rng, 0.5 * c))
    chest = joints[:, 6] + spine * (TORSO * build[:, :1])
    side = _orthogonal(np.tile([1.0, 0.0, 0.0], (num, 1)), spine)
    joints[:, 7] = joints[:, 6] + spine * (0.6 * TORSO * build[:, :1])
    joints[:, 8] = chest + spine * (0.3 * NECK)
    nod = _bend(spine, rng.uniform(-0.2, 0.3 + 0.3 * c), _spread(rng, 0.1 + 0.3 * c))
    joints[:, 9] = joints[:, 8] + nod * (NECK + HEAD)

    for sign, hip, knee, ankle, shoulder, elbow, wrist in (
        (-1.0, 2, 1, 0, 12, 11, 10),
        (1.0, 3, 4, 5, 13, 14, 15),
    ):
        joints[:, shoulder] = chest + sign * side * (HALF_SHOULDERS * build[:, 3:])
        raise_side = rng.uniform(0.05, 0.45 + 2.2 * c)
        raise_front = rng.uniform(-0.15 - 0.6 * c, 0.35 + 1.6 * c)
        upper = _limb(-spine, side * sign, raise_side, raise_front)
        joints[:, elbow] = joints[:, shoulder] + upper * (UPPER_ARM * build[:, 1:2])
        # A forearm folds forwards, and inwards or outwards as the upper arm twists.
        twist = rng.uniform(-0.3 - 1.2 * c, 0.3 + 0.6 * c)
        fold = rng.uniform(0.0, 0.5 + 1.8 * c)
        hinge = np.stack([sign * np.sin(twist), np.zeros(num), -np.cos(twist)], axis=1)
        lower = turn_towards(upper, hinge, fold)
        joints[:, wrist] = joints[:, elbow] + lower * (FOREARM * build[:, 1:2])

        joints[:, hip] = joints[:, 6] + sign * np.array([HALF_HIPS, 0, 0]) * build[:, 3:]
        spread = rng.uniform(0.0, 0.2 + 0.9 * c)
        lift = rng.uniform(-0.15 - 0.5 * c, 0.2 + 1.5 * c)
        thigh = _limb(np.tile(down, (num, 1)), np.tile([sign, 0, 0], (num, 1)), spread, lift)
        joints[:, knee] = joints[:, hip] + thigh * (THIGH * build[:, 2:3])
        back = np.tile([0.0, 0.0, 1.0], (num, 1))  # knees fold the shin backwards
        shin = turn_towards(thigh, back, rng.uniform(0.0, 0.2 + 1.9 * c))
        joints[:, ankle] = joints[:, knee] + shin * (SHIN * build[:, 2:3])

    yaw = rng.uniform(-1, 1, num) * yaw_limit
    pitch = rng.uniform(-1, 1, num) * (0.1 + 0.3 * c)
    roll = rng.normal(0, 1, num).clip(-2.5, 2.5) * (0.05 + 0.45 * c**2)
    rotation = rotation_matrix(yaw, pitch, roll)  # (N, 3, 3)
    return np.asarray(joints @ rotation.transpose(0, 2, 1))


def _spread(rng: np.random.Generator, half_range: Array) -> Array:
    return rng.uniform(-1, 1, len(half_range)) * half_range


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _orthogonal(vectors: Array, to: Array) -> Array:
    return _unit(vectors - (vectors * to).sum(1, keepdims=True) * to)


def _bend(direction: Array, forwards: Array, sideways: Array) -> Array:
    """Tilt (N, 3) or (3,) directions forwards (towards the camera) and sideways, radians."""
    forward = np.array([0.0, 0.0, -1.0])
    side = np.array([1.0, 0.0, 0.0])
    base = np.broadcast_to(direction, (len(forwards), 3))
    tilted = (
        base * (np.cos(forwards) * np.cos(sideways))[:, None]
        + forward * np.sin(forwards)[:, None]
        + side * np.sin(sideways)[:, None]
    )
    return _unit(tilted)


def _limb(rest: Array, outwards: Array, raise_side: Array, raise_front: Array) -> Array:
    """Swing a resting limb (N, 3) outwards in the frontal plane, then forwards, radians."""
    swung = rest * np.cos(raise_side)[:, None] + outwards * np.sin(raise_side)[:, None]
    forward = np.array([0.0, 0.0, -1.0])
    return _unit(swung * np.cos(raise_front)[:, None] + forward * np.sin(raise_front)[:, None])


def turn_towards(direction: Array, towards: Array, angle: Array) -> Array:
    """Turn (N, 3) directions by ``angle`` radians towards another direction."""
    # A limb that already points in the target direction defines no plane to turn in; the small
    # offset picks one.
    plane = _orthogonal(towards + 1e-3 * np.array([0.3, 0.5, 0.7]), direction)
    return _unit(direction * np.cos(angle)[:, None] + plane * np.sin(angle)[:, None])


def rotation_matrix(yaw: Array, pitch: Array, roll: Array) -> Array:
    """(N, 3, 3) turns about y, then x, then z, of (N,) angles in radians."""

    def stack(*rows: tuple[Array, Array, Array]) -> Array:
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)

    one, zero = np.ones_like(yaw), np.zeros_like(yaw)
    cos_y, sin_y, cos_p, sin_p, cos_r, sin_r = (
        np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll),
    )  # fmt: skip
    about_y = stack((cos_y, zero, sin_y), (zero, one, zero), (-sin_y, zero, cos_y))
    about_x = stack((one, zero, zero), (zero, cos_p, -sin_p), (zero, sin_p, cos_p))
    about_z = stack((cos_r, -sin_r, zero), (sin_r, cos_r, zero), (zero, zero, one))
    return np.asarray(about_z @ about_x @ about_y)
