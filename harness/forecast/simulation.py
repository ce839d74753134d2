"""A study played through without training: who runs when, who is stopped, what is left on disk.

A free worker takes the next run. What runs share is computed by the first to ask while the
others wait. Early termination is played with ranks that are as likely as any other: how good a
run is, is not known before it ends.
"""

import heapq
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from harness.forecast.costs import RunCost
from harness.spec.early_terminate import EarlyTerminate

START_S = 12.0
"""From the command to the first run: Ray, imports of the workers, databases."""
END_S = 4.0
"""From the last report to the end of the command."""
REPORT_S = 0.25
"""Way of a report through Tune, ledger and pruner, and of a run to a reused worker."""


@dataclass(frozen=True)
class Outcome:
    """One played study; seconds and bytes.

    Attributes:
        wall_s: From the command to its end.
        busy_s: Sum over runs of the time that they held their worker.
        ends_s: When each run ended, in the order in which they started.
        disk_bytes: What it adds to the storage at the largest.
        num_stopped: Runs that were stopped early.
    """

    wall_s: float
    busy_s: float
    ends_s: tuple[float, ...]
    disk_bytes: int
    num_stopped: int


@dataclass
class EarlyStops:
    """Which of a study's runs are stopped early, and after which report.

    Attributes:
        rule: Of the study. A Wilcoxon test stops nobody here: what it sees is not known.
        rng: Where quality and brackets come from; a run draws the same number of times
            whatever becomes of it.
    """

    rule: EarlyTerminate
    rng: random.Random
    _seen: dict[tuple[int, int], list[float]] = field(default_factory=dict)

    def reports_of(self, run: RunCost) -> int:
        """Reports that the next run makes before it ends."""
        quality, place = self.rng.random(), self.rng.random()
        total = len(run.steps_s)
        if self.rule.type in {"hyperband", "hyperband_brackets", "successive_halving"}:
            stops = self._halving(quality, place, total)
        elif self.rule.type == "median":
            stops = self._median(quality, total)
        else:
            stops = total
        return total if run.is_baseline else stops

    def _halving(self, quality: float, place: float, total: int) -> int:
        bracket = self._bracket(place, total)
        for rung in takewhile(lambda rung: rung < total, self.rule.rungs[bracket:]):
            if not self._passes((bracket, rung), quality):
                return rung
        return total

    def _passes(self, rung: tuple[int, int], quality: float) -> bool:
        """Whether a run is good enough among those that came to this rung to go on."""
        others = self._seen.setdefault(rung, [])
        others.insert(bisect_left(others, quality), quality)
        return quality >= others[-self.rule.num_kept(len(others))]

    def _bracket(self, place: float, total: int) -> int:
        """Hyperband's bracket: those with an earlier first rung get more runs."""
        if self.rule.type != "hyperband_brackets":
            return 0
        shares = self.rule.bracket_shares(self.rule.max_iter or total)
        left = place * sum(shares)
        for bracket, share in enumerate(shares):
            left -= share
            if left < 0:
                return bracket
        return len(shares) - 1

    def _median(self, quality: float, total: int) -> int:
        others = self._seen.setdefault((0, 0), [])
        is_safe = len(others) < max(1, self.rule.startup_trials)
        is_good = is_safe or quality >= others[len(others) // 2]
        others.insert(bisect_left(others, quality), quality)
        return total if is_good else min(self.rule.min_iter, total)


def play(
    runs: Sequence[RunCost],
    parallel: int,
    reports_of: Callable[[RunCost], int] | None = None,
    speed: float = 1.0,
) -> Outcome:
    """Play a study through.

    Args:
        runs: In the order in which they start.
        parallel: Workers, >= 1.
        reports_of: Reports that a run makes; None lets all of them finish.
        speed: Factor on all measured times.
    """
    workers = [START_S] * parallel
    ready: dict[str, float] = {}
    disk: dict[str, int] = {}
    ends: list[float] = []
    checkpoints, largest, busy_s, stopped = 0, 0, 0.0, 0
    for run in runs:
        reports = len(run.steps_s) if reports_of is None else reports_of(run)
        start = heapq.heappop(workers)
        now = start
        for stage, seconds in run.shared.items():
            if stage in ready:
                now = max(now, ready[stage])
            else:
                now += seconds * speed
                ready[stage] = now
        now += (run.setup_s + sum(run.steps_s[:reports])) * speed + reports * REPORT_S
        disk |= {n: max(size, disk.get(n, 0)) for n, size in run.disk.items()}
        is_stopped = reports < len(run.steps_s)
        stopped += is_stopped
        # A complete run keeps one checkpoint, others the last two that they wrote.
        checkpoints += run.checkpoint_bytes * (min(2, reports) if is_stopped else 1)
        largest = max(largest, run.checkpoint_bytes)
        busy_s += now - start
        ends.append(now)
        heapq.heappush(workers, now)
    wall_s = max([START_S, *ends]) + END_S
    # While it is trained a run has a second checkpoint and the one that is being written.
    running = 2 * min(parallel, len(runs)) * largest
    total = sum(disk.values()) + checkpoints + running
    return Outcome(wall_s, busy_s, tuple(ends), total, stopped)
