"""Data sets of image files: every kind of image, and damage in any layout."""

import numpy as np
import pytest
from PIL import Image

from tests.body_data_sets import DOMAINS, SIDE, image_files, read_all, write_people
from trainables.data.annotations import Annotations, scanned
from trainables.data.domain import ImageRequest
from trainables.data.photograph_domain import PhotographDomain
from trainables.data.problems import DatasetError

EVERY_LAYOUT = pytest.mark.parametrize("name", DOMAINS)
COLOUR = (200, 120, 40)
GREY = 99


def plain(mode, value):
    return Image.new(mode, (SIDE, SIDE), value)


def write_16_bit(path):
    from cv2 import imencode

    pixels = np.full((SIDE, SIDE, 3), COLOUR[::-1], np.uint16) * 257
    path.write_bytes(imencode(".png", pixels)[1].tobytes())


KINDS = {
    "16-bit PNG": (write_16_bit, COLOUR),
    "16-bit grey PNG": (lambda path: plain("I;16", GREY * 257).save(path, "PNG"), [GREY] * 3),
    "grey JPEG": (lambda path: plain("L", GREY).save(path, "JPEG"), [GREY] * 3),
    "grey PNG": (lambda path: plain("L", GREY).save(path, "PNG"), [GREY] * 3),
    "palette PNG": (
        lambda path: plain("RGB", COLOUR).convert("P", palette=1).save(path, "PNG"),
        COLOUR,
    ),
    "CMYK JPEG": (lambda path: plain("RGB", COLOUR).convert("CMYK").save(path, "JPEG"), COLOUR),
    "RGBA PNG": (lambda path: plain("RGBA", (*COLOUR, 255)).save(path, "PNG"), COLOUR),
}


@EVERY_LAYOUT
def test_every_kind_of_image_is_read_in_its_colours(name, tmp_path):
    write_people(name, tmp_path / "d", num=9)
    kinds = [*KINDS.values(), *KINDS.values()][:9]
    for path, (write, _) in zip(image_files(tmp_path / "d"), kinds, strict=True):
        write(path)  # the content decides, not the suffix
    ids, images, *_ = read_all(name, tmp_path / "d")
    assert len(ids) == 9
    colours = sorted((colour for _, colour in kinds), key=np.mean)  # layouts differ in order
    for image, colour in zip(sorted(images, key=np.mean), colours, strict=True):
        np.testing.assert_allclose(image, np.broadcast_to(colour, image.shape), atol=4)


@EVERY_LAYOUT
def test_truncated_images_are_named(name, tmp_path):
    write_people(name, tmp_path / "d")
    paths = image_files(tmp_path / "d")[4:7]
    for path, size in zip(paths, (0, 1, 100), strict=True):
        path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DatasetError) as caught:
        read_all(name, tmp_path / "d")
    first, *cases = str(caught.value).splitlines()
    assert "3 of 12 images cannot be used; each must be a whole JPEG or PNG image" in first
    for path, case in zip(paths, cases, strict=True):
        assert path.name in case
    assert cases[0].endswith("0 bytes")


@EVERY_LAYOUT
def test_an_image_that_is_cut_in_half_is_named(name, tmp_path):
    write_people(name, tmp_path / "d")
    path = image_files(tmp_path / "d")[4]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])  # the header and the upper half are whole
    with pytest.raises(DatasetError, match=f"{path.name}: damaged or cut short"):
        DOMAINS[name].check(ImageRequest("source", 100, SIDE, tmp_path / "d"))


@EVERY_LAYOUT
def test_a_missing_image_is_named_with_its_folder(name, tmp_path):
    write_people(name, tmp_path / "d")
    path = image_files(tmp_path / "d")[4]
    path.unlink()
    with pytest.raises(DatasetError) as caught:
        read_all(name, tmp_path / "d")
    first, case = str(caught.value).splitlines()
    folder, _, rest = first.partition(": ")
    assert rest.startswith("1 of 12 labelled images are missing")
    assert f"{folder}/{case.strip()}" == str(path)


