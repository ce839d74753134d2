"""MPII: lines of its CSV, people of one image, joints without a place."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.body_data_sets import image_files, read_all, write_people
from trainables.data.mpii import LABELS, scan_mpii
from trainables.data.problems import DatasetError
from trainables.data.splits import spread_rows

REAL = Path(__file__).parents[4] / "shared" / "data" / "poses" / LABELS
NEEDS_REAL = pytest.mark.skipif(not REAL.is_file(), reason="the labels are not beside the project")

JOINTS = [f"{value:.1f}" for value in range(11, 43)]
"""x and y of 16 joints: joint j is at (11 + 2j, 12 + 2j), counted from 1."""


def write(root, *lines, size=(60, 50)):
    (root / "images").mkdir(parents=True, exist_ok=True)
    for line in lines:
        Image.new("RGB", size).save(root / "images" / line[0])
    (root / LABELS).write_text("".join(",".join(line) + "\n" for line in lines))
    return root


def with_field(number, text):
    fields = list(JOINTS)
    fields[number] = text
    return ["a.jpg", *fields]


def test_a_line_is_an_image_and_its_joints_counted_from_one(tmp_path):
    ids, _, points, visible, _ = read_all(
        "mpii", write(tmp_path, ["a.jpg", *JOINTS], size=(64, 64))
    )
    assert ids == ("mpii/a#0",)
    assert points[0].tolist() == [[10 + 2 * j, 11 + 2 * j] for j in range(16)]
    assert visible.all()


def test_people_of_one_image_are_counted(tmp_path):
    lines = [[name, *JOINTS] for name in ("a.jpg", "b.jpg", "a.jpg", "a.jpg")]
    ids, *_ = read_all("mpii", write(tmp_path, *lines))
    assert ids == ("mpii/a#0", "mpii/b#0", "mpii/a#1", "mpii/a#2")


def test_some_of_the_people_are_from_all_over_the_file(tmp_path):
    root = write(tmp_path, *([f"{i:02}.jpg", *JOINTS] for i in range(40)))
    ids, *_ = read_all("mpii", root, num=10)
    assert list(ids) == [f"mpii/{row:02}#0" for row in spread_rows(40, 10)]


def test_people_of_one_image_are_cropped_apart(tmp_path):
    root = tmp_path
    left = [str(v) for j in range(16) for v in (5 + j % 4, 5 + j)]
    right = [str(v) for j in range(16) for v in (45 + j % 4, 25 + j)]
    write(root, ["a.jpg", *left], ["a.jpg", *right])
    pixels = np.zeros((50, 60, 3), np.uint8)
    pixels[:, 30:] = 255
    Image.fromarray(pixels).save(root / "images" / "a.jpg", quality=95)
    _, images, points, visible, _ = read_all("mpii", root, crop="person", size=32)
    assert images[0].mean() < 10
    assert images[1].mean() > 245
    assert visible.all()
    # Boxes of 15 pixels, squares of 22 (1.5 x 15, rounded to even) with the same middle.
    np.testing.assert_allclose(np.ptp(points[1, :, 1]), 15 * 32 / 22, atol=0.01)


@pytest.mark.parametrize(("text", "is_visible"), [("", False), ("nan", False), ("-1.0", False),
                                                  ("0", False), ("1", True), ("60", True),
                                                  ("61", False)])  # fmt: skip
def test_a_joint_without_a_place_in_the_image_is_not_visible(text, is_visible, tmp_path):
    root = write(tmp_path, with_field(4, text))
    _, _, points, visible, _ = read_all("mpii", root)
    assert visible[0].tolist() == [True, True, is_visible, *[True] * 13]
    assert np.isfinite(points).all()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (["a.jpg", *JOINTS[:-1]], "32 fields instead of 33"),
        (["a.jpg", *JOINTS, "1"], "34 fields instead of 33"),
        (["a.jpg"], "1 fields instead of 33"),
        (with_field(7, "x"), "'x' is not a number"),
        (with_field(7, "inf"), "inf is too large for a coordinate"),
        (with_field(7, "1e39"), "1e39 is too large for a coordinate"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(line, reason, tmp_path):
    root = write(tmp_path, ["b.jpg", *JOINTS], line)
    (root / LABELS).write_text("\n" + (root / LABELS).read_text())
    with pytest.raises(DatasetError) as caught:
        read_all("mpii", root)
    assert str(caught.value).splitlines() == [
        f"{root / LABELS}: 1 of 2 lines cannot be used; each needs an image name and x and y of "
        "16 joints",
        f"    line 3: {reason}",
    ]


def test_a_line_without_an_image_is_named(tmp_path):
    root = write(tmp_path, ["b.jpg", *JOINTS])
    with (root / LABELS).open("a") as file:
        file.write(",".join(["", *JOINTS]))
    with pytest.raises(ValueError, match="line 2: no image name$"):
        read_all("mpii", root)


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path):
    root = write(tmp_path, ["a.jpg", *JOINTS])
    text = (root / LABELS).read_text().replace("\n", "\r\n")
    (root / LABELS).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_all("mpii", root)[0] == ("mpii/a#0",)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"{LABELS} is missing$"):
        read_all("mpii", tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xd8\xff", b"a.jpg,\x80\n"])
def test_a_file_that_is_not_text_is_named(content, tmp_path):
    (tmp_path / LABELS).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{LABELS} is not a CSV file"):
        read_all("mpii", tmp_path)


@settings(max_examples=40)
@given(share=st.floats(0.01, 0.99))
def test_a_truncated_file_is_noticed_up_to_its_last_number(share, tmp_path_factory):
    root = tmp_path_factory.mktemp("d")
    content = ",".join(["a.jpg", *JOINTS])
    cut = content[: int(share * (len(content) - len(JOINTS[-1])))]
    (root / LABELS).write_text(cut)
    with pytest.raises(ValueError, match="line 1: .* fields instead of 33"):
        read_all("mpii", root)


def test_written_people_have_their_joints(tmp_path):
    _, keypoints, visible = write_people("mpii", tmp_path / "d")
    assert len(image_files(tmp_path / "d")) == 12
    _, _, points, seen, _ = read_all("mpii", tmp_path / "d")
    np.testing.assert_array_equal(seen, visible)
    np.testing.assert_allclose(points[seen], keypoints[visible], atol=1e-3)


@NEEDS_REAL
def test_the_published_labels_are_whole(tmp_path):
    (tmp_path / LABELS).write_bytes(REAL.read_bytes())
    scan = scan_mpii(tmp_path, 10**6)
    labels = scan.labels
    assert scan.problems == []
    assert len(labels.ids) == len(set(labels.ids)) == 17_928
    assert len(set(labels.image_paths)) == 11_210
    # Without images, only joints above them are known to be outside: 8 necks and 179 heads.
    hidden = (~labels.visible).sum(0)
    assert hidden.tolist() == [0] * 8 + [8, 179] + [0] * 6
    assert labels.keypoints_px[0, 0].tolist() == [921, 552]
    assert math.isclose(labels.keypoints_px[0, 9, 1], 342.3277 - 1, rel_tol=1e-6)
