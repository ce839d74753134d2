"""What the terminal says while images are made: how far the stores are that are written."""

import json

import pytest

from harness.stage_cache.cache import DiskStageCache
from harness.study.image_progress import ImageProgress
from trainables.data.domain import ImageRequest
from trainables.data.store_writer import write_store, written_so_far


@pytest.fixture
def told(tmp_path):
    """Sentences, a clock that stands, and a progress that uses both."""

    class Told(list):
        now = 0.0

    told = Told()
    told.progress = ImageProgress(tmp_path, told.append, lambda: told.now)
    return told


def test_counts_and_rate_are_told_every_ten_seconds(tmp_path, told):
    seen = []

    def look(num):
        """250 images take four seconds."""
        told.progress.look()
        told.now += 4
        (folder,) = (tmp_path / "images").glob(".*/")
        seen.append(written_so_far(folder).num_seen)

    request = ImageRequest("target", 1500, 32)
    cache = DiskStageCache(tmp_path)
    cache.get("images", {}, lambda folder: write_store(folder, "people_wild", request, look))
    told.progress.look()
    assert seen == [250, 500, 750, 1000, 1250, 1500]
    # First seen at 0 s with 250; told at 12 s with 1,000, and not yet again at 20 s.
    assert told == ["target images of people_wild: 1,000 of up to 1,500, 62 images/s"]


def test_remains_of_a_killed_writer_are_not_told(tmp_path, told):
    folder = tmp_path / "images" / ".0123.abcd"
    folder.mkdir(parents=True)
    first = {"domain": "people_wild", "role": "source", "num": 900, "request": ""}
    chunk = {"rows": 250, "skipped": {"a": "0 bytes"}}
    text = f"{json.dumps(first)}\n{json.dumps(chunk)}\n"
    (folder / "journal.jsonl").write_text(text + '{"rows": 2')
    for _ in range(5):
        told.progress.look()
        told.now += 6
    assert not told
    (folder / "journal.jsonl").write_text(text + text.splitlines()[1] + "\n")
    told.progress.look()
    assert told == ["source images of people_wild: 502 of up to 900, 8 images/s"]


@pytest.mark.parametrize("text", ["", "people_wild ImageRequest()\n", "[]\n", "{}\n"])
def test_what_is_no_journal_is_passed_over(text, tmp_path, told):
    folder = tmp_path / "images" / ".0123.abcd"
    folder.mkdir(parents=True)
    told.progress.look()
    (folder / "journal.jsonl").write_text(text)
    told.now = 20.0
    told.progress.look()
    assert not told
