"""Whether a study can be run on a Leeds data set: poses that can be used, and damage."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from trainables.data.domain import ImageRequest
from trainables.data.layouts.leeds import write_leeds
from trainables.data.leeds import LSPET
from trainables.data.problems import DatasetError
from trainables.data.render.rendered import render_domain

NUM = 40
REAL = Path(__file__).parents[4] / "shared" / "data" / "lspet"


def check_leeds(root, role, limit=1_000_000):
    return LSPET.check(ImageRequest(role, limit, 32, root))


@pytest.fixture
def root(tmp_path):
    """A sound LSPET folder; joints.mat has the axes joint, value, image."""
    chunk = next(render_domain("people_wild", NUM, 32, 0))
    write_leeds("lspet", tmp_path / "d", chunk.images, chunk.keypoints_px, chunk.visible)
    return tmp_path / "d"


def change(root, function):
    joints = scipy.io.loadmat(root / "joints.mat")["joints"]
    function(joints)
    scipy.io.savemat(root / "joints.mat", {"joints": joints})


def hide(joints, where=np.s_[:]):
    """Leave some joints without coordinates, and flagged so."""
    joints[where] = -1
    joints[:, 2][joints[:, 0] == -1] = 0


def problems(root, role="target", limit=1_000_000):
    with pytest.raises(DatasetError) as caught:
        check_leeds(root, role, limit)
    return [str(problem) for problem in caught.value.problems]


def test_poses_that_can_be_scored_are_counted_per_split(root):
    assert check_leeds(root, "target") == {"train": 24, "val": 6, "test": 10}
    assert check_leeds(root, "source") == {"train": 37, "val": 3}
    assert sum(check_leeds(root, "target", limit=20).values()) == 20
    change(root, lambda joints: hide(joints, np.s_[7:, :, :3]))
    assert sum(check_leeds(root, "target").values()) == NUM - 3


def test_no_labels_at_all(root):
    change(root, hide)
    assert problems(root) == [
        f"{root / 'joints.mat'}: 0 joints are visible in any of the 40 images; a pose needs "
        "8 joints that are flagged visible and lie inside the image"
    ]


def test_labels_in_other_pixels_than_those_of_the_images(root):
    change(root, lambda joints: np.add(joints[:, :2], 1000, out=joints[:, :2]))
    (text,) = problems(root)
    assert ": 0 joints are visible in any of the 40 images" in text


def test_three_of_fourteen_joints(root):
    change(root, lambda joints: hide(joints, np.s_[3:]))
    (text,) = problems(root)
    assert ": 3 joints (right ankle, right knee, right hip) are visible in any" in text


def test_enough_joints_but_never_in_one_pose(root):
    def halves(joints):
        hide(joints, np.s_[7:, :, ::2])
        hide(joints, np.s_[:7, :, 1::2])

    change(root, halves)
    assert problems(root, "source") == [
        f"{root / 'joints.mat'}: none of the {size} poses for {split} has 8 visible joints, which "
        "a pose needs to be put into a bin"
        for split, size in (("train", 37), ("val", 3))
    ]


def test_every_joint_on_one_point(root):
    def collapse(joints):
        joints[:, 0], joints[:, 1], joints[:, 2] = 12, 13.5, 1
        hide(joints, np.s_[2:, :, 3])  # two joints may cover each other

    change(root, collapse)
    (text,) = problems(root)
    first, *cases = text.splitlines()
    assert first.endswith(
        "joints.mat: 39 of 40 poses have all visible joints on one point; flag the joints whose "
        "place is not known"
    )
    assert cases[:4] == [
        f"    im{i:05d}.jpg: 14 joints at (11, 12.5), counted from 0" for i in (1, 2, 3, 5)
    ]
    assert cases[10:] == ["    and 29 more"]


def test_damage_of_labels_and_of_images_is_told_together(root):
    change(root, lambda joints: hide(joints, np.s_[3:]))
    change(root, lambda joints: joints[0, 0].__setitem__(9, np.nan))
    image = root / "images" / "im00004.jpg"
    image.write_bytes(image.read_bytes()[:-60])
    (root / "images" / "im00005.jpg").write_bytes(b"<html>")
    (root / "images" / "im00006.jpg").rename(root / "images" / "im00006.JPG")
    coordinates, missing, unusable, few = problems(root)
    assert coordinates.endswith("im00010.jpg, right ankle: (nan, " + coordinates.split(", ")[-1])
    assert "1 of 40 labelled images are missing" in missing
    assert unusable.splitlines()[1:] == [
        "    im00004.jpg: damaged or cut short, cannot be decoded",
        "    im00005.jpg: neither JPEG nor PNG, begins with b'<html>'",
    ]
    assert "3 joints" in few


def test_an_empty_file_leaves_nothing_for_a_split(root):
    scipy.io.savemat(root / "joints.mat", {"joints": np.zeros((14, 3, 0))})
    (problem,) = problems(root)
    assert problem == f"{root}: 0 samples are used, which leaves none for train, val, test"


@pytest.mark.skipif(
    not (REAL / "joints.mat").is_file(), reason="the LSPET data set is not beside the project"
)
def test_the_published_images_pass():
    assert check_leeds(REAL, "target", 2000) == {"train": 1164, "val": 398, "test": 401}
