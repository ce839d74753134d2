"""A thread that makes the next batches while the training step runs.

It makes them in the order of the steps and none beyond the last, so nothing that it draws at
random depends on how far it is ahead.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, Self, TypeVar

import torch

AHEAD = 2
"""Batches that may be finished or in the making before the step asks for them."""

T = TypeVar("T")


@dataclass(frozen=True)
class _End:
    """What the thread leaves last: the error that ended it, or None."""

    error: BaseException | None


class Feed(Generic[T]):
    """Items made ahead of their use by a thread that ends where the ``with`` block ends.

    A block that is left early, by an error too, waits only for the item in the making. Iterate
    once; an error of ``items`` is raised there as it is, after the items that came before it.

    Args:
        items: Makes the items. Only the thread may use it, and what it uses, within the block.
        device: Where items are put; becomes the thread's own GPU if it is one.
        ahead: Most items, at least 1, that are made before they are asked for.
    """

    def __init__(self, items: Iterator[T], device: torch.device, ahead: int = AHEAD) -> None:
        self._items = items
        self._device = device
        self._room = threading.Semaphore(ahead)
        self._made: SimpleQueue[T | _End] = SimpleQueue()
        self._is_left = False
        self._thread = threading.Thread(target=self._make, name="feed")
        self._start_ns = self._waited_ns = 0

    def __enter__(self) -> Self:
        self._start_ns = time.perf_counter_ns()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_left = True
        self._room.release()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        while True:
            start_ns = time.perf_counter_ns()
            item = self._made.get()
            self._waited_ns += time.perf_counter_ns() - start_ns
            if isinstance(item, _End):
                break
            self._room.release()
            yield item
        if item.error is not None:
            raise item.error

    @property
    def wait_share(self) -> float:
        """Share of the time since the start of the block in which its thread waited for an item.

        In [0, 1]. A GPU may still compute an earlier step while the block waits, so of a GPU's
        time it is the most that can have been lost.
        """
        return self._waited_ns / (time.perf_counter_ns() - self._start_ns)

    def _make(self) -> None:
        error = None
        is_on_gpu = self._device.type == "cuda"
        try:
            # Each thread has a current GPU of its own, at first the machine's first.
            with torch.cuda.device(self._device) if is_on_gpu else nullcontext():
                while self._may_go_on():
                    self._made.put(next(self._items))
        except StopIteration:
            pass
        except BaseException as raised:  # raised again where the items are used
            error = raised
        self._made.put(_End(error))

    def _may_go_on(self) -> bool:
        """Wait for room; False if the block has been left."""
        self._room.acquire()
        return not self._is_left
