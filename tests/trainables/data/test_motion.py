"""Motion files: positions by hand and against scipy, the command, files that are broken."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from trainables.data import motion
from trainables.data.motion import Motion, body_poses, read_bvh
from trainables.data.render.material import read_poses
from trainables.data.skeleton import BODY16

CHAIN = """HIERARCHY
ROOT Hips
{{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition {order}
  JOINT Left Leg
  {{
    OFFSET 0 -40 0
    CHANNELS 3 {order}
    End Site
    {{
      OFFSET 0 -45 0
    }}
  }}
}}
MOTION
Frames: {num}
Frame Time: 0.04
{values}
"""
ORDER = "Zrotation Xrotation Yrotation"
NAMES = {"arm": ("Arm", "ForeArm", "Hand"), "leg": ("UpLeg", "Leg", "Foot")}


def person(num_frames, prefix="", arm=NAMES["arm"], frame_s=0.1):
    """A person in centimetres with arms stretched to the sides; the right arm is raised later."""

    def joint(name, offset, *children, word="JOINT"):
        channels = "6 Xposition Yposition Zposition " if word == "ROOT" else "3 "
        inner = "".join(children) or "End Site\n{\nOFFSET 0 10 0\n}\n"
        return (
            f"{word} {prefix}{name}\n{{\nOFFSET {offset}\nCHANNELS {channels}{ORDER}\n{inner}}}\n"
        )

    def limb(names, first, second):
        upper, lower, last = names
        return joint(upper, first, joint(lower, second, joint(last, second)))

    sides = (("Left", 1), ("Right", -1))
    legs = [limb([s + n for n in NAMES["leg"]], f"{10 * x} -5 0", "0 -40 0") for s, x in sides]
    arms = [limb([s + n for n in arm], f"{20 * x} 0 0", f"{28 * x} 0 0") for s, x in sides]
    chest = joint("Spine", "0 50 0", joint("Neck", "0 5 0", joint("Head", "0 10 2")), *arms)
    tree = joint("Hips", "0 0 0", *legs, chest, word="ROOT")
    lines = [line.split()[-1] for line in tree.splitlines() if line.startswith(("ROOT", "JOINT"))]
    values = np.zeros((num_frames, 3 * (len(lines) + 1)))
    values[:, :3] = 0, 95, 300
    raised = 3 * (lines.index(f"{prefix}Right{arm[0]}") + 1)
    values[1:, raised] = -90  # about z, from right (-x) to up
    text = "\n".join(" ".join(map(str, row)) for row in values.tolist())
    return f"HIERARCHY\n{tree}MOTION\nFrames: {num_frames}\nFrame Time: {frame_s}\n{text}\n"


def at(poses, name):
    return poses[:, BODY16.joint_names.index(name)]


def write(path, text):
    path.write_text(text)
    return path


def run(capsys, *words):
    code = motion.main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_positions_of_a_chain_by_hand(tmp_path):
    # The leg swings forwards by 90 degrees about x; the hips stand at (1, 2, 3).
    text = CHAIN.format(order=ORDER, num=1, values="1 2 3 0 0 0 0 -90 0")
    found = read_bvh(write(tmp_path / "a.bvh", text))
    assert found.names == ("Hips", "Left Leg", "Left Leg_end")
    assert found.frame_s == 0.04
    np.testing.assert_allclose(
        found.positions, [[[1, 2, 3], [1, -38, 3], [1, -38, 48]]], atol=1e-9
    )


@given(
    order=st.permutations("XYZ"),
    angles=st.lists(st.floats(-360, 360), min_size=6, max_size=6),
)
def test_turns_agree_with_scipy(tmp_path_factory, order, angles):
    channels = " ".join(f"{axis}rotation" for axis in order)
    values = " ".join(map(repr, [0.0, 0.0, 0.0, *angles]))
    path = tmp_path_factory.getbasetemp() / "chain.bvh"
    found = read_bvh(write(path, CHAIN.format(order=channels, num=1, values=values))).positions[0]
    hips, leg = (
        Rotation.from_euler("".join(order), a, degrees=True) for a in np.split(np.array(angles), 2)
    )
    knee = hips.apply([0, -40, 0])
    np.testing.assert_allclose(
        found, [[0, 0, 0], knee, knee + (hips * leg).apply([0, -45, 0])], atol=1e-7
    )


@pytest.mark.parametrize("prefix", ["", "mixamorig:"])
def test_a_study_reads_the_poses_of_a_person(tmp_path, capsys, prefix):
    path, out = write(tmp_path / "wave.bvh", person(21, prefix)), tmp_path / "poses.npy"
    assert run(capsys, path, path, "--out", out) == (0, f"{out}: 10 poses of 2 files\n")
    poses = read_poses(out)[:5]  # every half second of two
    np.testing.assert_allclose(at(poses, "left_wrist"), np.tile([76, -145, -300], (5, 1)))
    # x right, y down: the right wrist is left of the viewer's middle, and later above.
    np.testing.assert_allclose(at(poses, "right_wrist")[0], [-76, -145, -300])
    np.testing.assert_allclose(at(poses, "right_wrist")[1:], np.tile([-20, -201, -300], (4, 1)))
    np.testing.assert_allclose(at(poses, "left_ankle")[0], [10, -10, -300])
    np.testing.assert_allclose(at(poses, "pelvis")[0], [0, -90, -300])
    np.testing.assert_allclose(at(poses, "thorax")[0], [0, -145, -300])
    np.testing.assert_allclose(at(poses, "head")[0], [0, -170, -302])


def limbs(*words, side="{side}{word}"):
    """Our limb joints to a file's names of them, from the words for hip, knee, ..., wrist."""
    joints = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
    letters = {"left": ("Left", "L", "l"), "right": ("Right", "R", "r")}
    return {
        f"{ours}_{joint}": side.format(side=full, Letter=large, letter=small, word=word)
        for ours, (full, large, small) in letters.items()
        for joint, word in zip(joints, words, strict=True)
    }


