"""H3D as tllib prepares it: hands without objects, damage."""

import json

import numpy as np
import pytest

from tests.hand_data_sets import empty_image, read, refusal, rendered
from trainables.data.domain import ImageRequest
from trainables.data.h3d import H3D
from trainables.data.json_labels import MIN_VIDEOS
from trainables.data.layouts.h3d import write_h3d

UNKNOWN = (
    "frames are divided one by one, as the names of images tell {} videos and 50 are needed to "
    "keep each in one split"
)


@pytest.fixture
def root(tmp_path):
    write_h3d(tmp_path, *rendered("hands_wild"))
    return tmp_path


def labels(root):
    return root / "H3D_crop" / "annotation.json"


def change(root, function):
    entries = json.loads(labels(root).read_text())
    function(entries)
    labels(root).write_text(json.dumps(entries))


def test_what_is_written_is_read_back(root):
    images, keypoints, visible = rendered("hands_wild")
    ids, found, points, seen, notes = read(H3D, root)
    assert ids == tuple(f"h3d/part{row + 1}/{row:06d}.jpg" for row in range(5))
    assert np.abs(found.astype(int) - images).mean() < 6  # JPEG
    np.testing.assert_array_equal(seen, visible)
    np.testing.assert_allclose(points[seen], keypoints[visible], atol=1e-3)
    assert notes == (UNKNOWN.format(5),)


def test_the_folder_of_the_archive_may_be_named_too(root):
    assert read(H3D, root / "H3D_crop")[0] == read(H3D, root)[0]


def test_keypoints_are_taken_as_they_are_and_all_are_visible(root):
    points = [[10.5 + joint, 20] for joint in range(21)]
    change(root, lambda entries: entries[1].update(keypoint2d=points))
    _, _, found, seen, _ = read(H3D, root)
    assert found[1].tolist() == points  # the wrist first, then from the base to the tip
    assert seen[1].all()


@pytest.mark.parametrize("flag", [0, "0", 0.0, False])
def test_hands_with_an_object_are_left_out_and_counted(flag, root):
    change(root, lambda entries: [entries[row].update(without_object=flag) for row in (0, 3)])
    ids, *_, notes = read(H3D, root)
    assert [name[-6:-4] for name in ids] == ["01", "02", "04"]
    assert notes == ("2 left out: hands with an object", UNKNOWN.format(3))


def test_a_smaller_number_is_a_part_of_all(root):
    some = read(H3D, root, num=2)[0]
    assert len(some) == 2
    assert set(some) < set(read(H3D, root)[0])


def test_frames_of_a_sequence_stay_together(root):
    def rename(entries):
        entries *= 2 * MIN_VIDEOS
        for place, entry in enumerate(entries):
            entries[place] = entry | {"name": f"part1/s{place // 10}_wave/cam_{place % 10}.jpg"}

    change(root, rename)
    ids = H3D.scan(ImageRequest("target", 10**6, 32, root)).labels.ids
    assert ids[9] == "h3d/part1/s0_wave/cam#part1/s0_wave/cam_9.jpg"
    assert len({id.partition("#")[0] for id in ids}) == MIN_VIDEOS


def test_all_wrong_entries_are_told_together(root):
    def damage(entries):
        del entries[0]["keypoint2d"], entries[0]["without_object"]
        entries[1]["keypoint2d"].pop()
        entries[2]["without_object"] = 2
        entries[3]["name"] = 3
        entries[4]["keypoint2d"][7] = [1, None]
        entries.append([])
        entries.append({"name": "a", "keypoint2d": [[1]] + [[1, 2]] * 20, "without_object": 1})

    change(root, damage)
    assert refusal(H3D, root).splitlines()[:8] == [
        f"{labels(root)}: 7 of 7 entries are wrong; each must have the name of an image of its "
        "own, keypoint2d with x and y of 21 joints, and without_object 0 or 1",
        "    entry 0: has no keypoint2d, without_object",
        "    entry 1: keypoint2d must be 21 x 2 finite numbers, got 20 x 2",
        "    entry 2: without_object is 2",
        "    entry 3: name is 3",
        "    entry 4: keypoint2d must be 21 x 2 finite numbers, got None",
        "    entry 5: is a list, not a dict",
        "    entry 6: keypoint2d must be 21 x 2 finite numbers, got lists of different lengths",
    ]


def test_two_entries_of_one_image_are_told(root):
    change(root, lambda entries: entries.append(entries[2]))
    assert "    part3/000002.jpg: 2 entries" in refusal(H3D, root).splitlines()


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_truncated_labels_are_named(share, root):
    text = labels(root).read_text()
    labels(root).write_text(text[: int(share * len(text))])
    found = refusal(H3D, root)
    assert found.startswith(f"{labels(root)} is damaged or cut short: ")
    assert "\n" not in found


def test_other_content_and_missing_files_are_named(root, tmp_path):
    labels(root).write_text("{}")
    assert refusal(H3D, root) == f"{labels(root)} must hold a list, got a dict"
    labels(root).unlink()
    assert refusal(H3D, root) == f"{labels(root)} is missing"
    assert refusal(H3D, tmp_path / "x") == f"{tmp_path / 'x'} is not a folder"


def test_images_without_content_and_missing_ones_are_named(root):
    name = empty_image(root, "*.jpg")
    (root / "H3D_crop" / "part4" / "000003.jpg").unlink()
    lines = refusal(H3D, root).splitlines()
    assert f"    part2/{name}: 0 bytes" in lines
    assert "    part4/000003.jpg" in lines
