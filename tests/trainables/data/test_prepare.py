"""From a data set to a prepared store, its contact sheet, and a trial that uses it."""

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from trainables.config import TrialConfig, absolute_paths
from trainables.data import prepare, view
from trainables.data.domain import ImageRequest, image_request
from trainables.data.export import export
from trainables.data.image_store import open_image_store
from trainables.data.layouts.leeds import write_leeds
from trainables.data.prepared import prepared_counts, prepared_store
from trainables.data.render.rendered import render_domain
from trainables.stages.data_stages import image_stage

NUM = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A sound LSPET folder of rendered people."""
    folder = tmp_path_factory.mktemp("data") / "lspet"
    chunk = next(render_domain("people_wild", NUM, 48, 0))
    write_leeds("lspet", folder, chunk.images, chunk.keypoints_px, chunk.visible)
    return folder


@pytest.fixture(scope="module")
def store(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("stores") / "lspet_32"
    arguments = ["lspet", "--root", str(root), "--out", str(out), "--size", "32"]
    assert prepare.main(arguments) == 0
    return out


def trial(store, **fields):
    return TrialConfig.from_flat({
        "data.target": "lspet", "data.target_root": str(store), "data.image_size": 32,
        "data.heatmap_size": 16, "data.num_target": NUM, **fields,
    })  # fmt: skip


def test_the_command_says_what_it_made(root, tmp_path, capsys):
    out = tmp_path / "store"
    assert prepare.main(["lspet", "--root", str(root), "--out", str(out), "--size", "32"]) == 0
    shown = capsys.readouterr()
    digest = open_image_store(out).digest
    assert shown.out == f"{out}: 60 samples (37 train, 11 val, 12 test), digest {digest}\n"
    assert "60 poses can be used: 37 for train, 11 for val, 12 for test" in shown.err
    assert prepare.main(["lspet", "--root", str(root), "--out", str(out)]) == 2
    assert "holds a finished store" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["lspets"], "lspets is no data set; there are people_clean, "),
        (["lspet", "--root", "/nowhere"], "/nowhere is not a folder"),
        (["lspet"], "--root must name the folder or the archive of lspet"),
        (["people_clean"], "--num must say how many images people_clean draws"),
        (["people_clean", "--num", "2000000"], "data.num_target must be from 50 to 1000000, got "),
        (["lspet", "--root", ".", "--num", "-5"], "data.num_target must be from 50 to 1000000, "),
        (["lspet", "--root", ".", "--size", "33"], "data.image_size must be a multiple of 32 "),
        (["lspet", "--root", ".", "--scale", "0"], "data.crop_scale must be from 1 to 4, got 0"),
        (
            ["people_sport", "--num", "60", "--option", "target_backgrounds=true"],
            "data.people_sport.target_backgrounds must be false: a store is made before its "
            "target is known",
        ),
        (["lspet", "--root", ".", "--threads", "0"], "--threads must be at least 1, got 0"),
        (
            ["lspet", "--root", ".", "--option", "split=x"],
            "a field of lspet (which has none), got split=x",
        ),
    ],
)
def test_what_cannot_be_prepared_is_one_sentence_and_leaves_nothing(
    arguments, sentence, tmp_path, capsys
):
    assert prepare.main([*arguments, "--out", str(tmp_path / "store")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_person_is_cropped_around_its_joints_and_the_store_says_so(root, tmp_path):
    out = tmp_path / "store"
    assert prepare.main(
        ["lspet", "--root", str(root), "--out", str(out), "--size", "32", "--crop", "person",
         "--scale", "1.25"]
    ) == 0  # fmt: skip
    store = open_image_store(out)
    assert store.notes == ("cropped around the labelled joints, a weak use of target labels",)
    points = np.where(store.visible[..., None], store.keypoints_px, np.nan)
    sides = (np.nanmax(points, 1) - np.nanmin(points, 1)).max(1)
    assert np.median(sides) == pytest.approx(32 / 1.25, abs=1.5)


def test_a_trial_uses_a_prepared_store_where_it_lies(store, tmp_path):
    class NoCache:
        def get(self, stage, inputs, compute):
            raise AssertionError("a prepared store is not computed again")

    found, entry = image_stage(NoCache(), trial(store), "target", 1)
    assert entry.path == store
    assert found.digest == open_image_store(store).digest
    assert sum(prepared_counts(found).values()) == 60
    few, other = image_stage(NoCache(), trial(store, **{"data.num_target": 50}), "target", 1)
    assert other.key != entry.key
    kept = np.concatenate(list(few.splits.values()))
    assert len(kept) == len(set(kept)) == 50
    assert kept.max() >= 50, "from all over the store, not the first ones"
    for name, rows in few.splits.items():
        assert set(rows) <= set(found.splits[name])


def test_a_store_that_was_prepared_for_something_else_is_refused(store):
    for changes, words in (
        ({"data.image_size": 64, "data.heatmap_size": 16}, "image_size is 32, the study wants 64"),
        ({"data.target_crop": "person"}, "crop is image, the study wants person"),
        ({"data.target": "lsp"}, "domain is lspet, the study wants lsp"),
    ):
        asked = trial(store, **changes)
        with pytest.raises(ValueError, match=words):
            prepared_store(asked.data.target, image_request(asked, "target", 1))
    with pytest.raises(ValueError, match="role is target, the study wants source"):
        prepared_store("lspet", ImageRequest("source", 60, 32, store))


def test_a_store_of_another_reading_is_refused(tmp_path):
    export("surreal", tmp_path / "data", 60, "people_clean", 40)
    out = tmp_path / "store"
    arguments = ["surreal", "--root", str(tmp_path / "data"), "--out", str(out), "--size", "32"]
    assert prepare.main([*arguments, "--role", "source"]) == 0
    for joints, is_right in (("surreal_shipped", True), ("smpl_native", False)):
        asked = trial(
            "unused",
            **{"data.source": "surreal", "data.source_root": str(out), "data.num_source": 60,
               "data.surreal.joints": joints},
        )  # fmt: skip
        request = image_request(asked, "source", 1)
        if is_right:
            assert prepared_store("surreal", request) is not None
        else:
            with pytest.raises(ValueError, match="options is .*shipped.*wants .*smpl_native"):
                prepared_store("surreal", request)


def test_a_store_with_the_publishers_split_is_made_of_an_archive(tmp_path):
    chunk = next(render_domain("people_wild", 20, 32, 0))
    write_leeds("lsp", tmp_path / "data", chunk.images, chunk.keypoints_px, chunk.visible)
    shutil.make_archive(str(tmp_path / "lsp"), "zip", tmp_path / "data")
    out = tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainables.data.leeds._NUM_TRAIN", 14)
        assert prepare.main(
            ["lsp", "--root", str(tmp_path / "lsp.zip"), "--out", str(out), "--size", "32",
             "--option", "split=reference"]
        ) == 0  # fmt: skip
    store = open_image_store(out)
    assert store.splits["test"].tolist() == list(range(14, 20))
    fields = {"data.target": "lsp", "data.lsp.split": "reference"}
    request = image_request(trial(out, **fields), "target", 1)
    assert prepared_store("lsp", request) is not None
    fields["data.lsp.split"] = "hashed"
    with pytest.raises(ValueError, match="options is .*reference.* wants .*hashed"):
        prepared_store("lsp", image_request(trial(out, **fields), "target", 1))


def test_a_finished_store_that_has_changed_is_found(root, tmp_path, capsys):
    out = tmp_path / "store"
    arguments = ["lspet", "--root", str(root), "--out", str(out), "--size", "32"]
    assert prepare.main(arguments) == 0
    images = np.load(out / "images.npy", mmap_mode="r+")
    images[7, 0, 0, 0] += 1
    images.flush()
    assert prepare.main(arguments) == 2
    assert "samples 0 to 59 have changed" in capsys.readouterr().err


def test_a_killed_preparation_continues(root, tmp_path):
    out = tmp_path / "store"
    command = [
        sys.executable, "-m", "trainables.data.prepare", "lspet", "--root", str(root), "--out",
        str(out), "--size", "32",
    ]  # fmt: skip
    kill = (
        "import os, sys; from trainables.data import prepare, photograph_domain as p; "
        "p.CHUNK = 20; load = p._load; "
        "p._load = lambda s, rows, *a: os._exit(9) if rows[0] == 40 else load(s, rows, *a); "
        f"prepare.main({command[3:]})"
    )
    assert subprocess.run([sys.executable, "-c", kill], check=False).returncode == 9
    assert (out / "journal.jsonl").is_file()
    subprocess.run(command, check=True, capture_output=True)
    store = open_image_store(out)
    assert store.ids == tuple(f"lspet/im{row:05d}" for row in range(1, 61))
    assert not (out / "journal.jsonl").exists()


def test_a_contact_sheet_shows_every_split(store, tmp_path, capsys):
    picture = tmp_path / "sheet.png"
    arguments = [str(store), "--out", str(picture), "--columns", "4", "--rows", "1"]
    assert view.main([*arguments, "--zoom", "64"]) == 0
    assert cv2.imread(str(picture)).shape == (3 * (64 + 16), 4 * 64, 3)
    assert view.main([str(tmp_path), "--out", str(picture)]) == 2
    assert "is not a readable image store" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["columns", "rows", "zoom"])
def test_a_contact_sheet_of_nothing_is_refused(store, name, tmp_path, capsys):
    assert view.main([str(store), "--out", str(tmp_path / "sheet.png"), f"--{name}", "0"]) == 2
    assert capsys.readouterr().err == f"error: {name} must be at least 1, got 0\n"


def test_left_limbs_are_red_and_right_ones_blue(store):
    opened = open_image_store(store)
    blank = open_image_store(store).images[:] * 0
    sheet = view.contact_sheet(
        opened.__class__(**{**vars(opened), "images": blank}), columns=1, rows=1, zoom_px=128
    )
    row = opened.splits["train"][0]
    for name, is_red in (("left_knee", True), ("right_knee", False)):
        joint = opened.skeleton.joint_names.index(name)
        if opened.visible[row, joint]:
            x, y = np.rint((opened.keypoints_px[row, joint] + 0.5) * 4 - 0.5).astype(int)
            blue, _, red = sheet[16 + y, x].astype(int)
            assert bool(red > blue) is is_red


def test_a_study_finds_a_store_whose_option_was_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photographs").mkdir()
    cv2.imwrite("photographs/a.png", np.full((64, 64, 3), 90, np.uint8))
    words = ["people_sport", "--num", "50", "--size", "32", "--role", "source", "--out", "store"]
    assert prepare.main([*words, "--option", "backgrounds=photographs"]) == 0
    fields = {"data.source": "people_sport", "data.source_root": "store", "data.image_size": 32}
    fields |= {"data.heatmap_size": 16, "data.people_sport.backgrounds": "photographs"}
    trial = TrialConfig.from_flat(absolute_paths(fields))
    request = image_request(trial, "source", 1)
    assert prepared_store("people_sport", request).image_size == 32


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("hidden_visible=yes", "data.coco.hidden_visible must be true or false, got 'yes'"),
        ("bones=3", "--option must be FIELD=VALUE with a field of coco (joints, hidden_visible, "
         "skeleton), got bones=3"),
        ("joints", "skeleton), got joints"),
        ("skeleton=cat.yaml", "cat.yaml is neither a file nor a registered skeleton (body16, "),
        ("hidden_visible=true", "has no JSON file, neither at its top nor in annotations/"),
    ],
)  # fmt: skip
def test_options_of_the_data_set_are_checked(option, sentence, tmp_path, capsys):
    words = ["coco", "--root", str(tmp_path), "--out", str(tmp_path / "out"), "--option", option]
    assert prepare.main(words) == 2
    refused = capsys.readouterr().err
    assert sentence in refused
    assert refused.count("\n") == 1
