"""The command line up to the point where Ray would start; whole runs are in integration."""

import errno
import json
import os
import subprocess
import time

import numpy as np
import pytest
import scipy.io

from harness.run import main
from tests.conftest import ROOT
from trainables.data.layouts.leeds import write_leeds
from trainables.data.render.rendered import render_domain

SMOKE = str(ROOT / "search_spaces" / "smoke.yaml")


def _fails(capsys, *arguments):
    started = time.monotonic()
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in captured.err
    return lines[0], time.monotonic() - started


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("fixed.adapt.epochz=3", ["adapt.epochz", "adapt.epochs"]),
        ("fixed.adapt.epochs=three", ["adapt.epochs", "a whole number", "three"]),
        ("parameters.vae.kl_weight={min: 1, max: 0.1}", ["vae.kl_weight", "min"]),
        ("parameters.sampling.strategy={values: []}", ["sampling.strategy"]),
        ("fixed.seed=-1", ["seed", "-1"]),
        ("budget.run_cap=0", ["run_cap", "0"]),
        ("budget.run_cap=1", ["baselines"]),
        ("nonsense", ["--set nonsense"]),
    ],
)
def test_a_bad_setting_is_one_sentence_and_exit_code_2(capsys, setting, words, tmp_path):
    sentence, _ = _fails(capsys, SMOKE, "--set", setting, "--storage", str(tmp_path / "s"))
    for word in words:
        assert word in sentence
    assert not (tmp_path / "s").exists(), "bad input must leave nothing behind"


def test_an_empty_storage_is_not_the_current_folder(capsys):
    with pytest.raises(SystemExit) as ended:
        main([SMOKE, "--storage", ""])
    assert ended.value.code == 2
    assert "--storage: must name a folder, got an empty text" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["nothing", "", "127.0.0.1:1"])
def test_an_address_that_cannot_work_leaves_no_study(capsys, tmp_path, address):
    assert main([SMOKE, "--storage", str(tmp_path / "s"), "--address", address]) == 2
    assert f"error: --address {address}: " in capsys.readouterr().err
    assert not list((tmp_path / "s").glob("*"))


def test_a_subset_larger_than_the_bin_count_is_refused_with_its_place(capsys, write_study):
    study = write_study(
        "name: s\ntrainable: adaptation\nmetric: {name: target_val/pck_05, goal: maximize}\n"
        "parameters:\n  bins.count: {values: [3, 6]}\n"
        "  bins.subset: {choose: {from: bins.count, min: 1, max: 5}}\n"
        "fixed: {sampling.strategy: bins}\nbudget: {run_cap: 3}\n"
    )
    sentence, seconds = _fails(capsys, str(study))
    assert f"{study}:6:" in sentence
    assert "5" in sentence
    assert "3" in sentence
    assert seconds < 1


def test_a_missing_file_and_a_folder_are_refused(capsys, tmp_path):
    assert "nowhere.yaml" in _fails(capsys, str(tmp_path / "nowhere.yaml"))[0]
    assert str(tmp_path) in _fails(capsys, str(tmp_path))[0]


def _leeds_arguments(root):
    return [
        SMOKE, "--set", "fixed.data.target=lspet", "--set", f"fixed.data.target_root={root}",
        "--dry-run",
    ]  # fmt: skip


def test_a_missing_data_folder_is_named_before_anything_starts(capsys, tmp_path):
    sentence, _ = _fails(capsys, *_leeds_arguments(tmp_path / "gone"))
    assert str(tmp_path / "gone") in sentence


def test_a_truncated_joints_mat_is_named_before_anything_starts(capsys, tmp_path):
    root = tmp_path / "lspet"
    images = np.zeros((3, 8, 8, 3), np.uint8)
    write_leeds("lspet", root, images, np.ones((3, 16, 2), np.float32), np.ones((3, 16), bool))
    path = root / "joints.mat"
    path.write_bytes(path.read_bytes()[:200])
    sentence, _ = _fails(capsys, *_leeds_arguments(root))
    assert "joints.mat" in sentence


