"""The command line of the stage cache: what is listed, what is removed, what is refused."""

import json
import multiprocessing
import os
import shutil
import signal
import time

import pytest

from harness.stage_cache.cache import DiskStageCache
from harness.stages import main

CHILDREN = multiprocessing.get_context("forkserver")
DAY_S = 86400


def write(num_bytes):
    return lambda folder: (folder / "content.bin").write_bytes(bytes(num_bytes))


@pytest.fixture
def storage(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def cache(storage):
    """A cache with three entries that no process uses, used 9, 5 and 1 days ago."""
    cache = DiskStageCache(storage / "stages")
    inputs = {"version": 2, "domain": "people_wild", "num": 4000, "root": None, "splits": ["a"]}
    for i, (stage, num_bytes) in enumerate(
        [("images", 3000), ("images", 2000), ("pose_vae", 500)]
    ):
        entry = cache.get(stage, {**inputs, "seed": i}, write(num_bytes))
        cache.release(entry)
        used = time.time() - (9 - 4 * i) * DAY_S
        os.utime(entry.path / "stage.json", (used, used))
    return cache


@pytest.fixture
def run(storage, capsys):
    """Run the command line on the storage; returns its exit code and its lines."""

    def run(*arguments):
        try:
            code = main(["--storage", str(storage), *arguments])
        except SystemExit as end:  # argparse's own
            code = end.code
        out, err = capsys.readouterr()
        return code, (out + err).splitlines()

    return run


@pytest.fixture
def names(cache):
    """Numbers, in the order of creation, of the entries that are there."""

    def names():
        found = [json.loads(path.read_text()) for path in cache.root.glob("*/[!.]*/stage.json")]
        return sorted(manifest["inputs"]["seed"] for manifest in found)

    return names


def folder_of(cache, seed):
    for path in cache.root.glob("*/[!.]*/stage.json"):
        if json.loads(path.read_text())["inputs"]["seed"] == seed:
            return path.parent
    raise AssertionError(seed)


def test_a_list_has_a_line_for_each_entry_with_its_inputs_in_words(cache, run):
    code, lines = run("list")
    assert code == 0
    assert lines[0].split() == [
        "stage",
        "key",
        "size",
        "computed",
        "in",
        "last",
        "used",
        "age",
        "inputs",
    ]
    first = folder_of(cache, 0)
    assert lines[1].startswith(f"images    {first.name}  3 kB   ")
    assert "9 d ago" in lines[1]
    assert lines[1].endswith("domain people_wild, num 4000, seed 0")
    assert [line.split()[0] for line in lines[1:]] == ["images", "images", "pose_vae"]


def test_a_list_as_json_has_all_of_the_manifest(cache, run):
    code, lines = run("list", "--json")
    entries = json.loads("".join(lines))
    assert code == 0
    assert [entry["size"] for entry in entries] == [3000, 2000, 500]
    assert entries[0]["path"] == str(folder_of(cache, 0))
    assert entries[0]["inputs"]["domain"] == "people_wild"
    assert entries[0]["damage"] is None
    assert {"seconds", "created", "last_used", "host", "code_version"} < set(entries[0])


def test_a_list_of_an_empty_storage_is_empty(storage, run):
    storage.mkdir()
    assert run("list", "--json") == (0, ["[]"])


def test_listing_is_not_using(cache, run):
    path = folder_of(cache, 0) / "stage.json"
    before = path.stat().st_mtime_ns
    run("list", "--verify")
    assert path.stat().st_mtime_ns == before


def test_asking_for_an_entry_is_using_it(cache):
    path = folder_of(cache, 0)
    inputs = json.loads((path / "stage.json").read_text())["inputs"]
    before = time.time()
    assert cache.get("images", inputs, write(0)).outcome == "hit"
    assert (path / "stage.json").stat().st_mtime >= before - 1


def test_content_is_verified_only_when_asked_for(cache, run):
    path = folder_of(cache, 1) / "content.bin"
    path.write_bytes(b"x" * 2000)
    assert not any("damaged" in line for line in run("list")[1])
    code, lines = run("list", "--verify")
    assert code == 0
    assert lines[-1] == f"damaged: {path} is damaged: its content does not match its SHA-256"


def test_a_wrong_size_and_a_broken_manifest_show_without_reading(cache, run):
    (folder_of(cache, 0) / "content.bin").write_bytes(b"x")
    (folder_of(cache, 2) / "stage.json").write_text("{")
    damaged = [line for line in run("list")[1] if line.startswith("damaged: ")]
    assert len(damaged) == 2
    assert "has 1 bytes, not 3000" in damaged[0]
    assert "is not a manifest" in damaged[1]


def test_sizes_add_up(cache, run):
    code, lines = run("size", "--json")
    found = json.loads("".join(lines))
    assert code == 0
    assert found["stages"] == {
        "images": {"entries": 2, "size": 5000},
        "pose_vae": {"entries": 1, "size": 500},
    }
    assert found["total"] == {"entries": 3, "size": 5500}
    assert 0 < found["free"] <= shutil.disk_usage(cache.root).total
    assert [line.split()[0] for line in run("size")[1]] == ["images", "pose_vae", "total", "free"]


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        (["--older-than", "7d"], [1, 2]),
        (["--older-than", "2d"], [2]),
        (["--older-than", "100h"], [2]),
        (["--larger-than-total", "5.5kB"], [0, 1, 2]),
        (["--larger-than-total", "5499B"], [1, 2]),
        (["--larger-than-total", "2KiB"], [2]),
        (["--larger-than-total", "0B"], []),
        (["--stage", "images"], [2]),
        (["--stage", "images", "--older-than", "7d"], [1, 2]),
        (["--stage", "images", "--larger-than-total", "2kB"], [1, 2]),
        (["--older-than", "7d", "--larger-than-total", "1kB"], [2]),
        (["--damaged"], [0, 1, 2]),
        (["--all"], []),
        (["--all", "--stage", "pose_vae"], [0, 1]),
        ([], [0, 1, 2]),
    ],
)
def test_what_falls_under_a_rule_goes_and_the_rest_stays(cache, run, names, rules, left):
    dry_code, dry = run("prune", *rules, "--dry-run")
    assert names() == [0, 1, 2]
    code, lines = run("prune", *rules)
    assert (dry_code, code) == (0, 0)
    assert names() == left
    assert [line.replace("would remove", "removed") for line in dry[:-1]] == lines[:-1]
    stage = rules[rules.index("--stage") + 1] if "--stage" in rules else "all"
    num_kept = len(set(left) & {"images": {0, 1}, "pose_vae": {2}, "all": {0, 1, 2}}[stage])
    assert lines[-1].startswith(f"{3 - len(left)} removed, {num_kept} kept")
    assert not list(cache.root.glob("*/.*"))


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ([], "no rule was given; the rules are --older-than, --larger-than-total, --damaged, "),
        (["--older-than", "30d"], "used within the last 30 d), 0 B freed"),
        (["--larger-than-total", "1MB"], "within a total of 1 MB), 0 B freed"),
        (["--damaged", "--older-than", "30d"], "used within the last 30 d and undamaged), 0 B "),
    ],
)
def test_the_last_line_says_what_was_kept_and_why(run, names, rules, why):
    code, lines = run("prune", *rules)
    assert code == 0
    assert len(lines) == 1
    assert lines[0].startswith(f"0 removed, 3 kept ({why}")
    assert names() == [0, 1, 2]


