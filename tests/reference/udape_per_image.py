"""UDAPE's target side as one reads it in the paper: image by image, joint by joint.

For correctness (the same labels, occluded images, loss and teacher) and as the baseline of the
speed benchmark. Geometry is written in homogeneous 3x3 matrices of double precision, in terms of
cells; the maths is that of ``trainables.adapt.pseudo_labels``, without the reference code's
chained resamplings and shifted centres. Heatmaps are warped image by image, all joints at once,
as in the reference code.
"""

import math

import torch
import torch.nn.functional as F

from trainables.adapt.pseudo_labels import PseudoLabels


def labels_in_student_view(teacher_maps, teacher_to_student, image_size, keep, per_joint, loss):
    """As ``pseudo_labels``."""
    size = teacher_maps.shape[-1]
    keypoints, heights = [], []
    for maps, matrix in zip(teacher_maps, teacher_to_student, strict=True):
        for heatmap in maps:
            keypoints.append(matrix[:, :2] @ decode(heatmap, image_size / size) + matrix[:, 2])
            heights.append(height_map(heatmap, loss).max())
    is_candidate = [bool(((p >= -0.5) & (p < image_size - 0.5)).all()) for p in keypoints]
    return draw(keypoints, heights, is_candidate, teacher_maps, image_size, keep, per_joint)


def labels_in_stored_image(teacher_maps, teacher_view, image_size, keep, per_joint, loss):
    """As ``warped_pseudo_labels``."""
    size = teacher_maps.shape[-1]
    keypoints, heights, is_candidate = [], [], []
    for maps, matrix in zip(teacher_maps, teacher_view, strict=True):
        relative = torch.stack([height_map(heatmap, loss) for heatmap in maps])
        warped, covered = unwarp(relative, matrix, image_size)
        for heatmap in warped:
            candidates = heatmap.masked_fill(~covered, -math.inf)
            keypoints.append(decode(candidates, image_size / size))
            heights.append(candidates.max())
            is_candidate.append(bool(covered.any()))
    return draw(keypoints, heights, is_candidate, teacher_maps, image_size, keep, per_joint)


def decode(heatmap, stride):
    """Pixel coordinates (2,) of the highest cell's centre."""
    y, x = divmod(int(heatmap.argmax()), heatmap.shape[-1])
    return torch.tensor([(x + 0.5) * stride - 0.5, (y + 0.5) * stride - 0.5])


def height_map(heatmap, loss):
    """The map (H, H) relative to the peak of a perfectly learned one."""
    if loss == "mse":
        return heatmap
    sigma = heatmap.shape[-1] / 32
    return heatmap.flatten().softmax(0).view_as(heatmap) * (2 * math.pi * sigma**2)


def draw(keypoints, heights, is_candidate, teacher_maps, image_size, keep, per_joint):
    """Pseudo-labels from lists over images and joints."""
    batch, num_joints, size, _ = teacher_maps.shape
    maps = [gaussian(keypoint, image_size, size) for keypoint in keypoints]
    is_trusted = trusted([float(height) for height in heights], num_joints, keep, per_joint)
    weights = [float(a and b) for a, b in zip(is_trusted, is_candidate, strict=True)]
    return PseudoLabels(
        keypoints_px=torch.stack(keypoints).view(batch, num_joints, 2),
        maps=torch.stack(maps).view(batch, num_joints, size, size),
        confidence=torch.stack(heights).clamp(0, 1).view(batch, num_joints),
        weights=torch.tensor(weights).view(batch, num_joints),
    )


def gaussian(keypoint, image_size, size):
    """One heatmap (H, H) around a keypoint (2,) in pixels."""
    stride, sigma = image_size / size, size / 32
    x, y = (keypoint + 0.5) / stride - 0.5
    cells = torch.arange(size, dtype=torch.float32)
    dx, dy = cells.view(1, -1) - x, cells.view(-1, 1) - y
    heatmap = torch.exp(-(dx**2 + dy**2) / (2 * sigma**2))
    return heatmap * ((dx.abs() <= 3 * sigma) & (dy.abs() <= 3 * sigma))


def trusted(heights, num_joints, keep, per_joint):
    """Which of the B * K heights, in that order, are above the (1 - keep) quantile."""
    groups = [heights[k::num_joints] for k in range(num_joints)] if per_joint else [heights]
    limits = []
    for group in groups:
        num_dropped = math.floor((1 - keep) * len(group) + 1e-6)
        limits.append(sorted(group)[num_dropped - 1] if num_dropped else -math.inf)
    return [height > limits[i % len(limits)] for i, height in enumerate(heights)]


