"""Skeletons: joint names, groups and EvalPose triplets.

One :class:`Skeleton` describes the joint order of every array of poses ``(N, K, 2)`` of a study.
Two are built in, and :mod:`trainables.data.skeleton_file` reads others from YAML files. The body
order is MPII's sixteen joints; readers map data sets with other joints into it and mark the
joints they lack as invisible.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Triplet = tuple[int, int, int]

MIN_VISIBLE = 8
"""Poses with fewer visible joints are not scored: too little is left to reconstruct."""
MIN_TRIPLETS = 3
"""Valid triplets that an image needs for an EvalPose; one or two angles say too little."""

_NEEDED = ("joints", "groups", "triplets", "torso")
_OPTIONAL = {"left_right": (), "limbs": (), "all_joints": None, "is_upright": True}
KEYS = (*_NEEDED, *_OPTIONAL)
"""The keys of a skeleton's definition."""
_NAME = re.compile("[a-z][a-z0-9_]*")
_ADABN = "adabn"
"""No group has this name: ``<split>/pck_05_adabn`` is a control, not the score of a group."""


class SkeletonError(ValueError):
    """A skeleton is wrong; the message is a sentence that starts with its key.

    Attributes:
        path: Key and, inside it, name or index of what is wrong, such as ``("triplets", 3)``.
    """

    def __init__(self, path: tuple[str | int, ...], rule: str) -> None:
        key, *steps = path
        super().__init__(f"{key}{''.join(f'[{step}]' for step in steps)} {rule}")
        self.path = path


@dataclass(frozen=True)
class Skeleton:
    """A joint order and what the metrics need to know about it.

    :meth:`of_names` makes one of the names of joints, and checks them.

    Attributes:
        name: Such as ``"body16"``.
        joint_names: K names in array order.
        groups: Group name to joint indices: the columns of the paper's Table 1 and, for the body,
            the head, as in the references. The score of a group is the mean over its joints'
            accuracies.
        all_joints: Joints behind the column "All": the twelve limb joints of the body, every
            joint of the hand.
        triplets: ``(a, b, c)`` joint indices whose interior angle at the vertex ``b`` enters
            EvalPose (paper, Fig. 3c).
        left_right: Pairs of a left joint and its right counterpart; the others are in the middle
            or, as on a hand, on the one side that there is.
        torso: Four joint indices. The root of a pose is the midpoint of the first two; the torso
            length is its distance to the midpoint of the last two.
        limbs: Pairs of joint indices between which a picture draws a line.
        is_upright: Whether images mostly show the figure upright. If not, as for hands, the
            reference recipes rotate it by any angle.
    """

    name: str
    joint_names: tuple[str, ...]
    groups: dict[str, tuple[int, ...]]
    all_joints: tuple[int, ...]
    triplets: tuple[Triplet, ...]
    left_right: tuple[tuple[int, int], ...]
    torso: tuple[int, int, int, int]
    limbs: tuple[tuple[int, int], ...] = ()
    is_upright: bool = True

    @classmethod
    def of_names(cls, name: str, definition: Mapping[str, Any]) -> "Skeleton":
        """Make a skeleton of the names of its joints.

        Args:
            name: Name of the skeleton.
            definition: Its attributes, with names of joints in place of indices.
                ``joints``: at least :data:`MIN_VISIBLE` different names in the order of the
                arrays. ``groups``: at least one name with its joints; a to z, 0 to 9 and _, begins
                with a letter, and is not ``adabn``. ``triplets``: at least :data:`MIN_TRIPLETS` of
                three different joints, the vertex in the middle. ``torso``: four joints, which
                need not differ. These may be left out: ``left_right``, pairs of different joints,
                each joint in one pair at most; ``limbs``, pairs of different joints;
                ``all_joints``, by default all joints; ``is_upright``, by default true.

        Raises:
            SkeletonError: If the definition is not as described.
        """
        given = {**_OPTIONAL, **definition}
        _check_keys(definition)
        joints = _joint_names(given["joints"])
        index = {joint: place for place, joint in enumerate(joints)}
        every = joints if given["all_joints"] is None else given["all_joints"]
        skeleton = cls(
            name=name,
            joint_names=joints,
            groups={
                group: _indices(("groups", group), members, index)
                for group, members in _named_groups(given["groups"]).items()
            },
            all_joints=_indices(("all_joints",), every, index),
            triplets=_lists("triplets", given["triplets"], index, 3),
            left_right=_lists("left_right", given["left_right"], index, 2),
            torso=_indices(("torso",), given["torso"], index, 4, may_repeat=True),
            limbs=_lists("limbs", given["limbs"], index, 2),
            is_upright=given["is_upright"],
        )
        skeleton._check()
        return skeleton

    def _check(self) -> None:
        if len(self.triplets) < MIN_TRIPLETS:
            rule = f"must be at least {MIN_TRIPLETS}, which an image needs for an EvalPose"
            raise SkeletonError(("triplets",), f"{rule}, got {len(self.triplets)}")
        if not isinstance(self.is_upright, bool):
            rule = f"must be true or false, got {_shown(self.is_upright)}"
            raise SkeletonError(("is_upright",), rule)
        paired: set[int] = set()
        for place, pair in enumerate(self.left_right):
            if again := paired & set(pair):
                joint = self.joint_names[min(again)]
                rule = f"has {joint}, which another pair has; a joint has one counterpart"
                raise SkeletonError(("left_right", place), rule)
            paired |= set(pair)

    def definition(self) -> dict[str, Any]:
        """What :meth:`of_names` makes this skeleton of, in plain lists and dicts."""

        def names(joints: Sequence[int]) -> list[str]:
            return [self.joint_names[joint] for joint in joints]

        return {
            "joints": list(self.joint_names),
            "groups": {group: names(joints) for group, joints in self.groups.items()},
            "triplets": [names(joints) for joints in self.triplets],
            "torso": names(self.torso),
            "left_right": [names(joints) for joints in self.left_right],
            "limbs": [names(joints) for joints in self.limbs],
            "all_joints": names(self.all_joints),
            "is_upright": self.is_upright,
        }

    @property
    def num_joints(self) -> int:
        """K, the number of joints."""
        return len(self.joint_names)

    @cached_property
    def mirror(self) -> tuple[int, ...]:
        """Index permutation (K) that exchanges left and right."""
        other = dict(self.left_right) | {right: left for left, right in self.left_right}
        return tuple(other.get(joint, joint) for joint in range(self.num_joints))


