"""COCO keypoints: people and hands, files of other tools, options, damage."""

import json

import numpy as np
import pytest

from tests.hand_data_sets import empty_image, read, refusal, rendered
from trainables.config.data_options import CocoHandOptions, CocoOptions
from trainables.data.coco import COCO, COCO_HAND
from trainables.data.layouts.coco import PERSON_JOINTS, write_coco
from trainables.data.layouts.jpeg import write_jpeg
from trainables.data.skeleton import BODY16, HAND21

LIMBS = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]
SIZE = 160


@pytest.fixture
def root(tmp_path):
    write_coco(tmp_path, *rendered("people_wild"))
    return tmp_path


def labels(root):
    return root / "annotations" / "person_keypoints_rendered.json"


def change(root, function):
    content = json.loads(labels(root).read_text())
    function(content)
    labels(root).write_text(json.dumps(content))


def write_file(root, name, annotations, names=PERSON_JOINTS, images=1, place="images", **more):
    """A file as another tool writes it, and black images of 100 x 80 pixels."""
    for number in range(images):
        write_jpeg(root / place / f"{number}.jpg", np.zeros((80, 100, 3), np.uint8))
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(images)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(names)}],
        **more,
    }
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(json.dumps(content))
    return root


def figure(number=1, flags=2, names=PERSON_JOINTS, **more):
    """An annotation whose joint j is at (10 + j, 20 + 2 j)."""
    triples = [[10 + j, 20 + 2 * j, flags] for j in range(len(names))]
    return {
        "id": number, "image_id": 0, "category_id": 1, "keypoints": sum(triples, []),
        "bbox": [9.5, 19.5, 40, 50], **more,
    }  # fmt: skip


def test_people_that_are_written_are_read_back(root):
    images, keypoints, visible = rendered("people_wild")
    ids, found, points, seen, notes = read(COCO, root)
    assert ids == tuple(f"coco/person_keypoints_rendered/{row}#{row + 1}" for row in range(5))
    assert np.abs(found.astype(int) - images).mean() < 6  # JPEG
    np.testing.assert_array_equal(seen[:, LIMBS], visible[:, LIMBS])
    assert not seen[:, [6, 7, 8, 9]].any()
    np.testing.assert_allclose(points[seen], keypoints[seen], atol=1e-3)
    assert notes == ()


def test_hands_that_are_written_are_read_back(tmp_path):
    images, keypoints, visible = rendered("hands_wild")
    write_coco(tmp_path, images, keypoints, visible)
    _, found, points, seen, _ = read(COCO_HAND, tmp_path)
    assert np.abs(found.astype(int) - images).mean() < 6
    np.testing.assert_array_equal(seen, visible)
    np.testing.assert_allclose(points[seen], keypoints[seen], atol=1e-3)


def test_the_seventeen_joints_are_mapped_by_name(tmp_path):
    _, _, points, seen, _ = read(COCO, write_file(tmp_path, "a.json", [figure()]), size=100)
    assert np.flatnonzero(~seen[0]).tolist() == [6, 7, 8, 9]
    # COCO's joints behind ours; ten rows of padding above.
    order = [16, 14, 12, 11, 13, 15, 10, 8, 6, 5, 7, 9]
    assert points[0, LIMBS].tolist() == [[10 + j, 20 + 2 * j + 10] for j in order]


def test_joints_of_ours_that_a_file_has_are_used(tmp_path):
    names = ("pelvis", "thorax", "neck", "head_top", *PERSON_JOINTS)
    write_file(tmp_path, "a.json", [figure(names=names)], names)
    _, _, points, seen, _ = read(COCO, tmp_path, size=100)
    assert seen.all()
    assert points[0, [6, 7, 8, 9], 0].tolist() == [10, 11, 12, 13]


def test_hands_in_the_names_of_mmpose_are_read(tmp_path):
    fingers = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
    names = ("wrist", *(f"{finger}{i}" for finger in fingers for i in range(1, 5)))
    write_file(tmp_path, "a.json", [figure(names=names)], names)
    _, _, points, seen, _ = read(COCO_HAND, tmp_path, size=100)
    assert seen.all()
    assert points[0, :, 0].tolist() == [10.0 + joint for joint in range(21)]


def test_boxes_are_edges_and_make_the_crop(tmp_path):
    write_file(tmp_path, "a.json", [figure(bbox=[9.5, 19.5, 40.0, 50.0])])
    _, _, points, _, notes = read(COCO, tmp_path, size=75, crop="person")
    assert notes == ("cropped around the boxes of the data set",)
    # 1.5 * 50 = 75 pixels: no scaling. The box's centre (29.5, 44.5) would put its left edge at
    # -8 and its top at 7; it is moved to 0, and by 80 - 75 = 5 rows at most.
    assert points[0, 0].tolist() == [16 + 10, 16 * 2 + 20 - 5]


