"""Leeds data sets: both layouts, refusal of the wrong one, damaged folders."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from tests.body_data_sets import write_people
from tests.photographs import load_padded
from trainables.config.data_options import LspOptions
from trainables.data.domain import ImageRequest
from trainables.data.image_store import open_image_store
from trainables.data.layouts.leeds import write_leeds
from trainables.data.leeds import LSP, scan_leeds
from trainables.data.photograph_domain import refuse
from trainables.data.problems import DatasetError
from trainables.data.splits import spread_rows
from trainables.data.store_writer import write_store

NUM = 6
BOTH = pytest.mark.parametrize("name", ["lsp", "lspet"])
FIRST_IMAGE = {"lsp": "im0001.jpg", "lspet": "im00001.jpg"}
LABELLED = [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15]

REAL = Path(__file__).parents[4] / "shared" / "data" / "lspet"
NEEDS_REAL = pytest.mark.skipif(
    not (REAL / "joints.mat").is_file(), reason="the LSPET data set is not beside the project"
)


def read(name, root, limit=None):
    scan = scan_leeds(name, root, limit)
    refuse(scan)
    return scan.labels


def samples(seed=0):
    rng = np.random.default_rng(seed)
    images = np.full((NUM, 40, 60, 3), 128, np.uint8)
    images[:, :20] = (200, 30, 60)
    keypoints = rng.uniform(0, 39, (NUM, 16, 2)).astype(np.float32)
    visible = rng.random((NUM, 16)) < 0.7
    visible[0] = True
    return images, keypoints, visible


def write(name, root):
    write_leeds(name, root, *samples())
    return root


def raw_joints(root):
    return scipy.io.loadmat(root / "joints.mat")["joints"]


@BOTH
def test_what_is_written_is_read_back(name, tmp_path):
    images, keypoints, visible = samples()
    root = write(name, tmp_path / "data")
    labels = read(name, root)
    np.testing.assert_array_equal(labels.visible[:, LABELLED], visible[:, LABELLED])
    seen = labels.visible
    np.testing.assert_allclose(labels.keypoints_px[seen], keypoints[seen], atol=1e-4)
    assert [path.name for path in labels.image_paths][:1] == [FIRST_IMAGE[name]]
    pixels, _ = load_padded(labels.image_paths, labels.keypoints_px, 60, 1)
    # JPEG is lossy; halves of plain colour survive, in RGB order, padded by 10 rows.
    np.testing.assert_allclose(pixels[:, 15, 30], images[:, 5, 30], atol=6)
    np.testing.assert_allclose(pixels[:, 45, 30], images[:, 35, 30], atol=6)


@BOTH
def test_pelvis_and_thorax_are_invisible(name, tmp_path):
    labels = read(name, write(name, tmp_path / "data"))
    assert not labels.visible[:, [6, 7]].any()
    assert labels.visible[0, LABELLED].all()


@pytest.mark.parametrize(
    ("name", "shape", "flag_of_visible"), [("lsp", (3, 14, NUM), 0), ("lspet", (14, 3, NUM), 1)]
)
def test_files_have_the_published_axes_and_flags(name, shape, flag_of_visible, tmp_path):
    _, keypoints, visible = samples()
    joints = raw_joints(write(name, tmp_path / "data"))
    assert joints.shape == shape
    # Leeds joint 6 is the right wrist, 13 the top of the head; pixels count from 1.
    flags = joints[2] if name == "lsp" else joints[:, 2]
    np.testing.assert_array_equal(flags[6] == flag_of_visible, visible[:, 10])
    x = joints[0] if name == "lsp" else joints[:, 0]
    np.testing.assert_allclose(x[13, 0], keypoints[0, 9, 0] + 1, atol=1e-4)


def test_hand_written_lsp_joints_are_mapped_to_the_body_order(tmp_path):
    write("lsp", tmp_path / "data")
    joints = np.zeros((3, 14, NUM))
    joints[0] = np.arange(14)[:, None] + 11.0  # x of Leeds joint j: 11 + j
    joints[1] = 21.0
    joints[2, 8] = 1.0  # the right shoulder is occluded
    scipy.io.savemat(tmp_path / "data" / "joints.mat", {"joints": joints})
    labels = read("lsp", tmp_path / "data")
    assert labels.keypoints_px[0, LABELLED].tolist() == [
        [10.0 + j, 20.0] for j in (0, 1, 2, 3, 4, 5, 12, 13, 6, 7, 8, 9, 10, 11)
    ]
    assert np.flatnonzero(~labels.visible[0]).tolist() == [6, 7, 12]


WIDTH, HEIGHT = 60, 40
"""Of the images written here. The file counts from 1, so 60 is the last pixel of a row."""


@BOTH
@pytest.mark.parametrize(
    ("x", "y", "is_inside"),
    [
        (0.5, 20, True),
        (0.49, 20, False),
        (-3, 20, False),
        (0, 0, False),  # LSPET's other mark of a joint without coordinates
        (30, 0.5, True),
        (30, 0.49, False),
        (60.49, 40.49, True),
        (60.5, 20, False),
        (WIDTH + 300, 20, False),
        (30, 40.5, False),
        (30, HEIGHT + 300, False),
        (1e300, 20, None),
    ],
)
def test_joints_outside_on_any_side_are_invisible(name, x, y, is_inside, tmp_path):
    root = write(name, tmp_path / "data")
    joints = raw_joints(root)
    right_ankle = joints[:, 0, 0] if name == "lsp" else joints[0, :, 0]
    right_ankle[:] = x, y, 0 if name == "lsp" else 1
    scipy.io.savemat(root / "joints.mat", {"joints": joints})
    if is_inside is None:  # not a number of float32
        with pytest.raises(DatasetError, match=r"im0+1\.jpg, right ankle: \(1e\+300, 20\)$"):
            read(name, root)
        return
    labels = read(name, root)
    assert labels.visible[0, 0] == is_inside
    assert labels.visible[0, 1]


@BOTH
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_unlabelled_joint_needs_no_coordinates(name, value, tmp_path):
    root = write(name, tmp_path / "data")
    before = read(name, root)
    joints = raw_joints(root)
    if name == "lsp":
        joints[:2, joints[2] == 1] = value
    else:
        joints[:, :2].swapaxes(1, 2)[joints[:, 2] == 0] = value
    scipy.io.savemat(root / "joints.mat", {"joints": joints})
    labels = read(name, root)
    np.testing.assert_array_equal(labels.visible, before.visible)
    assert np.isfinite(labels.keypoints_px).all()
    seen = labels.visible
    np.testing.assert_array_equal(labels.keypoints_px[seen], before.keypoints_px[seen])


@BOTH
def test_labelled_joints_without_coordinates_are_named(name, tmp_path):
    root = write(name, tmp_path / "data")
    joints = raw_joints(root)
    x_y = joints[:2] if name == "lsp" else joints.transpose(1, 0, 2)[:2]
    x_y[:, 4, 0] = np.nan, 12.5  # every joint of the first image is visible
    x_y[1, 13, 0] = np.inf
    scipy.io.savemat(root / "joints.mat", {"joints": joints})
    with pytest.raises(DatasetError) as caught:
        read(name, root)
    first, *cases = str(caught.value).splitlines()
    assert first.startswith(f"{root / 'joints.mat'}: 2 of 84 joints are flagged visible and have")
    assert cases == [
        f"    {FIRST_IMAGE[name]}, left knee: (nan, 12.5)",
        f"    {FIRST_IMAGE[name]}, head: ({x_y[0, 13, 0]:g}, inf)",
    ]


def test_everything_wrong_is_told_at_once_and_survives_pickling(tmp_path):
    root = write("lspet", tmp_path / "data")
    joints = raw_joints(root)
    joints[:, 2, 2] = 2
    scipy.io.savemat(root / "joints.mat", {"joints": joints})
    (root / "images" / "im00002.jpg").write_bytes(b"")
    (root / "images" / "im00003.jpg").unlink()
    with pytest.raises(DatasetError) as caught:
        read("lspet", root)
    text = str(caught.value)
    assert len(caught.value.problems) == 3
    for part in ("14 of 84 flags are neither 0 nor 1 but, for instance, 2", "im00003", "0 bytes"):
        assert part in text
    assert str(pickle.loads(pickle.dumps(caught.value))) == text


def test_the_publishers_halves_are_an_option(tmp_path, monkeypatch):
    monkeypatch.setattr("trainables.data.leeds._NUM_TRAIN", 6)
    write_people("lsp", tmp_path / "d", num=10)
    options = LspOptions(split="reference")
    assert scan_leeds("lsp", tmp_path / "d", 10, options).labels.published == (
        *["train"] * 6, *["test"] * 4
    )  # fmt: skip
    few = scan_leeds("lsp", tmp_path / "d", 5, options).labels.published
    assert len(few) == 5
    assert set(few) == {"train", "test"}, "from both halves"
    assert LSP.check(ImageRequest("source", 10, 32, tmp_path / "d", options)) == {
        "train": 6,
        "val": 4,
    }
    folder = tmp_path / "store"
    folder.mkdir()
    write_store(folder, "lsp", ImageRequest("target", 10, 32, tmp_path / "d", options))
    assert open_image_store(folder).splits["test"].tolist() == [6, 7, 8, 9]


def test_a_limit_reads_images_from_all_over_the_data_set(tmp_path):
    root = write("lspet", tmp_path / "data")
    few, everything = read("lspet", root, limit=2), read("lspet", root)
    assert len(everything.image_paths) == NUM
    rows = spread_rows(NUM, 2)
    assert few.image_paths == tuple(everything.image_paths[row] for row in rows)
    np.testing.assert_array_equal(few.keypoints_px, everything.keypoints_px[rows])
    np.testing.assert_array_equal(few.visible, everything.visible[rows])
    assert len(read("lspet", root, limit=100).image_paths) == NUM


@pytest.mark.parametrize(("name", "other"), [("lsp", "lspet"), ("lspet", "lsp")])
def test_the_other_layout_is_refused_by_name(name, other, tmp_path):
    root = write(other, tmp_path / "data")
    with pytest.raises(ValueError, match=rf"joints\.mat: joints of {name} .* layout of {other}$"):
        read(name, root)


def test_the_flag_of_lsp_in_the_layout_of_lspet_is_refused(tmp_path):
    root = write("lspet", tmp_path / "data")
    joints = raw_joints(root)
    joints[:, 2] = 1 - joints[:, 2]
    scipy.io.savemat(root / "joints.mat", {"joints": joints})
    with pytest.raises(ValueError, match=r"joints\.mat: .* lspet .* inverted$"):
        read("lspet", root)


@pytest.mark.parametrize(
    ("joints", "message"),
    [
        (np.zeros((14, 4, 3)), "must have shape 14 x 3 x N, got 14 x 4 x 3$"),
        (np.zeros((14, 3)), "three-dimensional"),
        (
            np.full((14, 3, 2), np.nan),
            "28 of 28 flags are neither 0 nor 1 .* nan$",
        ),
        (np.full((14, 3, 2), 1j), "real"),
        ("joints", "three-dimensional"),
        ({"x": 1.0}, "real"),
    ],
)
def test_joints_of_another_form_are_refused(joints, message, tmp_path):
    root = write("lspet", tmp_path / "data")
    scipy.io.savemat(root / "joints.mat", {"joints": joints})
    with pytest.raises(ValueError, match=message) as error:
        read("lspet", root)
    assert str(root / "joints.mat") in str(error.value)


def test_an_unknown_data_set_is_refused(tmp_path):
    write("lsp", tmp_path / "data")
    with pytest.raises(ValueError, match="name must be lsp or lspet, got 'mpii'"):
        read("mpii", tmp_path / "data")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        read("lsp", tmp_path / "nowhere")


def test_a_missing_joints_file_is_named(tmp_path):
    root = write("lsp", tmp_path / "data")
    (root / "joints.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"joints\.mat is missing"):
        read("lsp", root)


def test_a_file_without_joints_is_named(tmp_path):
    root = write("lsp", tmp_path / "data")
    scipy.io.savemat(root / "joints.mat", {"points": np.zeros(3)})
    with pytest.raises(ValueError, match=r"joints\.mat has no array named joints"):
        read("lsp", root)


@pytest.mark.parametrize("kept", [0, 1, 60, 128, 130, 300, 0.5, 0.9, 0.999])
def test_a_truncated_joints_file_is_named(kept, tmp_path):
    root = write("lspet", tmp_path / "data")
    path = root / "joints.mat"
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    with pytest.raises(ValueError, match=r"joints\.mat "):
        read("lspet", root)


def test_a_missing_image_is_named(tmp_path):
    root = write("lspet", tmp_path / "data")
    (root / "images" / "im00003.jpg").unlink()
    with pytest.raises(
        ValueError, match=r"1 of 6 labelled images are missing; .*\n    im00003\.jpg$"
    ):
        read("lspet", root)


@NEEDS_REAL
def test_the_published_lspet_labels_are_read():
    labels = read("lspet", REAL, limit=2000)
    assert len(labels.image_paths) == 2000
    assert 0.879 < labels.visible[:, LABELLED].mean() < 0.881
    assert not labels.visible[:, [6, 7]].any()
    assert np.isfinite(labels.keypoints_px).all()
    raw = raw_joints(REAL)
    # Image 1: flags, and 1-based coordinates of right knee (1), head top (13), left wrist (11).
    assert labels.visible[0].tolist() == [False, *[True] * 5, False, False, *[True] * 8]
    for leeds, slot in ((1, 1), (13, 9), (11, 15)):
        np.testing.assert_allclose(labels.keypoints_px[0, slot], raw[leeds, :2, 0] - 1, rtol=1e-6)
    np.testing.assert_allclose(labels.keypoints_px[0, 1], (25.030944, 85.410225), atol=1e-4)
    np.testing.assert_allclose(labels.keypoints_px[0, 10], (130.311648, 12.804999), atol=1e-4)
    # The last one: every joint that is flagged visible and has coordinates.
    usable = (raw[:, 2, 1999] == 1) & (raw[:, :2, 1999] >= 0).all(1)
    assert labels.visible[1999].sum() == usable.sum()


@NEEDS_REAL
def test_padded_lspet_keypoints_are_inside_their_images():
    labels = read("lspet", REAL, limit=200)
    images, keypoints = load_padded(labels.image_paths, labels.keypoints_px, 64, 1)
    seen = keypoints[labels.visible]
    assert seen.min() >= -0.5
    assert seen.max() <= 63.5
    # A visible joint never lies on the padding.
    filled = images.any(-1)
    for n in range(len(images)):
        rows, columns = np.flatnonzero(filled[n].any(1)), np.flatnonzero(filled[n].any(0))
        x, y = keypoints[n][labels.visible[n]].T
        assert rows[0] - 1 <= y.min() <= y.max() <= rows[-1] + 1
        assert columns[0] - 1 <= x.min() <= x.max() <= columns[-1] + 1


@NEEDS_REAL
def test_the_published_lspet_file_is_refused_as_lsp():
    with pytest.raises(ValueError, match="layout of lspet"):
        read("lsp", REAL)
