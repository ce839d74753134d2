"""PCK by loops over poses and joints: slow and obvious.

For correctness (the batched metric must agree with it) and as the baseline of the speed
benchmark. Plain numpy in double precision; percentages.
"""

import numpy as np


def pck_loops(predicted_px, keypoints_px, visible, skeleton, image_size, threshold=0.05):
    """Count correct keypoints one by one; returns a dict with the fields of ``PckResult``."""
    num_poses, num_joints = visible.shape
    hits = np.zeros(num_joints)
    seen = np.zeros(num_joints)
    per_pose = np.full(num_poses, np.nan)
    for n in range(num_poses):
        pose_hits = pose_seen = 0
        for k in range(num_joints):
            if not visible[n, k]:
                continue
            distance = np.linalg.norm(predicted_px[n, k] - keypoints_px[n, k])
            hit = distance < threshold * image_size
            hits[k] += hit
            seen[k] += 1
            pose_hits += hit
            pose_seen += 1
        if pose_seen:
            per_pose[n] = 100 * pose_hits / pose_seen

    per_joint = np.full(num_joints, np.nan)
    for k in range(num_joints):
        if seen[k]:
            per_joint[k] = 100 * hits[k] / seen[k]
    return {
        "per_joint": per_joint,
        "groups": {name: _mean(per_joint, joints) for name, joints in skeleton.groups.items()},
        "all": _mean(per_joint, skeleton.all_joints),
        "per_pose": per_pose,
        "num_visible": int(seen.sum()),
    }


def pck_ref_loops(heatmaps_pred, heatmaps_true, batch_size, skeleton, threshold=0.05):
    """Apply the reference convention batch by batch; returns ``(per_joint, groups, all)``."""
    num_poses, num_joints, size, _ = heatmaps_true.shape
    per_joint = np.zeros(num_joints)
    for start in range(0, num_poses, batch_size):
        poses = range(start, min(start + batch_size, num_poses))
        for k in range(num_joints):
            hits = seen = 0
            for n in poses:
                true_x, true_y = _decode(heatmaps_true[n, k])
                if true_x > 1 and true_y > 1:
                    x, y = _decode(heatmaps_pred[n, k])
                    hits += np.hypot(x - true_x, y - true_y) < threshold * size
                    seen += 1
            accuracy = hits / seen if seen else -1
            per_joint[k] += 100 * accuracy * len(poses) / num_poses
    groups = {name: np.mean(per_joint[list(joints)]) for name, joints in skeleton.groups.items()}
    return per_joint, groups, np.mean(per_joint[list(skeleton.all_joints)])


def per_bin_mean_loops(values, bin_index, num_bins):
    """Average the values that are not NaN, bin by bin."""
    means = np.full(num_bins, np.nan)
    for b in range(num_bins):
        members = [v for v, i in zip(values, bin_index, strict=True) if i == b and not np.isnan(v)]
        if members:
            means[b] = sum(members) / len(members)
    return means


def _mean(per_joint, joints):
    known = [per_joint[k] for k in joints if not np.isnan(per_joint[k])]
    return sum(known) / len(known) if known else float("nan")


def _decode(heatmap):
    best, best_x, best_y = 0.0, 0, 0
    for y in range(heatmap.shape[0]):
        for x in range(heatmap.shape[1]):
            if heatmap[y, x] > best:
                best, best_x, best_y = heatmap[y, x], x, y
    return best_x, best_y
