"""Stores that are written as a stream: continued after a kill, checked, refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from trainables.data.domain import Domain, ImageRequest, LabelledImages
from trainables.data.image_store import open_image_store
from trainables.data.problems import DatasetError
from trainables.data.splits import split
from trainables.data.store_writer import check_store, write_store
from trainables.registry import DOMAINS

SIZE = 8


class Counted(Domain):
    """Nine chunks of ten images, each of its own grey; may skip some and stop in between."""

    def __init__(self, skipped=(), dies_at=None):
        self.skipped, self.dies_at, self.yielded = set(skipped), dies_at, []

    def images(self, request):
        return self.images_from(request, 0)

    def images_from(self, request, first):
        for start in range(first, min(request.num, 90), 10):
            if start == self.dies_at:
                raise KeyboardInterrupt
            self.yielded.append(start)
            rows = [row for row in range(start, start + 10) if row not in self.skipped]
            yield LabelledImages(
                tuple(f"counted/{row}" for row in rows),
                np.full((len(rows), SIZE, SIZE, 3), start, np.uint8),
                np.full((len(rows), 16, 2), start, np.float32),
                np.ones((len(rows), 16), np.bool_),
                skipped={f"counted/{r}": "0 bytes" for r in range(start, start + 10)
                         if r in self.skipped},
                notes=("drawn for a test",),
            )  # fmt: skip


@pytest.fixture
def write(monkeypatch, tmp_path):
    def write_to(name, domain, num=90, on_progress=lambda num: None):
        entry = replace(DOMAINS["people_clean"], code="tests.absent:NAME")
        monkeypatch.setitem(DOMAINS, "people_clean", entry)
        monkeypatch.setattr(type(entry), "load", lambda self: domain)
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        write_store(folder, "people_clean", ImageRequest("target", num, SIZE), on_progress)
        return folder

    return write_to


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_store_holds_what_the_domain_yields(write):
    seen = []
    store = open_image_store(write("store", Counted(), on_progress=seen.append))
    assert seen == list(range(10, 91, 10))
    assert store.images[:, 0, 0, 0].tolist() == [row // 10 * 10 for row in range(90)]
    assert store.ids == tuple(f"counted/{row}" for row in range(90))
    for name, rows in split(store.ids, "target").items():
        assert store.splits[name].tolist() == rows.tolist()
    assert store.notes == ("drawn for a test",)


@pytest.mark.parametrize("dies_at", [0, 10, 40, 80])
@pytest.mark.parametrize("damage", ["none", "half a chunk", "half a line"])
def test_a_killed_writer_is_continued_and_ends_alike(write, tmp_path, dies_at, damage):
    whole = files(write("whole", Counted()))
    with pytest.raises(KeyboardInterrupt):
        write("store", Counted(dies_at=dies_at))
    if damage == "half a chunk":
        with (tmp_path / "store" / "images.npy").open("ab") as file:
            file.write(bytes(100))
    elif damage == "half a line":
        with (tmp_path / "store" / "journal.jsonl").open("a") as file:
            file.write('{"rows": 1')
    second = Counted()
    assert files(write("store", second)) == whole
    assert second.yielded == list(range(dies_at, 90, 10))


def test_the_beginning_of_another_store_is_not_continued(write):
    with pytest.raises(KeyboardInterrupt):
        write("store", Counted(dies_at=20))
    with pytest.raises(ValueError, match="holds the beginning of another store"):
        write("store", Counted(), num=80)


def test_one_image_in_a_hundred_may_be_unusable(write):
    with pytest.raises(DatasetError) as caught:
        write("refused", Counted(skipped=[3]))
    assert str(caught.value).splitlines() == [
        "1 of 90 images of people_clean cannot be used; at most 1% may be unusable",
        "    counted/3: 0 bytes",
    ]


def test_a_skipped_image_is_named_in_the_store(write, monkeypatch):
    monkeypatch.setattr("trainables.data.store_writer.BAD_SHARE", 0.02)
    store = open_image_store(write("store", Counted(skipped=[3])))
    assert len(store.ids) == 89
    assert "counted/3" not in store.ids
    assert store.notes[-1] == "1 of 90 images are skipped, as unusable (counted/3: 0 bytes)"


def test_a_changed_sample_is_found_and_placed(write):
    folder = write("store", Counted())
    check_store(folder)
    images = np.load(folder / "images.npy", mmap_mode="r+")
    images[34, 0, 0, 0] += 1
    images.flush()
    with pytest.raises(ValueError, match="samples 30 to 39 have changed"):
        check_store(folder)
    images[34, 0, 0, 0] -= 1
    images.flush()
    check_store(folder)
    parts = np.load(folder / "split.npy", mmap_mode="r+")
    parts[12] = (parts[12] + 1) % 3
    parts.flush()
    with pytest.raises(ValueError, match="samples 10 to 19 have changed"):
        check_store(folder)


def test_a_store_of_another_version_is_refused(write):
    folder = write("store", Counted())
    description = json.loads((folder / "store.json").read_text())
    (folder / "store.json").write_text(json.dumps(description | {"version": 1}))
    with pytest.raises(ValueError, match="its version is 1, not 3"):
        open_image_store(folder)