def test_the_damaged_are_found_and_removed(cache, run, names):
    (folder_of(cache, 0) / "content.bin").unlink()
    (folder_of(cache, 1) / "content.bin").write_bytes(b"x" * 2000)
    code, lines = run("prune", "--damaged", "--json")
    found = json.loads("".join(lines))
    assert code == 0
    assert [item["kept"] for item in found["items"]] == [None, None, "undamaged"]
    assert found["items"][0]["why"].endswith("content.bin is missing")
    assert names() == [2]


def test_an_entry_that_is_used_here_stays_until_it_is_released(cache, run, names):
    path = folder_of(cache, 0)
    inputs = json.loads((path / "stage.json").read_text())["inputs"]
    entry = cache.get("images", inputs, write(0))
    code, lines = run("prune", "--all")
    assert code == 0
    assert f"kept images/{path.name} (3 kB): in use by a running process" in lines
    assert lines[-1] == "2 removed, 1 kept (in use by a running process), 2.5 kB freed"
    assert names() == [0]
    cache.release(entry)
    run("prune", "--all")
    assert names() == []


def test_an_entry_that_was_computed_here_is_in_use_here(cache, run, names):
    entry = cache.get("images", {"seed": 9}, write(10))
    run("prune", "--all")
    assert names() == [9]
    cache.release(entry)


