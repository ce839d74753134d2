"""Flags of Leeds files: the published ones in every part, inverted and meaningless ones."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.flags import flag_problems

DATA = Path(__file__).parents[4] / "shared" / "data"
FILES = {
    "lsp": (DATA / "poses" / "lsp_joints.mat", (2, 1, 0)),
    "lspet": (DATA / "lspet" / "joints.mat", (2, 0, 1)),
}
BOTH = pytest.mark.parametrize("name", FILES)


def published(name):
    """(N, 14, 3) joints of the published file."""
    path, axes = FILES[name]
    if not path.is_file():
        pytest.skip(f"the labels of {name} are not beside the project")
    return scipy.io.loadmat(path)["joints"].transpose(axes)


def with_flags(joints, flags):
    return np.concatenate([joints[..., :2], flags[..., None]], axis=-1)


def made(name, num, seed=0, rate=0.1):
    """Joints of a sound file, of which a share is occluded or not labelled."""
    rng = np.random.default_rng(seed)
    x_y = rng.uniform(1, 100, (num, 14, 2))
    rare = rng.random((num, 14)) < rate
    if name == "lspet":
        x_y[rare] = -1
    return with_flags(x_y, (rare if name == "lsp" else ~rare).astype(float))


@BOTH
@pytest.mark.parametrize("num", [1, 5, 10, 20, 50, 200])
def test_no_window_of_the_published_file_is_refused_and_every_inverted_one_is(name, num):
    joints = published(name)
    inverted = with_flags(joints, 1 - joints[..., 2])
    starts = range(0, len(joints) - num + 1, 1 if num == 50 else 7)
    assert not any(flag_problems(name, joints[i : i + num]) for i in starts)
    if num >= 5:  # seventy joints
        assert all(flag_problems(name, inverted[i : i + num]) for i in starts)


@BOTH
@pytest.mark.parametrize("num", [10, 30, 100, 500, 2000])
def test_no_random_subset_of_the_published_file_is_refused_and_no_other_flag_passes(name, num):
    joints, rng = published(name), np.random.default_rng(num)
    for _ in range(200):
        part = joints[rng.choice(len(joints), num, replace=False)]
        assert not flag_problems(name, part)
        assert flag_problems(name, with_flags(part, 1 - part[..., 2]))
        if num >= 30:
            coins = rng.integers(0, 2, part.shape[:2])
            assert flag_problems(name, with_flags(part, coins))


@BOTH
def test_the_published_rates_are_those_that_are_compared_with(name):
    joints = published(name)
    flags, has_coordinates = joints[..., 2], (joints[..., :2] > 0).any(-1)
    counted = flags if name == "lsp" else flags != (joints[..., :2] >= 0).all(-1) & has_coordinates
    assert int(counted.sum()) == {"lsp": 2044, "lspet": 2}[name]  # of 28,000


@BOTH
@given(num=st.integers(10, 300), seed=st.integers(0, 10_000), rate=st.floats(0, 0.12))
def test_sound_files_pass_and_their_inversion_does_not(name, num, seed, rate):
    joints = made(name, num, seed, rate)
    assert not flag_problems(name, joints)
    assert flag_problems(name, with_flags(joints, 1 - joints[..., 2]))


@pytest.mark.parametrize(
    ("name", "flags", "is_refused"),
    [
        ("lsp", np.ones((20, 14)), True),  # all occluded
        ("lsp", np.zeros((20, 14)), False),  # all seen: files of one's own are like that
        ("lspet", np.zeros((20, 14)), True),
        ("lspet", np.ones((20, 14)), True),  # though 28 joints have no coordinates
    ],
)
def test_constant_flags(name, flags, is_refused):
    joints = made(name, 20)
    assert bool(flag_problems(name, with_flags(joints, flags))) is is_refused


def test_flags_that_belong_to_other_joints_are_refused():
    joints = made("lspet", 30)
    shuffled = np.random.default_rng(1).permuted(joints[..., 2].ravel()).reshape(30, 14)
    assert flag_problems("lspet", with_flags(joints, shuffled))


@pytest.mark.parametrize("mark", [-1.0, 0.0, np.nan])
def test_every_mark_of_a_joint_without_coordinates_is_known(mark):
    joints = made("lspet", 20)
    joints[..., :2][joints[..., 2] == 0] = mark
    assert not flag_problems("lspet", joints)
    assert flag_problems("lspet", with_flags(joints, 1 - joints[..., 2]))


@BOTH
def test_a_joint_beyond_the_left_edge_may_be_flagged_visible(name):
    joints = made(name, 20, rate=0)
    joints[:14, 0, 0] = -3  # one in twenty
    assert not flag_problems(name, joints)


def test_the_message_gives_the_counts_and_what_is_right():
    (problem,) = flag_problems("lsp", with_flags(made("lsp", 20), np.ones((20, 14))))
    for words in ("280 of 280 joints", "flagged occluded", "lsp", "7 %", "inverted"):
        assert words in str(problem)


@pytest.mark.parametrize("value", [2.0, -1.0, 0.5, np.nan])
def test_flags_other_than_0_and_1_are_refused(value):
    joints = made("lsp", 3)
    joints[1, 2, 2] = value
    (problem,) = flag_problems("lsp", joints)
    assert str(problem) == f"1 of 42 flags are neither 0 nor 1 but, for instance, {value:g}"


@BOTH
def test_a_file_without_images_has_no_wrong_flag(name):
    assert flag_problems(name, np.zeros((0, 14, 3))) == []
