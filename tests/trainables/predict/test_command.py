"""``python -m trainables.predict``: drawings, a table and JSON of the images that can be read."""

import csv
import json

import cv2
import numpy as np
import pytest

from tests.trainables.adapt.tiny_run import make_config
from trainables.adapt.methods import build_net
from trainables.data.photographs import read_image
from trainables.data.skeleton import BODY16
from trainables.predict.__main__ import main
from trainables.predict.pose_files import PredictedPose, drawing, write_coco
from trainables.predict.pose_model import load_pose_model, save_pose_model


@pytest.fixture
def model(tmp_path):
    config = make_config()
    origin = {"study": "s", "run": 0, "epoch": 2}
    save_pose_model(tmp_path / "model", build_net(config, 16).state_dict(), config, BODY16, origin)
    return tmp_path / "model"


def photograph(path, width, height, seed=0):
    path.parent.mkdir(exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), noise)
    return str(path)


def test_all_files_agree_with_the_model(model, tmp_path, capsys):
    paths = [
        photograph(tmp_path / "a" / f"{i}.png", 40 + 10 * i, 60, seed=i) for i in range(9)
    ] + [photograph(tmp_path / "b" / "0.png", 30, 30)]  # the name of another image
    out = tmp_path / "out"
    assert main([str(model), *paths, "--out", str(out)]) == 0
    assert "10 images in" in capsys.readouterr().out
    images = [np.ascontiguousarray(cv2.imread(path)[..., ::-1]) for path in paths]
    keypoints_px, confidence = load_pose_model(model).predict(images)
    with (out / "keypoints.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["joint"]) for row in rows] == [
        (path, joint) for path in paths for joint in BODY16.joint_names
    ]
    table = np.array([[float(row["x"]), float(row["y"])] for row in rows])
    np.testing.assert_allclose(table, keypoints_px.reshape(-1, 2), atol=0.006)
    found = [float(row["confidence"]) for row in rows]
    np.testing.assert_allclose(found, confidence.ravel(), atol=6e-5)
    content = json.loads((out / "keypoints.json").read_text())
    assert [image["file_name"] for image in content["images"]] == paths
    names = sorted(path.name for path in out.glob("*.png"))
    assert names == sorted([f"{i}.png" for i in range(9)] + ["0-2.png"])
    drawn = cv2.imread(str(out / "3.png"))
    assert drawn.shape == (60, 70, 3)
    assert (drawn != images[3][..., ::-1]).any()


def test_unreadable_images_are_skipped_and_named(model, tmp_path, capsys):
    good = photograph(tmp_path / "a" / "good.png", 30, 30)
    text = tmp_path / "text.jpg"
    text.write_text("not an image")
    missing, out = str(tmp_path / "missing.jpg"), str(tmp_path / "out")
    assert main([str(model), str(text), good, missing, "--out", out]) == 0
    said = capsys.readouterr()
    assert "1 images in" in said.out
    assert "2 images were skipped:" in said.err
    assert f"{text} is not a readable image" in said.err
    assert f"{missing} cannot be read: No such file" in said.err
    assert main([str(model), missing, "--out", out]) == 1


def test_no_drawing_replaces_a_photograph_or_another_drawing(model, tmp_path, capsys):
    paths = [
        photograph(tmp_path / folder / f"{name}.png", 30, 30)
        for folder, name in (("a", "x"), ("b", "x"), ("a", "x-2"))
    ]
    assert main([str(model), *paths, "--out", str(tmp_path / "out")]) == 0
    names = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert names == ["x-2-2.png", "x-2.png", "x.png"]
    before = (tmp_path / "a" / "x.png").read_bytes()
    assert main([str(model), *paths, "--out", str(tmp_path / "a")]) == 2
    assert "holds photographs that are given; name another folder" in capsys.readouterr().err
    assert (tmp_path / "a" / "x.png").read_bytes() == before


def test_a_wrong_model_is_one_sentence(tmp_path, capsys):
    image = photograph(tmp_path / "a" / "good.png", 30, 30)
    assert main([str(tmp_path), image, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {tmp_path} is not the folder of a model")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def pose(keypoints_px, width=50, height=40):
    return PredictedPose(
        "a.jpg", width, height, np.array(keypoints_px, np.float32), np.full(16, 0.25, np.float32)
    )


def test_coco_s_json_names_joints_and_flags_those_outside_as_unlabelled(tmp_path):
    points = [[10, 20]] * 14 + [[30, 35], [60, 5]]  # the last is outside
    write_coco(tmp_path / "keypoints.json", [pose(points)], BODY16)
    content = json.loads((tmp_path / "keypoints.json").read_text())
    (category,) = content["categories"]
    assert category["keypoints"] == list(BODY16.joint_names)
    first, second = category["skeleton"][0]  # counted from one
    limb = BODY16.joint_names[first - 1], BODY16.joint_names[second - 1]
    assert limb == ("right_ankle", "right_knee")
    assert content["images"] == [{"id": 1, "file_name": "a.jpg", "width": 50, "height": 40}]
    (annotation,) = content["annotations"]
    assert annotation["keypoints"] == [10, 20, 2] * 14 + [30, 35, 2] + [0, 0, 0]
    assert annotation["num_keypoints"] == 15
    assert annotation["bbox"] == [10, 20, 20, 15]
    assert annotation["area"] == 300
    assert annotation["score"] == 0.25
    assert {annotation[name] for name in ("id", "image_id", "category_id")} == {1}


def test_a_drawing_marks_the_joints_inside_and_leaves_the_image_alone():
    image = np.zeros((40, 50, 3), np.uint8)
    drawn = drawing(image, pose([[10, 20]] * 15 + [[60, 5]]), BODY16)
    assert drawn[20, 10].any()
    assert not image.any()
    assert not drawn[:, 30:].any()  # nothing is drawn towards the joint outside


def test_an_image_is_turned_as_viewers_do_where_asked(tmp_path):
    from PIL import Image

    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, :15] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (20, 30, 3)
    shown = read_image(tmp_path / "a.jpg", as_shown=True)
    assert shown.shape == (30, 20, 3)
    assert shown[3].mean() > 200
    assert shown[-3].mean() < 50
