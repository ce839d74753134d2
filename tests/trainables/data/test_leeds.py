"""Leeds data sets: both layouts, refusal of the wrong one, damaged folders, padding."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io

from trainables.data.leeds import load_padded, read_leeds, write_leeds

NUM = 6
BOTH = pytest.mark.parametrize("name", ["lsp", "lspet"])
FIRST_IMAGE = {"lsp": "im0001.jpg", "lspet": "im00001.jpg"}
LABELLED = [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15]

REAL = Path(__file__).parents[4] / "shared" / "data" / "lspet"
NEEDS_REAL = pytest.mark.skipif(
    not (REAL / "joints.mat").is_file(), reason="the LSPET data set is not beside the project"
)


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
    labels = read_leeds(name, root)
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
    labels = read_leeds(name, write(name, tmp_path / "data"))
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
    labels = read_leeds("lsp", tmp_path / "data")
    assert labels.keypoints_px[0, LABELLED].tolist() == [
        [10.0 + j, 20.0] for j in (0, 1, 2, 3, 4, 5, 12, 13, 6, 7, 8, 9, 10, 11)
    ]
    assert np.flatnonzero(~labels.visible[0]).tolist() == [6, 7, 12]


def test_flagged_joints_outside_the_image_are_invisible(tmp_path):
    root = write("lsp", tmp_path / "data")
    joints = raw_joints(root)
    joints[:, 0, 0] = (-3.0, 10.0, 0.0)  # right ankle of the first image
    scipy.io.savemat(root / "joints.mat", {"joints": joints})
    labels = read_leeds("lsp", root)
    assert not labels.visible[0, 0]
    assert labels.visible[0, 1]


def test_limit_reads_the_first_images(tmp_path):
    root = write("lspet", tmp_path / "data")
    few, everything = read_leeds("lspet", root, limit=2), read_leeds("lspet", root)
    assert len(everything.image_paths) == NUM
    assert few.image_paths == everything.image_paths[:2]
    np.testing.assert_array_equal(few.keypoints_px, everything.keypoints_px[:2])
    np.testing.assert_array_equal(few.visible, everything.visible[:2])
    assert len(read_leeds("lspet", root, limit=100).image_paths) == NUM


@pytest.mark.parametrize(("name", "other"), [("lsp", "lspet"), ("lspet", "lsp")])
def test_the_other_layout_is_refused_by_name(name, other, tmp_path):
    root = write(other, tmp_path / "data")
    with pytest.raises(ValueError, match=rf"joints\.mat: joints of {name} .* layout of {other}$"):
        read_leeds(name, root)


def test_the_flag_of_lsp_in_the_layout_of_lspet_is_refused(tmp_path):
    root = write("lspet", tmp_path / "data")
    joints = raw_joints(root)
    joints[:, 2] = 1 - joints[:, 2]
    scipy.io.savemat(root / "joints.mat", {"joints": joints})
    with pytest.raises(ValueError, match=r"joints\.mat: .* flagged visible; .* flag of lspet"):
        read_leeds("lspet", root)


@pytest.mark.parametrize(
    ("joints", "message"),
    [
        (np.zeros((14, 4, 3)), "must have shape 14 x 3 x N, got 14 x 4 x 3$"),
        (np.zeros((14, 3)), "three-dimensional"),
        (np.full((14, 3, 2), np.nan), "finite"),
        (np.full((14, 3, 2), 1j), "real"),
        ("joints", "three-dimensional"),
        ({"x": 1.0}, "real"),
    ],
)
def test_joints_of_another_form_are_refused(joints, message, tmp_path):
    root = write("lspet", tmp_path / "data")
    scipy.io.savemat(root / "joints.mat", {"joints": joints})
    with pytest.raises(ValueError, match=message) as error:
        read_leeds("lspet", root)
    assert str(root / "joints.mat") in str(error.value)


def test_an_unknown_data_set_is_refused(tmp_path):
    write("lsp", tmp_path / "data")
    with pytest.raises(ValueError, match="name must be lsp or lspet, got 'mpii'"):
        read_leeds("mpii", tmp_path / "data")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        read_leeds("lsp", tmp_path / "nowhere")


def test_a_missing_joints_file_is_named(tmp_path):
    root = write("lsp", tmp_path / "data")
    (root / "joints.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"joints\.mat is missing"):
        read_leeds("lsp", root)


def test_a_file_without_joints_is_named(tmp_path):
    root = write("lsp", tmp_path / "data")
    scipy.io.savemat(root / "joints.mat", {"points": np.zeros(3)})
    with pytest.raises(ValueError, match=r"joints\.mat has no array named joints"):
        read_leeds("lsp", root)


@pytest.mark.parametrize("kept", [0, 1, 60, 128, 130, 300, 0.5, 0.9, 0.999])
def test_a_truncated_joints_file_is_named(kept, tmp_path):
    root = write("lspet", tmp_path / "data")
    path = root / "joints.mat"
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    with pytest.raises(ValueError, match=r"joints\.mat "):
        read_leeds("lspet", root)


def test_a_missing_image_is_named(tmp_path):
    root = write("lspet", tmp_path / "data")
    (root / "images" / "im00003.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"im00003\.jpg is missing"):
        read_leeds("lspet", root)
    assert len(read_leeds("lspet", root, limit=2).image_paths) == 2


def png_header(width, height):
    """Start of a picture that claims a size and holds no pixels."""

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


@pytest.mark.parametrize(
    "content",
    [b"", b"not an image", b"\xff\xd8\xff\xe0", png_header(100_000, 100_000)],
    ids=["empty", "text", "jpeg header", "too large"],
)
def test_an_unreadable_image_is_named(content, tmp_path):
    root = write("lsp", tmp_path / "data")
    (root / "images" / "im0002.jpg").write_bytes(content)
    labels = read_leeds("lsp", root)
    with pytest.raises(ValueError, match=r"im0002\.jpg is not a readable image"):
        load_padded(labels.image_paths, labels.keypoints_px, 32, 2)


def test_an_image_cut_in_half_is_named(tmp_path):
    root = write("lsp", tmp_path / "data")
    path = root / "images" / "im0005.jpg"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    labels = read_leeds("lsp", root)
    with pytest.raises(ValueError, match=r"im0005\.jpg is not a readable image"):
        load_padded(labels.image_paths, labels.keypoints_px, 32, 2)


def save_png(path, image):
    assert cv2.imwrite(str(path), image[..., ::-1])
    return path


@pytest.mark.parametrize(
    ("height", "width", "size", "point", "expected", "padding"),
    [
        # Halved: x -> (x + 0.5) / 2 - 0.5; 16 rows below and above.
        (64, 128, 64, (9.5, 31.5), (4.5, 31.5), np.s_[:16]),
        (128, 64, 64, (31.5, 9.5), (31.5, 4.5), np.s_[:, :16]),
        (32, 32, 64, (-0.5, 31.5), (-0.5, 63.5), np.s_[:0]),  # edges stay edges
        (64, 64, 64, (10.25, 20.0), (10.25, 20.0), np.s_[:0]),
        # 21 of 64 rows: 43 are padding, the smaller half above.
        (21, 64, 64, (5.0, 0.0), (5.0, 21.0), np.s_[:21]),
    ],
)
def test_images_are_scaled_and_padded_with_their_keypoints(
    height, width, size, point, expected, padding, tmp_path
):
    path = save_png(tmp_path / "a.png", np.full((height, width, 3), 250, np.uint8))
    images, moved = load_padded([path], np.array([[point]], np.float32), size, 1)
    assert images.shape == (1, size, size, 3)
    assert moved[0, 0].tolist() == pytest.approx(expected)
    assert not images[0][padding].any()
    inside = np.rint(np.clip(expected, 0, size - 1)).astype(int)
    assert images[0, inside[1], inside[0]].tolist() == [250, 250, 250]


def test_padded_keypoints_stay_on_what_they_label(tmp_path):
    image = np.zeros((90, 150, 3), np.uint8)
    image[60:66, 30:36] = (255, 120, 0)  # its centre is (32.5, 62.5)
    path = save_png(tmp_path / "a.png", image)
    images, moved = load_padded([path], np.array([[[32.5, 62.5]]], np.float32), 50, 1)
    mass = images[0, ..., 0].astype(float)
    grid = np.arange(50)
    centroid = ((mass.sum(0) * grid).sum() / mass.sum(), (mass.sum(1) * grid).sum() / mass.sum())
    assert moved[0, 0].tolist() == pytest.approx(centroid, abs=0.05)
    red, green, blue = images[0, round(moved[0, 0, 1]), round(moved[0, 0, 0])].astype(int)
    assert red > green > blue


def test_the_number_of_threads_does_not_change_the_result(tmp_path):
    labels = read_leeds("lsp", write("lsp", tmp_path / "data"))
    one = load_padded(labels.image_paths, labels.keypoints_px, 32, 1)
    three = load_padded(labels.image_paths, labels.keypoints_px, 32, 3)
    np.testing.assert_array_equal(one[0], three[0])
    np.testing.assert_array_equal(one[1], three[1])


@NEEDS_REAL
def test_the_published_lspet_labels_are_read():
    labels = read_leeds("lspet", REAL, limit=2000)
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
    labels = read_leeds("lspet", REAL, limit=200)
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
        read_leeds("lsp", REAL)
