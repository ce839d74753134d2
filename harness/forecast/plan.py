"""What a study will cost, before anything starts: time, cores, GPUs, memory, disk.

A few real steps are measured, then the study is played through many times
(:mod:`harness.forecast.simulation`). What comes out are medians and 90 % intervals: over which
trials the sampler may draw, which of them are stopped early, the noise of the measurement and
the drift of the machine's speed.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

from harness.forecast.capacity import Interval, Machine, refusal_of, this_computer, warnings_of
from harness.forecast.simulation import EarlyStops, Outcome, play
from harness.forecast.trial_pool import TrialPool, measured_pool
from harness.nodes.run_slots import fitting_runs, this_machine
from harness.record.quantities import size_text
from harness.record.storage import Storage
from harness.spec import StudySpec
from harness.yaml.text import SpecError

NUM_STUDIES = 200
MAX_PLAYED = 2000
"""Trials of a played study at most, where the file names no number."""
DRIFT = 0.1
"""Relative standard deviation of a machine's speed between a few seconds and a whole study."""
HARNESS_BYTES = (760 * 2**20, 860 * 2**20, 1000 * 2**20)
"""Memory of the driver, Ray's processes and MLflow, lowest, usual and highest: what whole studies
needed beside their runs."""
DATABASE_BYTES, RUN_BYTES, REPORT_BYTES = 3_000_000, 100_000, 15_000
"""Disk of new databases, and of a run and a report in them and in the ledger."""
SIZE_ERROR = 0.1
"""Relative error of sizes that are scaled from a sample."""


@dataclass(frozen=True)
class Plan:
    """What a study will cost.

    Attributes:
        num_runs: Runs, one for each trial and seed; None if only a budget ends it.
        parallel: Runs at once.
        wall_s: Seconds from the command to its end, by a budget of hours at the latest.
        unpruned_s: The same without early termination and without a budget.
        cpu_hours: Hours of cores that runs hold.
        gpu_hours: Hours of GPUs that runs hold; None if they are not known.
        memory_bytes: Largest memory of all processes together.
        disk_bytes: What the study adds to the storage.
        stopped: Runs that are stopped early.
        notes: What else to know; sentences.
        warnings: What may go wrong; sentences.
        refusal: Why the study must not start; None if it may.
    """

    num_runs: int | None
    parallel: int
    wall_s: Interval
    unpruned_s: Interval
    cpu_hours: Interval
    gpu_hours: Interval | None
    memory_bytes: Interval
    disk_bytes: Interval
    stopped: Interval
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    refusal: str | None = None

    def lines(self) -> list[str]:
        """Lines for a person; times and sizes as median and 90 % interval."""
        runs = "runs" if self.num_runs is None else f"{self.num_runs} runs"
        lines = [
            f"expected of {runs}, {self.parallel} at once (median and 90 % interval):",
            f"  wall time    {_spread(self.wall_s, _time_text)}",
            f"  CPU-hours    {self.cpu_hours}",
        ]
        if self.gpu_hours is not None and self.gpu_hours.high > 0:
            lines.append(f"  GPU-hours    {self.gpu_hours}")
        lines += [
            f"  peak memory  {_spread(self.memory_bytes, size_text)}",
            f"  disk         {_spread(self.disk_bytes, size_text)}",
        ]
        if self.stopped.high > 0:
            lines.append(
                f"  stopped early {self.stopped.middle:.0f} runs; without early termination "
                f"{_spread(self.unpruned_s, _time_text)}"
            )
        lines += [f"  {note}" for note in self.notes]
        return lines + [f"warning: {warning}" for warning in self.warnings]

    def as_json(self) -> dict[str, Any]:
        """The same as plain values; intervals as [low, median, high]."""
        plain = {
            name: [value.low, value.middle, value.high] if isinstance(value, Interval) else value
            for name, value in vars(self).items()
        }
        return {**plain, "notes": list(self.notes), "warnings": list(self.warnings)}