SKELETONS = {
    "Mixamo": (
        limbs("UpLeg", "Leg", "Foot", "Arm", "ForeArm", "Hand", side="mixamorig:{side}{word}")
        | {"neck": "mixamorig:Neck", "head": "mixamorig:HeadTop_End"},
        ["mixamorig:Head", "mixamorig:LeftShoulder", "mixamorig:LeftToeBase"],
    ),
    "CMU": (
        limbs("UpLeg", "Leg", "Foot", "Arm", "ForeArm", "Hand")
        | {"neck": "Neck1", "head": "Head"},
        ["Hips", "LHipJoint", "LeftShoulder", "Neck", "LeftFingerBase", "LThumb"],
    ),
    "Blender": (
        limbs("thigh", "shin", "foot", "upper_arm", "forearm", "hand", side="{word}.{Letter}")
        | {"neck": "neck", "head": "head"},
        ["shoulder.L", "pelvis.L", "pelvis.R", "toe.R"],
    ),
    "SMPL": (
        limbs("Hip", "Knee", "Ankle", "Shoulder", "Elbow", "Wrist", side="{Letter}_{word}")
        | {"neck": "Neck", "head": "Head"},
        ["L_Foot", "R_Foot", "L_Collar", "L_Hand", "R_Hand"],
    ),
    "Biped": (
        limbs("Thigh", "Calf", "Foot", "UpperArm", "Forearm", "Hand", side="Bip01 {Letter} {word}")
        | {"neck": "Bip01 Neck", "head": "Bip01 Head"},
        ["Bip01", "Bip01 L Clavicle", "Bip01 Spine"],
    ),
    "Unity": (
        limbs("UpperLeg", "LowerLeg", "Foot", "UpperArm", "LowerArm", "Hand")
        | {"neck": "Neck", "head": "Head_end"},
        ["Head", "LeftShoulder", "LeftToes"],
    ),
    "Unreal": (
        limbs("thigh", "calf", "foot", "upperarm", "lowerarm", "hand", side="{word}_{letter}")
        | {"neck": "neck_01", "head": "head"},
        ["clavicle_l", "ball_r", "spine_01"],
    ),
    "Biovision": (
        limbs("UpLeg", "LowLeg", "Foot", "UpArm", "LowArm", "Hand")
        | {"neck": "Neck", "head": "Head"},
        ["LeftCollar", "Chest"],
    ),
}


@pytest.mark.parametrize(("named", "others"), SKELETONS.values(), ids=SKELETONS)
def test_joints_are_found_by_the_names_of_common_programs(named, others):
    names = (*others, *named.values())
    # Each joint at a place of its own, the head highest.
    positions = np.arange(3.0 * len(names)).reshape(1, -1, 3)
    positions[0, names.index(named["head"]), 1] = 1000
    poses = body_poses(Motion(names, positions, 0.1), {}, 0.1)
    for ours, theirs in named.items():
        expected = positions[0, names.index(theirs)] * (1, -1, -1)
        assert at(poses, ours)[0].tolist() == expected.tolist(), ours


def test_joints_of_other_names_are_named(tmp_path, capsys):
    path = write(tmp_path / "has", person(3, arm=("Arm", "Ulna", "Hand")))
    out = tmp_path / "poses.npy"
    code, text = run(capsys, path, "--out", out)
    assert (code, out.exists()) == (2, False)
    assert f"{path} has no joint that is known as right_elbow, left_elbow; say which" in text
    assert "the file's joints are Hips, LeftUpLeg, " in text
    named = [f"--joint={side}_elbow={side.title()}Ulna" for side in ("left", "right")]
    done = run(capsys, path, "--out", out, "--every", 0.001, *named)
    assert done == (0, f"{out}: 3 poses of 1 file\n")  # every frame
    wrong = run(capsys, path, "--out", out, *named, "--joint", "thorax=Chset")
    assert wrong[0] == 2
    assert f"{path} has no joint Chset (--joint thorax=Chset); the file's joints are" in wrong[1]
    with pytest.raises(SystemExit):
        run(capsys, path, "--out", out, "--joint", "nose=Head")
    assert "OURS one of right_ankle, " in capsys.readouterr().err


