"""The stage cache: hits, keys, failures, races, and holders that die."""

import json
import multiprocessing
import os
import pickle
import signal
import threading
import time

import pytest

from harness.stages import StageCache, stage_key

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def cache(tmp_path):
    return StageCache(tmp_path / "stages")


def write(text):
    def compute(folder):
        (folder / "content.txt").write_text(text)

    return compute


def refuse(folder):
    raise AssertionError("computed a stage that was there")


def names_under(root):
    """Relative paths of everything below a folder but the lock files."""
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.suffix != ".lock")


def test_the_first_call_computes_and_the_second_hits(cache):
    first = cache.get("images", {"num": 3}, write("hello"))
    assert not first.hit
    assert (first.path / "content.txt").read_text() == "hello"
    second = cache.get("images", {"num": 3}, refuse)
    assert second.hit
    assert (second.path, second.key) == (first.path, first.key)


def test_a_stage_lies_under_its_name_and_key_with_its_description(cache):
    entry = cache.get("images", {"num": 3, "root": None}, write("hello"))
    assert entry.path == cache.root / "images" / entry.key
    assert entry.key == stage_key("images", {"num": 3, "root": None})
    description = json.loads((entry.path / "stage.json").read_text())
    assert description == {
        "stage": "images",
        "key": entry.key,
        "inputs": {"num": 3, "root": None},
    }


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
    assert not any(entry.hit for entry in entries)
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
    assert names_under(cache.root) == ["images"]
    entry = cache.get("images", {"num": 3}, write("whole"))
    assert not entry.hit
    assert names_under(entry.path) == ["content.txt", "stage.json"]


def test_a_compute_that_cannot_be_described_leaves_nothing(cache, monkeypatch):
    monkeypatch.setattr("harness.stages._DESCRIPTION", "missing/stage.json")
    with pytest.raises(FileNotFoundError):
        cache.get("images", {}, write("hello"))
    assert names_under(cache.root) == ["images"]


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
    assert sorted(entry.hit for entry in entries) == [False] + [True] * (num - 1)
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
    assert not cache.get("images", {"num": 2}, write("other")).hit
    release.set()
    thread.join()
    assert cache.get("images", {"num": 1}, refuse).hit


def count_and_write(folder):
    """Note in the folder of the whole cache that a computation has started."""
    with (folder.parents[1] / "starts.txt").open("a") as file:
        file.write("x")
    time.sleep(0.3)
    (folder / "content.txt").write_text("hello")


def race(root, barrier, hits):
    barrier.wait()
    hits.put(StageCache(root).get("images", {"num": 3}, count_and_write).hit)


def test_processes_that_race_compute_once(cache):
    cache.root.mkdir()
    barrier, hits = SPAWN.Barrier(2), SPAWN.Queue()
    processes = [SPAWN.Process(target=race, args=(cache.root, barrier, hits)) for _ in range(2)]
    for process in processes:
        process.start()
    results = sorted(hits.get(timeout=30) for _ in processes)
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert results == [False, True]
    assert (cache.root / "starts.txt").read_text() == "x"


def hold(root, taken):
    def compute(folder):
        (folder / "half.npy").touch()
        taken.set()
        time.sleep(60)

    StageCache(root).get("images", {"num": 3}, compute)


@pytest.mark.faults
def test_the_lock_of_a_killed_holder_is_released_and_its_half_stage_removed(cache):
    taken = SPAWN.Event()
    holder = SPAWN.Process(target=hold, args=(cache.root, taken))
    holder.start()
    assert taken.wait(30)
    waiting = threading.Event()
    entries = []

    def work():
        waiting.set()
        entries.append(cache.get("images", {"num": 3}, write("whole")))

    thread = threading.Thread(target=work)
    thread.start()
    assert waiting.wait(5)
    time.sleep(0.2)
    assert not entries  # the holder is alive
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(10)
    thread.join(10)
    assert not thread.is_alive()
    assert not entries[0].hit
    assert names_under(cache.root / "images") == [
        entries[0].key,
        f"{entries[0].key}/content.txt",
        f"{entries[0].key}/stage.json",
    ]


def test_what_a_killed_process_left_behind_is_removed(cache):
    key = stage_key("images", {"num": 3})
    other = stage_key("images", {"num": 4})
    for name in (f".{key}.abcd", f".{other}.abcd"):
        (cache.root / "images" / name).mkdir(parents=True)
        (cache.root / "images" / name / "half.npy").touch()
    cache.get("images", {"num": 3}, write("whole"))
    assert not (cache.root / "images" / f".{key}.abcd").exists()
    assert (cache.root / "images" / f".{other}.abcd").exists()  # may still be at work
