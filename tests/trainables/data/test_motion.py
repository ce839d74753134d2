"""Motion files: positions by hand and against scipy, the command, files that are broken."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from trainables.data import motion
from trainables.data.motion import read_bvh
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


def test_joints_of_other_names_are_named(tmp_path, capsys):
    path, out = (
        write(tmp_path / "a.bvh", person(3, arm=("Arm", "Ulna", "Hand"))),
        tmp_path / "p.npy",
    )
    code, text = run(capsys, path, "--out", out)
    assert (code, out.exists()) == (2, False)
    assert f"{path} has no joint that is known as right_elbow, left_elbow; say which" in text
    assert "it has Hips, LeftUpLeg, " in text
    named = [f"--joint={side}_elbow={side.title()}Ulna" for side in ("left", "right")]
    assert run(capsys, path, "--out", out, "--every", 0.1, *named) == (
        0,
        f"{out}: 3 poses of 1 files\n",
    )
    with pytest.raises(SystemExit):
        run(capsys, path, "--out", out, "--joint", "nose=Head")
    assert "OURS one of right_ankle, " in capsys.readouterr().err


def test_an_end_of_no_length_is_no_joint(tmp_path):
    text = CHAIN.format(order=ORDER, num=1, values="0 " * 9).replace("-45", "0")
    assert read_bvh(write(tmp_path / "a.bvh", text)).names == ("Hips", "Left Leg")


GOOD = CHAIN.format(order=ORDER, num=2, values="0 0 0 0 0 0 0 0 0\n" * 2)
BROKEN = {
    "": "ends where HIERARCHY is expected",
    "PK\x03": "line 1: expected HIERARCHY, got 'PK",
    GOOD[: GOOD.index("OFFSET 0 -45")]: "ends where OFFSET is expected",
    GOOD[:-10]: "ends after 14 of 18 numbers",
    GOOD.replace("Frames: 2", "Frames: many"): "line 17: expected a whole number, got 'many'",
    GOOD.replace("0.04", "0"): "line 18: expected a positive time, got '0'",
    GOOD.replace("-40", "nan"): "line 8: expected a finite number, got 'nan'",
    GOOD.replace("-40", "forty"): "line 8: expected a number, got 'forty'",
    GOOD.replace("3 Z", "3 W"): "line 9: expected one of Xposition, ",
    GOOD.replace(
        "End Site", "Stop"
    ): "line 10: expected OFFSET, CHANNELS, JOINT, End Site or }, got",
}


@pytest.mark.parametrize(("text", "message"), BROKEN.items())
def test_broken_files_are_refused_in_a_sentence(tmp_path, capsys, text, message):
    path, out = write(tmp_path / "a.bvh", text), tmp_path / "poses.npy"
    code, said = run(capsys, path, "--out", out)
    assert (code, out.exists()) == (2, False)
    assert said.startswith(f"error: {path}")
    assert message in said


def test_what_is_no_text_and_what_is_not_there(tmp_path, capsys):
    path, out = tmp_path / "a.bvh", tmp_path / "poses.npy"
    assert "No such file" in run(capsys, path, "--out", out)[1]
    path.write_bytes(b"\xff\xfe\x00")
    assert "must be a BVH file, which is text" in run(capsys, path, "--out", out)[1]
    write(path, person(2))
    assert "--out must end in .npy" in run(capsys, path, "--out", tmp_path / "poses.txt")[1]
    assert "--every be positive" in run(capsys, path, "--out", out, "--every", "nan")[1]
