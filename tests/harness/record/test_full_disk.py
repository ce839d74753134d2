"""A full disk is told of once, waited for, and given up when asked to."""

import errno
import os
import threading
import time

import pytest

from harness.record.full_disk import FullDisk, StillFullError, write_whole
from tests.small_disk import fill


def failing(*errors):
    """Raise these errors, one a call, then return."""
    left = list(errors)

    def call():
        if left:
            raise OSError(left.pop(0), "said the disk")
        return "done"

    return call


def test_what_finds_no_space_is_called_again_and_a_person_told_once(tmp_path):
    said = []
    disk = FullDisk(tmp_path, said.append)
    assert disk.insist(failing(errno.ENOSPC, errno.EDQUOT)) == "done"
    assert said == [f"no space for {tmp_path}; waiting until there is some"]


def test_another_error_is_raised_at_once(tmp_path):
    with pytest.raises(OSError, match="said the disk") as found:
        FullDisk(tmp_path).insist(failing(errno.EIO))
    assert not isinstance(found.value, StillFullError)


def test_a_wait_that_is_given_up_says_so(tmp_path):
    disk = FullDisk(tmp_path, gives_up=lambda: True)
    with pytest.raises(StillFullError, match=f"no space for {tmp_path}"):
        disk.insist(failing(errno.ENOSPC))


@pytest.mark.faults
def test_a_real_disk_is_found_full_and_then_not(small_disk):
    said = []
    disk = FullDisk(small_disk, said.append)
    assert not disk.look()
    ballast = fill(small_disk)
    waiting = threading.Thread(target=disk.wait)
    time.sleep(1.1)
    waiting.start()
    waiting.join(1.5)
    assert waiting.is_alive()
    ballast.unlink()
    waiting.join(5)
    assert not waiting.is_alive()
    assert len(said) == 1


@pytest.mark.faults
def test_of_a_line_that_does_not_fit_nothing_stays(small_disk):
    file = os.open(small_disk / "lines", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    write_whole(file, b"one\n", synced=True)
    ballast = fill(small_disk)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, bytes(100_000), synced=False)
    assert (small_disk / "lines").read_bytes() == b"one\n"
    ballast.unlink()
    write_whole(file, b"two\n", synced=True)
    os.close(file)
    assert (small_disk / "lines").read_bytes() == b"one\ntwo\n"
