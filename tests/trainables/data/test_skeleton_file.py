"""Skeletons of one's own: what a file may say, and what is wrong with others."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.animal_data_set import FILE_NAMES, QUADRUPED, write_animals, write_skeleton
from tests.hand_data_sets import read, refusal
from trainables import registry
from trainables.config import TrialConfig
from trainables.config.data_options import CocoOptions
from trainables.data import skeleton_file
from trainables.data.coco import COCO
from trainables.data.domain import ImageRequest
from trainables.data.image_store import open_image_store
from trainables.data.prepared import prepared_store
from trainables.data.skeleton import BODY16, HAND21, Skeleton
from trainables.data.skeleton_file import find_skeleton, read_skeleton, skeleton_of
from trainables.data.store_writer import write_store
from trainables.metrics.reported import adaptation_metrics
from trainables.stages.data_stages import image_stage_inputs


def test_a_file_names_what_the_arrays_index(tmp_path):
    skeleton = read_skeleton(write_skeleton(tmp_path))
    assert (skeleton.name, skeleton.num_joints) == ("quadruped", 11)
    assert skeleton.joint_names[:4] == ("nose", "withers", "tail", "left_ear")
    assert skeleton.groups == {"ear": (3, 4), "front_leg": (5, 6, 7, 8), "back_leg": (9, 10)}
    assert skeleton.triplets == ((1, 5, 7), (1, 6, 8), (0, 1, 2), (1, 2, 9))
    assert skeleton.mirror == (0, 1, 2, 4, 3, 6, 5, 8, 7, 10, 9)
    assert skeleton.torso == (2, 2, 1, 1)
    assert skeleton.limbs == ((0, 1), (1, 2))
    assert skeleton.all_joints == tuple(range(11))
    assert skeleton.is_upright


def test_what_may_be_left_out_can_be_given(tmp_path):
    text = QUADRUPED + "all_joints: [tail, nose]\nis_upright: false\n"
    skeleton = read_skeleton(write_skeleton(tmp_path, text))
    assert skeleton.all_joints == (2, 0)
    assert not skeleton.is_upright


@pytest.mark.parametrize("skeleton", [BODY16, HAND21], ids=lambda skeleton: skeleton.name)
def test_a_definition_makes_the_same_skeleton_again(skeleton):
    assert Skeleton.of_names(skeleton.name, skeleton.definition()) == skeleton


def test_the_example_of_the_documentation_is_a_skeleton(tmp_path):
    _, _, example = skeleton_file.__doc__.partition("::\n\n")
    assert read_skeleton(write_skeleton(tmp_path, example)).num_joints == 9


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        ("  - withers", "  - nose", 3, "joints[1] must be another name, got nose again"),
        ("  - withers", "  - 7", 3, "joints[1] must be a name, got 7"),
        ("[left_ear, right_ear]\n  - [left_front_k", "[left_ear, ear]\n  - [left_front_k", 14,
         "left_right[0] must name joints, which are nose, withers, tail, left_ear, right_ear, "),
        ("  - [left_front_paw, right_front_paw]", "  - [left_ear, right_front_paw]", 16,
         "left_right[2] has left_ear, which another pair has; a joint has one counterpart"),
        ("[left_ear, right_ear]\n  - [left_front_k", "[nose, nose]\n  - [left_front_k", 14,
         "left_right[0] must be different joints, got [nose, nose]"),
        ("  back_leg: [left_back_paw, right_back_paw]", "  back_leg: []", 21,
         "groups[back_leg] must be a list of at least one joint, got []"),
        ("  back_leg: ", "  Back leg: ", 21,
         "groups[Back leg] must have a name of a-z, 0-9 and _"),
        ("  back_leg: ", "  adabn: ", 21,
         "groups[adabn] must have another name, as pck_05_adabn is a metric of its own"),
        ("[nose, withers, tail]", "[nose, withers, nose]", 25,
         "triplets[2] must be different joints, got [nose, withers, nose]"),
        ("[nose, withers, tail]", "[nose, withers]", 25,
         "triplets[2] must be 3 joints, got [nose, withers]"),
        ("[tail, tail, withers, withers]", "[tail, withers]", 27,
         "torso must be 4 joints, got [tail, withers]"),
        ("torso:", "trunk:", 27, "trunk is no key of a skeleton, which are joints, groups, "),
        ("torso: [tail, tail, withers, withers]\n", "", 1, "torso is missing"),
        ("torso:", "is_upright: maybe\ntorso:", 27, "is_upright must be true or false, got maybe"),
        ("groups:", "joints:", 18, "not valid YAML: "),
        ("  - tail", "  - [tail", 13, "not valid YAML: "),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(old, new, line, sentence, tmp_path):
    assert QUADRUPED.count(old) == 1
    path = write_skeleton(tmp_path, QUADRUPED.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(f"{path}:{line}: {sentence}")):
        read_skeleton(path)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("joints", list("abcdefg"), "joints must be at least 8, as poses with fewer are not"),
        ("triplets", [["a", "b", "c"]] * 2, "triplets must be at least 3, which an image needs"),
        ("triplets", "abc", "triplets must be a list of lists, got abc"),
        ("groups", {}, "groups must name at least one group with its joints"),
        ("joints", None, "joints must be a list of names, got nothing"),
    ],
)
def test_too_little_of_something_is_told(key, value, sentence):
    eight = {
        "joints": list("abcdefgh"),
        "groups": {"all": ["a"]},
        "triplets": [["a", "b", "c"]] * 3,
        "torso": ["a", "a", "b", "b"],
    }
    assert Skeleton.of_names("eight", eight).num_joints == 8
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Skeleton.of_names("eight", eight | {key: value})


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_in_one_sentence(data, tmp_path_factory):
    """Lines are left out, doubled or cut short; nothing but ValueError comes of it."""
    lines = QUADRUPED.splitlines()
    place = data.draw(st.integers(0, len(lines) - 1))
    cut = data.draw(st.integers(0, len(lines[place])))
    lines[place : place + 1] = data.draw(
        st.sampled_from([[], [lines[place]] * 2, [lines[place][:cut]], [lines[place] + " [}"]])
    )
    path = tmp_path_factory.mktemp("damaged") / "animal.yaml"
    path.write_text("\n".join(lines))
    try:
        assert read_skeleton(path).num_joints >= 8
    except ValueError as error:
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)


def test_a_name_that_is_neither_registered_nor_a_file_is_told(tmp_path):
    assert find_skeleton("hand21") is HAND21
    with pytest.raises(FileNotFoundError) as caught:
        find_skeleton(str(tmp_path / "cat.yaml"))
    assert str(caught.value) == (
        f"{tmp_path}/cat.yaml is neither a file nor a registered skeleton (body16, hand21)"
    )


def test_a_registered_skeleton_is_that_of_its_data_sets(monkeypatch):
    for name in ("SKELETONS", "DOMAINS", "SECTIONS"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    with pytest.raises(ValueError, match="skeleton of toys must be one of body16, hand21, got"):
        registry.register_domain("toys", "my_lab.poses:TOYS", skeleton="toy8")
    registry.register_skeleton("toy8", f"{__name__}:TOY8")
    registry.register_domain("toys", "my_lab.poses:TOYS", skeleton="toy8")
    assert registry.SKELETONS["toy8"].load() is TOY8
    registry.register_skeleton("wrong", f"{__name__}:QUADRUPED")
    registry.register_skeleton("absent", "my_lab.skeletons:CAT")
    monkeypatch.setattr("trainables.data.skeleton_file.SKELETONS", registry.SKELETONS)
    with pytest.raises(ValueError, match=r"test_skeleton_file:QUADRUPED must be a Skeleton"):
        find_skeleton("wrong")
    with pytest.raises(ValueError, match="^a plugin registers absent as my_lab.skeletons:CAT: No"):
        find_skeleton("absent")


TOY8 = Skeleton.of_names(
    "toy8",
    {
        "joints": list("abcdefgh"),
        "groups": {"all": ["a"]},
        "triplets": [["a", "b", "c"]] * 3,
        "torso": ["a", "a", "b", "b"],
    },
)


def animal_trial(tmp_path, **more):
    write_skeleton(tmp_path)
    write_animals(tmp_path, 60)
    return TrialConfig.from_flat({
        "data.source": "coco", "data.target": "coco", "data.source_root": str(tmp_path),
        "data.target_root": str(tmp_path), "data.image_size": 32, "data.heatmap_size": 16,
        "data.coco.skeleton": str(tmp_path / "quadruped.yaml"), **more,
    })  # fmt: skip


def test_both_data_sets_must_have_the_same_joints(tmp_path):
    with pytest.raises(ValueError, match="hands_wild with hand21") as caught:
        TrialConfig.from_flat({"data.target": "hands_wild"})
    assert str(caught.value) == (
        "data.target must have the joints of data.source: people_clean has the skeleton body16, "
        "got hands_wild with hand21"
    )
    with pytest.raises(ValueError, match=r"got coco with .*quadruped.yaml"):
        animal_trial(tmp_path, **{"data.source": "people_clean", "data.source_root": None})
    fields = {"data.target": "coco", "data.target_root": "x", "data.coco.skeleton": "hand21"}
    trial = TrialConfig.from_flat({"data.source": "hands_clean", **fields})
    assert trial.skeleton_name("target") == "hand21"


def test_animals_are_read_by_the_names_of_their_joints(tmp_path):
    points = write_animals(tmp_path, 6)
    options = CocoOptions(skeleton=str(write_skeleton(tmp_path)))
    ids, images, found, seen, notes = read(COCO, tmp_path, size=80, options=options)
    skeleton = skeleton_of("coco", options)
    order = [FILE_NAMES.index(name) for name in skeleton.joint_names]
    assert ids == tuple(f"coco/animals/{row}#{row + 1}" for row in range(6))
    assert seen.all()
    np.testing.assert_allclose(found, points[:, order] + (0, 4), atol=1e-3)  # rows of padding
    assert images.shape == (6, 80, 80, 3)
    assert notes == (
        "1 left out: crowds, whose keypoints belong to nobody",
        "1 left out: figures without labelled keypoints",
        "1 left out: annotations of other categories",
    )


def test_boxes_of_fractions_make_the_crop(tmp_path):
    write_animals(tmp_path, 2)
    options = CocoOptions(skeleton=str(write_skeleton(tmp_path)))
    crop = {"crop": "person", "crop_scale": 1.0}
    *_, points, seen, notes = read(COCO, tmp_path, size=32, options=options, **crop)
    assert notes[-1] == "cropped around the boxes of the data set"
    extent = np.where(seen[..., None], points, np.nan)
    longer = (np.nanmax(extent, 1) - np.nanmin(extent, 1)).max(1)
    np.testing.assert_allclose(longer, 31.7, atol=0.8)  # windows are of whole pixels


def test_a_category_without_the_joints_is_told_with_the_skeleton(tmp_path):
    write_animals(tmp_path, 2)
    assert "names 8 joints of body16 in its keypoints" in refusal(COCO, tmp_path)


def test_a_store_holds_its_skeleton(tmp_path):
    trial = animal_trial(tmp_path)
    path = trial.options(CocoOptions).skeleton
    request = ImageRequest("target", 60, 32, tmp_path, options=CocoOptions(skeleton=path))
    (tmp_path / "store").mkdir()
    write_store(tmp_path / "store", "coco", request)
    expected = read_skeleton(tmp_path / "quadruped.yaml")
    (tmp_path / "quadruped.yaml").rename(tmp_path / "dog.yaml")
    assert open_image_store(tmp_path / "store").skeleton == expected
    # The same joints in another file are the same; others are not.
    options = CocoOptions(skeleton=str(tmp_path / "dog.yaml"))
    request = ImageRequest("target", 60, 32, tmp_path / "store", options=options)
    assert len(prepared_store("coco", request).images) == 60
    write_skeleton(tmp_path, QUADRUPED.replace("withers, withers]", "nose, nose]"), "dog.yaml")
    with pytest.raises(ValueError, match="skeleton is quadruped, the study wants dog"):
        prepared_store("coco", request)
    (tmp_path / "dog.yaml").rename(tmp_path / "quadruped.yaml")
    request = replace(request, options=CocoOptions(skeleton=path))
    rule = "skeleton is quadruped as it was defined then, the study wants quadruped as it is def"
    with pytest.raises(ValueError, match=rule):
        prepared_store("coco", request)


def test_a_changed_definition_is_another_stage(tmp_path):
    trial = animal_trial(tmp_path)
    before = image_stage_inputs(trial, "source")
    assert image_stage_inputs(trial, "source") == before
    write_skeleton(tmp_path, QUADRUPED.replace("[nose, withers, tail]", "[tail, withers, nose]"))
    assert image_stage_inputs(trial, "source") != before


def test_metrics_are_named_after_the_groups_of_the_skeleton(tmp_path):
    known = adaptation_metrics(animal_trial(tmp_path).to_flat())
    groups = {name.removeprefix("target_val/pck_05_") for name in known if "val/pck_05_" in name}
    assert {"ear", "front_leg", "back_leg"} < groups
    assert not groups & {"elbow", "mcp"}
    assert "target_val/pck_05_elbow" in adaptation_metrics(TrialConfig().to_flat())
