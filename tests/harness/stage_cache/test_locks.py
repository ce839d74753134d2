"""Locks of the stage cache whose files are removed or replaced at the worst moment."""

import fcntl
import os

import pytest

from harness.stage_cache.locks import (
    hold_in_use,
    lock_owner,
    release_in_use,
    sweep_lock,
    try_compute_lock,
    unused,
)
from trainables.stages.protocol import StageError


@pytest.fixture
def just_before_locking(monkeypatch):
    """Let something happen once, between opening a file and locking it."""

    def arrange(happen):
        real, left = fcntl.flock, [happen]

        def flock(descriptor, kind):
            if left:
                left.pop()()
            real(descriptor, kind)

        monkeypatch.setattr(fcntl, "flock", flock)

    return arrange


def test_one_has_the_lock_at_a_time_and_says_who_it_is(tmp_path):
    path = tmp_path / "a.lock"
    lock = try_compute_lock(path)
    assert try_compute_lock(path) is None
    assert lock_owner(path).startswith(f"process {os.getpid()} on ")
    lock.release()
    assert not path.exists()
    assert lock_owner(path) == "another process"
    again = try_compute_lock(path)
    lock.release()  # a second time: it is not its lock any more
    assert path.exists()
    assert again.is_held
    again.release()


def test_a_lock_on_a_file_that_its_holder_removed_meanwhile_is_no_lock(
    tmp_path, just_before_locking
):
    path = tmp_path / "a.lock"
    path.touch()
    just_before_locking(path.unlink)
    assert try_compute_lock(path) is None
    lock = try_compute_lock(path)
    assert lock.is_held
    lock.release()


def test_a_lock_on_a_file_that_another_replaced_meanwhile_is_no_lock(
    tmp_path, just_before_locking
):
    path = tmp_path / "a.lock"
    path.touch()
    others = []

    def replace():
        path.unlink()
        others.append(try_compute_lock(path))

    just_before_locking(replace)
    assert try_compute_lock(path) is None
    assert others[0].is_held
    assert path.exists()
    others[0].release()


def test_an_entry_that_is_removed_before_it_is_in_use_is_missing(tmp_path, just_before_locking):
    manifest = tmp_path / "stage.json"
    manifest.touch()
    just_before_locking(manifest.unlink)
    with pytest.raises(FileNotFoundError):
        hold_in_use(manifest)


def test_of_an_entry_that_is_replaced_before_it_is_in_use_the_new_one_is(
    tmp_path, just_before_locking
):
    manifest = tmp_path / "stage.json"
    manifest.touch()

    def replace():
        manifest.unlink()
        manifest.touch()

    just_before_locking(replace)
    assert hold_in_use(manifest)
    with unused(manifest) as is_unused:
        assert not is_unused
    release_in_use(manifest)
    with unused(manifest) as is_unused:
        assert is_unused


def test_holding_twice_is_holding_once(tmp_path):
    manifest = tmp_path / "stage.json"
    manifest.touch()
    assert [hold_in_use(manifest), hold_in_use(manifest)] == [True, False]
    release_in_use(manifest)
    release_in_use(manifest)
    with unused(manifest) as is_unused:
        assert is_unused


def test_only_locks_that_nobody_holds_are_swept(tmp_path):
    path = tmp_path / "a.lock"
    assert not sweep_lock(path)
    lock = try_compute_lock(path)
    assert not sweep_lock(path)
    assert path.exists()
    lock.release(leave_file=True)
    assert sweep_lock(path)
    assert not path.exists()


def test_a_file_that_cannot_be_created_to_lock_is_an_error_with_the_path(tmp_path):
    with pytest.raises(StageError, match=r"absent/a\.lock cannot be opened to lock: No such file"):
        try_compute_lock(tmp_path / "absent" / "a.lock")