def test_the_axis_that_points_up_is_found_or_given(tmp_path):
    motion = read_bvh(write(tmp_path / "a.bvh", person(2)))
    poses = body_poses(motion, {}, 0.1)
    np.testing.assert_array_equal(body_poses(motion, {}, 0.1, "y"), poses)
    # The same person in other axes: x to the right, y away, z up.
    turned = Motion(motion.names, motion.positions[..., [0, 2, 1]] * (1, -1, 1), motion.frame_s)
    for up in (None, "z"):
        np.testing.assert_array_equal(body_poses(turned, {}, 0.1, up), poses)
    lying = body_poses(motion, {}, 0.1, "z")
    np.testing.assert_array_equal(lying, poses[..., [0, 2, 1]] * (1, 1, -1))


def test_an_end_of_no_length_is_no_joint(tmp_path):
    text = CHAIN.format(order=ORDER, num=1, values="0 " * 9).replace("-45", "0")
    assert read_bvh(write(tmp_path / "a.bvh", text)).names == ("Hips", "Left Leg")


GOOD = CHAIN.format(order=ORDER, num=2, values="0 0 0 0 0 0 0 0 0\n" * 2)
BROKEN = {
    "": "ends where hierarchy is expected",
    "PK\x03": "line 1: expected hierarchy, got 'PK",
    GOOD[: GOOD.index("OFFSET 0 -45")]: "ends where offset is expected",
    GOOD[:-10]: "ends after 14 of 18 numbers",
    GOOD + "0": "line 22: expected the end after 2 frames of 9 numbers, got '0'",
    GOOD.replace("Frames: 2", "Frames: many"): "line 17: expected a whole number below a billion",
    GOOD.replace("Frames: 2", "Frames: 0"): "line 17: expected at least one frame of at least one",
    GOOD.replace("0.04", "0"): "line 18: expected a positive time, got '0'",
    GOOD.replace("-40", "nan"): "line 8: expected a number below a billion, got 'nan'",
    GOOD.replace("-40", "1e300"): "line 8: expected a number below a billion, got '1e300'",
    GOOD.replace("-40", "forty"): "line 8: expected a number, got 'forty'",
    GOOD.replace(
        "3 Z", "3 W"
    ): "line 9: expected xposition or yposition or zposition or xrotation",
    GOOD.replace("End Site", "Stop"): "line 10: expected offset or channels or joint or end or }",
    GOOD.replace("MOTION", "ROOT B {{"): "line 16: expected motion, got 'ROOT'",
}


@pytest.mark.parametrize(("text", "message"), BROKEN.items())
def test_broken_files_are_refused_in_a_sentence(tmp_path, capsys, text, message):
    path, out = write(tmp_path / "a.bvh", text), tmp_path / "poses.npy"
    code, said = run(capsys, path, "--out", out)
    assert (code, out.exists()) == (2, False)
    assert said.startswith(f"error: {path}")
    assert message in said


def test_case_tabs_and_a_byte_order_mark_do_not_matter(tmp_path):
    path = tmp_path / "a.bvh"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("  ", "\t").replace("\n", "\r\n").encode())
    shouted = write(tmp_path / "b.bvh", GOOD.replace("End Site", "END SITE"))
    for other in (path, shouted):
        assert read_bvh(other).positions.tolist() == [[[0] * 3, [0, -40, 0], [0, -85, 0]]] * 2


def test_what_cannot_be_read_or_written_is_said_in_a_sentence(tmp_path, capsys):
    path, out = tmp_path / "a.bvh", tmp_path / "poses.npy"

    def refused(*words):
        code, text = run(capsys, path, "--out", out, *words)
        assert (code, out.exists()) == (2, False)
        return text

    assert "No such file" in refused()
    path.write_bytes(b"\xff\xfe\x00")
    assert "must be a BVH file, which is text" in refused()
    write(path, person(2))
    assert "--out must end in .npy" in refused("--out", tmp_path / "poses.txt")
    assert "No such file" in refused("--out", tmp_path / "absent" / "poses.npy")
    for every in ("0", "nan"):
        assert "--every be positive" in refused("--every", every)
    write(path, person(2).replace("OFFSET 0 -40 0", "OFFSET 0 0 0"))
    assert f"{path}: right_hip and right_knee of pose 0 are one point" in refused()
    assert run(capsys, write(path, person(2)), "--out", out, "--every", "inf")[0] == 0