def _check_keys(definition: Mapping[str, Any]) -> None:
    for key in definition:
        if key not in KEYS:
            raise SkeletonError((key,), f"is no key of a skeleton, which are {', '.join(KEYS)}")
    for key in _NEEDED:
        if key not in definition:
            raise SkeletonError((key,), "is missing")


def _joint_names(joints: Any) -> tuple[str, ...]:
    if not _is_list(joints):
        raise SkeletonError(("joints",), f"must be a list of names, got {_shown(joints)}")
    for place, joint in enumerate(joints):
        if not isinstance(joint, str) or not joint:
            raise SkeletonError(("joints", place), f"must be a name, got {_shown(joint)}")
        if joint in joints[:place]:
            raise SkeletonError(("joints", place), f"must be another name, got {joint} again")
    if len(joints) < MIN_VISIBLE:
        rule = f"must be at least {MIN_VISIBLE}, as poses with fewer are not scored"
        raise SkeletonError(("joints",), f"{rule}, got {len(joints)}")
    return tuple(joints)


def _named_groups(groups: Any) -> Mapping[str, Any]:
    if not isinstance(groups, Mapping) or not groups:
        rule = f"must name at least one group with its joints, got {_shown(groups)}"
        raise SkeletonError(("groups",), rule)
    for name in groups:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            rule = "must have a name of a-z, 0-9 and _ that begins with a letter"
            raise SkeletonError(("groups", name), rule)
        if name == _ADABN:
            rule = "must have another name, as pck_05_adabn is a metric of its own"
            raise SkeletonError(("groups", name), rule)
    return groups


def _lists(key: str, lists: Any, index: Mapping[str, int], count: int) -> Any:
    """Indices of the joints in each of several lists of ``count``."""
    if not _is_list(lists):
        raise SkeletonError((key,), f"must be a list of lists, got {_shown(lists)}")
    return tuple(_indices((key, i), names, index, count) for i, names in enumerate(lists))


