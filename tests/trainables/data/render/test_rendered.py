"""Procedural people and hands: determinism, labels on the drawn flesh, the domains' gap."""

import functools

import numpy as np
import pytest

from trainables import registry
from trainables.data.render import draw_chunks
from trainables.data.render.rendered import LOOKS, render_domain
from trainables.data.render.scene import CHUNK
from trainables.torch_threads import torch_threads

PEOPLE = ("people_clean", "people_wild", "people_wild_hard")
DOMAINS = pytest.mark.parametrize("domain", list(LOOKS))
FIELDS = ("images", "keypoints_px", "visible", "complexity")


@functools.cache
def rendered(domain, num, image_size=32, seed=0):
    """The first images of a domain as one dict of arrays."""
    chunks = list(render_domain(domain, num, image_size, seed))
    return {name: np.concatenate([getattr(c, name) for c in chunks]) for name in FIELDS}


@DOMAINS
def test_arrays_have_their_shapes_and_types(domain):
    people = rendered(domain, 60)
    assert people["images"].shape == (60, 32, 32, 3)
    assert people["images"].dtype == np.uint8
    joints = 21 if domain.startswith("hands_") else 16
    assert people["keypoints_px"].shape == (60, joints, 2)
    assert people["keypoints_px"].dtype == np.float32
    assert people["visible"].shape == (60, joints)
    assert people["visible"].dtype == np.bool_
    assert people["complexity"].shape == (60,)


def test_chunks_are_of_one_size_but_for_the_last():
    sizes = [len(chunk.images) for chunk in render_domain("people_clean", 300, 32, 0)]
    assert sizes == [CHUNK, 300 - CHUNK]


@DOMAINS
def test_the_same_seed_renders_the_same_images(domain):
    again = next(render_domain(domain, 20, 32, 0))
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(again, name), rendered(domain, 60)[name][:20])


@pytest.mark.slow
def test_two_processes_draw_the_same_images(monkeypatch):
    monkeypatch.setattr(draw_chunks, "MIN_CHUNKS", 1)
    chunks = list(render_domain("people_clean", 300, 32, 0, num_processes=2))
    for name in FIELDS:
        again = np.concatenate([getattr(chunk, name) for chunk in chunks])
        np.testing.assert_array_equal(again, rendered("people_clean", 300)[name])


@pytest.mark.slow
def test_images_do_not_depend_on_the_number_of_threads():
    # With two threads PyTorch adds in another order at this size.
    one = rendered("people_sport", 60, 128)
    with torch_threads(2):
        two = next(render_domain("people_sport", 60, 128, 0))
    np.testing.assert_array_equal(two.images, one["images"])


def test_another_seed_renders_other_images():
    first, second = rendered("people_clean", 60), rendered("people_clean", 60, seed=1)
    assert not np.array_equal(first["images"], second["images"])
    assert not np.array_equal(first["keypoints_px"], second["keypoints_px"])


def test_an_image_does_not_depend_on_how_many_are_rendered():
    few, many = rendered("people_clean", 300), rendered("people_clean", 500)
    for name in FIELDS:
        np.testing.assert_array_equal(few[name][:10], many[name][:10])
        np.testing.assert_array_equal(few[name], many[name][:300])  # the second chunk as well


def test_the_second_chunk_is_not_the_first_again():
    keypoints = rendered("people_clean", 500)["keypoints_px"]
    assert not np.isclose(keypoints[:CHUNK], keypoints[CHUNK : 2 * CHUNK]).all((1, 2)).any()


def test_domains_of_one_seed_show_different_people():
    poses = [rendered(domain, 60)["keypoints_px"] for domain in PEOPLE]
    for i, first in enumerate(poses):
        for second in poses[i + 1 :]:
            assert np.abs(first - second).mean() > 1


def test_domains_of_one_look_still_show_different_people(monkeypatch):
    monkeypatch.setitem(LOOKS, "people_twin", LOOKS["people_clean"])
    monkeypatch.setitem(registry.DOMAINS, "people_twin", registry.DOMAINS["people_clean"])
    twin = next(render_domain("people_twin", 60, 32, 0))
    assert np.abs(twin.keypoints_px - rendered("people_clean", 60)["keypoints_px"]).mean() > 1


@DOMAINS
def test_keypoints_are_inside_the_image(domain):
    keypoints = rendered(domain, 60)["keypoints_px"]
    assert keypoints.min() >= -0.5
    assert keypoints.max() <= 31.5


def test_the_source_labels_every_joint_and_the_target_only_those_that_are_seen():
    assert rendered("people_clean", 250)["visible"].all()
    assert rendered("hands_clean", 250)["visible"].all()
    wild, hard = (rendered(name, 250)["visible"].mean() for name in PEOPLE[1:])
    assert 0.8 < hard < wild < 0.98  # occluders hide more than bodies alone


@pytest.mark.parametrize("domain", [name for name in LOOKS if name != "people_sport"])
def test_people_fill_most_of_the_frame(domain):
    keypoints = rendered(domain, 60)["keypoints_px"]
    side = (keypoints.max(1) - keypoints.min(1)).max(1)
    assert side.min() > 0.45 * 32
    assert np.median(side) > 0.6 * 32


