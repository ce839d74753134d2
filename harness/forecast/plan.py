"""What a study will cost, before anything starts: time, cores, GPUs, memory, disk.

A few real steps are measured, then multiplied by epochs, seeds and trials and divided by the
trials at once; stages that trials share are added once. At the low end of an interval every
searched trial is of the cheapest kind and stopped at its first possible moment, at the high end
of the dearest and never stopped; both ends allow for :data:`ERROR`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.forecast.capacity import Machine, this_computer
from harness.forecast.measuring import Measurement, measure_trials
from harness.forecast.trials import Kind, Trial, study_trials
from harness.nodes.run_slots import fitting_runs, image_cores, this_machine
from harness.record.quantities import clock_text, size_text
from harness.record.storage import Storage
from harness.spec import StudySpec
from harness.yaml.text import SpecError
from trainables.data.domain import image_request
from trainables.registry import DOMAINS, TRAINABLES

MAX_ADDED = 4
"""Kinds of trial that are measured beside those of the baselines."""
ERROR, SIZE_ERROR = np.array([-0.2, 0.0, 0.2]), np.array([-0.1, 0.0, 0.1])
"""Relative errors of times, as a machine's speed drifts, and of sizes scaled from a sample."""
OVERHEAD_S, REPORT_S = 16.0, 0.25
"""Before the first trial and after the last, and of a report's way through Tune, ledger and
pruner, on an idle machine; like the sizes below, of whole studies
(``tests/benchmarks/test_plan_accuracy.py``)."""
HARNESS_BYTES = np.array([700, 860, 1000]) * 2**20
"""Memory of the driver, Ray's processes and MLflow."""
DATABASE_BYTES, RUN_BYTES, REPORT_BYTES = 3_000_000, 100_000, 15_000
"""Disk of new databases, and of a trial and a report in them and in the ledger."""

FIGURES: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "wall_s": ("wall time", clock_text),
    "cpu_hours": ("CPU-hours", "{:.3g}".format),
    "gpu_hours": ("GPU-hours", "{:.3g}".format),
    "run_bytes": ("memory of a run", size_text),
    "memory_bytes": ("memory of all", size_text),
    "disk_bytes": ("disk", size_text),
    "stopped": ("stopped early", "{:.0f}".format),
}
"""Name of a figure to how the user reads it. Hours are of cores and GPUs that trials hold, disk is
what the study adds to the storage, memory is of all processes at their largest."""


@dataclass(frozen=True)
class Plan:
    """What a study will cost.

    Attributes:
        num_runs: Trials times seeds; None if only a budget ends the study.
        parallel: Runs at once.
        figures: Name in :data:`FIGURES` to low end, middle and high end; a budget of hours cuts
            time and hours. Hours of GPUs are left out if they are not known.
        notes: What else to know; sentences.
        warnings: What may go wrong; sentences.
        refusal: Why the study must not start; None if it may.
    """

    num_runs: int | None
    parallel: int
    figures: Mapping[str, list[float]]
    notes: list[str]
    warnings: list[str]
    refusal: str | None

    def lines(self) -> list[str]:
        """Lines for the user."""
        runs = "runs" if self.num_runs is None else f"{self.num_runs} runs"
        lines = [f"expected of {runs}, {self.parallel} at once, middle [low end, high end]:"]
        for name, (low, middle, high) in self.figures.items():
            label, text = FIGURES[name]
            if high > 0:
                lines.append(f"  {label:<18} {text(middle)} [{text(low)}, {text(high)}]")
        lines += [f"  {note}" for note in self.notes]
        return lines + [f"warning: {warning}" for warning in self.warnings]

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {**vars(self), **self.figures}


