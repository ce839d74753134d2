"""Human3.6M after its preprocessing: what is read, and what is said of damaged folders."""

import json
from collections import Counter

import numpy as np
import pytest

from tests.body_data_sets import DOMAINS, image_files, read_all, rewrite_json, write_people
from trainables.config.data_options import Human36mOptions
from trainables.data.domain import ImageRequest
from trainables.data.human36m import label_file, scan_human36m
from trainables.data.json_labels import MIN_VIDEOS
from trainables.data.problems import DatasetError


@pytest.fixture
def root(tmp_path):
    write_people("human36m", tmp_path / "d", num=21)
    return tmp_path / "d"


def test_keypoints_are_in_the_order_of_the_file_and_ids_name_the_image(root):
    points = [[joint, 2 * joint] for joint in range(16)]
    rewrite_json(label_file(root, 9), lambda records: records[0].update(keypoint2d=points))
    ids, _, keypoints, visible, _ = read_all("human36m", root)
    assert len(ids) == 21
    folder = "s_09_act_02_subact_01_ca_01"
    row = ids.index(f"human36m/{folder}/{folder}_000006.jpg")
    np.testing.assert_allclose(keypoints[row], points, atol=1e-4)
    assert visible[row].all()


def test_cameras_of_a_sequence_stay_together(root):
    def rename(records):
        for place, record in enumerate(records):
            folder = (
                f"s_01_act_{place // 8 + 2:02d}_subact_{place % 2 + 1:02d}_ca_0{place // 2 % 4}"
            )
            record["name"] = f"{folder}/{folder}_000001.jpg"

    path = label_file(root, 1)
    path.write_text(json.dumps(json.loads(path.read_text())[:1] * 4 * MIN_VIDEOS))
    rewrite_json(path, rename)
    ids = scan_human36m(root, 10**6, Human36mOptions()).labels.ids
    of_first = [id.partition("#")[0] for id in ids if "#s_01" in id]
    assert of_first[0] == "human36m/s_01_act_02_subact_01"
    assert set(Counter(of_first).values()) == {4}
    assert len(set(of_first)) == MIN_VIDEOS


def test_the_usual_subjects_are_an_option(root):
    options = Human36mOptions(split="reference")
    labels = scan_human36m(root, 10**6, options).labels
    tested = [part == "test" for part in labels.published]
    assert tested == [id.startswith(("human36m/s_09", "human36m/s_11")) for id in labels.ids]
    counts = DOMAINS["human36m"].check(ImageRequest("target", 100, 32, root, options))
    assert counts["test"] == sum(tested) == 6


def test_a_joint_outside_its_image_is_hidden(root):
    def move(records):
        records[0]["keypoint2d"][3] = [64, 5]
        records[0]["keypoint2d"][4] = [63, 5]

    rewrite_json(label_file(root, 1), move)
    ids, _, _, visible, _ = read_all("human36m", root)
    (row,) = (i for i, name in enumerate(ids) if name.endswith("_000001.jpg"))
    assert visible[row, [3, 4]].tolist() == [False, True]


def test_all_missing_subjects_are_named_at_once(root):
    for subject in (5, 11):
        label_file(root, subject).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        read_all("human36m", root)
    assert str(caught.value) == (
        f"{root}/annotations lacks keypoints2d_5.json, keypoints2d_11.json; python -m "
        f"trainables.data.human36m_preprocess --root {root} makes them"
    )


def test_problems_of_all_subjects_are_told_at_once(root):
    rewrite_json(label_file(root, 1), lambda records: records[0].pop("keypoint2d"))
    rewrite_json(label_file(root, 7), lambda records: records[1]["keypoint2d"].pop())
    rewrite_json(label_file(root, 11), lambda records: records[2].pop("name"))
    image_files(root)[4].write_bytes(b"")
    with pytest.raises(DatasetError) as caught:
        read_all("human36m", root)
    text = str(caught.value)
    assert text.count("1 of 3 records cannot be used") == 3
    for part in ("has no keypoint2d", "got 15 x 2", "has no name", "0 bytes"):
        assert part in text


def test_a_truncated_file_is_named(root):
    path = label_file(root, 8)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"keypoints2d_8\.json is damaged or cut short"):
        read_all("human36m", root)


def test_images_that_were_not_cropped_are_told(root):
    (root / "crop_images").rename(root / "images")
    with pytest.raises(ValueError, match="crop_images is not a folder; it must hold"):
        read_all("human36m", root)
