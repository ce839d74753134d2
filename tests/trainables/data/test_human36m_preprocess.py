"""Preprocessing of Human3.6M: projection by hand, crops, damage, and going on after a kill."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from trainables.data.domain import ImageRequest
from trainables.data.human36m import HUMAN36M, SUBJECTS, label_file
from trainables.data.human36m_preprocess import main

WIDTH, HEIGHT = 200, 100
CAMERA = {
    "R": [[0, 1, 0], [-1, 0, 0], [0, 0, 1]],
    "t": [0, 0, 1000],
    "f": [100, 200],
    "c": [100, 50],
}
"""Turns world (x, y) to (y, -x), 1 m away: pixel = (100 + y / 10, 50 - x / 5) for z = 0."""


def joints():
    """World joints (17, 3) within 100 to 130 pixels and 40 to 60."""
    points = np.zeros((17, 3))
    points[:, 1] = np.linspace(0, 300, 17)  # right by up to 30 pixels
    points[:, 0] = np.linspace(50, -50, 17)  # from 10 pixels above the middle to 10 below
    return points


def image_name(subject, number):
    folder = f"s_{subject:02d}_act_02_subact_01_ca_01"
    return f"{folder}/{folder}_{number:06d}.jpg"


def write_raw(root, num=1, subjects=SUBJECTS, camera=CAMERA, points=None):
    """Write ``5 * num`` records and the images of every fifth."""
    points = joints() if points is None else points
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    columns = np.arange(WIDTH, dtype=np.uint8)
    picture = Image.fromarray(np.repeat(np.repeat(columns[None, :, None], HEIGHT, 0), 3, 2))
    for subject in subjects:
        images = [
            {
                "file_name": image_name(subject, number), "cam_idx": 1, "action_idx": 2,
                "subaction_idx": 1, "frame_idx": number,
            }
            for number in range(5 * num)
        ]  # fmt: skip
        frames = {str(number): points.tolist() for number in range(0, 5 * num, 5)}
        parts = {
            "camera": {"1": camera},
            "data": {"images": images},
            "joint_3d": {"2": {"1": frames}},
        }
        for part, content in parts.items():
            raw_file(root, subject, part).write_text(json.dumps(content))
        for number in range(0, 5 * num, 5):
            path = root / "images" / image_name(subject, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, quality=95)
    return root


def raw_file(root, subject, part):
    return root / "annotations" / f"Human36M_subject{subject}_{part}.json"


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def run(root, *more):
    return main(["--root", str(root), "--threads", "2", *more])


def records_of(root, subject):
    return json.loads(label_file(root, subject).read_text())


def test_joints_are_projected_and_moved_into_the_crop(tmp_path):
    assert run(write_raw(tmp_path)) == 0
    (record,) = records_of(tmp_path, 1)
    # Box of all joints but the ninth: x 100 to 130, y 40 to 60; a square of 45 pixels around
    # (115, 50), from (92, 28) on (92.5 and 27.5 rounded to even), scaled by 512 / 45.
    world = joints()
    pixels = np.stack([100 + world[:, 1] / 10, 50 - world[:, 0] / 5], 1)
    scale = 512 / 45
    expected = (pixels + 0.5 - (92, 28)) * scale - 0.5
    body = np.array(record["keypoint2d"])
    assert body.shape == (16, 2)
    order = [3, 2, 1, 4, 5, 6, 0, None, 8, 10, 16, 15, 14, 11, 12, 13]
    for slot, joint in enumerate(order):
        if joint is not None:
            np.testing.assert_allclose(body[slot], expected[joint], atol=1e-3)
    # The intrinsic matrix maps the joints in space onto the keypoints; depths are kept.
    space = np.array(record["keypoint3d"])
    assert space[:, 2] == pytest.approx(1000)
    seen = space @ np.array(record["intrinsic_matrix"]).T
    np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], body, atol=1e-3)
    assert np.array(record["intrinsic_matrix"])[0, 0] == pytest.approx(100 * scale)


def test_the_thorax_is_the_middle_of_the_shoulders_in_space(tmp_path):
    points = joints()
    points[14] = 0, 100, 0  # right shoulder, 1 m away: pixel x = 110
    points[11] = 0, 300, 1000  # left shoulder, 2 m away: pixel x = 115
    assert run(write_raw(tmp_path, points=points)) == 0
    (record,) = records_of(tmp_path, 5)
    space = np.array(record["keypoint3d"])
    np.testing.assert_allclose(space[7, 2], 1500)
    x = np.array(record["keypoint2d"])[:, 0]
    # At y = 200 mm and 1.5 m the thorax is at 100 + 100 * 200 / 1500 = 113.33, not at 112.5.
    share = (x[7] - x[12]) / (x[13] - x[12])
    assert share == pytest.approx((113.3333 - 110) / 5, abs=1e-3)


def test_every_fifth_image_is_cropped_and_read(tmp_path):
    assert run(write_raw(tmp_path, num=3)) == 0
    names = [record["name"] for record in records_of(tmp_path, 11)]
    assert names == [image_name(11, number) for number in (0, 5, 10)]
    crops = sorted((tmp_path / "crop_images").rglob("*"))
    assert sum(path.is_file() for path in crops) == 3 * len(SUBJECTS)
    with Image.open(tmp_path / "crop_images" / names[0]) as crop:
        assert crop.size == (512, 512)
        # Column c of the image has the grey value c; the crop shows columns 92 to 136.
        row = np.asarray(crop.convert("L"))[256].astype(int)
    assert row[[5, 256, -6]].tolist() == pytest.approx([92, 114, 136], abs=2)
    chunks = list(HUMAN36M.images(ImageRequest("target", 100, 64, tmp_path)))
    assert sum(len(chunk.ids) for chunk in chunks) == 3 * len(SUBJECTS)
    assert all(chunk.visible.all() for chunk in chunks)


def test_a_square_at_the_edge_is_moved_into_the_image(tmp_path):
    camera = CAMERA | {"c": [5, 5]}
    assert run(write_raw(tmp_path, camera=camera)) == 0
    body = np.array(records_of(tmp_path, 1)[0]["keypoint2d"])
    # The right hip (joint 1) is at (5 + 1.875, 5 - 8.75); the square starts at (0, 0).
    assert body[2] == pytest.approx((np.array([6.875, -3.75]) + 0.5) * 512 / 45 - 0.5, abs=1e-3)


def test_whole_crops_are_kept_and_others_are_made_again(tmp_path):
    assert run(write_raw(tmp_path, num=3)) == 0
    first = records_of(tmp_path, 1)
    whole, cut, small = (tmp_path / "crop_images" / image_name(1, n) for n in (0, 5, 10))
    os.utime(whole, (1, 1))
    content = cut.read_bytes()
    cut.write_bytes(content[:-100])
    os.link(cut, tmp_path / "the damaged file")
    Image.new("RGB", (8, 8)).save(small)
    label_file(tmp_path, 1).unlink()
    assert run(tmp_path) == 0
    assert whole.stat().st_mtime == 1
    assert cut.read_bytes() == content
    # The new file took the place of the old one: at no time did it exist in part.
    assert (tmp_path / "the damaged file").read_bytes() == content[:-100]
    with Image.open(small) as crop:
        assert crop.size == (512, 512)
    assert records_of(tmp_path, 1) == first


def test_a_killed_run_leaves_whole_files_and_goes_on(tmp_path):
    write_raw(tmp_path, num=120, subjects=SUBJECTS)
    command = [
        sys.executable,
        "-m",
        "trainables.data.human36m_preprocess",
        "--root",
        str(tmp_path),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    crops = tmp_path / "crop_images"
    deadline = time.monotonic() + 60
    while sum(1 for _ in crops.rglob("*.jpg")) < 20:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    made = {path: path.stat().st_mtime_ns for path in crops.rglob("*.jpg")}
    assert 20 <= len(made) < 120 * len(SUBJECTS)
    for path in made:
        assert path.read_bytes().endswith(b"\xff\xd9")
    assert run(tmp_path) == 0
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in made.items())
    assert sum(1 for _ in crops.rglob("*.jpg")) == 120 * len(SUBJECTS)
    assert not list(crops.rglob("*.part"))


def test_the_progress_is_shown(tmp_path, capsys):
    assert run(write_raw(tmp_path, num=2)) == 0
    assert "subject 1: 1 of 2 images\n" in capsys.readouterr().err


def test_all_missing_files_are_named_at_once(tmp_path, capsys):
    write_raw(tmp_path)
    raw_file(tmp_path, 1, "camera").unlink()
    raw_file(tmp_path, 9, "joint_3d").unlink()
    assert run(tmp_path) == 2
    assert capsys.readouterr().err.strip() == (
        f"error: {tmp_path}/annotations lacks Human36M_subject1_camera.json, "
        "Human36M_subject9_joint_3d.json"
    )


def test_images_that_cannot_be_used_are_named_and_the_labels_are_not_written(tmp_path, capsys):
    write_raw(tmp_path, num=3)
    (tmp_path / "images" / image_name(5, 0)).write_bytes(b"")
    (tmp_path / "images" / image_name(5, 10)).unlink()
    assert run(tmp_path) == 2
    assert capsys.readouterr().err.split("error: ")[1].splitlines() == [
        f"{tmp_path}/images: 2 images of subject 5 cannot be used",
        f"    {image_name(5, 0)}: 0 bytes",
        f"    {image_name(5, 10)}: cannot be read: No such file or directory",
    ]
    assert label_file(tmp_path, 1).is_file()
    assert not label_file(tmp_path, 5).exists()


def no_frame(content):
    del content["2"]["1"]["0"]


def no_joint(content):
    content["2"]["1"]["0"].pop()


def infinite(content):
    content["2"]["1"]["0"][4][1] = float("inf")


def behind(content):
    content["2"]["1"]["0"][4][2] = -2000


@pytest.mark.parametrize(
    ("part", "edit", "message"),
    [
        ("joint_3d", no_frame, "joint_3d.json has no 2 / 1 / 0"),
        ("joint_3d", no_joint, "joint_3d.json: 2 / 1 / 0 must be 17 x 3 finite numbers"),
        ("joint_3d", infinite, "joint_3d.json: 2 / 1 / 0 must be 17 x 3 finite numbers"),
        ("joint_3d", behind, "000000.jpg: a joint lies behind the camera"),
        ("camera", lambda content: content.pop("1"), "camera.json has no 1"),
        ("camera", lambda content: content["1"].pop("t"), "camera.json has no 1 / t"),
        ("camera", lambda content: content["1"].update(R=[1, 2]), "1 / R must be 3 x 3 finite"),
        ("camera", lambda content: content["1"].update(f="x"), "1 / f must be 2 finite numbers"),
        ("data", lambda content: content.pop("images"), "data.json has no list named images"),
        (
            "data",
            lambda content: content["images"][0].pop("cam_idx"),
            "data.json: record 0, counted from 0, has no cam_idx",
        ),
    ],
)
def test_labels_that_cannot_be_used_are_named(part, edit, message, tmp_path, capsys):
    write_raw(tmp_path)
    change(raw_file(tmp_path, 1, part), edit)
    assert run(tmp_path) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.strip().startswith("error: ")
    assert "Traceback" not in text


@pytest.mark.parametrize("part", ["camera", "data", "joint_3d"])
def test_a_truncated_file_is_named(part, tmp_path, capsys):
    write_raw(tmp_path)
    path = raw_file(tmp_path, 6, part)
    path.write_bytes(path.read_bytes()[:-5])
    assert run(tmp_path) == 2
    assert f"{path} is damaged or cut short" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    write_raw(tmp_path)
    (tmp_path / "crop_images").write_text("a file")
    assert run(tmp_path) == 2
    assert "crop_images" in capsys.readouterr().err


def test_threads_below_one_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--root", str(tmp_path), "--threads", "0"])
    assert "--threads must be at least 1, got 0" in capsys.readouterr().err
