"""Data sets in archives: they read like the folder, and harmful members are refused."""

import io
import os
import shutil
import stat
import tarfile
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from tests.body_data_sets import write_people
from trainables.data.archive import ArchivePath, archive_root
from trainables.data.domain import ImageRequest
from trainables.data.export import LAYOUTS, export, fitting_domains
from trainables.registry import DOMAINS

SIDE = 48


def add_folder(archive, folder):
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            add = archive.write if isinstance(archive, zipfile.ZipFile) else archive.add
            add(path, path.relative_to(folder))


def pack(folder, out):
    """Pack what is in a folder; the name says how."""
    out.parent.mkdir(exist_ok=True)
    if out.suffix == ".tar":
        with tarfile.open(out, "w") as archive:
            add_folder(archive, folder)
        return out
    kind = zipfile.ZIP_STORED if "stored" in out.name else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(out, "w", kind) as archive:
        add_folder(archive, folder)
    return out


def pack_apart(folder, out):
    """Pack each top folder into a zip or tar file, and leave files as they are."""
    out.mkdir()
    for place, path in enumerate(sorted(folder.iterdir())):
        if path.is_file():
            shutil.copy2(path, out)
            continue
        parent = folder.parent / f"only_{path.name}"
        parent.mkdir()
        path.rename(parent / path.name)
        pack(parent, out / f"{path.name}{'.tar' if place % 2 else '.zip'}")
    return out


def samples(name, root):
    request = ImageRequest("target", 10**6, SIDE, root)
    domain = DOMAINS[name].load()
    (chunk,) = domain.images(request)
    return chunk, domain.check(request)


@pytest.mark.parametrize("name", [*LAYOUTS, "mpii"])
def test_every_layout_reads_the_same_from_archives_as_from_the_folder(name, tmp_path):
    folder = tmp_path / "data"
    if name == "mpii":
        write_people(name, folder, num=24)
    else:
        export(name, folder, 24, fitting_domains(name)[0], 96)
    whole, counts = samples(name, folder)
    assert len(whole.ids) > 10
    packed = [pack(folder, tmp_path / f"{end}") for end in ("a.zip", "stored.zip", "a.tar")]
    for root in (*packed, pack_apart(folder, tmp_path / "apart")):
        chunk, found = samples(name, root)
        assert chunk.ids == whole.ids
        assert found == counts
        for array in ("images", "keypoints_px", "visible"):
            np.testing.assert_array_equal(getattr(chunk, array), getattr(whole, array))


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "x.jpg").write_bytes(bytes(range(256)) * 300)
    (root / "a" / "y.json").write_text('{"é": 1}\n')
    (root / "top.txt").write_bytes(b"one\r\ntwo\r\n")
    return root


@pytest.mark.parametrize("end", ["a.zip", "stored.zip", "a.tar"])
def test_a_member_can_be_used_like_a_file(end, folder, tmp_path):
    root = archive_root(pack(folder, tmp_path / end))
    plain = folder
    for pattern in ("*", "**/*.jpg", "a/*", "a/?.json", "*/b/**/*.jpg", "a/b/x.jpg", "*.json"):
        expected = sorted(p.relative_to(plain) for p in plain.glob(pattern) if p.is_file())
        assert [path.relative_to(root) for path in root.glob(pattern)] == expected
    for inside in (".", "a", "a/b", "a/b/x.jpg", "top.txt", "missing", "a/missing/x"):
        ours, theirs = root / inside, plain / inside
        assert (ours.is_file(), ours.is_dir(), ours.exists()) == (
            theirs.is_file(), theirs.is_dir(), theirs.exists()
        )  # fmt: skip
    for inside in (".", "a"):
        assert [p.name for p in (root / inside).iterdir()] == sorted(os.listdir(plain / inside))
    image = root / "a" / "b" / "x.jpg"
    assert image.read_bytes() == (plain / "a" / "b" / "x.jpg").read_bytes()
    assert image.stat().st_size == 256 * 300
    with image.open("rb") as file:
        assert file.seek(-3, io.SEEK_END) == 256 * 300 - 3
        assert file.read(10) == b"\xfd\xfe\xff"
        file.seek(1000)
        assert file.read(2) == bytes([1000 % 256, 1001 % 256])
    assert (root / "a" / "y.json").read_text(encoding="utf-8") == '{"é": 1}\n'
    with (root / "top.txt").open(newline="", encoding="utf-8-sig") as file:
        assert list(file) == ["one\r\n", "two\r\n"]
    with pytest.raises(FileNotFoundError):
        (root / "missing").read_bytes()
    with pytest.raises(ValueError, match="can only be read"):
        image.open("wb")


def test_a_folder_in_an_archive_can_be_the_root(folder, tmp_path):
    root = archive_root(pack(folder, tmp_path / "a.zip") / "a")
    assert (root / "y.json").is_file()
    assert [path.name for path in root.glob("b/*.jpg")] == ["x.jpg"]
    assert not archive_root(tmp_path / "a.zip" / "none").is_dir()


def test_a_folder_without_archives_is_left_as_it_is(folder, tmp_path):
    assert type(archive_root(folder)) is type(folder)
    assert type(archive_root(tmp_path / "missing")) is type(folder)
    assert not isinstance(archive_root(folder / "top.txt"), ArchivePath)
    (folder / "left.tgz").write_bytes(b"was unpacked")
    assert archive_root(folder) is folder


