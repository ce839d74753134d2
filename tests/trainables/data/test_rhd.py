"""RHD: the publisher's order and flags, which hands are samples, mirroring, damage."""

import os
import pickle

import numpy as np
import pytest
from PIL import Image

from tests.hand_data_sets import empty_image, read, refusal, rendered
from trainables.config.data_options import RhdOptions
from trainables.data.domain import ImageRequest
from trainables.data.layouts.rhd import write_rhd
from trainables.data.rhd import RHD

SIDE = 320
FAR = np.full((21, 3), -500.0) * (1, 1, 0)
"""A hand outside the image, in the publisher's order."""


@pytest.fixture
def root(tmp_path):
    write_rhd(tmp_path, *rendered("hands_wild"))
    return tmp_path


def folder(root):
    return root / "RHD_published_v2" / "training"


def change(root, function):
    path = folder(root) / "anno_training.pickle"
    entries = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps(function(entries) or entries))


def write_one(root, left, right, image=None, name="training"):
    """Write one image with two hands (21, 3) in the publisher's order."""
    out = root / "RHD_published_v2" / name
    (out / "color").mkdir(parents=True)
    if image is None:
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
    Image.fromarray(image).save(out / "color" / "00012.png")
    entry = {"uv_vis": np.concatenate([left, right]), "xyz": np.zeros((42, 3)), "K": np.eye(3)}
    (out / f"anno_{name}.pickle").write_bytes(pickle.dumps({12: entry}, 2))
    return root


def diagonal(first, last, visible=21):
    """A hand whose box is the square from (first, first) to (last, last)."""
    hand = np.ones((21, 3))
    hand[:, :2] = np.linspace(first, last, 21)[:, None]
    hand[visible:, 2] = 0
    return hand


def test_what_is_written_is_read_back(root):
    images, keypoints, visible = rendered("hands_wild")
    ids, found, points, seen, notes = read(RHD, root)
    assert ids == tuple(f"rhd/training/{row:05d}#left" for row in range(5))
    np.testing.assert_array_equal(found, images)
    np.testing.assert_array_equal(seen, visible)
    np.testing.assert_allclose(points[seen], keypoints[visible], atol=1e-3)
    # The other hand of each image.
    assert notes == ("5 left out: hands whose square of 1.5 times their size is below 66 pixels",)


def test_the_folder_of_the_archive_may_be_named_too(root):
    assert read(RHD, root / "RHD_published_v2")[0] == read(RHD, root)[0]


def test_joints_are_reordered_from_the_tip_to_the_base(tmp_path):
    hand = np.ones((21, 3))
    hand[:, 0] = 20 + 10 * np.arange(21)  # the publisher's joint j at x = 20 + 10 j
    hand[:, 1] = 100
    _, _, points, _, _ = read(RHD, write_one(tmp_path, hand, FAR), size=SIDE)
    order = (points[0, :, 0] - 20) / 10
    wrist, thumb, index = [0], [4, 3, 2, 1], [8, 7, 6, 5]
    assert order.tolist() == [
        *wrist, *thumb, *index, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17
    ]  # fmt: skip


def test_right_hands_are_mirrored(tmp_path):
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[:, :10] = 200
    hand = diagonal(60, 160)
    ids, found, points, seen, _ = read(RHD, write_one(tmp_path, FAR, hand, image), size=SIDE)
    assert ids == ("rhd/training/00012#right",)
    assert seen.all()
    # The wrist, joint 0, was at (60, 60); the thumb's tip is the publisher's joint 1, here 4.
    assert points[0, 0].tolist() == [SIDE - 1 - 60, 60]
    assert points[0, 4].tolist() == [SIDE - 1 - 65, 65]
    assert found[0, 0, -10:].min() == 200
    assert found[0, 0, :-10].max() == 0


@pytest.mark.parametrize("is_right", [False, True])
def test_a_crop_keeps_keypoints_on_what_they_label(is_right, tmp_path):
    hand = diagonal(100, 200)
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[98:103, 98:103] = 255  # the wrist
    hands = (FAR, hand) if is_right else (hand, FAR)
    _, found, points, _, notes = read(
        RHD, write_one(tmp_path, *hands, image), size=96, crop="person"
    )
    y, x = np.argwhere(found[0, :, :, 0] > 127).mean(0)
    np.testing.assert_allclose(points[0, 0], (x, y), atol=0.5)
    # 1.5 times the hand's 100 pixels become 96.
    assert np.ptp(points[0, :, 0]) == pytest.approx(100 * 96 / 150, abs=0.01)
    assert notes[-1].startswith("cropped around the labelled joints")


def test_the_box_is_that_of_visible_joints(tmp_path):
    hand = diagonal(100, 150)
    hand[20] = 250, 250, 0
    _, _, points, _, _ = read(RHD, write_one(tmp_path, hand, FAR), size=75, crop="person")
    # The last visible joint, the publisher's 19, is at 147.5: round(1.5 * 47.5) = 71 pixels.
    assert points[0, 18, 0] - points[0, 0, 0] == pytest.approx(47.5 * 75 / 71, abs=0.01)


SMALL = "hands whose square of 1.5 times their size is below 66 pixels"
HIDDEN = "hands with fewer than 17 visible joints"
OVERLAPPED = "hands whose square is covered by the other hand to 30% or more"


def other(top):
    """An invisible hand over the whole width of the image, from a row on downwards."""
    hand = diagonal(0, 319)
    hand[:, 1] = np.linspace(top, 300, 21)
    hand[:, 2] = 0
    return hand