def test_people_in_sports_are_shown_like_whole_photographs():
    people = rendered("people_sport", 60, image_size=48)
    is_bright = people["images"].max(3) > 8
    shapes = set()
    for image, keypoints in zip(is_bright, people["keypoints_px"], strict=True):
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        shapes.add((len(columns), len(rows)))
        assert keypoints[:, 0].min() >= columns[0] - 0.51
        assert keypoints[:, 0].max() <= columns[-1] + 0.51
        assert keypoints[:, 1].min() >= rows[0] - 0.51
        assert keypoints[:, 1].max() <= rows[-1] + 0.51
    # 2:3 and 3:4, upright and lying
    assert shapes == {(32, 48), (36, 48), (48, 32), (48, 36)}


def test_poses_do_not_depend_on_the_image_size():
    small, large = rendered("people_clean", 60), rendered("people_clean", 60, image_size=64)
    np.testing.assert_allclose(
        (large["keypoints_px"] + 0.5) / 2 - 0.5, small["keypoints_px"], atol=1e-4
    )


def test_joints_stand_out_from_the_background():
    # The clean background varies slowly: a border pixel predicts it far better than a body.
    people = rendered("people_clean", CHUNK, image_size=64)
    images = people["images"].astype(float)
    rows = np.arange(CHUNK)
    for joint in (0, 5, 1, 4, 10, 15):
        x, y = np.rint(people["keypoints_px"][:, joint]).astype(int).T
        to_border = np.where(x < 32, 0, 63)
        contrast = np.abs(images[rows, y, x] - images[rows, y, to_border]).max(1)
        plain = np.abs(images[rows, 0, x] - images[rows, 0, to_border]).max(1)
        assert np.median(contrast) > 2 * np.median(plain)


def test_simple_people_of_the_source_face_the_camera():
    people = rendered("people_clean", 500)
    x = people["keypoints_px"][people["complexity"] < 0.15][..., 0]
    assert len(x) > 50
    assert (x[:, 12] < x[:, 13]).mean() > 0.99
    assert (x[:, 13] - x[:, 12]).mean() > 2


def test_some_people_of_the_hard_target_are_seen_from_behind():
    def turned(domain):
        x = rendered(domain, CHUNK)["keypoints_px"][..., 0]
        return (x[:, 12] > x[:, 13]).mean()

    assert turned("people_wild_hard") > 0.25
    assert turned("people_wild") < 0.15


def test_source_poses_are_mostly_simple_with_a_long_tail():
    complexity = rendered("people_clean", 500)["complexity"]
    assert complexity.min() >= 0
    assert complexity.max() <= 1
    assert np.median(complexity) < 0.35
    assert complexity.mean() > np.median(complexity)
    assert np.quantile(complexity, 0.95) > 2 * np.median(complexity)


def test_domains_grow_in_complexity():
    means = [rendered(domain, CHUNK)["complexity"].mean() for domain in PEOPLE]
    assert means == sorted(means)
    assert means[1] > means[0] + 0.1


def test_target_images_have_more_texture_than_source_images():
    def texture(domain):
        images = rendered(domain, 60)["images"].astype(float)
        return np.abs(np.diff(images[:, :4], axis=2)).mean()  # rows above most people

    assert texture("people_wild") > 2 * texture("people_clean")
    assert texture("people_wild_hard") > texture("people_wild")


def test_an_unknown_domain_is_refused():
    with pytest.raises(KeyError, match="people_dirty"):
        next(render_domain("people_dirty", 1, 32, 0))


@pytest.mark.parametrize("domain", ["hands_clean", "hands_wild"])
def test_bones_of_a_finger_are_drawn_where_its_joints_are(domain):
    hands = rendered(domain, CHUNK, image_size=64)
    cells = hands["keypoints_px"].round().astype(int).clip(0, 63)
    rows = np.arange(CHUNK)
    images = hands["images"].astype(float)
    palm = images[rows, cells[:, 9, 1], cells[:, 9, 0]]  # first joint of the middle finger
    knuckle = images[rows, cells[:, 10, 1], cells[:, 10, 0]]
    corner = images[:, 0, 0]
    like = np.abs(palm - knuckle).mean(1)
    unlike = np.abs(palm - corner).mean(1)
    assert np.mean(like < unlike) > 0.8


def test_an_open_hand_has_its_thumb_on_one_side_of_the_little_finger():
    hands = rendered("hands_clean", CHUNK)
    easy = hands["complexity"] < 0.2
    thumb, little = hands["keypoints_px"][easy, 4], hands["keypoints_px"][easy, 20]
    assert np.mean(thumb[:, 0] < little[:, 0]) > 0.95
    wrist, tip = hands["keypoints_px"][easy, 0], hands["keypoints_px"][easy, 12]
    assert np.mean(tip[:, 1] < wrist[:, 1]) > 0.95  # fingers point up
