"""Pictures of poses: the poses of each bin, the kinematic tree."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.palette import BLUE, FONT, GREEN, VERMILION, new_figure
from trainables.data.skeleton import Skeleton
from trainables.stages.binned_poses import BinnedPoses

Points = NDArray[np.float32]
MAX_ROWS = 8
"""Most rows of a gallery; of more bins, evenly spread ones are shown."""


def draw_pose(
    axes: Axes,
    keypoints: Points,
    visible: NDArray[np.bool_],
    skeleton: Skeleton,
    image: NDArray[np.uint8] | None = None,
) -> None:
    """Draw a pose, on its image or on white; left is vermilion, right blue, the middle green.

    Args:
        axes: Where; its axes are taken away.
        keypoints: (K, 2) in pixels of the image; NaN is allowed where not visible.
        visible: (K,) joints to draw; a limb needs both of its ends.
        skeleton: Limbs and sides.
        image: (S, S, 3) uint8.
    """
    if image is not None:
        axes.imshow(image, interpolation="nearest")
    for first, second in skeleton.limbs:
        if visible[first] and visible[second]:
            ends = keypoints[[first, second]]
            colour = _side(skeleton, first, second)
            # A white line below it keeps the limb apart from any background.
            axes.plot(*ends.T, color="white", linewidth=3.0, solid_capstyle="round")
            axes.plot(*ends.T, color=colour, linewidth=1.6, solid_capstyle="round")
    for joint in np.flatnonzero(visible).tolist():
        axes.plot(
            *keypoints[joint], "o", color=_side(skeleton, joint), markersize=3,
            markeredgecolor="white", markeredgewidth=0.4,
        )  # fmt: skip
    if image is not None:
        axes.set_xlim(-0.5, image.shape[1] - 0.5)
        axes.set_ylim(image.shape[0] - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def bin_gallery(poses: BinnedPoses, columns: int = 6) -> Figure:
    """Images of each bin with their poses, a row for a bin, the easiest on top (paper, Fig. 3a).

    Args:
        poses: From ``Study.poses``; images are read only where they are shown.
        columns: Images of each bin, evenly spread over it; at most one per pose.
    """
    num_rows = min(MAX_ROWS, poses.num_bins)
    spread = np.linspace(0, poses.num_bins - 1, num_rows).round().astype(int).tolist()
    figure = new_figure(1.0 * num_rows + 0.2, width=1.0 * columns + 0.8)
    grid = figure.subplots(num_rows, columns, squeeze=False)
    keypoints, visible, skeleton = poses.keypoints_px, poses.visible, poses.store.skeleton
    for line, index in zip(grid, spread, strict=True):
        members = poses.members(index)
        for axes, member in zip(
            line, members[np.linspace(0, len(members) - 1, columns).astype(int)], strict=True
        ):
            image = poses.store.images[poses.rows[member]]
            draw_pose(axes, keypoints[member], visible[member], skeleton, image)
        place = {0: "\neasiest", poses.num_bins - 1: "\nhardest"}.get(index, "")
        line[0].set_ylabel(
            f"bin {index}{place}", rotation=0, ha="right", va="center", fontsize=FONT
        )
    return figure


def kinematic_tree(
    keypoints: Points, visible: NDArray[np.bool_], skeleton: Skeleton, columns: int = 7
) -> Figure:
    """The limbs of a skeleton, and the angle of each triplet of EvalPose (paper, Fig. 3c).

    Args:
        keypoints: (K, 2) a pose to draw it with, y down, in any unit; for example a mean pose.
        visible: (K,) joints that it has.
        skeleton: Limbs and triplets.
        columns: Triplets beside each other.
    """
    num_rows = -(-len(skeleton.triplets) // columns)
    figure = new_figure(1.55 * num_rows + 2.6, width=7.0)
    parts = figure.subfigures(2, 1, squeeze=False, height_ratios=[2.4, 1.55 * num_rows])
    above, below = parts[:, 0]
    whole = above.subplots()
    draw_pose(whole, keypoints, visible, skeleton)
    whole.invert_yaxis()
    whole.set_title(f"{skeleton.name}: {skeleton.num_joints} joints", fontsize=FONT)
    grid = below.subplots(num_rows, columns, squeeze=False).ravel()
    for axes, triplet in zip(grid, skeleton.triplets, strict=False):
        _draw_triplet(axes, keypoints, visible, skeleton, triplet)
    for axes in grid[len(skeleton.triplets) :]:
        axes.set_visible(False)
    return figure


def _draw_triplet(
    axes: Axes,
    keypoints: Points,
    visible: NDArray[np.bool_],
    skeleton: Skeleton,
    triplet: tuple[int, int, int],
) -> None:
    for first, second in skeleton.limbs:
        if visible[first] and visible[second]:
            axes.plot(*keypoints[[first, second]].T, color="#DDDDDD", linewidth=1)
    a, b, c = triplet
    if visible[[a, b, c]].all():
        axes.plot(*keypoints[[a, b, c]].T, color=BLUE, linewidth=1.8, solid_joinstyle="round")
        axes.plot(
            *_arc(keypoints[a], keypoints[b], keypoints[c]).T, color=VERMILION, linewidth=1.4
        )
        axes.plot(*keypoints[b], "o", color=VERMILION, markersize=3)
    names = [_short(skeleton.joint_names[joint]) for joint in triplet]
    axes.set_title(f"{names[0]}, {names[1]},\n{names[2]}", fontsize=FONT - 3, pad=2)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.axis("off")


def _short(joint: str) -> str:
    return joint.replace("right_", "r. ").replace("left_", "l. ").replace("_", " ")


def _arc(a: Points, b: Points, c: Points) -> Points:
    """(P, 2) points of the arc of the smaller angle at b, a third of the shorter limb away."""
    first, second = a - b, c - b
    radius = 0.35 * min(np.linalg.norm(first), np.linalg.norm(second))
    start = np.arctan2(first[1], first[0])
    turn = np.arctan2(second[1], second[0]) - start
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    angles = start + np.linspace(0, turn, 24)
    return np.asarray(b + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def _side(skeleton: Skeleton, *joints: int) -> str:
    left, right = zip(*skeleton.left_right, strict=True) if skeleton.left_right else ((), ())
    if {*joints} <= {*left}:
        return VERMILION
    return BLUE if {*joints} <= {*right} else GREEN