def test_a_file_beside_an_archive_wins(folder, tmp_path):
    beside = tmp_path / "beside"
    pack(folder, beside / "a.zip")
    (beside / "top.txt").write_text("newer")
    root = archive_root(beside)
    assert (root / "top.txt").read_text() == "newer"
    assert (root / "a" / "y.json").is_file()


def test_a_name_in_two_archives_cannot_be_read(folder, tmp_path):
    both = tmp_path / "both"
    pack(folder, both / "a.zip")
    pack(folder, both / "b.tar")
    with pytest.raises(ValueError, match=r"top\.txt is in an archive twice \(a\.zip and b\.tar\)"):
        (archive_root(both) / "top.txt").read_bytes()


def test_many_threads_read_at_once(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i}.bin").write_bytes(bytes([i]) * (5000 + 100 * i))
    for end in ("a.zip", "stored.zip", "a.tar"):
        root = archive_root(pack(folder, tmp_path / end))
        names = [f"{i}.bin" for i in range(40)] * 10
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda name, root=root: (root / name).read_bytes(), names))
        assert found == [(folder / name).read_bytes() for name in names]


@pytest.mark.parametrize("end", ["a.zip", "a.tar"])
def test_another_process_reads_what_it_is_sent(end, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "1.bin").write_bytes(b"one")
    path = archive_root(pack(folder, tmp_path / end)) / "1.bin"
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(Path.read_bytes, path).result() == b"one"
        assert pool.submit(ArchivePath.read_bytes, path).result() == b"one"


def write_zip(path, name, mode=0):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.txt", "good")
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, "bad")


def write_tar(path, name, kind=tarfile.REGTYPE):
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)


@pytest.mark.parametrize("name", ["../out.txt", "a/../../out.txt", "/etc/passwd", "a/.."])
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_a_member_outside_its_folder_is_refused_by_name(write, name, tmp_path):
    path = tmp_path / ("a.zip" if write is write_zip else "a.tar")
    write(path, name)
    for root in (path, tmp_path):
        with pytest.raises(ValueError, match="without links") as caught:
            archive_root(root)
        assert f"{path} has the member {name!r}" in str(caught.value)


def test_links_and_devices_are_refused_by_name(tmp_path):
    write_zip(tmp_path / "a.zip", "link", stat.S_IFLNK | 0o777)
    with pytest.raises(ValueError, match="has the member 'link'"):
        archive_root(tmp_path / "a.zip")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        write_tar(tmp_path / "a.tar", "link", kind)
        with pytest.raises(ValueError, match="has the member 'link'"):
            archive_root(tmp_path / "a.tar")


@pytest.mark.parametrize("name", ["a.tgz", "a.tar.gz", "a.TAR.XZ"])
def test_a_compressed_tar_is_refused_with_what_to_do(name, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    for root in (tmp_path, tmp_path / name):
        with pytest.raises(ValueError, match=r"compressed as a whole.*unpack it or make an"):
            archive_root(root)


@pytest.mark.parametrize("end", ["a.zip", "a.tar"])
def test_a_damaged_archive_is_named(end, folder, tmp_path):
    path = pack(folder, tmp_path / end)
    path.write_bytes(path.read_bytes()[:700] if end == "a.zip" else b"no tar file" * 100)
    with pytest.raises(ValueError, match=rf"{path} is no readable archive"):
        archive_root(path)


@pytest.mark.parametrize("end", ["a.zip", "stored.zip"])
def test_a_damaged_member_is_an_error_of_reading(end, folder, tmp_path):
    path = pack(folder, tmp_path / end)
    content = path.read_bytes()
    path.write_bytes(b"\0" * 60 + content[60:])
    with pytest.raises(OSError, match=r"x\.jpg cannot be read"):
        (archive_root(path) / "a" / "b" / "x.jpg").read_bytes()


@pytest.mark.parametrize("end", ["a.zip", "a.tar"])
def test_the_digest_follows_the_archive(end, tmp_path):
    export("lspet", tmp_path / "data", 12, "people_clean", 32)
    path = pack(tmp_path / "data", tmp_path / end)
    request = ImageRequest("target", 12, 32, path)
    domain = DOMAINS["lspet"].load()
    first = domain.digest(request)
    assert domain.digest(request) == first
    (tmp_path / "data" / "images" / "im00003.jpg").write_bytes(b"other")
    pack(tmp_path / "data", path)
    os.utime(path, ns=(1, 1))
    second = domain.digest(request)
    assert second != first
    os.utime(path, ns=(2, 2))
    assert domain.digest(request) != second


def test_an_error_names_the_image_in_the_archive(tmp_path):
    export("lspet", tmp_path / "data", 12, "people_clean", 32)
    (tmp_path / "data" / "images" / "im00003.jpg").write_bytes(b"<html>")
    path = pack(tmp_path / "data", tmp_path / "a.zip")
    with pytest.raises(ValueError, match=r"im00003\.jpg: neither JPEG nor PNG") as caught:
        DOMAINS["lspet"].load().check(ImageRequest("target", 12, 32, path))
    assert str(Path(path) / "images") in str(caught.value)