def homogeneous(matrix):
    """A 2x3 matrix as 3x3 of double precision."""
    return torch.cat([matrix.double(), torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)])


def scaling(scale, shift):
    """x -> scale * x + shift on both axes."""
    matrix = torch.diag(torch.tensor([scale, scale, 1.0], dtype=torch.float64))
    matrix[:2, 2] = shift
    return matrix


def unwarp(maps, matrix, image_size):
    """Maps (K, H, H) of one view in the stored image, and which cells (H, H) the view covers."""
    size = maps.shape[-1]
    stride = image_size / size
    pixel_of_cell = scaling(stride, 0.5 * stride - 0.5)
    cell_to_cell = torch.linalg.inv(pixel_of_cell) @ homogeneous(matrix) @ pixel_of_cell
    normalised_of_cell = scaling(2 / size, 1 / size - 1)  # -1 and 1 are the outer edges
    theta = normalised_of_cell @ cell_to_cell @ torch.linalg.inv(normalised_of_cell)
    grid = F.affine_grid(theta[None, :2].float(), [1, 1, size, size], align_corners=False)
    warped = F.grid_sample(maps[None], grid, padding_mode="border", align_corners=False)
    return warped[0], (grid[0].abs() <= 1).all(-1)


def student_in_stored_image(student_maps, student_view, image_size, labels, loss):
    """As ``compare_in_stored``."""
    size = student_maps.shape[-1]
    stride = image_size / size
    all_maps, all_labels, weights = [], [], labels.weights.clone()
    for i, (maps, matrix) in enumerate(zip(student_maps, student_view, strict=True)):
        warped, covered = unwarp(maps, matrix, image_size)
        all_maps.append(warped.masked_fill(~covered, -1e4 if loss == "kl" else 0.0))
        all_labels.append(labels.maps[i] * covered)
        for k, (x, y) in enumerate(labels.keypoints_px[i].tolist()):
            if not covered[round((y + 0.5) / stride - 0.5), round((x + 0.5) / stride - 0.5)]:
                weights[i, k] = 0
    return torch.stack(all_maps), PseudoLabels(
        labels.keypoints_px, torch.stack(all_labels), labels.confidence, weights
    )


def consistency(maps, labels, loss):
    """Mean over all joints of the loss of each trusted one."""
    losses = []
    # Iterating takes the batch apart once; indexing [i, k] would make backward fill a gradient
    # of the whole batch for every joint.
    for image_maps, image_labels, weights in zip(maps, labels.maps, labels.weights, strict=True):
        for heatmap, label, weight in zip(image_maps, image_labels, weights, strict=True):
            if weight == 0:
                continue
            if loss == "mse":
                losses.append((heatmap - label).square().mean())
                continue
            q = (label / label.sum()).flatten()
            log_p = heatmap.flatten().log_softmax(0)
            losses.append((torch.special.xlogy(q, q) - q * log_p).sum())
    return sum(losses, torch.zeros(())) / labels.weights.numel()


def occlude(images, labels, probability, threshold, generator):
    """As ``occlude_confident_joints``, with the same draws."""
    batch, _, size, _ = images.shape
    draws = torch.rand((batch, 3 + labels.confidence.shape[1]), generator=generator)
    (chance, patch_x, patch_y), scores = draws[:, :3].T.tolist(), draws[:, 3:]
    occluded = images.clone()
    for i in range(batch):
        known = [
            k
            for k, keypoint in enumerate(labels.keypoints_px[i])
            if labels.confidence[i, k] >= threshold
            and ((keypoint >= -0.5) & (keypoint < size - 0.5)).all()
        ]
        if not known or chance[i] >= probability:
            continue
        joint = max(known, key=lambda k, i=i: scores[i, k])
        x, y = labels.keypoints_px[i, joint].tolist()
        left, right = span(x, size)
        top, bottom = span(y, size)
        width, height = right - left, bottom - top
        from_x = int(patch_x[i] * (size - width + 1))
        from_y = int(patch_y[i] * (size - height + 1))
        patch = images[i, :, from_y : from_y + height, from_x : from_x + width]
        occluded[i, :, top:bottom, left:right] = patch
    return occluded


def span(centre, size):
    """First pixel of a window around the centre along one axis, and the one after its last."""
    width = max(1, round(20 * size / 256))
    first = math.ceil(centre - width / 2)
    return max(first, 0), min(first + width, size)


@torch.no_grad()
def update_teacher_by_parameter(teacher, student, decay):
    """The exponential mean, parameter by parameter, as in the reference code."""
    for ours, theirs in zip(teacher.parameters(), student.parameters(), strict=True):
        ours.mul_(decay)
        ours.add_(theirs * (1 - decay))
