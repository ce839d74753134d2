"""A process that hangs is ended, whatever it hangs in, and leaves where that was."""

import subprocess
import sys
import textwrap

import pytest

from trainables.watchdog import NOTE, Watchdog

LIMIT_S = 0.5


def run(folder, body):
    """Run lines beside a watchdog of half a second in a process of its own."""
    program = f"""
        import ctypes, re, time
        from pathlib import Path
        from trainables.watchdog import Watchdog

        def hold_the_interpreter():
            ctypes.PyDLL(None).sleep(60)  # a C function that never gives the lock back

        def wait_for_ever():
            time.sleep(60)

        def backtrack():
            re.match("(a+)+$", "a" * 40 + "b")

        watchdog = Watchdog(Path({str(folder)!r}), {LIMIT_S})
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program) + textwrap.dedent(body)],
        capture_output=True,
        text=True,
        timeout=50,
    )


@pytest.mark.faults
@pytest.mark.parametrize("where", ["hold_the_interpreter", "wait_for_ever", "backtrack"])
def test_a_process_that_hangs_is_ended_and_leaves_a_note_of_where(tmp_path, where):
    ended = run(tmp_path, f"watchdog.watch()\n{where}()\nprint('went on')")
    assert ended.returncode == 1
    assert "went on" not in ended.stdout
    note = (tmp_path / NOTE).read_text()
    assert "Timeout" in note
    assert f" in {where}" in note


@pytest.mark.faults
def test_signs_of_life_keep_a_process_that_takes_longer(tmp_path):
    body = f"""
        for _ in range(8):
            watchdog.watch()
            time.sleep({LIMIT_S} / 4)
        print("went on")
    """
    ended = run(tmp_path, body)
    assert (ended.returncode, ended.stdout) == (0, "went on\n")


@pytest.mark.faults
@pytest.mark.parametrize("rests", ["rest", "close"])
def test_a_process_that_rests_may_take_its_time(tmp_path, rests):
    ended = run(
        tmp_path, f"watchdog.watch()\nwatchdog.{rests}()\ntime.sleep(2 * {LIMIT_S})\nprint('on')"
    )
    assert (ended.returncode, ended.stdout) == (0, "on\n")


def test_nothing_is_left_of_a_process_that_did_not_hang(tmp_path):
    watchdog = Watchdog(tmp_path, 3600.0)
    watchdog.watch()
    watchdog.rest()
    watchdog.close()
    watchdog.close()  # a second time changes nothing
    assert list(tmp_path.iterdir()) == []


def test_without_a_limit_nothing_is_watched_or_written(tmp_path):
    watchdog = Watchdog(tmp_path, None)
    watchdog.watch()
    watchdog.rest()
    watchdog.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.faults
def test_the_next_trial_of_a_process_is_watched_too(tmp_path):
    (tmp_path / "next").mkdir()
    body = f"""
        watchdog.watch()
        watchdog.close()
        Watchdog(Path({str(tmp_path / "next")!r}), {LIMIT_S}).watch()
        wait_for_ever()
    """
    assert run(tmp_path, body).returncode == 1
    assert " in wait_for_ever" in (tmp_path / "next" / NOTE).read_text()
    assert not (tmp_path / NOTE).exists()