def test_a_file_of_another_tool_is_read_and_what_is_left_out_is_counted(tmp_path):
    zero = [0] * 51
    annotations = [
        figure(10, segmentation=[[1.5, 2, 3, 4, 5, 6]], num_keypoints=17, area=3.25),
        figure(11, iscrowd=1, segmentation={"counts": [3, 4], "size": [80, 100]}),
        figure(12, keypoints=zero, num_keypoints=0),
        {"id": 13, "image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4]},
        {"id": 14, "image_id": 0, "category_id": 3, "bbox": [1, 2, 3, 4], "segmentation": []},
        figure(15, category_id=2),
        figure(16, image_id=1, bbox=[0.25, 0.5, 33.3, 44.4]),
        figure(17, keypoints=[5, 5, 2, *zero[3:]]),  # nothing but a nose
    ]
    categories = [
        {"id": 1, "name": "person", "keypoints": list(PERSON_JOINTS), "skeleton": [[1, 2]]},
        {"id": 2, "name": "dog", "keypoints": ["tail", "left_ear", "left_elbow"]},
        {"id": 3, "name": "car", "supercategory": "vehicle"},
    ]
    write_file(tmp_path, "annotations/export.json", annotations, images=2, categories=categories)
    ids, _, _, seen, notes = read(COCO, tmp_path)
    assert ids == ("coco/export/0#10", "coco/export/1#16")
    assert (seen.sum(1) == 12).all()
    assert sorted(notes) == [
        "1 left out: crowds, whose keypoints belong to nobody",
        "2 left out: annotations of other categories",
        "3 left out: figures without labelled keypoints",
    ]


@pytest.mark.parametrize("hidden_visible", [False, True])
def test_flags(hidden_visible, tmp_path):
    annotation = figure()
    annotation["keypoints"][3 * 9 + 2] = 1  # the left wrist is hidden
    annotation["keypoints"][3 * 7 + 2] = 0  # the left elbow is not labelled
    options = CocoOptions(hidden_visible=hidden_visible)
    seen = read(COCO, write_file(tmp_path, "a.json", [annotation]), options=options)[3]
    assert seen[0, BODY16.joint_names.index("left_wrist")] == hidden_visible
    assert not seen[0, BODY16.joint_names.index("left_elbow")]
    assert seen[0, BODY16.joint_names.index("left_shoulder")]


def test_a_file_with_flag_one_alone_is_refused_with_advice(tmp_path):
    names = HAND21.joint_names
    write_file(tmp_path, "a.json", [figure(names=names, flags=1)], names)
    assert refusal(COCO_HAND, tmp_path).startswith(
        f"{tmp_path}: all labelled joints are flagged 1, labelled but hidden, as some tools flag "
        "every joint; data.coco_hand.hidden_visible: true counts them as visible"
    )
    assert read(COCO_HAND, tmp_path, options=CocoHandOptions(hidden_visible=True))[3].all()


def test_other_names_of_joints_are_an_option(tmp_path):
    names = [
        name.replace("left_elbow", "l elb").replace("nose", "crown") for name in PERSON_JOINTS
    ]
    write_file(tmp_path, "a.json", [figure(names=names)], names)
    options = CocoOptions(joints="left_elbow = l elb, head=crown")
    assert options.file_names == {"left_elbow": "l elb", "head": "crown"}
    _, _, points, seen, _ = read(COCO, tmp_path, size=100, options=options)
    assert np.flatnonzero(~seen[0]).tolist() == [6, 7, 8]
    assert points[0, [14, 9], 0].tolist() == [17, 10]
    assert not read(COCO, tmp_path)[3][0, [14, 9]].any()


def test_unknown_names_in_the_option_are_told(root):
    assert refusal(COCO, root, options=CocoOptions(joints="elbow=a, wrist=b")) == (
        "data.coco.joints must name joints of body16 "
        f"({', '.join(BODY16.joint_names)}), got elbow, wrist"
    )
    assert refusal(COCO, root, options=CocoOptions(joints="head=crown")) == (
        f"{root}: data.coco.joints must give names of the files' joints "
        f"({', '.join(sorted(PERSON_JOINTS))}), got crown"
    )


@pytest.mark.parametrize("place", ["", "images", "val2017"])
def test_images_are_looked_up_in_three_places(place, tmp_path):
    name = "annotations/person_keypoints_val2017.json"
    write_file(tmp_path, name, [figure()], place=place)
    assert len(read(COCO, tmp_path)[0]) == 1


def test_of_the_publishers_files_only_those_with_keypoints_are_read(tmp_path):
    for split in ("train2017", "val2017"):
        name = f"annotations/person_keypoints_{split}.json"
        write_file(tmp_path, name, [figure(7)], place=split)
    (tmp_path / "annotations" / "captions_val2017.json").write_text("not read")
    assert read(COCO, tmp_path)[0] == (
        "coco/person_keypoints_train2017/0#7",
        "coco/person_keypoints_val2017/0#7",
    )


def test_people_and_hands_in_one_folder_are_kept_apart(tmp_path):
    write_file(tmp_path, "people.json", [figure(1)])
    write_file(tmp_path, "hands.json", [figure(2, names=HAND21.joint_names)], HAND21.joint_names)
    for domain, name in ((COCO, "people/0#1"), (COCO_HAND, "hands/0#2")):
        ids, *_, notes = read(domain, tmp_path)
        assert ids == (f"coco/{name}",)
        assert notes == ("1 left out: annotations of other categories",)


def test_a_smaller_number_is_a_part_of_all(root):
    some = read(COCO, root, num=2)[0]
    assert len(some) == 2
    assert set(some) < set(read(COCO, root)[0])


def test_figures_without_boxes_are_cropped_around_their_joints(root):
    change(root, lambda content: [a.pop("bbox") for a in content["annotations"]])
    notes = read(COCO, root, crop="person")[-1]
    assert notes == ("cropped around the labelled joints, a weak use of target labels",)


def test_all_wrong_annotations_are_told_together(root):
    def damage(content):
        first, second, third, fourth, fifth = content["annotations"]
        first["keypoints"].pop()
        second["keypoints"][2::3] = [3] * 17
        third["image_id"] = 99
        fourth["bbox"] = [1, 2, 0, 4]
        fifth["bbox"] = [1, 2, 3]
        content["annotations"].append({**fifth, "id": 6, "keypoints": "none"})
        content["annotations"].append({**fifth, "id": 7, "image_id": [0]})

    change(root, damage)
    assert refusal(COCO, root).splitlines()[:8] == [
        f"{labels(root)}: 7 of 7 annotations are wrong; each must have an image, x, y and flag 0, "
        "1 or 2 of every joint of its category, and a box with positive width and height if it "
        "has one",
        "    annotation 1: keypoints must be 51 finite numbers, got 50",
        "    annotation 2: a joint is flagged 3",
        "    annotation 3: no image has the id 99 and a file_name",
        "    annotation 4: bbox is 0 wide and 4 high",
        "    annotation 5: bbox must be 4 finite numbers, got 3",
        "    annotation 6: keypoints must be 51 finite numbers, got 'none'",
        "    annotation 7: no image has the id [0] and a file_name",
    ]


def test_repeated_ids_and_boxes_of_some_are_told(root):
    def damage(content):
        content["annotations"][1] |= {"id": 1, "image_id": 0}
        del content["annotations"][3]["bbox"]

    change(root, damage)
    lines = refusal(COCO, root).splitlines()
    stem = "coco/person_keypoints_rendered"
    assert lines[:4] == [
        f"{root}: 1 ids of annotations occur several times in a file",
        f"    {stem}/0#1",
        f"{root}: 1 of 5 figures have no bbox; either all or none must have one",
        f"    {stem}/3#4",
    ]


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
@pytest.mark.parametrize("content", [None, {}, [1]])
def test_files_of_another_format_are_named(key, content, root):
    change(root, lambda parts: parts.pop(key) if content is None else parts.update({key: content}))
    assert refusal(COCO, root) == f"{labels(root)} is no COCO file: {key} must be a list of dicts"


def test_a_file_of_another_figure_is_told(root):
    assert refusal(COCO_HAND, root) == (
        f"{root}: no category of person_keypoints_rendered.json names 8 joints of hand21 in its "
        "keypoints; if it has other names for them, data.coco_hand.joints must tell them"
    )


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_truncated_file_is_named(share, root):
    text = labels(root).read_text()
    labels(root).write_text(text[: int(share * len(text))])
    found = refusal(COCO, root)
    assert found.startswith(f"{labels(root)} is damaged or cut short: ")
    assert "\n" not in found


def test_missing_files_are_named(root, tmp_path):
    labels(root).unlink()
    assert refusal(COCO, root) == (
        f"{root} has no JSON file, neither at its top nor in annotations/"
    )
    assert refusal(COCO, tmp_path / "x") == f"{tmp_path / 'x'} is not a folder"


def test_images_without_content_and_missing_ones_are_named(root):
    name = empty_image(root, "*.jpg")
    (root / "rendered" / f"{3:012d}.jpg").unlink()
    lines = refusal(COCO, root).splitlines()
    assert f"    {name}: 0 bytes" in lines
    assert f"    {3:012d}.jpg" in lines
    assert any(line.startswith(f"{root / 'rendered'}: 1 of 5 labelled images") for line in lines)
