"""Image files: headers, the stored frame, damage, padding."""

import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.photographs import load_padded
from trainables.data import photographs
from trainables.data.frame import in_frame
from trainables.data.photographs import (
    MISSING,
    Header,
    decode_sample,
    image_problems,
    read_header,
    read_headers,
    read_image,
)


def png_header(width, height):
    """Start of a picture that claims a size and holds no pixels."""

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


def noise(height=40, width=60, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


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
    paths = [save_png(tmp_path / f"{i}.png", noise(seed=i)) for i in range(6)]
    keypoints = np.full((6, 2, 2), 7.0, np.float32)
    one, three = (load_padded(paths, keypoints, 32, num_threads) for num_threads in (1, 3))
    np.testing.assert_array_equal(one[0], three[0])
    np.testing.assert_array_equal(one[1], three[1])


@given(
    width=st.integers(1, 300), height=st.integers(1, 300),
    x=st.floats(-0.5, 1), y=st.floats(-0.5, 1), size=st.sampled_from([16, 33, 64]),
)  # fmt: skip
def test_what_lies_in_a_photograph_lies_in_its_square(tmp_path_factory, width, height, x, y, size):
    path = tmp_path_factory.mktemp("png") / "a.png"
    assert cv2.imwrite(str(path), np.full((height, width, 3), 250, np.uint8))
    point = np.array([[[x * width - 0.5, y * height - 0.5]]], np.float32)
    images, moved = load_padded([path], point, size, 1)
    if not in_frame(point, width, height).all():
        return
    # A hundredth of a pixel is float32's rounding; padding is black, the content is not.
    inside = np.clip(moved[0, 0], -0.5, size - 0.5)
    assert np.abs(moved[0, 0] - inside).max() < 0.01
    columns, rows = (
        np.clip(np.rint([v - 0.01, v + 0.01]), 0, size - 1).astype(int) for v in inside
    )
    assert images[0, rows][:, columns].any()


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_not_applied(suffix, orientation, tmp_path):
    """A phone's photograph: label files count in the pixels that are stored."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[:20] = (250, 20, 20)  # red above
    image[:, :10] = (20, 20, 250)  # blue at the left
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(image).save(path, exif=exif, quality=95, subsampling=0)
    assert read_header(path) == Header(width=60, height=40, has_end=True)
    np.testing.assert_allclose(read_image(path)[..., ::-1].astype(int), image, atol=60)
    images, moved = load_padded([path], np.array([[[5.0, 5.0]]], np.float32), 60, 1)
    assert moved[0, 0].tolist() == [5.0, 15.0]  # ten rows of padding
    red, _, blue = images[0, 15, 5].astype(int)
    assert blue > 200 > red


def test_colours_are_decoded_from_greys_too(tmp_path):
    path = tmp_path / "grey.png"
    assert cv2.imwrite(str(path), np.full((3, 4), 77, np.uint8))
    assert read_image(path).tolist() == [[[77, 77, 77]] * 4] * 3


DAMAGE = {
    "empty": (b"", "0 bytes"),
    "html": (
        b"<!DOCTYPE html><html>",
        "neither JPEG nor PNG, begins with b'<!DOCTYPE html><html>'",
    ),
    "start of a jpeg": (b"\xff\xd8\xff\xe0", "damaged or cut short: "),
    "start of a png": (b"\x89PNG\r\n\x1a\n\x00", "damaged or cut short: "),
    "1.2 gigapixels": (png_header(40_000, 30_000), "40,000 x 30,000 = 1,200,000,000 pixels"),
    "one pixel too many": (png_header(10_000, 10_001), "10,000 x 10,001 = 100,010,000 pixels"),
}
DAMAGED = pytest.mark.parametrize(("content", "reason"), DAMAGE.values(), ids=DAMAGE)


@DAMAGED
def test_damage_is_told_from_the_header(content, reason, tmp_path, monkeypatch):
    path = tmp_path / "im0002.jpg"
    path.write_bytes(content)
    monkeypatch.setattr(cv2, "imdecode", None)  # nothing may be decoded
    with pytest.raises(ValueError, match=".") as header:
        read_header(path)
    assert str(header.value).startswith(reason)
    with pytest.raises(ValueError, match=r"im0002\.jpg is not a readable image: ") as whole:
        read_image(path)
    assert reason in str(whole.value)


def test_an_image_within_the_limit_has_a_header(tmp_path):
    path = tmp_path / "a.jpg"  # the content decides, not the suffix
    path.write_bytes(png_header(10_000, 10_000))
    assert read_header(path) == Header(width=10_000, height=10_000, has_end=False)


def test_a_folder_in_the_place_of_an_image_and_a_locked_image_are_told(tmp_path):
    (tmp_path / "a.jpg").mkdir()
    assert read_headers([tmp_path / "a.jpg"]) == [MISSING]
    path = save_png(tmp_path / "b.jpg", noise())
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert read_headers([path]) == ["cannot be read: Permission denied"]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@settings(max_examples=40)  # a damaged header may claim many pixels
@given(data=st.data())
def test_any_damage_is_one_sentence(suffix, data, tmp_path_factory):
    content = bytearray(cv2.imencode(suffix, noise(8, 8))[1].tobytes())
    places = st.integers(0, len(content) - 1)
    for place, value in data.draw(st.dictionaries(places, st.integers(0, 255))).items():
        content[place] = value
    del content[data.draw(places) : data.draw(places)]
    path = tmp_path_factory.mktemp("fuzz") / f"a{suffix}"
    path.write_bytes(content)
    (found,) = decode_sample([path], read_headers([path]))
    if isinstance(found, str):
        assert "\n" not in found
        with pytest.raises(ValueError, match="is not a readable image: "):
            read_image(path)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.999])
def test_an_image_that_is_cut_short_is_named(share, tmp_path):
    path = tmp_path / "im00005.jpg"
    assert cv2.imwrite(str(path), noise(80, 60))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    (found,) = decode_sample([path], read_headers([path]))
    assert isinstance(found, str)
    assert found.startswith("damaged or cut short")
    with pytest.raises(ValueError, match="skipped .*damaged or cut"):
        load_padded([path], np.zeros((1, 16, 2), np.float32), 32, 2)


def test_of_many_pixels_a_sample_is_decoded_and_whatever_seems_cut_short(tmp_path, monkeypatch):
    paths = [tmp_path / f"im{i}.jpg" for i in range(8)]
    for path in paths:
        assert cv2.imwrite(str(path), noise(20, 30))
    whole = paths[0].read_bytes()
    paths[2].write_bytes(whole + b"appended")  # harmless
    paths[3].write_bytes(whole[:-200])
    paths[5].write_bytes(whole[:-200] + whole[-2:])  # cut, yet with an end: a trial would tell
    paths[6].write_bytes(b"")
    monkeypatch.setattr(photographs, "SAMPLED_PIXELS", 20 * 30 * 4)  # every second of seven
    decoded = []
    decode = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *args: decoded.append(1) or decode(*args))
    found = decode_sample(paths, read_headers(paths))
    assert len(decoded) == 4  # 0, 2, 4 and the third
    assert [i for i, header in enumerate(found) if isinstance(header, str)] == [3, 6]


def test_missing_images_are_counted_and_files_that_may_be_meant_are_named(tmp_path):
    for name in ("im00001.JPG", "im00002.png", "IM00003.JPEG", "im00004.jpg"):
        save_png(tmp_path / "a.png", noise()).rename(tmp_path / name)
    paths = [tmp_path / f"im{i:05d}.jpg" for i in range(1, 31)]
    (problem,) = image_problems(paths, read_headers(paths))
    assert str(problem).splitlines() == [
        f"{tmp_path}: 29 of 30 labelled images are missing; they must be named im00001.jpg to "
        "im00030.jpg",
        "    im00001.jpg, but there is im00001.JPG",
        "    im00002.jpg, but there is im00002.png",
        "    im00003.jpg, but there is IM00003.JPEG",
        *(f"    im{i:05d}.jpg" for i in range(5, 12)),
        "    and 19 more",
    ]


def test_a_folder_of_images_that_is_not_there_is_one_problem(tmp_path):
    paths = [tmp_path / "images" / "im0001.jpg"]
    (problem,) = image_problems(paths, read_headers(paths))
    assert str(problem) == f"{tmp_path / 'images'} is not a folder; it must hold the images"