def test_another_goes_for_the_total_in_place_of_one_in_use(cache, run, names):
    inputs = json.loads((folder_of(cache, 0) / "stage.json").read_text())["inputs"]
    entry = cache.get("images", inputs, write(0))
    used = time.time() - 20 * DAY_S
    os.utime(entry.path / "stage.json", (used, used))
    run("prune", "--larger-than-total", "4kB")
    assert names() == [0, 2]
    cache.release(entry)


def use(root, inputs, ready):
    DiskStageCache(root).get("images", inputs, write(0))
    ready.set()
    time.sleep(60)


@pytest.mark.faults
def test_an_entry_in_use_by_another_process_stays_until_that_dies(cache, run, names):
    inputs = json.loads((folder_of(cache, 1) / "stage.json").read_text())["inputs"]
    ready = CHILDREN.Event()
    user = CHILDREN.Process(target=use, args=(cache.root, inputs, ready))
    user.start()
    assert ready.wait(30)
    assert any("in use by a running process" in line for line in run("prune", "--all")[1])
    assert names() == [1]
    os.kill(user.pid, signal.SIGKILL)
    user.join(10)
    run("prune", "--all")
    assert names() == []


def test_a_stage_being_computed_is_neither_removed_nor_called_litter(cache, run, names):
    seen = []

    def compute(folder):
        (folder / "half.npy").touch()
        seen.append(run("prune", "--all"))
        assert (folder / "half.npy").exists()

    entry = cache.get("images", {"seed": 9}, compute)
    assert seen[0][1][-1].startswith("3 removed, 0 kept")
    assert names() == [9]
    cache.release(entry)


def test_a_damaged_entry_that_is_being_repaired_stays(cache, run):
    (folder_of(cache, 0) / "content.bin").unlink()
    path = folder_of(cache, 0)
    inputs = json.loads((path / "stage.json").read_text())["inputs"]
    with cache.claim("images", inputs) as claim:
        lines = run("prune", "--damaged")[1]
        assert lines[0].startswith(f"kept images/{path.name} (")
        assert f"being computed by process {os.getpid()} on " in lines[0]
        cache.release(claim.publish(write(3000)))
    assert not list(cache.root.glob("*/.*"))


@pytest.mark.parametrize("is_dry", [False, True])
def test_what_killed_processes_left_is_removed(cache, run, names, is_dry):
    key = folder_of(cache, 0).name
    left = [cache.root / "images" / f".{k}.lock" for k in (key, "0123456789abcdef")]
    left.append(cache.root / "images" / ".0123456789abcdef.11aa22bb" / "half.npy")
    left[-1].parent.mkdir()
    for path in left:
        path.touch()
    foreign = [cache.root / "images" / name for name in ("notes.txt", ".hidden")]
    for path in foreign:
        path.touch()
    lines = run("prune", *(["--dry-run"] if is_dry else []))[1]
    assert sum("left by a killed process" in line for line in lines) == 3
    assert all(path.exists() == is_dry for path in left)
    assert all(path.exists() for path in foreign)
    assert names() == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["prune", "--older-than", "7 days"],
            "must be a duration such as 90s, 30m, 12h, 7d or 2w",
        ),
        (["prune", "--older-than", "-7d"], "expected one argument"),
        (["prune", "--larger-than-total", "10"], "must be a size such as 500MB, 10GB or 10GiB"),
        (["prune", "--stage", "image"], "which has images, pose_vae"),
        (["prune", "--stage", "../runs"], "no such stage"),
        (["list", "--storage", "/nowhere"], "--storage /nowhere: no such folder"),
        (["burn"], "invalid choice"),
        ([], "required: command"),
    ],
)
def test_bad_arguments_are_one_sentence_and_exit_code_2(cache, run, names, arguments, sentence):
    code, lines = run(*arguments)
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert sentence in lines[0]
    assert names() == [0, 1, 2]


def test_bins_of_a_study_that_is_not_there_are_refused(cache, run, storage, tmp_path):
    code, lines = run("bins", "absent", "--out", str(tmp_path / "bins.png"))
    assert code == 2
    assert len(lines) == 1
    assert "has no study yet" in lines[0]
    ledger = storage / "studies" / "there" / "events.jsonl"
    ledger.parent.mkdir(parents=True)
    ledger.write_text("")
    _, (line,) = run("bins", "absent", "--out", str(tmp_path / "bins.png"))
    assert "no study named absent in" in line
    assert "known: there" in line