def plan_study(
    spec: StudySpec,
    storage_root: Path,
    say: Callable[[str], None] = lambda text: None,
    *,
    is_cluster: bool = False,
) -> Plan:
    """Measure a few steps of a study's trials and forecast what it will cost.

    Args:
        spec: The study; its data sets have been found to be there.
        storage_root: Folder of the storage, which need not exist; it is only read.
        say: Shows a line to the user.
        is_cluster: Whether trials run elsewhere, so that this machine need not hold one.

    Raises:
        SpecError: If a trial cannot be measured; one sentence.
    """
    if not TRAINABLES[spec.trainable].is_builtin:
        raise SpecError(
            f"--dry-run cannot forecast {spec.trainable}: it knows what the built-in trainables do"
        )
    machine, notes = this_computer(storage_root.resolve()), []
    try:
        parallel = fitting_runs(spec.resources, this_machine(spec.resources))
    except SpecError:
        parallel = spec.resources.parallel or 1
        notes.append("No trial fits this machine; times on a cluster will differ.")
    given, searched = study_trials(spec, Storage(storage_root.resolve()).stages)
    trials = [*given, *searched]
    kinds = list(dict.fromkeys(trial.kind for trial in trials))
    chosen = kinds[: len({trial.kind for trial in given}) + MAX_ADDED]
    say(f"measuring a few steps of {len(chosen)} of {len(kinds)} kinds of trial")
    examples = [next(trial.config for trial in trials if trial.kind == kind) for kind in chosen]
    at_once = min(parallel, len(trials))
    found = measure_trials(examples, spec.trainable, spec.resources, at_once)
    costs = dict(zip(chosen, found, strict=True))
    # A draw stands for others; the search does not run what it finds to be known.
    searched = [replace(trial, is_reused=False) for trial in searched if trial.kind in costs]
    overhead_s = OVERHEAD_S * max(1.0, machine.load / machine.cpus)
    limit_s = spec.budget.seconds(parallel * float(spec.resources.gpus))
    figures = _figures(spec, given, searched, costs, parallel, overhead_s, limit_s)
    if figures["wall_s"][2] == limit_s:
        notes.append(f"the budget may end the study before its trials, at {clock_text(limit_s)}")
    disk, memory = figures["disk_bytes"][2], figures["memory_bytes"][2]
    one_run = 0.0 if is_cluster else HARNESS_BYTES[0] + figures["run_bytes"][0]
    return Plan(
        num_runs=None if spec.max_trials is None else spec.max_trials * spec.seeds,
        parallel=parallel,
        figures={name: values.tolist() for name, values in figures.items()},
        notes=[*notes, *_notes(spec, [*given, *searched], found, machine)],
        warnings=machine.warnings(disk, memory),
        refusal=machine.refusal(disk, one_run),
    )


