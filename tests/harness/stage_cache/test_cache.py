"""The stage cache in one process: hits, keys, manifests, damage, failures, use."""

import errno
import hashlib
import json
import mmap
import os
import pickle
import re
import shutil
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.stage_cache.cache import DiskStageCache
from harness.stage_cache.manifest import stage_key
from tests.small_disk import fill
from trainables.data.domain import ImageRequest
from trainables.data.store_writer import write_store
from trainables.stages.protocol import StageError, WaitStoppedError


@pytest.fixture
def cache(tmp_path):
    return DiskStageCache(tmp_path / "stages")


def write(text):
    def compute(folder):
        (folder / "content.txt").write_text(text)

    return compute


def refuse(folder):
    raise AssertionError("computed a stage that was there")


def everything_under(root):
    """Relative paths of all that is below a folder, hidden or not."""
    return sorted(str(p.relative_to(root)) for p in root.rglob("*"))


def test_the_first_call_computes_and_the_second_hits(cache):
    first = cache.get("images", {"num": 3}, write("hello"))
    assert first.outcome != "hit"
    assert (first.path / "content.txt").read_text() == "hello"
    second = cache.get("images", {"num": 3}, refuse)
    assert second.outcome == "hit"
    assert (second.path, second.key) == (first.path, first.key)


def test_a_stage_lies_under_its_name_and_key_with_its_manifest(cache):
    def compute(folder):
        (folder / "scores").mkdir()
        (folder / "scores" / "a.txt").write_text("abc")
        (folder / "empty").touch()

    before = time.time()
    entry = cache.get("images", {"num": 3, "root": None}, compute)
    assert entry.path == cache.root / "images" / entry.key
    assert entry.key == stage_key("images", {"num": 3, "root": None})
    manifest = json.loads((entry.path / "stage.json").read_text())
    assert before <= manifest.pop("created") <= time.time()
    assert manifest.pop("seconds") == entry.seconds
    assert manifest == {
        "stage": "images",
        "key": entry.key,
        "inputs": {"num": 3, "root": None},
        "files": {
            "empty": {"size": 0, "sha256": hashlib.sha256(b"").hexdigest()},
            "scores/a.txt": {"size": 3, "sha256": hashlib.sha256(b"abc").hexdigest()},
        },
        "host": socket.gethostname(),
        "code_version": "0.1.0",
    }


def test_a_hit_says_what_was_saved(cache):
    first = cache.get("images", {"num": 3}, lambda folder: time.sleep(0.05))
    again = cache.get("images", {"num": 3}, refuse)
    assert (first.outcome, again.outcome) == ("miss", "hit")
    assert again.seconds == first.seconds >= 0.05


@pytest.mark.parametrize("stage", ["../x", "a/b", "", ".", "..", "/x", "a.b", "a\n", "-a", "é"])
def test_a_stage_whose_name_could_leave_the_folder_is_refused(cache, stage):
    with pytest.raises(ValueError, match="name of a stage"):
        cache.get(stage, {}, refuse)
    assert not cache.root.exists()


def test_a_stage_holds_files_and_folders_only(cache, tmp_path):
    (tmp_path / "outside").touch()
    with pytest.raises(ValueError, match=r"link cannot be part of a stage"):
        cache.get("images", {}, lambda folder: (folder / "link").symlink_to(tmp_path / "outside"))
    with pytest.raises(ValueError, match=r"stage\.json cannot be part of a stage"):
        cache.get("images", {}, lambda folder: (folder / "stage.json").touch())
    assert everything_under(cache.root) == ["images"]


def test_compute_gets_an_empty_folder_that_is_not_yet_the_stages(cache):
    seen = []

    def compute(folder):
        seen.append((folder, list(folder.iterdir())))

    entry = cache.get("images", {}, compute)
    assert seen[0][1] == []
    assert seen[0][0] != entry.path
    assert not seen[0][0].exists()


def test_other_inputs_and_other_stages_are_computed_apart(cache):
    entries = [
        cache.get("images", {"num": 3}, write("a")),
        cache.get("images", {"num": 4}, write("b")),
        cache.get("poses", {"num": 3}, write("c")),
    ]
    assert "hit" not in {entry.outcome for entry in entries}
    assert [(e.path / "content.txt").read_text() for e in entries] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("stage", "inputs"),
    [
        ("images", {"num": 4, "root": None}),
        ("images", {"num": 3}),
        ("images", {"num": 3, "root": "x"}),
        ("images", {"num": "3", "root": None}),
        ("images", {"num": 3.5, "root": None}),
        ("image", {"num": 3, "root": None}),
        ("images", {"nums": 3, "root": None}),
        ("images", {"num": 3, "root": {"a": 1}}),
    ],
)
def test_the_key_changes_with_everything_it_hashes(stage, inputs):
    assert stage_key(stage, inputs) != stage_key("images", {"num": 3, "root": None})


