"""The stage cache among processes: races, waits, and holders that are killed at any point."""

import contextlib
import multiprocessing
import os
import random
import signal
import threading
import time

import pytest

from harness.stage_cache import cache as stage_cache
from harness.stage_cache.cache import DiskStageCache
from harness.stage_cache.cleaning import PruneRules, prune
from harness.stage_cache.manifest import stage_key

# Children come from a server that has imported the cache alone: a hundredth of a second each.
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["harness.stage_cache.cache", __name__])

FILES = {f"{i}.npy": bytes([i]) * 10_000 for i in range(3)}
POINTS = ("compute", "between files", "before the rename", "after the rename")
NUM_KEYS = 20


@pytest.fixture
def cache(tmp_path):
    return DiskStageCache(tmp_path / "stages")


def fill(folder):
    for name, content in FILES.items():
        (folder / name).write_bytes(content)


def fill_slowly(folder):
    for name, content in FILES.items():
        with (folder / name).open("wb") as file:
            for i in range(0, len(content), 2500):
                file.write(content[i : i + 2500])
                file.flush()
                time.sleep(0.001)


def everything_under(root):
    return sorted(str(p.relative_to(root)) for p in root.rglob("*"))


def assert_only_the_undisturbed_stage(cache, stage, key):
    folder = cache.root / stage / key
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    expected = [key, *(f"{key}/{name}" for name in (*FILES, "stage.json"))]
    assert everything_under(folder.parent) == expected


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    assert process.exitcode == -signal.SIGKILL


class Watch:
    """Looks at a folder again and again: whenever it is there, it must be whole."""

    def __init__(self, folder):
        self._folder, self._is_over, self.partial = folder, threading.Event(), []
        self._thread = threading.Thread(target=self._look)

    def _look(self):
        while not self._is_over.is_set():
            if self._folder.exists():
                found = {path.name: path.stat().st_size for path in self._folder.iterdir()}
                found.pop("stage.json", None)
                if found != {name: len(content) for name, content in FILES.items()}:
                    self.partial.append(found)
            time.sleep(0.0005)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()


def race(root, barrier, outcomes):
    found = []
    for i in range(NUM_KEYS):
        barrier.wait(30)
        cache = DiskStageCache(root)  # its own: two studies share a folder, no more
        found.append(cache.get("images", {"num": i}, fill_slowly).outcome)
    outcomes.put(found)


def test_two_studies_that_race_for_twenty_keys_compute_each_once(cache):
    barrier, outcomes = CHILDREN.Barrier(2), CHILDREN.Queue()
    arguments = (cache.root, barrier, outcomes)
    racers = [CHILDREN.Process(target=race, args=arguments) for _ in range(2)]
    for racer in racers:
        racer.start()
    first, second = outcomes.get(timeout=30), outcomes.get(timeout=30)
    for racer in racers:
        racer.join(30)
        assert racer.exitcode == 0
    assert [sorted(pair) for pair in zip(first, second, strict=True)] == [["hit", "miss"]] * 20
    assert not [name for name in everything_under(cache.root) if "/." in name]


def hold(root, inputs, point, reached):
    """Compute a stage, but say so and stop at a point of it."""

    def stop():
        reached.set()
        time.sleep(60)

    def stop_in_compute(folder):
        (folder / "0.npy").write_bytes(FILES["0.npy"][:100])
        if point == "between files":
            fill(folder)
            (folder / "2.npy").unlink()
        stop()

    publish = stage_cache.publish

    def stop_at_the_rename(partial, folder):
        if point == "after the rename":
            publish(partial, folder)
        stop()

    is_in_compute = point in POINTS[:2]
    if not is_in_compute:
        stage_cache.publish = stop_at_the_rename
    DiskStageCache(root).get("images", inputs, stop_in_compute if is_in_compute else fill)


@pytest.mark.faults
@pytest.mark.parametrize("point", POINTS)
def test_who_waits_for_a_holder_that_is_killed_takes_over(cache, point):
    told, entries = [], []
    waiting = DiskStageCache(cache.root, on_wait=told.append)
    key = stage_key("images", {"num": 3})
    reached = CHILDREN.Event()
    holder = CHILDREN.Process(target=hold, args=(cache.root, {"num": 3}, point, reached))
    holder.start()
    assert reached.wait(30)
    with Watch(cache.root / "images" / key) as watch:
        work = threading.Thread(
            target=lambda: entries.append(waiting.get("images", {"num": 3}, fill))
        )
        work.start()
        if point != "after the rename":  # else it is there, whatever becomes of its holder
            while not told:
                time.sleep(0.001)
            assert f"process {holder.pid} on " in told[0]
            assert not entries
        else:
            work.join(10)
        kill(holder)
        work.join(10)
    assert not watch.partial
    assert entries[0].outcome == ("hit" if point == "after the rename" else "miss")
    assert waiting.get("images", {"num": 3}, fill).outcome == "hit"
    assert_only_the_undisturbed_stage(cache, "images", key)


def compute_slowly(root, inputs, started):
    def compute(folder):
        started.set()
        fill_slowly(folder)

    DiskStageCache(root).get("images", inputs, compute)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(NUM_KEYS))