@pytest.mark.parametrize(
    ("hand", "second", "reason"),
    [
        (diagonal(100, 144), FAR, None),  # round(66) - 1 > 64
        (diagonal(100, 143), FAR, SMALL),  # round(64.5) - 1 = 63
        (diagonal(100, 200, visible=17), FAR, None),
        (diagonal(100, 200, visible=16), FAR, HIDDEN),
        # The square of this hand covers 75 x 75 pixels, from 88 to 162.
        (diagonal(100, 150), other(top=141), None),  # 22 of 75 rows
        (diagonal(100, 150), other(top=140), OVERLAPPED),  # 23 of 75 rows
        # A square that is moved into the image: 150 pixels, from 0 to 149; 45 rows are 30%.
        (diagonal(0, 100), other(top=106), None),
        (diagonal(0, 100), other(top=105), OVERLAPPED),
    ],
)
@pytest.mark.parametrize("is_right", [False, True])
def test_which_hands_are_samples(hand, second, reason, is_right, tmp_path):
    write_one(tmp_path, *((second, hand) if is_right else (hand, second)))
    write_one(tmp_path, diagonal(10, 200), FAR, name="evaluation")
    ids, _, _, _, notes = read(RHD, tmp_path, size=SIDE)
    side = "right" if is_right else "left"
    assert ids[-1] == "rhd/evaluation/00012#left"
    assert (f"rhd/training/00012#{side}" in ids) == (reason is None)
    assert reason is None or any(note.endswith(reason) for note in notes)


def test_a_smaller_number_is_spread_over_both_sets(tmp_path):
    write_one(tmp_path, diagonal(10, 100), diagonal(200, 300))
    write_one(tmp_path, diagonal(10, 100), diagonal(200, 300), name="evaluation")
    every, some = read(RHD, tmp_path)[0], read(RHD, tmp_path, num=3)[0]
    assert len(every) == 4
    assert len(some) == 3
    assert set(some) < set(every)


def test_the_publishers_sets_are_an_option(tmp_path):
    write_one(tmp_path, diagonal(10, 100), diagonal(200, 300))
    write_one(tmp_path, diagonal(10, 100), diagonal(200, 300), name="evaluation")
    for num in (3, 4):
        asked = ImageRequest("target", num, SIDE, tmp_path, RhdOptions("reference"))
        labels = RHD.scan(asked).labels
        assert len(labels.ids) == num
        assert [part == "test" for part in labels.published] == [
            id.startswith("rhd/evaluation") for id in labels.ids
        ]
    assert RHD.scan(ImageRequest("target", 4, SIDE, tmp_path)).labels.published is None


class _Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_code_is_refused(root, tmp_path):
    trace = tmp_path / "trace"
    change(root, lambda entries: entries[2].update(K=_Trap(trace)))
    text = refusal(RHD, root)
    assert text.startswith(f"{folder(root) / 'anno_training.pickle'} is not a readable pickle")
    assert "\n" not in text
    assert not trace.exists()


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_truncated_pickle_is_named(share, root):
    path = folder(root) / "anno_training.pickle"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    text = refusal(RHD, root)
    assert text.startswith(f"{path} is not a readable pickle of arrays: ")
    assert "\n" not in text


def test_missing_files_are_named(root, tmp_path):
    (folder(root) / "anno_training.pickle").unlink()
    assert refusal(RHD, root) == f"{folder(root) / 'anno_training.pickle'} is missing"
    assert refusal(RHD, tmp_path / "x") == f"{tmp_path / 'x'} is not a folder"
    (tmp_path / "y").mkdir()
    assert refusal(RHD, tmp_path / "y") == (
        f"{tmp_path / 'y'} has neither a folder training nor evaluation"
    )


def test_all_wrong_entries_are_told_together(root):
    def damage(entries):
        del entries[0]["uv_vis"]
        entries[1]["uv_vis"] = entries[1]["uv_vis"][:41]
        entries[2]["uv_vis"][3, 2] = 2
        entries[3]["uv_vis"][3, 0] = np.nan
        entries["x"] = entries.pop(4)
        entries[5] = {"uv_vis": "text"}

    change(root, damage)
    assert refusal(RHD, root).splitlines()[:7] == [
        f"{folder(root) / 'anno_training.pickle'}: 6 of 6 entries are wrong; each must have an "
        "image's number as its key, and uv_vis of 42 joints with x, y and 0 or 1",
        "    0: has no uv_vis",
        "    1: uv_vis must be 42 x 3 finite numbers, got 41 x 3",
        "    2: a joint of uv_vis is flagged 2",
        "    3: uv_vis must be 42 x 3 finite numbers, got nan",
        "    x: the key is not a number of an image",
        "    5: uv_vis must be 42 x 3 finite numbers, got 'text'",
    ]


def test_a_pickle_of_something_else_is_named(root):
    change(root, lambda entries: list(entries.values()))
    assert refusal(RHD, root).endswith("anno_training.pickle must hold a dict, got a list")


def test_an_image_without_content_is_named(root):
    name = empty_image(root, "*.png")
    assert f"    {name}: 0 bytes" in refusal(RHD, root).splitlines()


def test_the_digest_follows_labels_and_images(root):
    request = ImageRequest("target", 10, 64, root)
    first = RHD.digest(request)
    change(root, lambda entries: entries[0]["uv_vis"].__setitem__((0, 0), 3.0))
    second = RHD.digest(request)
    empty_image(root, "*.png")
    assert len({first, second, RHD.digest(request)}) == 3