def test_the_key_does_not_depend_on_the_order_of_the_inputs():
    first = {"a": 1, "b": {"c": 2, "d": 3}}
    second = {"b": {"d": 3, "c": 2}, "a": 1}
    assert list(first) != list(second)
    assert stage_key("images", first) == stage_key("images", second)


def test_the_key_is_the_same_in_every_process():
    assert stage_key("images", {"num": 3, "root": None}) == "7c243b9082774b1e"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=5) | st.integers(0, 20), JSON, max_size=4))
def test_a_key_is_that_of_what_a_manifest_gives_back(inputs):
    assert stage_key("images", inputs) == stage_key("images", json.loads(json.dumps(inputs)))


def test_keys_of_inputs_survive_the_way_to_disk_and_back(cache):
    inputs = {"by_number": {10: "a", 9: "b"}, "pair": (1, 2)}
    cache.get("images", inputs, write("hello"))
    assert cache.get("images", inputs, refuse).outcome == "hit"
    assert cache.get("images", json.loads(json.dumps(inputs)), refuse).outcome == "hit"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_inputs_that_json_cannot_write_are_refused(cache, value):
    with pytest.raises(ValueError, match="JSON"):
        cache.get("images", {"x": value}, refuse)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_failing_compute_leaves_nothing_and_a_later_call_works(cache, error):
    def fail(folder):
        (folder / "half.txt").write_text("half")
        raise error

    with pytest.raises(type(error)):
        cache.get("images", {"num": 3}, fail)
    assert everything_under(cache.root) == ["images"]
    entry = cache.get("images", {"num": 3}, write("whole"))
    assert entry.outcome != "hit"
    assert everything_under(entry.path) == ["content.txt", "stage.json"]


def test_the_cache_travels_to_other_processes(cache):
    entry = cache.get("images", {"num": 3}, write("hello"))
    copy = pickle.loads(pickle.dumps(cache))
    assert copy.get("images", {"num": 3}, refuse).path == entry.path


