"""SURREAL: which joints are taken, from which files, and what is said of damaged folders."""

import json

import numpy as np
import pytest

from tests.body_data_sets import image_files, read_all, rewrite_json, write_people
from trainables.config import trial_fields
from trainables.config.data_options import SurrealOptions
from trainables.data.json_labels import MIN_VIDEOS
from trainables.data.problems import DatasetError
from trainables.data.skeleton import BODY16
from trainables.data.surreal import scan_surreal
from trainables.registry import DOMAINS

SMPL = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2",
    "left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar",
    "right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
"""Names of the 24 joints in SMPL's own labels."""


def labels_of(root, joints="surreal_shipped", num=10**6):
    return scan_surreal(root, num, SurrealOptions(joints)).labels


@pytest.fixture
def root(tmp_path):
    write_people("surreal", tmp_path / "d", num=18)
    return tmp_path / "d"


def numbered(root):
    """Make x of every joint its number, so that keypoints tell which joints were taken."""
    for path in root.glob("*/run?.json"):

        def number(records):
            for record in records:
                record["keypoint2d"] = [[joint, 1] for joint in range(24)]

        rewrite_json(path, number)


def test_native_joints_have_the_names_of_smpl(root):
    numbered(root)
    points = labels_of(root, "smpl_native").keypoints_px[0, :, 0].astype(int)
    taken = [SMPL[joint] for joint in points]
    wanted = [
        {"thorax": "spine3"}.get(name, name.replace("shoulder", "collar"))
        for name in BODY16.joint_names
    ]
    assert taken == wanted


def test_shipped_joints_are_the_native_ones_with_left_and_right_exchanged(root):
    numbered(root)
    native = labels_of(root, "smpl_native").keypoints_px[0, :, 0]
    shipped = labels_of(root).keypoints_px[0, :, 0]
    np.testing.assert_array_equal(shipped, native[list(BODY16.mirror)])
    assert shipped.tolist() == [7, 4, 1, 2, 5, 8, 0, 9, 12, 15, 20, 18, 13, 14, 19, 21]


def test_anatomical_joints_differ_in_the_shoulders_alone(root):
    numbered(root)
    shipped = labels_of(root).keypoints_px[0, :, 0]
    anatomical = labels_of(root, "surreal_anatomical").keypoints_px[0, :, 0]
    assert np.flatnonzero(shipped != anatomical).tolist() == [12, 13]
    assert anatomical[[12, 13]].tolist() == [16, 17]


def test_the_options_are_fields_of_a_trial(root):
    assert DOMAINS["surreal"].options is SurrealOptions
    assert "data.surreal.joints" in trial_fields()
    _, _, points, _, _ = read_all("surreal", root)
    _, _, exchanged, _, _ = read_all("surreal", root, options=SurrealOptions("smpl_native"))
    np.testing.assert_array_equal(exchanged, points[:, list(BODY16.mirror)])


def test_ids_name_split_run_and_image(root):
    ids = labels_of(root).ids
    assert len(ids) == 18
    assert ids[0] == "surreal/train/run0/000000.jpg"
    assert ids[-1] == "surreal/test/run2/000017.jpg"
    assert {name.rpartition("/")[0] for name in ids} == {
        f"surreal/{split}/run{run}" for split in ("train", "val", "test") for run in range(3)
    }


def test_the_same_name_in_two_runs_is_two_samples(root):
    run = root / "train"
    (run / "run0" / "000000.jpg").rename(run / "run0" / "same.jpg")
    (run / "run1" / "000001.jpg").rename(run / "run1" / "same.jpg")
    for path in (run / "run0.json", run / "run1.json"):
        rewrite_json(path, lambda records: records[0].update(name="same.jpg"))
    ids, *_ = read_all("surreal", root)
    assert {"surreal/train/run0/same.jpg", "surreal/train/run1/same.jpg"} < set(ids)


def test_videos_of_a_movement_stay_together_in_all_runs_and_folders(root):
    for path in root.glob("*/run?.json"):

        def rename(records, path=path):
            for place, record in enumerate(records):
                record["name"] = (
                    f"{path.parent.name}_{place:02d}/ung_01_{place:02d}_c0{place}12_7.jpg"
                )

        path.write_text(json.dumps(json.loads(path.read_text()) * MIN_VIDEOS))
        rewrite_json(path, rename)
    labels = labels_of(root)
    assert labels.ids[0] == "surreal/ung_01_00#train/run0/train_00/ung_01_00_c0012_7.jpg"
    groups = {id.partition("#")[0] for id in labels.ids}
    assert len(groups) == 2 * MIN_VIDEOS
    assert len(labels.ids) == 9 * len(groups)


def test_the_publishers_folders_are_an_option(root):
    options = SurrealOptions(split="reference")
    labels = scan_surreal(root, 10, options).labels
    assert labels.published == tuple(id.split("/")[1] for id in labels.ids)
    assert set(labels.published) == {"train", "val", "test"}
    assert labels_of(root).published is None


def test_few_samples_come_from_all_over_the_data_set(tmp_path):
    write_people("surreal", tmp_path / "d", num=100)
    ids = labels_of(tmp_path / "d", num=40).ids
    assert len({name.rpartition("/")[0] for name in ids}) == 9


def test_splits_that_do_not_exist_are_not_asked_for(root):
    for split in ("train", "test"):
        (root / split).rename(root / f"no_{split}")
    assert {name.split("/")[1] for name in labels_of(root).ids} == {"val"}


def test_a_folder_without_splits_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold at least one of the folders train"):
        labels_of(tmp_path)


def test_all_missing_runs_are_named_at_once(root):
    for name in ("train/run1.json", "test/run2.json"):
        (root / name).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        labels_of(root)
    assert str(caught.value) == (
        f"{root}/train/run1.json, {root}/test/run2.json are missing; each split has three runs"
    )


def test_problems_of_all_runs_are_told_at_once(root):
    rewrite_json(root / "train/run1.json", lambda records: records[0].pop("keypoint2d"))
    rewrite_json(root / "val/run2.json", lambda records: records[1]["keypoint2d"].pop())
    rewrite_json(root / "test/run0.json", lambda records: records[0].pop("name"))
    image_files(root)[2].write_bytes(b"")
    with pytest.raises(DatasetError) as caught:
        read_all("surreal", root)
    text = str(caught.value)
    assert text.count("1 of 2 records cannot be used") == 3
    for part in ("has no keypoint2d", "got 23 x 2", "has no name", "0 bytes"):
        assert part in text


def test_a_truncated_run_is_named(root):
    path = root / "val/run1.json"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"val/run1\.json is damaged or cut short"):
        read_all("surreal", root)


def test_the_folder_of_a_run_that_was_not_unpacked_is_told(root):
    (root / "train" / "run2").rename(root / "elsewhere")
    with pytest.raises(ValueError, match=r"2 of 18 labelled .* missing.*\n    train/run2/"):
        read_all("surreal", root)
