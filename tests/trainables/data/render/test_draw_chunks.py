"""Chunks that several processes draw: in order, and without leftovers however it ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from trainables.data.render.draw_chunks import MIN_CHUNKS, in_order

ROOT = Path(__file__).resolve().parents[4]
NUM = 2 * MIN_CHUNKS
"""Chunks that two processes share."""


def described(index):
    return index, os.getpid(), torch.get_num_threads()


def met(folder, index):
    """Draw only once two processes do; the first chunk is done last."""
    (folder / f"{os.getpid()}").touch()
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2 + (index == 0):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if index == 1:
        (folder / "second").touch()
    return described(index)


def killed(last, index):
    if index == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return index


def refused(index):
    raise ValueError(f"chunk {index} cannot be drawn")


def test_several_processes_draw_in_order_on_one_core_each(tmp_path):
    indices, processes, threads = zip(*in_order(partial(met, tmp_path), NUM, 2), strict=True)
    assert indices == tuple(range(NUM))
    assert len(set(processes)) == 2
    assert os.getpid() not in processes
    assert set(threads) == {1}
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(("num", "processes"), [(NUM, 1), (NUM - 1, 8), (0, 8)])
def test_few_chunks_are_drawn_here_on_one_core(num, processes):
    torch.set_num_threads(2)
    drawn = list(in_order(described, num, processes))
    assert drawn == [(index, os.getpid(), 1) for index in range(num)]
    assert torch.get_num_threads() == 2


def test_a_killed_process_is_one_sentence():
    with pytest.raises(ChildProcessError, match="a process that draws images was killed"):
        list(in_order(partial(killed, 3), NUM, 2))
    assert multiprocessing.active_children() == []


def test_an_error_of_a_chunk_is_the_readers():
    with pytest.raises(ValueError, match="chunk 0 cannot be drawn"):
        list(in_order(refused, NUM, 2))
    assert multiprocessing.active_children() == []


def test_who_reads_no_further_leaves_no_process():
    reader = in_order(described, NUM, 2)
    assert next(reader)[0] == 0
    reader.close()
    assert multiprocessing.active_children() == []


PARENT = """
from tests.trainables.data.render.test_draw_chunks import NUM, described
from trainables.data.render.draw_chunks import in_order
if __name__ == "__main__":
    reader = in_order(described, NUM, 2)
    next(reader)
    print("drawn", flush=True)
    input()
"""


def test_the_processes_end_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as parent:  # fmt: skip
        assert parent.stdout.readline() == "drawn\n"
        started = psutil.Process(parent.pid).children()
        assert len(started) == 3  # with the one in which Python tracks semaphores
        parent.kill()
    gone, left = psutil.wait_procs(started, timeout=60)
    assert left == []
