"""FreiHAND: projection, the four versions of a pose, mirroring, damage."""

import json

import numpy as np
import pytest

from tests.hand_data_sets import empty_image, read, refusal, rendered
from trainables.data.freihand import FREIHAND
from trainables.data.layouts.freihand import write_freihand
from trainables.data.layouts.jpeg import write_jpeg

NUM, SIDE = 5, 160


@pytest.fixture
def root(tmp_path):
    write_freihand(tmp_path, *rendered("hands_wild"))
    return tmp_path


def change(root, name, function):
    path = root / f"training_{name}.json"
    content = json.loads(path.read_text())
    function(content)
    path.write_text(json.dumps(content))


def test_what_is_written_is_read_back_in_four_versions(root):
    images, keypoints, visible = rendered("hands_wild")
    ids, found, points, seen, notes = read(FREIHAND, root)
    assert sorted(ids) == sorted(
        f"freihand/{pose:05d}#{version}"
        for pose in range(NUM)
        for version in ("gs", "hom", "sample", "auto")
    )
    pose = np.array([int(name.split("/")[1].partition("#")[0]) for name in ids])
    assert np.abs(found.astype(int) - images[pose]).mean() < 6  # JPEG
    np.testing.assert_array_equal(seen, visible[pose])
    np.testing.assert_allclose(points[seen], keypoints[pose][seen], atol=1e-2)
    assert notes == ()


def test_joints_are_projected_and_mirrored(root):
    camera = [[100, 0, 50], [0, 200, 60], [0, 0, 1]]
    change(root, "K", lambda cameras: cameras.__setitem__(2, camera))
    change(root, "xyz", lambda poses: poses[2].__setitem__(9, [0.2, 0.1, 0.5]))
    ids, _, points, _, _ = read(FREIHAND, root)
    row = ids.index("freihand/00002#auto")
    # x = 100 * 0.2 / 0.5 + 50, y = 200 * 0.1 / 0.5 + 60
    np.testing.assert_allclose(points[row, 9], (SIDE - 1 - 90, 100), atol=1e-4)


def test_images_are_mirrored_and_belong_to_their_version(root):
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[:, :80] = 200
    write_jpeg(root / "training" / "rgb" / f"{3 + 2 * NUM:08d}.jpg", image)
    ids, found, _, _, _ = read(FREIHAND, root)
    row = ids.index("freihand/00003#sample")
    assert found[row, 80, 100] == pytest.approx(200, abs=3)
    assert found[row, 80, 60] == pytest.approx(0, abs=3)
    assert found[ids.index("freihand/00003#hom"), 80, 60].sum() > 30  # another image


@pytest.mark.parametrize("num", [1, 3, 5])
def test_few_images_show_different_poses(num, root):
    ids = read(FREIHAND, root, num=num)[0]
    assert len({name.split("/")[1] for name in ids}) == num


def test_more_images_than_poses_include_every_pose(root):
    ids = read(FREIHAND, root, num=8)[0]
    assert len({name.split("/")[1] for name in ids}) >= 4
    assert len(set(ids)) == 8


def test_all_wrong_poses_are_told_together(root):
    def damage(poses):
        poses[0].pop()
        poses[1][4][2] = -0.1
        poses[2][4] = [0, 0, 0]
        poses[4] = None

    change(root, "xyz", damage)
    change(root, "K", lambda cameras: cameras[3].pop())
    assert refusal(FREIHAND, root).splitlines()[:6] == [
        f"{root}: 5 of 5 poses of training_xyz.json and training_K.json are wrong; each must have "
        "21 joints in front of the camera and a 3 x 3 matrix",
        "    pose 0: xyz must be 21 x 3 finite numbers, got 20 x 3",
        "    pose 1: a joint is not in front of the camera",
        "    pose 2: a joint is not in front of the camera",
        "    pose 3: K must be 3 x 3 finite numbers, got 2 x 3",
        "    pose 4: xyz must be 21 x 3 finite numbers, got None",
    ]


def test_lists_of_different_lengths_are_told(root):
    change(root, "K", list.pop)
    assert refusal(FREIHAND, root) == (
        f"{root}: training_xyz.json has 5 poses and training_K.json 4; both must have as many"
    )


@pytest.mark.parametrize("name", ["K", "xyz"])
def test_damaged_and_missing_labels_are_named(name, root):
    path = root / f"training_{name}.json"
    text = path.read_text()
    path.write_text("{}")
    assert refusal(FREIHAND, root) == f"{path} must hold a list, got a dict"
    for share in (0, 0.5, 0.99):
        path.write_text(text[: int(share * len(text))])
        found = refusal(FREIHAND, root)
        assert found.startswith(f"{path} is damaged or cut short: ")
        assert "\n" not in found
    path.unlink()
    assert refusal(FREIHAND, root) == f"{path} is missing"


def test_an_image_without_content_and_a_missing_version_are_named(root):
    name = empty_image(root, "*.jpg")
    for number in range(NUM, 2 * NUM):
        (root / "training" / "rgb" / f"{number:08d}.jpg").unlink()
    lines = refusal(FREIHAND, root).splitlines()
    assert f"    {name}: 0 bytes" in lines
    assert any("5 of 20 labelled images are missing" in line for line in lines)


def test_the_parameters_of_the_mesh_are_not_needed(root):
    (root / "training_mano.json").unlink()
    assert len(read(FREIHAND, root)[0]) == 4 * NUM