def _indices(
    path: tuple[str | int, ...],
    names: Any,
    index: Mapping[str, int],
    count: int | None = None,
    may_repeat: bool = False,
) -> Any:
    """Indices of the joints that a list names: ``count`` of them, or at least one."""
    if not _is_list(names) or not names or len(names) != (count or len(names)):
        wanted = f"{count} joints" if count else "a list of at least one joint"
        raise SkeletonError(path, f"must be {wanted}, got {_shown(names)}")
    for joint in names:
        if not isinstance(joint, str) or joint not in index:
            rule = f"must name joints, which are {', '.join(index)}; got {_shown(joint)}"
            raise SkeletonError(path, rule)
    if len(set(names)) < len(names) and not may_repeat:
        raise SkeletonError(path, f"must be different joints, got {_shown(names)}")
    return tuple(index[joint] for joint in names)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(str, value))}]"
    return "nothing" if value is None else str(value)


def _both_sides(*parts: str) -> list[tuple[str, str]]:
    return [(f"left_{part}", f"right_{part}") for part in parts]


BODY16 = Skeleton.of_names("body16", {
    "joints": (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "pelvis", "thorax", "neck", "head",
        "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
        "left_wrist",
    ),
    "groups": {
        "shoulder": ("right_shoulder", "left_shoulder"),
        "elbow": ("right_elbow", "left_elbow"),
        "wrist": ("right_wrist", "left_wrist"),
        "hip": ("right_hip", "left_hip"),
        "knee": ("right_knee", "left_knee"),
        "ankle": ("right_ankle", "left_ankle"),
        "head": ("head",),
    },
    "all_joints": (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
        "left_wrist",
    ),
    "triplets": (
        ("right_hip", "right_knee", "right_ankle"),
        ("left_hip", "left_knee", "left_ankle"),
        ("right_shoulder", "right_elbow", "right_wrist"),
        ("left_shoulder", "left_elbow", "left_wrist"),
        ("neck", "right_shoulder", "right_elbow"),
        ("neck", "left_shoulder", "left_elbow"),
        ("left_hip", "right_hip", "right_knee"),
        ("right_hip", "left_hip", "left_knee"),
        ("head", "neck", "right_shoulder"),
        ("head", "neck", "left_shoulder"),
        ("right_shoulder", "right_hip", "right_knee"),  # trunk and thigh
        ("left_shoulder", "left_hip", "left_knee"),
        ("right_elbow", "right_shoulder", "right_hip"),  # arm and trunk
        ("left_elbow", "left_shoulder", "left_hip"),
    ),
    "left_right": _both_sides("ankle", "knee", "hip", "wrist", "elbow", "shoulder"),
    "limbs": (
        ("right_ankle", "right_knee"), ("right_knee", "right_hip"), ("right_hip", "neck"),
        ("left_ankle", "left_knee"), ("left_knee", "left_hip"), ("left_hip", "neck"),
        ("right_hip", "left_hip"), ("neck", "head"),
        ("right_wrist", "right_elbow"), ("right_elbow", "right_shoulder"),
        ("right_shoulder", "neck"),
        ("left_wrist", "left_elbow"), ("left_elbow", "left_shoulder"), ("left_shoulder", "neck"),
    ),
    "torso": ("right_hip", "left_hip", "right_shoulder", "left_shoulder"),
})  # fmt: skip

_FINGERS = ("thumb", "index", "middle", "ring", "little")

HAND21 = Skeleton.of_names("hand21", {
    "joints": ("wrist", *(f"{finger}_{i}" for finger in _FINGERS for i in range(1, 5))),
    "groups": {
        group: [f"{finger}_{i}" for finger in _FINGERS]
        for i, group in enumerate(("mcp", "pip", "dip", "fingertip"), start=1)
    },
    "triplets": (
        *(
            triplet
            for f in _FINGERS
            for triplet in (
                ("wrist", f"{f}_1", f"{f}_2"),
                (f"{f}_1", f"{f}_2", f"{f}_3"),
                (f"{f}_2", f"{f}_3", f"{f}_4"),
            )
        ),
        # Spread between neighbouring fingers.
        *((f"{a}_1", "wrist", f"{b}_1") for a, b in zip(_FINGERS, _FINGERS[1:], strict=False)),
    ),
    "limbs": tuple(
        limb
        for f in _FINGERS
        for limb in (
            ("wrist", f"{f}_1"), (f"{f}_1", f"{f}_2"), (f"{f}_2", f"{f}_3"), (f"{f}_3", f"{f}_4"),
        )
    ),
    "torso": ("wrist", "wrist", "middle_1", "middle_1"),
    "is_upright": False,
})  # fmt: skip
