"""Photographs and poses that a user brings for the drawn people."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.body_data_sets import image_files, write_people
from trainables.config import TrialConfig
from trainables.config.data_options import SportOptions
from trainables.data.domain import ImageRequest, image_request
from trainables.data.render import rendered_domain
from trainables.data.render.material import photographic_backgrounds, read_poses
from trainables.data.render.rendered import render_domain
from trainables.data.splits import split
from trainables.data.store_writer import write_store
from trainables.registry import DOMAINS


def request(**options):
    return ImageRequest("source", 40, 32, options=SportOptions(**options))


def test_backgrounds_are_crops_at_the_edge_of_a_photograph(tmp_path):
    photograph = np.zeros((40, 80, 3), np.uint8)
    photograph[..., 2] = 200  # red in OpenCV's order
    photograph[12:28, 30:50] = (0, 255, 0)  # what stands in the middle
    cv2.imwrite(str(tmp_path / "one.png"), photograph)
    one = [tmp_path / "one.png"]
    drawn = photographic_backgrounds(one, 16, 60, np.random.default_rng(0))
    assert drawn.shape == (60, 3, 16, 16)
    assert drawn[:, 0].mean() > 0.7
    assert (drawn[:, 1] > 0.5).float().mean() < 0.05
    assert drawn[:, 2].max() == 0


def test_a_background_is_reflected_where_its_crop_ends(tmp_path):
    # 90 pixels from dark to light, of which a crop of 15 to 30 at an edge fills 5 to 20 of 30
    # pixels: it never jumps by more than neighbouring columns of the photograph do.
    ramp = np.tile(np.linspace(0, 255, 90, dtype=np.uint8)[None, :, None], (60, 1, 3))
    cv2.imwrite(str(tmp_path / "ramp.png"), ramp)
    paths = [tmp_path / "ramp.png"]
    drawn = photographic_backgrounds(paths, 30, 40, np.random.default_rng(0))
    steps = (drawn[..., 1:] - drawn[..., :-1]).abs()
    assert steps.max() < 4 * 255 / 90 / 255
    assert (steps.amax((1, 2, 3)) > 0).all()
    turns = (drawn[:, 0, 0, 1:] > drawn[:, 0, 0, :-1]).float().diff(dim=1).abs().sum(1)
    assert (turns > 0).float().mean() > 0.5


def test_people_stand_before_the_photographs(tmp_path):
    cv2.imwrite(str(tmp_path / "blue.png"), np.full((50, 50, 3), (255, 0, 0), np.uint8))
    plain = next(render_domain("people_sport", 40, 32, 0))
    paths = [tmp_path / "blue.png"]
    chunk = next(render_domain("people_sport", 40, 32, 0, backgrounds=paths))
    np.testing.assert_array_equal(chunk.keypoints_px, plain.keypoints_px)
    sides = [c.images[:, [15, 6], [0, 16]].astype(int) for c in (chunk, plain)]  # not in the bars
    assert np.median(sides[0][..., 2] - sides[0][..., 0]) > 100
    assert np.median(sides[1][..., 2] - sides[1][..., 0]) < 60


def test_poses_of_a_file_are_drawn_and_no_others(tmp_path):
    # One pose, both arms stretched to the sides, seen from any side.
    pose = np.zeros((1, 16, 3))
    pose[0, :, :2] = [
        (-0.1, 0.9), (-0.1, 0.5), (-0.1, 0.0), (0.1, 0.0), (0.1, 0.5), (0.1, 0.9),
        (0, 0), (0, -0.4), (0, -0.5), (0, -0.8),
        (-0.75, -0.5), (-0.45, -0.5), (-0.2, -0.5), (0.2, -0.5), (0.45, -0.5), (0.75, -0.5),
    ]  # fmt: skip
    np.save(tmp_path / "pose.npy", pose)
    joints = next(
        render_domain("people_sport", 60, 64, 0, poses=tmp_path / "pose.npy")
    ).keypoints_px
    for wrist, elbow, shoulder in ((10, 11, 12), (15, 14, 13)):
        upper, lower = joints[:, elbow] - joints[:, shoulder], joints[:, wrist] - joints[:, elbow]
        cosine = (
            (upper * lower).sum(1) / np.linalg.norm(upper, axis=1) / np.linalg.norm(lower, axis=1)
        )
        assert np.median(cosine) > 0.99


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((3, 17, 3)), r"an array \(N, 16, 3\) of .*, got the shape \(3, 17, 3\)"),
        (np.full((1, 16, 3), np.nan), r"must hold an array \(N, 16, 3\) of finite numbers"),
        (np.zeros((2, 16, 3)), "head and neck of pose 0 are one point"),
        (np.array([None]), "must be a .npy file of numbers"),
    ],
)
def test_other_arrays_are_refused(array, sentence, tmp_path):
    np.save(tmp_path / "poses.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=sentence):
        read_poses(tmp_path / "poses.npy")


def test_the_check_names_what_cannot_be_read(tmp_path):
    domain = DOMAINS["people_sport"].load()
    assert sum(domain.check(request()).values()) == 40
    with pytest.raises(ValueError, match="has no image"):
        domain.check(request(backgrounds=str(tmp_path)))
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"1 of 2 images of .*, the first is b\.png \(damaged or"):
        domain.check(request(backgrounds=str(tmp_path)))
    (tmp_path / "b.png").unlink()
    assert sum(domain.check(request(backgrounds=str(tmp_path))).values()) == 40
    with pytest.raises(OSError, match="missing"):
        domain.check(request(backgrounds=str(tmp_path / "missing")))
    with pytest.raises(OSError, match="missing.npy"):
        domain.check(request(poses=str(tmp_path / "missing.npy")))


def test_the_digest_changes_with_the_photographs_and_the_poses(tmp_path):
    domain = DOMAINS["people_sport"].load()
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    first = domain.digest(request(backgrounds=str(tmp_path)))
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((8, 8, 3), np.uint8))
    assert domain.digest(request(backgrounds=str(tmp_path))) != first


def test_the_digest_changes_with_the_meshes(tmp_path, monkeypatch):
    domain = DOMAINS["people_clean"].load()
    before = domain.digest(request())
    for name in ("body", "hand"):
        shutil.copy(Path(rendered_domain.__file__).with_name(f"{name}_mesh.npz"), tmp_path)
    monkeypatch.setattr(rendered_domain, "__file__", str(tmp_path / "rendered_domain.py"))
    assert domain.digest(request()) == before
    with (tmp_path / "body_mesh.npz").open("ab") as file:
        file.write(b"x")
    assert domain.digest(request()) != before


def trial(root, target="lspet", **fields):
    named = {"data.people_sport.target_backgrounds": True, "data.target_root": str(root)}
    named |= {name.replace("__", "."): value for name, value in fields.items()}
    return TrialConfig.from_flat(
        {"data.source": "people_sport", "data.target": target, "data.image_size": 32}
        | {"data.heatmap_size": 16, "data.num_source": 60, "data.num_target": 50}
        | named
    )


def test_the_targets_training_photographs_and_no_others_become_backgrounds(tmp_path):
    root = tmp_path / "lspet"
    write_people("lspet", root, 30)
    files = image_files(root)
    rows = split([f"lspet/{path.stem}" for path in files], "target")
    for index, path in enumerate(files):
        blue_or_red = (255, 0, 0) if index in rows["train"] else (0, 0, 255)
        cv2.imwrite(str(path), np.full((64, 64, 3), blue_or_red, np.uint8))
    request_ = image_request(trial(root), "source", 1)
    (chunk,) = DOMAINS["people_sport"].load().images(request_)
    red, _, blue = chunk.images[:, [15, 6], [0, 16]].astype(int).transpose(2, 0, 1)
    assert np.median(blue - red) > 100
    assert (red - blue > 100).mean() < 0.1  # clothes that happen to be red
    assert chunk.notes == ("backgrounds are edges of unlabelled training photographs of lspet",)
    domain = DOMAINS["people_sport"].load()
    before = domain.digest(request_)
    cv2.imwrite(str(files[rows["val"][0]]), np.zeros((64, 64, 3), np.uint8))
    assert domain.digest(request_) == before
    cv2.imwrite(str(files[rows["train"][0]]), np.zeros((70, 64, 3), np.uint8))
    assert domain.digest(request_) != before


def test_what_cannot_give_backgrounds_is_refused_in_one_sentence(tmp_path):
    people = DOMAINS["people_sport"].load()
    wild = image_request(trial(tmp_path, "people_wild"), "source", 1)
    with pytest.raises(ValueError, match="false for data.target people_wild: it has no photo"):
        people.check(wild)
    twice = image_request(trial(tmp_path, "people_sport"), "target", 1)
    with pytest.raises(ValueError, match="false where people_sport itself is the target"):
        people.check(twice)
    write_people("lspet", tmp_path / "lspet", 30)
    prepared = tmp_path / "store"
    prepared.mkdir()
    write_store(prepared, "lspet", image_request(trial(tmp_path / "lspet"), "target", 1))
    with pytest.raises(ValueError, match=r"false with a prepared store \(.*store\)"):
        people.check(image_request(trial(prepared), "source", 1))
