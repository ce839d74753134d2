"""Skeletons: what the metrics and the figures take for granted about them."""

import pytest

from trainables.data.skeleton import BODY16, HAND21

BOTH = pytest.mark.parametrize("skeleton", [BODY16, HAND21], ids=lambda s: s.name)


@BOTH
def test_joint_names_are_unique(skeleton):
    assert len(set(skeleton.joint_names)) == skeleton.num_joints


@pytest.mark.parametrize(
    ("skeleton", "num_joints", "num_triplets"), [(BODY16, 16, 14), (HAND21, 21, 19)]
)
def test_sizes_are_those_of_the_paper(skeleton, num_joints, num_triplets):
    assert skeleton.num_joints == num_joints
    assert len(skeleton.triplets) == num_triplets


@BOTH
def test_every_index_is_a_joint(skeleton):
    joints = set(range(skeleton.num_joints))
    assert set(skeleton.all_joints) <= joints
    for indices in (*skeleton.groups.values(), *skeleton.triplets):
        assert set(indices) <= joints


@BOTH
def test_mirror_is_an_involution(skeleton):
    assert sorted(skeleton.mirror) == list(range(skeleton.num_joints))
    assert all(skeleton.mirror[skeleton.mirror[k]] == k for k in range(skeleton.num_joints))


def test_mirror_of_the_body_exchanges_left_and_right():
    exchange = {"left": "right", "right": "left"}
    for joint, name in enumerate(BODY16.joint_names):
        side, _, part = name.partition("_")
        expected = f"{exchange[side]}_{part}" if side in exchange else name
        assert BODY16.joint_names[BODY16.mirror[joint]] == expected


def test_mirror_of_a_hand_keeps_its_joints():
    assert HAND21.mirror == tuple(range(21))


@BOTH
def test_a_triplet_has_three_different_joints(skeleton):
    assert all(len(set(triplet)) == 3 for triplet in skeleton.triplets)


@BOTH
def test_no_angle_is_counted_twice(skeleton):
    angles = {(frozenset((a, c)), b) for a, b, c in skeleton.triplets}
    assert len(angles) == len(skeleton.triplets)


def test_body_triplets_are_mirror_images_of_each_other():
    angles = {(frozenset((a, c)), b) for a, b, c in BODY16.triplets}
    m = BODY16.mirror
    assert {(frozenset((m[a], m[c])), m[b]) for a, b, c in BODY16.triplets} == angles


def test_no_body_triplet_needs_pelvis_or_thorax():
    # Leeds labels neither.
    assert not {6, 7} & {joint for triplet in BODY16.triplets for joint in triplet}


@BOTH
def test_groups_do_not_share_joints(skeleton):
    members = [joint for joints in skeleton.groups.values() for joint in joints]
    assert len(set(members)) == len(members)


def test_body_groups_hold_the_joints_they_name():
    for group, joints in BODY16.groups.items():
        names = {BODY16.joint_names[joint] for joint in joints}
        assert names == ({"head"} if group == "head" else {f"right_{group}", f"left_{group}"})


def test_all_of_the_body_is_the_twelve_limb_joints():
    groups = (joints for group, joints in BODY16.groups.items() if group != "head")
    limbs = {joint for joints in groups for joint in joints}
    assert set(BODY16.all_joints) == limbs
    assert len(BODY16.all_joints) == 12


def test_hand_groups_are_the_knuckles_from_base_to_tip():
    assert HAND21.groups == {
        "mcp": (1, 5, 9, 13, 17),
        "pip": (2, 6, 10, 14, 18),
        "dip": (3, 7, 11, 15, 19),
        "fingertip": (4, 8, 12, 16, 20),
    }
    assert HAND21.all_joints == tuple(range(21))


def test_hand_triplets_are_three_per_finger_and_four_spreads():
    index = [t for t in HAND21.triplets if t[1] in (5, 6, 7)]
    assert index == [(0, 5, 6), (5, 6, 7), (6, 7, 8)]
    spreads = [t for t in HAND21.triplets if t[1] == 0]
    assert spreads == [(1, 0, 5), (5, 0, 9), (9, 0, 13), (13, 0, 17)]