def test_a_holder_killed_at_any_time_leaves_the_stage_to_another(cache, seed):
    inputs = {"num": seed}
    key = stage_key("images", inputs)
    started = CHILDREN.Event()
    holder = CHILDREN.Process(target=compute_slowly, args=(cache.root, inputs, started))
    holder.start()
    assert started.wait(30)

    def kill_if_alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(holder.pid, signal.SIGKILL)

    timer = threading.Timer(random.Random(seed).uniform(0, 0.03), kill_if_alive)
    with Watch(cache.root / "images" / key) as watch:
        timer.start()
        entry = cache.get("images", inputs, fill_slowly)
        timer.join()
        holder.join(10)
    assert not watch.partial
    assert entry.outcome in {"hit", "miss"}
    assert cache.get("images", inputs, fill).outcome == "hit"
    assert_only_the_undisturbed_stage(cache, "images", key)


def repair_and_stop(root, reached):
    def compute(folder):
        reached.set()
        time.sleep(60)

    DiskStageCache(root).get("images", {}, compute)


@pytest.mark.faults
def test_a_repair_that_is_killed_is_taken_over(cache):
    entry = cache.get("images", {}, fill)
    (entry.path / "0.npy").unlink()
    reached = CHILDREN.Event()
    holder = CHILDREN.Process(target=repair_and_stop, args=(cache.root, reached))
    holder.start()
    assert reached.wait(30)
    kill(holder)
    assert cache.get("images", {}, fill).outcome != "hit"
    assert_only_the_undisturbed_stage(cache, "images", entry.key)


def pretrain(root, claimed, go_on):
    with DiskStageCache(root).claim("pretrain", {}) as claim:
        assert claim.entry is None
        claimed.set()
        assert go_on.wait(30)
        claim.publish(fill)


@pytest.mark.parametrize("asks", [False, True])
def test_who_waits_for_a_claim_gets_what_its_holder_publishes(cache, asks):
    claimed, go_on = CHILDREN.Event(), CHILDREN.Event()
    holder = CHILDREN.Process(target=pretrain, args=(cache.root, claimed, go_on))
    holder.start()
    assert claimed.wait(30)
    waiting = DiskStageCache(cache.root, on_wait=lambda sentence: go_on.set())
    claim = waiting.claim("pretrain", {}, should_stop=(lambda: False) if asks else None)
    holder.join(10)
    assert holder.exitcode == 0
    assert claim.entry.outcome == "hit"
    assert_only_the_undisturbed_stage(cache, "pretrain", claim.entry.key)


def pretrain_with_a_child(root, claimed):
    with DiskStageCache(root).claim("pretrain", {}) as claim:
        child = os.fork()
        if child == 0:
            claim.release()  # not the child's to release
            time.sleep(60)
        claimed.put(child)
        time.sleep(60)


@pytest.mark.faults
def test_the_claim_of_a_killed_process_passes_on_though_its_children_live(cache):
    claimed = CHILDREN.Queue()
    holder = CHILDREN.Process(target=pretrain_with_a_child, args=(cache.root, claimed))
    holder.start()
    child = claimed.get(timeout=30)
    waiting = DiskStageCache(cache.root, on_wait=lambda sentence: kill(holder))
    with waiting.claim("pretrain", {}, should_stop=lambda: False) as claim:
        assert holder.exitcode is not None
        assert claim.entry is None
    os.kill(child, signal.SIGKILL)


@pytest.mark.faults
def test_the_claim_of_a_killed_process_passes_on(cache):
    claimed, never = CHILDREN.Event(), CHILDREN.Event()
    holder = CHILDREN.Process(target=pretrain, args=(cache.root, claimed, never))
    holder.start()
    assert claimed.wait(30)
    waiting = DiskStageCache(cache.root, on_wait=lambda sentence: kill(holder))
    with waiting.claim("pretrain", {}, should_stop=lambda: False) as claim:
        assert claim.entry is None
        assert claim.publish(fill).outcome == "miss"
    assert_only_the_undisturbed_stage(cache, "pretrain", claim.entry.key)


def use_again_and_again(root, wrong):
    cache = DiskStageCache(root)
    for i in range(60):
        entry = cache.get("images", {"num": i % 3}, fill)
        if any((entry.path / name).read_bytes() != FILES[name] for name in FILES):
            wrong.value += 1
        cache.release(entry)


def test_pruning_never_takes_an_entry_from_under_a_reader(cache):
    cache.root.mkdir()
    wrong = CHILDREN.Value("i", 0)
    arguments = (cache.root, wrong)
    readers = [CHILDREN.Process(target=use_again_and_again, args=arguments) for _ in range(2)]
    for reader in readers:
        reader.start()
    num_removed = 0
    while any(reader.is_alive() for reader in readers):
        items = prune(cache.root, PruneRules(everything=True))
        num_removed += sum(item.kept is None for item in items)
    for reader in readers:
        reader.join(10)
        assert reader.exitcode == 0
    assert num_removed > 0
    assert wrong.value == 0
    list(prune(cache.root, PruneRules(everything=True)))
    assert everything_under(cache.root) == ["images"]
