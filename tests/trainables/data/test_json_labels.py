"""Lists of records in JSON files: what is read, and what is said of damaged ones."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data.json_labels import MIN_VIDEOS, read_records, videos

GOOD = {"name": "a.jpg", "keypoint2d": [[0, 1.5], [2, -3]], "keypoint3d": "is not read"}

RULE = "the keypoint2d of a.jpg must be 2 x 2 finite numbers, got"


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_names_and_keypoints_are_read_in_order(tmp_path):
    path = write(tmp_path / "l.json", [GOOD, {"name": "b", "keypoint2d": [[5, 6], [7, 8]]}])
    records = read_records(path, 2)
    assert records.names == ("a.jpg", "b")
    assert records.keypoints_px.tolist() == [[[0, 1.5], [2, -3]], [[5, 6], [7, 8]]]
    assert records.keypoints_px.dtype == np.float32
    assert records.problems == ()


def test_an_empty_list_has_no_records(tmp_path):
    records = read_records(write(tmp_path / "l.json", []), 3)
    assert records.keypoints_px.shape == (0, 3, 2)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"keypoint2d": [[1, 2], [3, 4]]}, "has no name"),
        ({"name": "b"}, "has no keypoint2d"),
        ({}, "has no name and no keypoint2d"),
        ([1], "is a list"),
        (None, "is null"),
        (GOOD | {"name": ""}, "its name is ''"),
        (GOOD | {"name": 3}, "its name is 3"),
        (GOOD | {"keypoint2d": [[1, 2]]}, f"{RULE} 1 x 2"),
        (GOOD | {"keypoint2d": [[1, 2, 3], [4, 5, 6]]}, f"{RULE} 2 x 3"),
        (GOOD | {"keypoint2d": 4}, f"{RULE} one number"),
        (GOOD | {"keypoint2d": [[1, 2], [3]]}, f"{RULE} lists of different lengths"),
        (GOOD | {"keypoint2d": [[1, 2], [3, "x"]]}, f"{RULE} 'x'"),
        (GOOD | {"keypoint2d": {"x": 1}}, f"{RULE} {{'x': 1}}"),
        (GOOD | {"keypoint2d": [[1, 2], [3, float("nan")]]}, f"{RULE} nan"),
        (GOOD | {"keypoint2d": [[1e300, 2], [3, 4]]}, f"{RULE} 1e+300"),
    ],
)
def test_a_record_that_cannot_be_used_is_named_and_the_others_are_read(record, reason, tmp_path):
    path = write(tmp_path / "l.json", [GOOD, record, GOOD])
    records = read_records(path, 2)
    assert records.names == ("a.jpg", "a.jpg")
    (problem,) = records.problems
    assert problem.sentence == (
        f"{path}: 1 of 3 records cannot be used; each needs a name and a keypoint2d of 2 x 2 "
        "finite numbers"
    )
    (case,) = problem.cases
    assert case.startswith(f"record 1, counted from 0: {reason}")


@pytest.mark.parametrize(
    ("content", "kind"),
    [("{}", "an object"), ("3", "a number"), ('"x"', "text"), ("null", "null")],
)
def test_a_file_without_a_list_is_refused(content, kind, tmp_path):
    path = write(tmp_path / "l.json", content)
    with pytest.raises(ValueError, match=rf"l\.json must hold a list of records, got {kind}$"):
        read_records(path, 2)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"l\.json is missing$"):
        read_records(tmp_path / "l.json", 2)


@settings(max_examples=60)
@given(share=st.floats(0, 0.999))
def test_a_truncated_file_is_named_wherever_it_ends(share, tmp_path_factory):
    content = json.dumps([GOOD, GOOD])
    path = tmp_path_factory.mktemp("d") / "l.json"
    write(path, content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"l\.json is damaged or cut short: .*line 1 column"):
        read_records(path, 2)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x00" * 40, b"[" * 100_000])
def test_a_file_of_other_bytes_is_named(content, tmp_path):
    path = tmp_path / "l.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"l\.json is damaged or cut short"):
        read_records(path, 2)


def test_frames_are_named_after_their_videos():
    clips = [f"clip{i:02d}" for i in range(MIN_VIDEOS)]
    names = [f"{clip}_{frame}.jpg" for frame in range(2) for clip in clips]
    ends, notes = videos(names, re.compile(r"(clip\d+)_"))
    assert ends == [f"{name[:6]}#{name}" for name in names]
    assert notes == ()
    ends, notes = videos([*names, "still.jpg"], re.compile(r"(clip\d+)_"))
    assert ends[-1] == "still.jpg"
    assert notes == ("the names of 1 images tell no video; these are divided one by one",)


def test_too_few_videos_are_not_kept_together_and_that_is_told():
    names = [f"clip{i:02d}_0.jpg" for i in range(MIN_VIDEOS - 1)]
    ends, notes = videos(names, re.compile(r"(clip\d+)_"))
    assert ends == names
    assert notes == (
        "frames are divided one by one, as the names of images tell 49 videos and 50 are needed "
        "to keep each in one split",
    )