def test_threads_that_race_compute_once(cache):
    num = 4
    calls, entries = [], []
    start = threading.Barrier(num)

    def compute(folder):
        calls.append(folder)
        time.sleep(0.1)
        (folder / "content.txt").write_text("hello")

    def work():
        start.wait()
        entries.append(cache.get("images", {"num": 3}, compute))

    threads = [threading.Thread(target=work) for _ in range(num)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert sorted(entry.outcome for entry in entries) == ["hit"] * (num - 1) + ["miss"]
    assert {(entry.path / "content.txt").read_text() for entry in entries} == {"hello"}


def test_stages_of_different_keys_do_not_wait_for_each_other(cache):
    inside = threading.Event()
    release = threading.Event()

    def slow(folder):
        inside.set()
        assert release.wait(10)

    thread = threading.Thread(target=cache.get, args=("images", {"num": 1}, slow))
    thread.start()
    assert inside.wait(10)
    assert cache.get("images", {"num": 2}, write("other")).outcome != "hit"
    release.set()
    thread.join()
    assert cache.get("images", {"num": 1}, refuse).outcome == "hit"


def flip(path):
    """Change one bit of a file, and nothing else that stat shows but the time of the change."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def edit(change):
    def damage(folder):
        manifest = json.loads((folder / "stage.json").read_text())
        change(manifest)
        (folder / "stage.json").write_text(json.dumps(manifest))

    return damage


def outside(manifest):
    manifest["files"]["../content.txt"] = manifest["files"].pop("content.txt")


DAMAGES = {
    "one bit flipped": lambda folder: flip(folder / "content.txt"),
    "truncated": lambda folder: os.truncate(folder / "content.txt", 2),
    "longer": lambda folder: (folder / "content.txt").write_text("hello and more"),
    "missing": lambda folder: (folder / "content.txt").unlink(),
    "a folder in place of a file": lambda folder: (
        (folder / "content.txt").unlink(),
        (folder / "content.txt").mkdir(),
    ),
    "no manifest": lambda folder: (folder / "stage.json").unlink(),
    "half a manifest": lambda folder: os.truncate(folder / "stage.json", 40),
    "an empty manifest": lambda folder: os.truncate(folder / "stage.json", 0),
    "a manifest that is not text": lambda folder: (folder / "stage.json").write_bytes(b"\xff\x00"),
    "a manifest that is a list": lambda folder: (folder / "stage.json").write_text("[1]"),
    "a manifest that is a folder": lambda folder: (
        (folder / "stage.json").unlink(),
        (folder / "stage.json").mkdir(),
    ),
    "other inputs": edit(lambda manifest: manifest["inputs"].update(num=4)),
    "another key": edit(lambda manifest: manifest.update(key="0" * 16)),
    "another stage": edit(lambda manifest: manifest.update(stage="poses")),
    "no files": edit(lambda manifest: manifest.pop("files")),
    "an unknown field": edit(lambda manifest: manifest.update(more=1)),
    "a file outside the folder": edit(outside),
    "text for a size": edit(lambda m: m["files"]["content.txt"].update(size="5")),
    "text for the seconds": edit(lambda manifest: manifest.update(seconds="1")),
    "a file in place of the folder": lambda folder: (shutil.rmtree(folder), folder.touch()),
    "an empty folder": lambda folder: (shutil.rmtree(folder), folder.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_computed_again(cache, damage):
    first = cache.get("images", {"num": 3}, write("hello"))
    (first.path.parent / "content.txt").write_text("hello")  # for the file outside the folder
    damage(first.path)
    second = cache.get("images", {"num": 3}, write("hello"))
    assert second.outcome == "repaired"
    assert second.path == first.path
    assert (second.path / "content.txt").read_text() == "hello"
    (first.path.parent / "content.txt").unlink()
    key = first.key
    assert everything_under(cache.root) == [
        "images", f"images/{key}", f"images/{key}/content.txt", f"images/{key}/stage.json",
    ]  # fmt: skip
    assert cache.get("images", {"num": 3}, refuse).outcome == "hit"


def test_the_log_says_what_was_damaged(cache, caplog):
    entry = cache.get("images", {"num": 3}, write("hello"))
    flip(entry.path / "content.txt")
    cache.get("images", {"num": 3}, write("hello"))
    assert f"{entry.path / 'content.txt'} is damaged" in caplog.text
    assert len(caplog.records) == 1


def test_a_process_that_maps_a_damaged_entry_keeps_its_files(cache):
    entry = cache.get("images", {"num": 3}, write("hello"))
    with (entry.path / "content.txt").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    os.truncate(entry.path / "stage.json", 0)
    assert cache.get("images", {"num": 3}, write("other")).outcome == "repaired"
    assert mapped[:] == b"hello"


def test_a_repair_that_fails_leaves_no_entry_and_a_later_call_repairs_by_computing(cache):
    entry = cache.get("images", {"num": 3}, write("hello"))
    flip(entry.path / "content.txt")

    def fail(folder):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.get("images", {"num": 3}, fail)
    assert everything_under(cache.root) == ["images"]
    assert cache.get("images", {"num": 3}, write("hello")).outcome == "miss"


def test_what_cannot_be_read_for_another_reason_is_an_error_with_the_path(cache):
    entry = cache.get("images", {"num": 3}, write("hello"))
    (entry.path / "content.txt").unlink()
    (entry.path / "content.txt").symlink_to("content.txt")
    with pytest.raises(StageError) as found:
        cache.get("images", {"num": 3}, refuse)
    reason = os.strerror(errno.ELOOP)
    assert str(found.value) == f"{entry.path / 'content.txt'} cannot be read: {reason}"


def test_a_cache_that_cannot_be_created_is_an_error_with_the_path(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StageError, match=r"file/images cannot be created: Not a directory"):
        DiskStageCache(tmp_path / "file").get("images", {}, refuse)


def test_a_claim_is_published_later(cache):
    claim = cache.claim("pretrain", {"epochs": 2})
    assert claim.entry is None
    assert not (cache.root / "pretrain" / stage_key("pretrain", {"epochs": 2})).exists()
    entry = claim.publish(write("weights"), seconds=12.5)
    assert (entry.outcome, entry.seconds) == ("miss", 12.5)
    assert claim.entry == entry
    found = cache.claim("pretrain", {"epochs": 2}).entry
    assert (found.outcome, found.seconds, found.path) == ("hit", 12.5, entry.path)
    assert everything_under(cache.root / "pretrain") == [
        entry.key, f"{entry.key}/content.txt", f"{entry.key}/stage.json",
    ]  # fmt: skip


def test_a_claim_that_is_let_go_is_anothers(cache):
    with cache.claim("pretrain", {}) as claim:
        assert claim.entry is None
    with pytest.raises(ValueError, match="not claimed"):
        claim.publish(refuse)
    claim.release()
    assert cache.get("pretrain", {}, write("weights")).outcome == "miss"


def test_a_claim_survives_files_that_could_not_be_written(cache):
    def fail(folder):
        (folder / "half.pt").touch()
        raise OSError("no")

    with cache.claim("pretrain", {}) as claim:
        with pytest.raises(OSError, match="no"):
            claim.publish(fail)
        assert claim.publish(write("weights")).outcome == "miss"
        with pytest.raises(ValueError, match="finished"):
            claim.publish(refuse)


def test_a_wait_can_be_stopped_and_says_for_whom_it_was(cache, tmp_path):
    told = []
    waiting = DiskStageCache(cache.root, on_wait=told.append)
    answers = iter([False, False, True])
    with cache.claim("pretrain", {}), pytest.raises(WaitStoppedError, match="pretrain/"):
        waiting.claim("pretrain", {}, should_stop=lambda: next(answers))
    owner = f"process {os.getpid()} on {socket.gethostname()}, since 20"
    assert len(told) == 1
    assert owner in told[0]
    assert waiting.claim("pretrain", {}).entry is None


WRITERS = {
    "plain": lambda path: path.write_bytes(bytes(2_000_000)),
    "numpy": lambda path: np.save(path, np.zeros(2_000_000, np.uint8)),
    "torch": lambda path: torch.save(torch.zeros(500_000), path),
    "images": lambda path: write_store(
        path.parent, "people_clean", ImageRequest("source", 200, 64)
    ),
}


@pytest.mark.faults
@pytest.mark.parametrize("write_file", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(small_disk, write_file):
    cache = DiskStageCache(small_disk / "stages")

    def compute(folder):
        (folder / "first.npy").write_bytes(bytes(200_000))
        write_file(folder / "second.npy")

    with pytest.raises(StageError) as found:
        cache.get("images", {}, compute)
    key = stage_key("images", {})
    assert str(found.value).startswith(f"no space for {cache.root}/images/{key}: ")
    assert re.search(r"full after \d.* [kM]B of it, .* B are free", str(found.value))
    assert everything_under(cache.root) == ["images"]
    assert cache.get("images", {}, write("small")).outcome == "miss"


@pytest.mark.faults
def test_a_stage_waits_for_space_if_it_is_to_and_says_so(small_disk):
    said = []
    cache = DiskStageCache(small_disk / "stages", said.append, waits_for_space=True)
    ballast = fill(small_disk)
    found = []
    waiting = threading.Thread(
        target=lambda: found.append(cache.get("images", {}, write("a" * 10_000)))
    )
    waiting.start()
    waiting.join(2.5)
    assert waiting.is_alive()
    ballast.unlink()
    waiting.join(10)
    assert [entry.outcome for entry in found] == ["miss"]
    assert said
    assert all("waiting until there is space" in sentence for sentence in said)


def test_a_failure_that_is_not_the_disks_stays_what_it_was(cache):
    def compute(folder):
        raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken") as found:
        cache.get("images", {}, compute)
    assert not isinstance(found.value, StageError)


def test_what_a_killed_process_left_behind_is_removed(cache):
    key, other = stage_key("images", {"num": 3}), stage_key("images", {"num": 4})
    for name in (f".{key}.abcd", f".{other}.abcd"):
        (cache.root / "images" / name).mkdir(parents=True)
        (cache.root / "images" / name / "half.npy").touch()
    cache.get("images", {"num": 3}, write("whole"))
    assert not (cache.root / "images" / f".{key}.abcd").exists()
    assert (cache.root / "images" / f".{other}.abcd").exists()  # may still be at work


def test_a_hit_removes_the_lock_file_of_a_process_that_died(cache):
    entry = cache.get("images", {"num": 3}, write("whole"))
    lock = Path(entry.path.parent, f".{entry.key}.lock")
    lock.touch()
    assert cache.get("images", {"num": 3}, refuse).outcome == "hit"
    assert not lock.exists()
