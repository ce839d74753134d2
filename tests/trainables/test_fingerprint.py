"""The digest of the code that trials run."""

import hashlib
import shutil
from importlib.metadata import version

import pytest

from tests.conftest import ROOT
from trainables.fingerprint import code_digest


@pytest.fixture
def package(tmp_path):
    root = tmp_path / "package"
    (root / "adapt").mkdir(parents=True)
    (root / "fit.py").write_text("a = 1\n")
    (root / "adapt" / "net.py").write_text("b = 2\n")
    (root / "body.npz").write_bytes(b"mesh")
    return root


def test_it_is_over_paths_lengths_bytes_and_versions(package):
    text = (
        "adapt/net.py 6\nb = 2\nbody.npz 4\nmeshfit.py 6\na = 1\n"
        f"numpy {version('numpy')}\ntorch {version('torch')}\n"
    )
    assert code_digest(package) == hashlib.sha256(text.encode()).hexdigest()


def edit(package):
    (package / "fit.py").write_text("a = 2\n")


def another_mesh(package):
    (package / "body.npz").write_bytes(b"mush")


def rename(package):
    (package / "fit.py").rename(package / "fits.py")


def move(package):
    (package / "fit.py").rename(package / "adapt" / "fit.py")


def add_empty(package):
    (package / "empty.py").touch()


def shift_a_line(package):
    (package / "adapt" / "net.py").write_text("")
    (package / "fit.py").write_text("b = 2\na = 1\n")


@pytest.mark.parametrize("change", [edit, another_mesh, rename, move, add_empty, shift_a_line])
def test_any_change_of_the_source_changes_it(package, change):
    before = code_digest(package)
    change(package)
    assert code_digest(package) != before


def test_other_files_and_the_place_do_not_change_it(package, tmp_path):
    before = code_digest(package)
    (package / "notes.txt").write_text("x")
    (package / "fit.pyc").write_bytes(b"x")
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(package, copy)
    assert code_digest(copy) == before


def test_another_version_of_a_library_changes_it(package, monkeypatch):
    before = code_digest(package)
    monkeypatch.setattr("trainables.fingerprint.version", lambda library: "0.0")
    assert code_digest(package) != before


def test_the_default_is_the_trainables_of_this_project():
    assert code_digest() == code_digest(ROOT / "trainables")
