"""Draws chunks of images on several cores, in order."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import torch

from trainables.child_process import end_with_parent
from trainables.torch_threads import torch_threads

T = TypeVar("T")

MIN_CHUNKS = 4
"""Fewest chunks for each process: it starts in the time of one or two."""


def num_drawers(num_chunks: int, num_processes: int) -> int:
    """Processes that draw so many chunks, of those that may."""
    return max(1, min(num_processes, num_chunks // MIN_CHUNKS))


def in_order(draw: Callable[[int], T], num_chunks: int, num_processes: int) -> Iterator[T]:
    """Yield ``draw(0)``, ``draw(1)`` and so on, each computed on one core.

    Processes and not threads, which are a quarter slower. One chunk for each process is in memory,
    and one that waits.

    Args:
        draw: Can be pickled.
        num_chunks: How many.
        num_processes: Processes that may draw at once; 1 draws in this one, as do few chunks.

    Raises:
        ChildProcessError: If a process is killed or cannot start.
    """
    num_processes = num_drawers(num_chunks, num_processes)
    if num_processes == 1:
        for index in range(num_chunks):
            with torch_threads(1):
                drawn = draw(index)
            yield drawn
        return
    context, waiting = multiprocessing.get_context("spawn"), deque[Future[T]]()
    with ProcessPoolExecutor(num_processes, context, _prepare) as pool:
        try:
            for index in range(num_chunks):
                waiting.append(pool.submit(draw, index))
                if len(waiting) > num_processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "a process that draws images was killed, perhaps because memory ran out, or could "
                "not start, as from a script without if __name__ == '__main__'"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    end_with_parent()
    torch.set_num_threads(1)
