"""EvalPose by loops over poses and triplets: slow and obvious.

For correctness (the batched metric must agree with it) and as the baseline of the speed
benchmark. Plain numpy in double precision. Angles come from the paper's arccos and from
directions of limbs, another way than the batched metric's.
"""

import math

import numpy as np


def evalpose_loops(predicted_px, keypoints_px, visible, skeleton, variant, min_limb_px):
    """Score image by image; returns a dict with the fields of ``EvalPoseResult``."""
    num_poses = len(visible)
    per_pose = np.full(num_poses, np.nan)
    num_entered = num_degenerate = 0
    for n in range(num_poses):
        pairs = []
        for triplet in skeleton.triplets:
            if not all(visible[n, k] for k in triplet):
                continue
            if min(_limbs(keypoints_px[n], triplet)) < min_limb_px:
                continue
            pairs.append((_angle(keypoints_px[n], triplet), _angle(predicted_px[n], triplet)))
        if len(pairs) < 3:
            continue
        num_entered += len(pairs)
        num_degenerate += sum(predicted is None for _, predicted in pairs)
        per_pose[n] = 100 * _score(pairs, variant)
    scored = per_pose[~np.isnan(per_pose)]
    return {
        "mean": sum(scored) / len(scored),
        "per_pose": per_pose,
        "num_scored": len(scored),
        "num_skipped": num_poses - len(scored),
        "coverage": num_entered / (num_poses * len(skeleton.triplets)),
        "num_degenerate": num_degenerate,
    }


def _limbs(pose, triplet):
    a, b, c = triplet
    return np.linalg.norm(pose[a] - pose[b]), np.linalg.norm(pose[c] - pose[b])


def _angle(pose, triplet):
    """Signed angle in radians; None if a limb has length zero."""
    length_1, length_2 = _limbs(pose, triplet)
    if length_1 == 0 or length_2 == 0:
        return None
    a, b, c = triplet
    v1, v2 = pose[a] - pose[b], pose[c] - pose[b]
    cosine = np.dot(v1, v2) / (length_1 * length_2)
    turn = (math.atan2(v2[1], v2[0]) - math.atan2(v1[1], v1[0])) % (2 * math.pi)
    magnitude = math.acos(max(-1.0, min(1.0, cosine)))
    return magnitude if turn <= math.pi else -magnitude


def _score(pairs, variant):
    if variant == "printed":
        return _cosine([(abs(true), None if p is None else abs(p)) for true, p in pairs])
    if variant == "cosines":
        return _cosine([(math.cos(true), None if p is None else math.cos(p)) for true, p in pairs])
    if variant == "within_20":
        degrees = [math.degrees(abs(abs(t) - abs(p))) for t, p in pairs if p is not None]
        return sum(difference <= 20 for difference in degrees) / len(pairs)
    return _unit(pairs, variant)


def _cosine(pairs):
    dot = norm_1 = norm_2 = 0.0
    for true, predicted in pairs:
        norm_1 += true**2
        if predicted is not None:
            dot += true * predicted
            norm_2 += predicted**2
    return dot / math.sqrt(norm_1 * norm_2) if dot else 0.0


def _unit(pairs, variant):
    total = 0.0
    for true, predicted in pairs:
        if predicted is None:
            continue
        if variant == "unit_unsigned":
            total += math.cos(abs(true) - abs(predicted))
        else:
            total += math.cos(true - predicted)
    return total / len(pairs)
