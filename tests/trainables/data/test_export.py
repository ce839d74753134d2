"""Rendered samples in published layouts: what is written is read back."""

import numpy as np
import pytest
from PIL import Image

from tests.body_data_sets import DOMAINS, SIDE, read_all, write_people
from trainables.data.domain import ImageRequest
from trainables.data.export import LAYOUTS, main
from trainables.data.rendered import render_domain

LEEDS_LACKS = [6, 7]


def in_written_order(ids, name):
    """Rows of what was read, in the order in which it was written."""
    last = [sample.split("/")[-1] for sample in ids]
    if name == "mpii":
        return np.argsort([sample.split("/")[1] for sample in ids])
    if name == "human36m":
        last = [part[-10:] for part in last]
    return np.argsort(last)


@pytest.mark.parametrize("name", DOMAINS)
def test_people_are_read_back_as_they_were_rendered(name, tmp_path):
    images, keypoints, visible = write_people(name, tmp_path / "d", num=20)
    ids, read_images, read_keypoints, read_visible, _ = read_all(name, tmp_path / "d")
    rows = in_written_order(ids, name)
    if name in ("lsp", "lspet"):
        visible[:, LEEDS_LACKS] = False
    np.testing.assert_array_equal(read_visible[rows], visible)
    error = np.abs(read_keypoints[rows] - keypoints)[visible]
    assert error.max() < 1e-3
    assert np.abs(read_images[rows].astype(int) - images).mean() < 6  # JPEG


@pytest.mark.parametrize("name", DOMAINS)
def test_keypoints_follow_the_image_to_another_size(name, tmp_path):
    _, keypoints, visible = write_people(name, tmp_path / "d")
    ids, images, read_keypoints, read_visible, _ = read_all(name, tmp_path / "d", size=32)
    rows = in_written_order(ids, name)
    assert images.shape[1:] == (32, 32, 3)
    seen = visible & read_visible[rows]
    halved = (keypoints + 0.5) / 2 - 0.5
    assert np.abs(read_keypoints[rows] - halved)[seen].max() < 1e-3
    assert seen.sum() > 100


@pytest.mark.parametrize("name", DOMAINS)
def test_a_written_data_set_passes_the_check_before_a_study(name, tmp_path):
    write_people(name, tmp_path / "d", num=30)
    request = ImageRequest("target", 10**6, SIDE, tmp_path / "d")
    counts = DOMAINS[name].check(request)
    assert sum(counts.values()) > 20
    assert min(counts.values()) > 0


def test_the_command_writes_the_samples_that_the_seed_draws(tmp_path):
    out = tmp_path / "new" / "d"
    wanted = ["--layout", "surreal", "--num", "9", "--size", "64", "--seed", "3"]
    assert main([*wanted, "--domain", "people_wild", "--out", str(out)]) == 0
    (chunk,) = render_domain("people_wild", 9, 64, 3)
    ids, _, keypoints, visible, _ = read_all("surreal", out)
    assert sorted(ids)[0] == "surreal/test/run0/000006.jpg"
    rows = in_written_order(ids, "surreal")
    np.testing.assert_array_equal(visible[rows], chunk.visible)
    np.testing.assert_allclose(
        keypoints[rows][chunk.visible], chunk.keypoints_px[chunk.visible], atol=1e-3
    )


@pytest.mark.parametrize("layout", ["coco", "human36m", "lsp", "lspet", "surreal", "h3d"])
def test_the_default_domain_and_size_fit_the_layout(layout, tmp_path):
    assert main(["--layout", layout, "--num", "2", "--out", str(tmp_path)]) == 0
    files = sorted(tmp_path.rglob("*.jpg"))
    assert len(files) == 2
    with Image.open(files[0]) as image:
        assert image.size == (128, 128)


def test_a_domain_with_another_figure_is_refused(tmp_path, capsys):
    wanted = ["--layout", "lsp", "--num", "2", "--domain", "hands_wild", "--out", str(tmp_path)]
    assert main(wanted) == 2
    assert capsys.readouterr().err == (
        "error: --domain must be one of people_clean, people_wild, people_wild_hard for lsp, "
        "got hands_wild\n"
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_with_files_is_left_alone(layout, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["--layout", layout, "--num", "2", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path} is not empty\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_in_place_of_the_folder_is_named(tmp_path, capsys):
    (tmp_path / "d").write_text("mine")
    assert main(["--layout", "lsp", "--num", "2", "--out", str(tmp_path / "d")]) == 2
    assert f"{tmp_path / 'd'}" in capsys.readouterr().err


@pytest.mark.parametrize("num", ["0", "-1", "x"])
def test_a_number_of_samples_below_one_is_refused(num, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--layout", "lsp", "--num", num, "--out", str(tmp_path)])
    assert "--num" in capsys.readouterr().err
