"""A driver that is killed at any time; the same command goes on and ends as if it had not been."""

import random
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.drivers import (
    Driver,
    assert_equal,
    assert_nothing_runs,
    events,
    outcome,
    run_to_the_end,
)

ORPHANS_S = 20
"""Ray looks every second whether a worker's raylet is alive."""
REPORT = "  target_val/pck_05 "
"""What every line of an epoch holds."""
PHASES = {
    "is a valid study": "while it loads",
    "study tiny in": "while it opens the databases or starts Ray",
    "at a time": "before the first run",
    REPORT: "while it trains",
    "starts:": "while the worker starts or computes stages",
    "continues after": "while the worker starts again",
    "continues from": "while the worker starts again",
    "complete": "while it trains",
    "pruned": "while it trains",
}
"""The last that a driver said to what it was at."""

# Two studies at once, as most of their time is the start of processes on one core.
pytestmark = pytest.mark.timeout(600)


def phase(driver):
    for line in reversed(driver.lines):
        for words, name in PHASES.items():
            if words in line:
                return name
    return "before its first line"


def kill_at(driver, rng, kind):
    """Kill a driver at a random instant; returns what it was at, None if it ended first.

    ``kind``: anywhere up to the first run, while its worker starts, or while it trains.
    """
    if kind == "start":
        time.sleep(max(0.0, driver.started + rng.uniform(0.5, 12) - time.monotonic()))
    elif kind == "worker":
        driver.wait_for("] run ")
        time.sleep(rng.uniform(0, 6))
    else:
        driver.wait_for(REPORT)
        time.sleep(rng.uniform(0, 0.8))
    at = phase(driver)
    return at if driver.kill() else None


def kill_again_and_again(study, storage, seed, kinds, *arguments):
    """Start and kill a driver as often as there are kinds, then let it end; returns the phases."""
    rng, phases = random.Random(seed), Counter()
    for kind in kinds:
        with Driver(study, storage, *arguments) as driver:
            phases[kill_at(driver, rng, kind) or "after its end"] += 1
    run_to_the_end(study, storage, *arguments)
    return phases


def told(phases):
    return "; ".join(f"{number} {at}" for at, number in sorted(phases.items()))


@pytest.mark.slow
def test_a_second_driver_is_refused_until_the_first_has_died_and_then_ends_its_study(
    tiny_study, undisturbed, tmp_path
):
    with Driver(tiny_study, tmp_path) as first:
        assert first.wait_for("epoch 1/5")
        first.process.send_signal(signal.SIGSTOP)  # it would end before the second has started
        with Driver(tiny_study, tmp_path) as second:
            assert second.end() == 2
        assert f"is being run by process {first.process.pid} on " in second.output
        kinds = Counter(event["event"] for event in events(tmp_path))
        assert (kinds["study"], kinds["resume"], kinds["end"]) == (1, 0, 0)
        first.process.send_signal(signal.SIGCONT)
        assert first.wait_for("epoch 3/5"), "it was not disturbed"
        assert first.kill()
    assert "continues after epoch" in run_to_the_end(tiny_study, tmp_path)
    assert_equal(outcome(tmp_path), undisturbed)


@pytest.mark.faults
def test_a_driver_killed_at_sixteen_instants_ends_as_if_it_had_not(
    tiny_study, undisturbed, tmp_path, capsys
):
    kinds = ["start", "training"] * 2 + ["start", "worker"] * 2
    storages = [tmp_path / "0", tmp_path / "1"]
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(kill_again_and_again, tiny_study, storage, seed, kinds)
            for seed, storage in enumerate(storages)
        ]
        phases = runs[0].result() + runs[1].result()
    with capsys.disabled():
        print(f"\nkilled {phases.total()} drivers (seeds 0, 1): {told(phases)}")
    assert phases.total() == 16
    for storage in storages:
        assert_equal(outcome(storage), undisturbed)
        assert_nothing_runs(storage)


@pytest.mark.faults
def test_two_trials_at_once_killed_four_times_lose_and_repeat_nothing(
    tiny_study, undisturbed, tmp_path, capsys
):
    kinds = ["training", "worker", "start", "training"]
    phases = kill_again_and_again(tiny_study, tmp_path, 2, kinds, "--set", "resources.parallel=2")
    with capsys.disabled():
        print(f"\nkilled {phases.total()} drivers (seed 2): {told(phases)}")
    assert_nothing_runs(tmp_path)
    found = outcome(tmp_path)
    assert sorted(found["runs"]) == list(range(5))
    assert {state for state, _, _ in found["ends"].values()} <= {"complete", "pruned"}
    assert {trial[1] for trial in found["optuna"]} <= {"COMPLETE", "PRUNED"}
    for number, (state, _, _) in found["ends"].items():
        steps = [step for run, step in found["curves"] if run == number]
        assert steps == list(range(1, len(steps) + 1))
        assert state == "pruned" or len(steps) == 5
    # Where they are the same, whatever ran beside it, they have the same curve.
    assert found["runs"][0] == undisturbed["runs"][0]
    for step in range(1, 6):
        assert found["curves"][0, step] == undisturbed["curves"][0, step]


@pytest.mark.faults
def test_the_workers_of_a_killed_driver_do_not_outlive_it(tiny_study, tmp_path):
    """They could otherwise write into the folders of runs that go on."""
    with Driver(tiny_study, tmp_path, "--set", "fixed.adapt.epochs=500") as driver:
        assert driver.wait_for("epoch 2/501")
        family = driver.family(with_agents=False)
        # Between two epochs a worker calls itself idle.
        assert any(member.cmdline()[0].startswith("ray::") for member in family)
        driver.kill()
        assert psutil.wait_procs(family, timeout=ORPHANS_S)[1] == []
    before = events(tmp_path)
    with Driver(tiny_study, tmp_path, "--set", "fixed.adapt.epochs=500") as driver:
        assert driver.wait_for("continues after epoch")
        assert driver.wait_for(REPORT)
    after = events(tmp_path)
    assert after[: len(before)] == before
