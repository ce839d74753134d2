"""Digests of files, and when they are computed anew."""

import hashlib
import os

import pytest

from trainables.stages.digests import file_digest


@pytest.fixture
def num_hashed(monkeypatch):
    """How many files were read so far."""
    count = [0]
    real = hashlib.file_digest

    def counting(*arguments):
        count[0] += 1
        return real(*arguments)

    monkeypatch.setattr(hashlib, "file_digest", counting)
    return lambda: count[0]


def test_the_digest_is_sha256_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_digest(tmp_path / "a") == expected


def test_a_file_is_read_once_also_under_a_new_name(tmp_path, num_hashed):
    (tmp_path / "a").write_bytes(b"abc")
    first = file_digest(tmp_path / "a")
    assert file_digest(tmp_path / "a") == first
    assert num_hashed() == 1
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").rename(tmp_path / "sub" / "b")
    assert file_digest(tmp_path / "sub" / "b") == first


def test_a_folder_that_is_renamed_keeps_the_digests_of_its_files(tmp_path, num_hashed):
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / "a").write_bytes(b"abc")
    file_digest(tmp_path / "partial" / "a")
    (tmp_path / "partial").rename(tmp_path / "final")
    file_digest(tmp_path / "final" / "a")
    assert num_hashed() == 1


def test_a_file_that_was_written_over_is_another(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    first = file_digest(path)
    before = path.stat()
    path.write_bytes(b"abd")  # the same size and inode
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # and the same time
    assert path.stat().st_ino == before.st_ino
    assert file_digest(path) == hashlib.sha256(b"abd").hexdigest() != first


def test_another_file_of_the_same_name_is_another(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    file_digest(path)
    (tmp_path / "b").write_bytes(b"xyz")
    (tmp_path / "b").replace(path)
    assert file_digest(path) == hashlib.sha256(b"xyz").hexdigest()


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    real = hashlib.file_digest

    def changed_after_reading(*arguments):
        digest = real(*arguments)
        path.write_bytes(b"abcd")
        return digest

    with monkeypatch.context() as patched:
        patched.setattr(hashlib, "file_digest", changed_after_reading)
        file_digest(path)
    assert file_digest(path) == hashlib.sha256(b"abcd").hexdigest()


def test_a_missing_file_stays_the_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / "absent")
