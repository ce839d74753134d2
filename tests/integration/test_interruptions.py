"""Signals to a driver and its process group, and budgets: all is ended in order, and goes on."""

import os
import signal
import time

import psutil
import pytest

from tests.drivers import (
    Driver,
    assert_equal,
    assert_nothing_runs,
    command,
    events,
    outcome,
    run_to_the_end,
)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def interrupt(driver, number, whole_group):
    if whole_group:  # as Ctrl-C, a closed terminal, timeout(1) and job schedulers do
        os.killpg(driver.process.pid, number)
    else:
        driver.process.send_signal(number)


def test_a_signal_ends_a_study_in_order_and_the_command_goes_on(tiny_study, undisturbed, tmp_path):
    signals = [
        (signal.SIGTERM, False, "epoch 2/5"),
        (signal.SIGHUP, True, "starts:"),
    ]
    for number, whole_group, moment in signals:
        with Driver(tiny_study, tmp_path) as driver:
            assert driver.wait_for(moment)
            family = driver.family()
            assert family, "Ray should be running"
            interrupt(driver, number, whole_group)
            assert driver.end(60) == 130, driver.output
        assert psutil.wait_procs(family, timeout=20)[1] == []
        assert_nothing_runs(tmp_path)
        last = events(tmp_path)[-1]
        reason = f"interrupted by {number.name}"
        assert (last["event"], last["state"], last["reason"]) == ("end", "stopped", reason)
        found = outcome(tmp_path)
        stopped = [n for n, end in found["ends"].items() if end[0] == "stopped"]
        assert found["ends"][stopped[0]][1] == reason
        assert [found["optuna"][n][1] for n in stopped] == ["WAITING"]
        assert [found["mlflow"][str(n)][:2] for n in stopped] == [("KILLED", "stopped")]
        assert found["mlflow"]["study"][:2] == ("KILLED", "stopped")
        # What had been reported has been kept, to the last digit.
        assert found["curves"].items() <= undisturbed["curves"].items()
    run_to_the_end(tiny_study, tmp_path)
    assert_equal(outcome(tmp_path), undisturbed)


@pytest.mark.parametrize("pause_s", [0.0, 0.3])
def test_a_second_interrupt_ends_the_driver_at_once_and_the_trials_even_so(
    tiny_study, undisturbed, tmp_path, pause_s
):
    with Driver(tiny_study, tmp_path) as driver:
        assert driver.wait_for("epoch 2/5")
        family = driver.family(with_agents=False)
        interrupt(driver, signal.SIGINT, whole_group=False)
        time.sleep(pause_s)
        interrupt(driver, signal.SIGINT, whole_group=False)
        assert driver.end(60) == 130, driver.output
    assert psutil.wait_procs(family, timeout=20)[1] == []
    ledger = events(tmp_path)
    started = {event["number"] for event in ledger if event["event"] == "run"}
    ended = {event["number"] for event in ledger if event["event"] == "finished"}
    assert started == ended
    assert ledger[-1]["event"] == "end"
    if pause_s:
        run_to_the_end(tiny_study, tmp_path)
        assert_equal(outcome(tmp_path), undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_ray_starts_is_heard(tiny_study, tmp_path, number):
    with Driver(tiny_study, tmp_path) as driver:
        assert driver.wait_for("study tiny in")
        deadline = time.monotonic() + 60
        while not any("raylet" in command(process) for process in driver.family()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        interrupt(driver, number, whole_group=True)
        assert driver.end(60) == 130, driver.output
    assert events(tmp_path)[-1]["reason"] == f"interrupted by {number.name}"
    assert_nothing_runs(tmp_path)