@pytest.mark.parametrize("mode", [[], ["--dry-run"]])
def test_labels_and_images_are_checked_before_anything_starts(mode, capsys, tmp_path):
    chunk = next(render_domain("people_wild", 60, 32, 0))
    root = tmp_path / "lspet"
    write_leeds("lspet", root, chunk.images, chunk.keypoints_px, chunk.visible)
    joints = scipy.io.loadmat(root / "joints.mat")["joints"]
    joints[3:] = np.array([-1, -1, 0])[:, None]
    scipy.io.savemat(root / "joints.mat", {"joints": joints})
    images = root / "images"
    (images / "im00007.jpg").write_bytes(b"not a picture")
    (images / "im00008.jpg").rename(images / "im00008.png")
    storage = tmp_path / "runs"
    arguments = [argument for argument in _leeds_arguments(root) if argument != "--dry-run"]
    assert main([*arguments, "--storage", str(storage), *mode]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: fixed.data.target_root: {images}: 1 of 60 labelled images are missing; they must "
        "be named im00001.jpg to im00060.jpg",
        "    im00008.jpg, but there is im00008.png",
        f"fixed.data.target_root: {images}: 1 of 60 images cannot be used; each must be a whole "
        "JPEG or PNG image of at most 100 megapixels",
        "    im00007.jpg: neither JPEG nor PNG, begins with b'not a picture'",
        f"fixed.data.target_root: {root / 'joints.mat'}: 3 joints (right ankle, right knee, "
        "right hip) are visible in any of the 60 images; a pose needs 8 joints that are flagged "
        "visible and lie inside the image",
    ]
    assert not storage.exists()


def test_a_storage_that_cannot_be_written_is_refused(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    sentence, _ = _fails(capsys, SMOKE, "--storage", str(tmp_path / "file"))
    assert "--storage" in sentence


def test_a_dry_run_shows_the_space_and_starts_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([SMOKE, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "search vae.kl_weight" in out
    assert "baseline vae_hm" in out
    draws = [line.split(": ", 1)[1] for line in out.splitlines() if line.startswith("  draw")]
    assert all("vae.kl_weight" in json.loads(draw) for draw in draws)
    assert len(draws) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("field", ["net.weights", "style.encoder"])
@pytest.mark.parametrize("content", [None, b"", b"not weights"])
def test_a_file_of_weights_is_read_before_anything_starts(field, content, tmp_path, capsys):
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    arguments = [SMOKE, "--dry-run", "--set", f"fixed.{field}={path}"]
    assert main([*arguments, "--set", "fixed.net.width=64"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: fixed.{field}: {path} is not a ")
    assert error.count("\n") == 1


def test_a_file_of_weights_of_a_baseline_is_read_too(tmp_path, capsys):
    arguments = [SMOKE, "--dry-run", "--set", f"baselines.vae_hm={{style.encoder: {tmp_path}/no}}"]
    assert main(arguments) == 2
    assert (
        f"baselines.vae_hm.style.encoder: {tmp_path}/no is not a file" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("resources.cpus=4096", "resources.cpus must be at most the"),
        ("resources.gpus=8", "resources.gpus must be at most the"),
    ],
)
def test_what_the_machine_cannot_hold_is_refused_before_the_study_has_a_name(
    setting, words, tmp_path, capsys
):
    storage = tmp_path / "runs"
    assert main([SMOKE, "--storage", str(storage), "--set", setting]) == 2
    assert words in capsys.readouterr().err
    assert not storage.exists()


def test_a_damaged_ledger_is_one_sentence_with_its_line(capsys, tmp_path):
    ledger = tmp_path / "studies" / "smoke" / "events.jsonl"
    ledger.parent.mkdir(parents=True)
    ledger.write_text('{"event": "study"\n{}\n')
    assert main([SMOKE, "--storage", str(tmp_path)]) == 2
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 1
    assert f"{ledger}:1: damaged event" in shown[0]
    assert shown[0].endswith("start another study")
    assert ledger.exists()


@pytest.mark.parametrize("number", [errno.EIO, errno.EAGAIN, errno.EMFILE])
def test_what_the_machine_does_not_give_is_one_sentence_and_exit_code_4(
    capsys, tmp_path, monkeypatch, number
):
    """A read error of the disk, no more processes, no more open files."""

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(subprocess, "Popen", refuse)  # of the process that writes to MLflow
    assert main([SMOKE, "--storage", str(tmp_path)]) == 4
    shown = capsys.readouterr().err.splitlines()
    assert shown == [f"error: {os.strerror(number)}"]
