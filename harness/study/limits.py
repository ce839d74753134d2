"""When a study has to end before it is through: a signal, or a budget that is used up."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from harness.spec.sections import Budget


class Limits:
    """Tells Tune to stop: after SIGINT, SIGTERM or SIGHUP, or when a budget is used up.

    Args:
        budget: What the study may use.
        earlier_s: Wall-clock seconds that earlier drivers of the study used.
        gpu_s: Tells the GPU-seconds that the study has used.
    """

    def __init__(
        self,
        budget: Budget,
        earlier_s: float = 0.0,
        gpu_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._signal: int | None = None
        self._budget = budget
        self._gpu_s = gpu_s
        self._started = time.monotonic() - earlier_s
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def interruption(self) -> str | None:
        """Which signal arrived, None if none did."""
        if self._signal is None:
            return None
        return f"interrupted by {signal.Signals(self._signal).name}"

    def is_interrupted(self) -> bool:
        """Whether a signal arrived."""
        return self._signal is not None

    def interrupt(self, number: int) -> None:
        """Take a signal that another handler caught."""
        self._signal = number

    @property
    def used_up(self) -> str | None:
        """Which budget is used up, None if none is."""
        hours, gpu_hours = self._budget.hours, self._budget.gpu_hours
        if hours is not None and time.monotonic() - self._started > hours * 3600:
            return f"budget.hours {hours:g} used up"
        if gpu_hours is not None and self._gpu_s() > gpu_hours * 3600:
            return f"budget.gpu_hours {gpu_hours:g} used up"
        return None

    @property
    def stops_runs(self) -> str | None:
        """Why runs have to stop now, None if they need not."""
        return self.interruption or (self.used_up if self._budget.drain == "stop" else None)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch the first signal; a second one ends the process as usual."""
        self._previous = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else nohup said to go on
            self._previous[signal.SIGHUP] = signal.getsignal(signal.SIGHUP)
        self.listen()
        try:
            yield
        finally:
            self._restore()

    def listen(self) -> None:
        """Catch signals (again): Ray, when it starts, puts its own handler for SIGTERM."""
        for caught in self._previous if self._signal is None else ():
            signal.signal(caught, self._catch)

    def _catch(self, number: int, _frame: object) -> None:
        self.interrupt(number)
        self._restore()
        words = f"{signal.Signals(number).name}: ending what runs; once more ends at once\n"
        os.write(2, words.encode())  # a signal may come within a print

    def _restore(self) -> None:
        for caught, handler in self._previous.items():
            signal.signal(caught, handler)