def plan_study(
    spec: StudySpec, storage_root: Path, say: Callable[[str], None] = lambda text: None
) -> Plan:
    """Measure a few steps of a study's configurations and foretell what it will cost.

    Args:
        spec: The study; its data sets have been found to be there.
        storage_root: Folder of the storage, which need not exist; it is only read.
        say: Shows a line to the person at the terminal.

    Raises:
        SpecError: If a configuration cannot be measured; one sentence.
    """
    machine = this_computer(storage_root)
    notes: list[str] = []
    try:
        parallel = fitting_runs(spec.resources, this_machine(spec.resources))
    except SpecError:
        parallel = spec.resources.parallel or 1
        notes.append("this machine holds no such run; on a cluster the times are others")
    pool = measured_pool(spec, Storage(storage_root.resolve()).stages, parallel, say)
    return make_plan(spec, pool, parallel, machine, notes)


def make_plan(
    spec: StudySpec,
    pool: TrialPool,
    parallel: int,
    machine: Machine,
    notes: Sequence[str] = (),
) -> Plan:
    """Play a study through, see :func:`plan_study`.

    Args:
        spec: The study.
        pool: Its trials and what their runs cost.
        parallel: Runs at once, >= 1.
        machine: What is there.
        notes: Sentences to keep.
    """
    num_trials = spec.max_trials
    num_played = _num_played(spec, pool, parallel) if num_trials is None else num_trials
    guessed = sum(not cost.is_measured for cost in pool.all) / len(pool.all)
    sigma = math.hypot(DRIFT, pool.noise, guessed / 2)
    played: list[Outcome] = []
    unpruned: list[Outcome] = []
    num_reports = 0
    for index in range(NUM_STUDIES):
        speed = math.exp(random.Random(f"speed {index}").gauss(0, sigma))
        runs = pool.draw(num_played, random.Random(f"trials {index}"))
        num_reports = max(num_reports, sum(len(run.steps_s) for run in runs))
        stops = EarlyStops(spec.early_terminate, random.Random(f"ranks {index}"))
        played.append(play(runs, parallel, stops.reports_of, speed))
        unpruned.append(play(runs, parallel, None, speed))
    limit_s = _limit_s(spec, parallel)
    rows_bytes = DATABASE_BYTES + len(runs) * RUN_BYTES + num_reports * REPORT_BYTES
    share = [min(1.0, limit_s / outcome.wall_s) for outcome in played]
    busy_hours = _interval([o.busy_s * s / 3600 for o, s in zip(played, share, strict=True)])
    disk = _interval([o.disk_bytes + rows_bytes for o in played], SIZE_ERROR)
    memory = _memory(pool, parallel)
    is_known = spec.resources.gpus == 0 or pool.devices != {"cpu"}
    return Plan(
        num_runs=None if num_trials is None else len(runs),
        parallel=parallel,
        wall_s=_interval([min(o.wall_s, limit_s) for o in played]),
        unpruned_s=_interval([o.wall_s for o in unpruned]),
        cpu_hours=_times(busy_hours, spec.resources.cpus),
        gpu_hours=_times(busy_hours, float(spec.resources.gpus)) if is_known else None,
        memory_bytes=memory,
        disk_bytes=disk,
        stopped=_interval([float(o.num_stopped) for o in played]),
        notes=[*notes, *_notes(spec, pool), *_budget_notes(spec, parallel, played)],
        warnings=warnings_of(machine, disk, memory),
        refusal=refusal_of(machine, disk),
    )


def _num_played(spec: StudySpec, pool: TrialPool, parallel: int) -> int:
    """Trials that surely use up the budgets of a study without a number of trials."""
    shortest_s = min(sum(cost.steps_s) + cost.setup_s for cost in pool.all)
    enough = _limit_s(spec, parallel) * parallel / max(shortest_s * pool.seeds, 1e-3)
    return int(min(MAX_PLAYED, enough + parallel + 1))


