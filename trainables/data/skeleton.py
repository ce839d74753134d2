"""Skeletons: joint names, groups and EvalPose triplets.

One :class:`Skeleton` describes the joint order of every array of poses ``(N, K, 2)`` in the
project. The body order is MPII's sixteen joints; readers map data sets with other joints into it
and mark the joints they lack as invisible.
"""

from dataclasses import dataclass

Triplet = tuple[int, int, int]

MIN_VISIBLE = 8
"""Poses with fewer visible joints are not scored: too little is left to reconstruct."""


@dataclass(frozen=True)
class Skeleton:
    """A joint order and what the metrics need to know about it.

    Attributes:
        name: ``"body16"`` or ``"hand21"``.
        joint_names: K names in array order.
        groups: Group name to joint indices: the columns of the paper's Table 1 and, for the body,
            the head, as in the references. The score of a group is the mean over its joints'
            accuracies.
        all_joints: Joints behind the column "All": the twelve limb joints of the body, every
            joint of the hand.
        triplets: ``(a, b, c)`` joint indices whose interior angle at the vertex ``b`` enters
            EvalPose (paper, Fig. 3c).
        mirror: Index permutation that exchanges left and right.
        torso: Four joint indices. The root of a pose is the midpoint of the first two; the torso
            length is its distance to the midpoint of the last two.
        limbs: Pairs of joint indices between which a picture draws a line.
    """

    name: str
    joint_names: tuple[str, ...]
    groups: dict[str, tuple[int, ...]]
    all_joints: tuple[int, ...]
    triplets: tuple[Triplet, ...]
    mirror: tuple[int, ...]
    torso: tuple[int, int, int, int]
    limbs: tuple[tuple[int, int], ...] = ()

    @property
    def num_joints(self) -> int:
        """K, the number of joints."""
        return len(self.joint_names)


_BODY_NAMES = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "pelvis", "thorax", "neck", "head",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
)  # fmt: skip

BODY16 = Skeleton(
    name="body16",
    joint_names=_BODY_NAMES,
    groups={
        "shoulder": (12, 13),
        "elbow": (11, 14),
        "wrist": (10, 15),
        "hip": (2, 3),
        "knee": (1, 4),
        "ankle": (0, 5),
        "head": (9,),
    },
    all_joints=(0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15),
    triplets=(
        (2, 1, 0), (3, 4, 5),        # knees
        (12, 11, 10), (13, 14, 15),  # elbows
        (8, 12, 11), (8, 13, 14),    # shoulders
        (3, 2, 1), (2, 3, 4),        # hips
        (9, 8, 12), (9, 8, 13),      # neck
        (12, 2, 1), (13, 3, 4),      # trunk and thigh
        (11, 12, 2), (14, 13, 3),    # arm and trunk
    ),
    mirror=(5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10),
    limbs=(
        (0, 1), (1, 2), (2, 8), (5, 4), (4, 3), (3, 8), (2, 3), (8, 9),
        (10, 11), (11, 12), (12, 8), (15, 14), (14, 13), (13, 8),
    ),
    torso=(2, 3, 12, 13),
)  # fmt: skip

_FINGERS = ("thumb", "index", "middle", "ring", "little")
_FINGER_BASES = (1, 5, 9, 13, 17)

HAND21 = Skeleton(
    name="hand21",
    joint_names=("wrist", *(f"{finger}_{i}" for finger in _FINGERS for i in range(1, 5))),
    groups={
        "mcp": _FINGER_BASES,
        "pip": tuple(base + 1 for base in _FINGER_BASES),
        "dip": tuple(base + 2 for base in _FINGER_BASES),
        "fingertip": tuple(base + 3 for base in _FINGER_BASES),
    },
    all_joints=tuple(range(21)),
    triplets=(
        *(
            triplet
            for m in _FINGER_BASES
            for triplet in ((0, m, m + 1), (m, m + 1, m + 2), (m + 1, m + 2, m + 3))
        ),
        *((m, 0, m + 4) for m in _FINGER_BASES[:-1]),  # spread between neighbouring fingers
    ),
    mirror=tuple(range(21)),
    limbs=tuple(
        limb
        for m in _FINGER_BASES
        for limb in ((0, m), (m, m + 1), (m + 1, m + 2), (m + 2, m + 3))
    ),
    torso=(0, 0, 9, 9),  # wrist and the middle finger's first joint
)