@EVERY_LAYOUT
def test_a_missing_folder_is_named(name, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_all(name, tmp_path / "nowhere")


@EVERY_LAYOUT
def test_a_folder_that_is_not_given_is_asked_for(name):
    with pytest.raises(ValueError, match=r"^data\.source_root must name the folder"):
        read_all(name, None)


@EVERY_LAYOUT
def test_the_digest_follows_labels_and_images(name, tmp_path):
    root = tmp_path / "d"
    write_people(name, root)
    request = ImageRequest("source", 100, SIDE, root)
    before = DOMAINS[name].digest(request)
    assert DOMAINS[name].digest(request) == before
    (labels, *_) = [path for path in sorted(root.rglob("*")) if path.suffix not in ("", ".jpg")]
    content = labels.read_bytes()
    labels.write_bytes(content + b" ")
    assert DOMAINS[name].digest(request) != before
    labels.write_bytes(content)
    assert DOMAINS[name].digest(request) == before
    image_files(root)[3].unlink()
    assert DOMAINS[name].digest(request) != before


@EVERY_LAYOUT
def test_fewer_samples_are_among_more_and_keep_their_labels(name, tmp_path):
    write_people(name, tmp_path / "d", num=20)
    everything = read_all(name, tmp_path / "d")
    some = read_all(name, tmp_path / "d", num=8)
    few = read_all(name, tmp_path / "d", num=3)
    assert len(everything[0]) == len(set(everything[0])) == 20
    assert (len(some[0]), len(few[0])) == (8, 3)
    assert set(few[0]) < set(some[0]) < set(everything[0])
    rows = [everything[0].index(sample) for sample in some[0]]
    np.testing.assert_array_equal(everything[2][rows], some[2])
    np.testing.assert_array_equal(everything[3][rows], some[3])


def domain_of(paths, ids=None):
    labels = Annotations(
        ids=tuple(ids or map(str, range(len(paths)))),
        image_paths=tuple(paths),
        keypoints_px=np.full((len(paths), 16, 2), 5, np.float32),
        visible=np.ones((len(paths), 16), np.bool_),
    )
    return PhotographDomain(lambda request: scanned(labels))


def images_of(domain):
    return list(domain.images(ImageRequest("source", 10**6, 16)))


def test_unusable_images_are_counted_once_however_many_people_they_show(tmp_path):
    """150 images of two people each; one is cut short behind its header."""
    paths = [tmp_path / f"{i}.jpg" for i in range(150)]
    for path in paths:
        Image.effect_noise((16, 16), 90).save(path)
    paths[7].write_bytes(paths[7].read_bytes()[:-40].replace(b"\xff\xda", b"\xff\xd9"))
    chunks = images_of(domain_of([path for path in paths for _ in range(2)]))
    assert sum(len(chunk.ids) for chunk in chunks) == 298
    skipped = [name for chunk in chunks for name in chunk.skipped.items()]
    why = "damaged or cut short, cannot be decoded"
    assert skipped == [("14", why), ("15", why)]


def test_an_image_that_goes_away_after_the_check_is_skipped_with_the_reason(tmp_path):
    paths = [tmp_path / f"{i}.jpg" for i in range(150)]
    for path in paths:
        Image.effect_noise((16, 16), 90).save(path)
    scan = domain_of(paths).scan(ImageRequest("source", 10**6, 16))
    paths[7].unlink()
    chunks = images_of(PhotographDomain(lambda request: scan))
    skipped = [item for chunk in chunks for item in chunk.skipped.items()]
    assert skipped == [("7", "No such file or directory")]


def test_one_bad_image_of_fifty_is_too_many_however_many_people_the_others_show(tmp_path):
    paths = [tmp_path / f"{i}.jpg" for i in range(50)]
    for path in paths:
        plain("RGB", COLOUR).save(path)
    paths[7].write_bytes(b"")
    domain = domain_of([paths[7], *(path for path in paths if path != paths[7] for _ in range(9))])
    with pytest.raises(DatasetError, match=r"1 of 50 images .*\n    7\.jpg: 0 bytes"):
        images_of(domain)
    with pytest.raises(DatasetError, match="1 of 50 images cannot be used"):
        domain.check(ImageRequest("source", 10**6, 16))


def test_images_of_several_folders_are_named_with_their_folder(tmp_path):
    paths = [tmp_path / "a" / "1.jpg", tmp_path / "b" / "1.jpg", tmp_path / "c" / "1.jpg"]
    for path in paths[:2]:
        path.parent.mkdir()
        plain("RGB", COLOUR).save(path)
    paths[0].write_bytes(b"")
    (paths[1].parent / "1.jpg").rename(paths[1].parent / "1.png")
    with pytest.raises(DatasetError) as caught:
        images_of(domain_of(paths))
    assert str(caught.value).splitlines() == [
        f"{tmp_path}: 2 of 3 labelled images are missing; they must be named a/1.jpg to c/1.jpg",
        "    b/1.jpg, but there is 1.png",
        "    c/1.jpg",
        f"{tmp_path}: 1 of 3 images cannot be used; each must be a whole JPEG or PNG image of at "
        "most 100 megapixels",
        "    a/1.jpg: 0 bytes",
    ]


def test_samples_that_share_an_id_are_named(tmp_path):
    plain("RGB", COLOUR).save(tmp_path / "1.jpg")
    domain = domain_of([tmp_path / "1.jpg"] * 4, ids=["x/a", "x/b", "x/a", "x/c"])
    with pytest.raises(DatasetError, match="1 ids belong to several samples.*\n    x/a: 2 times$"):
        images_of(domain)