def _limit_s(spec: StudySpec, parallel: int) -> float:
    """Seconds after which the first of the budgets ends a study; infinite without any."""
    hours = [math.inf if spec.budget.hours is None else float(spec.budget.hours)]
    if spec.budget.gpu_hours is not None and spec.resources.gpus > 0:
        hours.append(float(spec.budget.gpu_hours) / (float(spec.resources.gpus) * parallel))
    return 3600 * min(hours)


def _memory(pool: TrialPool, parallel: int) -> Interval:
    """Of all processes together; mapped images are there once."""
    sizes = sorted(cost.memory_bytes for cost in pool.all)
    images = max(cost.mapped_bytes for cost in pool.all)
    low, middle, high = (
        harness + parallel * size + images
        for harness, size in zip(
            HARNESS_BYTES, (sizes[0], sizes[len(sizes) // 2], sizes[-1]), strict=True
        )
    )
    return Interval(low * (1 - SIZE_ERROR), middle, high * (1 + SIZE_ERROR))


def _notes(spec: StudySpec, pool: TrialPool) -> list[str]:
    notes = []
    if spec.resources.gpus > 0 and pool.devices == {"cpu"}:
        notes.append(
            "measured on the CPU of this machine, as it has no GPU; GPU-hours are not known"
        )
    if pool.gpu_bytes:
        notes.append(f"memory of a run on a GPU: {size_text(pool.gpu_bytes)}")
    if spec.resources.gpus > 1:
        notes.append("what the GPUs of a run exchange is not measured")
    if pool.num_measured < pool.num_keys:
        notes.append(
            f"{pool.num_measured} of {pool.num_keys} configurations that differ in cost were "
            "measured, the others are taken to cost what the most similar one does"
        )
    if pool.num_reused:
        notes.append(
            f"{pool.num_reused} of the baselines equal runs of this storage, whose results will "
            "be reused"
        )
    if spec.early_terminate.type == "wilcoxon":
        notes.append("what the Wilcoxon test will stop is not known; nothing is counted as saved")
    return notes


def _budget_notes(spec: StudySpec, parallel: int, played: Sequence[Outcome]) -> list[str]:
    """Which end comes first, the last run's or the budget's."""
    limit_s = _limit_s(spec, parallel)
    if math.isinf(limit_s):
        return []
    is_hours = spec.budget.hours is not None and limit_s == 3600 * float(spec.budget.hours)
    name = "hours" if is_hours else "gpu_hours"
    text = f"budget.{name} {float(getattr(spec.budget, name)):g}"
    cut = [outcome for outcome in played if outcome.wall_s > limit_s]
    if not cut:
        return [f"the runs end before {text} does"]
    done = _interval([float(sum(end <= limit_s for end in o.ends_s)) for o in played])
    return [
        f"{text} ends the study before its runs do in {len(cut) / len(played):.0%} of the "
        f"cases, after {done.middle:.0f} [{done.low:.0f}, {done.high:.0f}] runs"
    ]


def _interval(values: Sequence[float], error: float = 0.0) -> Interval:
    """Median and 90 % interval of played values; ``error`` widens it on both sides."""
    cuts = quantiles(values, n=20, method="inclusive")
    return Interval(cuts[0] * (1 - error), cuts[9], cuts[-1] * (1 + error))


def _times(interval: Interval, factor: float) -> Interval:
    return Interval(interval.low * factor, interval.middle * factor, interval.high * factor)


def _spread(interval: Interval, text: Callable[[float], str]) -> str:
    return f"{text(interval.middle)} [{text(interval.low)}, {text(interval.high)}]"


def _time_text(seconds: float) -> str:
    """Minutes and seconds, from an hour on hours and minutes, as 3:58 min or 2:05 h."""
    unit, length = ("h", 3600) if seconds >= 3600 else ("min", 60)
    whole, part = divmod(round(seconds / (length / 60)), 60)
    return f"{whole}:{part:02d} {unit}"