def _figures(
    spec: StudySpec,
    given: Sequence[Trial],
    searched: Sequence[Trial],
    costs: Mapping[Kind, Measurement],
    parallel: int,
    overhead_s: float,
    limit_s: float,
) -> dict[str, NDArray[np.float64]]:
    """The figures of a plan, for the runs of the baselines and draws of the space."""
    shared = {
        key: (name, *costs[trial.kind].stages[name])
        for some in (searched, given)
        for trial in some
        for name, key in trial.missing.items()
        if some is given or name != "pose_vae"
    }

    def seconds(trial: Trial, num: int | None = None) -> float:
        """Time of a trial's first ``num`` reports (None: all) and of stages it does not share."""
        cost = costs[trial.kind]
        own = [cost.stages[name][0] for name, key in trial.missing.items() if key not in shared]
        return sum(own) + sum(_report_seconds(spec, trial, cost)[:num])

    rule, gpus = spec.early_terminate, float(spec.resources.gpus)
    given_s = [seconds(trial) for trial in given]
    whole_s = _ends([spec.seeds * seconds(trial) for trial in searched])
    early_s = _ends([seconds(trial, rule.first_stop) for trial in searched])
    if spec.max_trials is not None:
        num = spec.max_trials - len(spec.baselines)
    else:  # what the budget affords
        num = 1 if math.isinf(limit_s) else math.ceil(limit_s * parallel / whole_s[1])
    stopped = np.array([0.0, 0.5, 1.0]) * rule.most_stopped(num, len(spec.baselines))
    saved, runs = stopped[::-1], len(given) + num * spec.seeds
    at_once = min(parallel, runs)
    num_threads = image_cores(spec.resources, parallel, this_machine(spec.resources))
    num_cores = _busy_cores((given or searched)[0], num_threads)
    once_s = sum(stage_s / num_cores.get(name, 1) for name, stage_s, _ in shared.values())
    work_s = sum(given_s) + (num - saved) * whole_s + saved * early_s
    longest_s = np.maximum(max(given_s, default=0.0), whole_s / spec.seeds)
    wall_s = (overhead_s + once_s + np.maximum(work_s / at_once, longest_s)) * (1 + ERROR)
    held_h = (once_s * at_once + work_s) * (1 + ERROR) * np.minimum(1, limit_s / wall_s) / 3600
    run_bytes = _ends([cost.memory_bytes for cost in costs.values()])
    num_reports = TRAINABLES[spec.trainable].num_reports
    longest = max(num_reports(trial.config.to_flat()) for trial in (*given, *searched))
    # A complete trial keeps a checkpoint and its best network; pre-training may be kept as well.
    states = np.array([1.25, 1.75, 2.25]) * (runs - saved * spec.seeds) + [0, at_once, 2 * at_once]
    disk_bytes = (
        sum(size for *_, size in shared.values())
        + DATABASE_BYTES + runs * (RUN_BYTES + longest * REPORT_BYTES)
        + states * max(cost.checkpoint_bytes for cost in costs.values())
    )  # fmt: skip
    figures = {
        "wall_s": np.minimum(wall_s, limit_s),
        "cpu_hours": held_h * spec.resources.cpus,
        "gpu_hours": held_h * gpus,
        "run_bytes": run_bytes,
        "memory_bytes": HARNESS_BYTES + at_once * run_bytes,
        "disk_bytes": disk_bytes * (1 + SIZE_ERROR),
        "stopped": stopped,
    }
    if gpus and any(cost.device == "cpu" for cost in costs.values()):
        del figures["gpu_hours"]
    return figures


def _busy_cores(trial: Trial, num_threads: int) -> dict[str, int]:
    """Stage of images to the cores that are busy with it, of those that may make images."""
    requests = {
        role: image_request(trial.config, role, num_threads) for role in ("source", "target")
    }
    return {
        f"images/{role}": DOMAINS[trial.config.data.of(role)[0]].load().num_cores(request)
        for role, request in requests.items()
    }


def _report_seconds(spec: StudySpec, trial: Trial, cost: Measurement) -> list[float]:
    """Seconds of each report of a trial, beside its stages."""
    adapt = trial.config.adapt
    num = TRAINABLES[spec.trainable].num_reports(trial.config.to_flat())
    if trial.is_reused:
        return [REPORT_S] * num
    if spec.trainable == "pose_vae":  # fits two of them
        return [2 * cost.stages["pose_vae"][0] / num + REPORT_S] * num
    phases = [cost.phases[0]] * adapt.pretrain_epochs + [cost.phases[1]] * adapt.epochs
    seconds = [adapt.steps_per_epoch * step_s + after_s + REPORT_S for step_s, after_s in phases]
    return [seconds[0] + cost.fixed_s, *seconds[1:]]


def _notes(
    spec: StudySpec, trials: Sequence[Trial], costs: Sequence[Measurement], machine: Machine
) -> Iterator[str]:
    yield f"{size_text(machine.free_bytes)} of disk are free"
    if stored := sorted(set().union(*(trial.stored for trial in trials))):
        yield f"already in the stage cache: {', '.join(stored)}"
    if num := sum(trial.is_reused for trial in trials):
        yield f"{num} trials are identical to earlier ones and will reuse their results"
    if gpu_bytes := max(cost.gpu_bytes for cost in costs):
        yield f"GPU memory of a trial: {size_text(gpu_bytes)}"
    elif spec.resources.gpus > 0:
        yield "measured on the CPU, as this machine has no GPU; GPU-hours are not known"
    if spec.early_terminate.type == "wilcoxon":
        yield "what the Wilcoxon test will stop is not known; nothing is counted as saved"


def _ends(values: Sequence[float]) -> NDArray[np.float64]:
    """Smallest, mean and largest; zeros of nothing."""
    return np.array([min(values), np.mean(values), max(values)] if values else [0.0] * 3)
