"""The trials that a study may have, with what their runs cost: simulated studies draw from it."""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from harness.forecast.costs import RunCost, cost_key, noise_of, run_cost, similarity
from harness.forecast.measuring import measure_configurations
from harness.record.storage import absolute_paths
from harness.space.space import Baseline, Space
from harness.space.suggester import RandomSuggester
from harness.spec import StudySpec
from harness.yaml.text import SpecError
from trainables.config import TrialConfig
from trainables.cost.measurement import Measurement

MAX_MEASURED = 6
"""Configurations that are measured; of more, the most frequent, the others by similarity."""
MAX_RUNS, MAX_EPOCHS = 10_000, 1_000_000
"""Of a study that is played in less than a minute."""
NUM_DRAWS = 256
MAX_DRAWS = 2000

_Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class TrialPool:
    """What the runs of a study's trials cost.

    Attributes:
        given: Trials that run first, in order: baselines, the points of a grid.
        drawn: Random trials of the space, as likely as each other; empty for a grid.
        seeds: Runs of each.
        devices: What was measured, ``cpu`` or names of GPUs.
        num_measured: Configurations that were measured, of how many different ones.
        num_keys: Configurations that differ in what they cost.
        noise: Relative, of the measurement.
        gpu_bytes: Largest memory of a run on a GPU.
        num_reused: Given trials whose whole training is stored.
    """

    given: tuple[RunCost, ...]
    drawn: tuple[RunCost, ...]
    seeds: int
    devices: frozenset[str] = frozenset({"cpu"})
    num_measured: int = 1
    num_keys: int = 1
    noise: float = 0.0
    gpu_bytes: int = 0
    num_reused: int = 0

    def draw(self, num_trials: int, rng: random.Random) -> list[RunCost]:
        """Runs of so many trials; a smaller number gives the first of a larger one's."""
        trials = list(self.given[:num_trials])
        left: list[RunCost] = []
        while len(trials) < num_trials and self.drawn:
            if not left:
                left = rng.sample(self.drawn, len(self.drawn))
            trials.append(left.pop())
        return [_with_seed(t, i) for t in trials for i in range(self.seeds)]

    @property
    def all(self) -> tuple[RunCost, ...]:
        """Given and drawn."""
        return self.given + self.drawn


def measured_pool(
    spec: StudySpec, stages: Path, at_once: int, say: Callable[[str], None]
) -> TrialPool:
    """Draw the trials of a study and measure what they cost.

    Args:
        spec: The study.
        stages: Folder of the stage cache, which is read only.
        at_once: Runs at once.
        say: Shows a line to the person at the terminal.

    Raises:
        SpecError: If a configuration cannot be measured.
    """
    given, drawn = _configurations(spec)
    _check_size(spec, [fields for fields, _ in given] + drawn)
    every = [fields for fields, _ in given] + drawn
    keys = [cost_key(fields) for fields in every]
    weights = Counter(keys[len(given) :]) + Counter(dict.fromkeys(keys[: len(given)], 1))
    chosen = [key for key, _ in weights.most_common(MAX_MEASURED)]
    plural = "s" if len(chosen) > 1 else ""
    say(f"measuring a few steps of {len(chosen)} configuration{plural}, {at_once} at once")
    vaes = _different_vaes(every) if (stages / "pose_vae").is_dir() else {}
    baselines = [entry for entry in given if entry[1]] if (stages / "training").is_dir() else []
    jobs = [
        {
            "trainable": spec.trainable,
            "fields": every[keys.index(key)],
            "vaes": list(vaes.values()),
            "given": [fields for fields, _ in baselines],
            "num_threads": spec.resources.cpus,
            "gpus": float(spec.resources.gpus),
        }
        for key in chosen
    ]
    measured = dict(zip(chosen, measure_configurations(jobs, at_once, stages, say), strict=True))
    repeats = [m for group in measured.values() for m in group]
    stored = _stored(list(vaes), repeats)
    reused = [any(known) for known in zip(*(m.stored_trainings for m in repeats), strict=False)]

    def cost(fields: Mapping[str, Any], key: _Key) -> RunCost:
        nearest = key if key in measured else max(chosen, key=lambda k: similarity(k, key))
        name = vae_name(fields)
        found = run_cost(spec.trainable, fields, measured[nearest], "" if name in stored else name)
        return replace(found, is_measured=key in measured)

    costs = [cost(fields, key) for fields, key in zip(every, keys, strict=True)]
    is_reused = chain(reused, repeat(False))
    return TrialPool(
        given=tuple(
            replace(_reused(c) if known else c, is_baseline=is_baseline)
            for c, (_, is_baseline), known in zip(costs, given, is_reused, strict=False)
        ),
        drawn=tuple(costs[len(given) :]),
        seeds=spec.seeds,
        devices=frozenset(m.device for m in repeats),
        num_measured=len(chosen),
        num_keys=len(weights),
        noise=max(noise_of(group) for group in measured.values()),
        gpu_bytes=max(m.peak_gpu_bytes for m in repeats),
        num_reused=sum(reused),
    )


def _check_size(spec: StudySpec, every: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a study that would take hours to play."""
    num_runs = (spec.max_trials or 1) * spec.seeds
    if num_runs > MAX_RUNS:
        raise SpecError(
            f"a plan is made for {MAX_RUNS} runs at most, got {num_runs}; plan fewer, with "
            f"--set budget.run_cap={MAX_RUNS // spec.seeds}, and multiply"
        )
    longest = max(fields["adapt.pretrain_epochs"] + fields["adapt.epochs"] for fields in every)
    if longest * num_runs > MAX_EPOCHS:
        raise SpecError(
            f"a plan is made for {MAX_EPOCHS} epochs at most, got {num_runs} runs of up to "
            f"{longest}; plan fewer and multiply"
        )


def vae_name(fields: Mapping[str, Any]) -> str:
    """Name of a run's Pose VAE: equal for runs that share it."""
    kept = {n: v for n, v in fields.items() if n.startswith("vae.") or n == "seed"}
    return f"pose_vae/{json.dumps(kept, sort_keys=True)}"


def _configurations(
    spec: StudySpec,
) -> tuple[list[tuple[dict[str, Any], bool]], list[dict[str, Any]]]:
    """Flat fields of the given trials, each with whether it is a baseline, and of random ones."""
    space = spec.space
    given = [(fields, True) for b in space.baselines() if (fields := _given(space, b))]
    if spec.method == "grid":
        points = (Baseline("", params, {}) for params in space.grid())
        return given + [(fields, False) for p in points if (fields := _given(space, p))], []
    if not spec.parameters:
        return given, []
    rng = random.Random(0)
    num = min(MAX_DRAWS, max(NUM_DRAWS, spec.budget.run_cap or 0))
    return given, [fields for _ in range(num) if (fields := _flat(space.draw(rng)))]


def _given(space: Space, baseline: Baseline) -> dict[str, Any] | None:
    suggester = RandomSuggester(random.Random(0), baseline.enqueue)
    return _flat(space.suggest(suggester, baseline.overrides))


def _flat(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """Every field of a trial; None for what is no valid trial and so costs nothing."""
    try:
        return absolute_paths(TrialConfig.from_flat(fields).to_flat())
    except ValueError:
        return None


def _different_vaes(every: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {vae_name(fields): fields for fields in every}


def _stored(names: list[str], measurements: list[Measurement]) -> set[str]:
    """Names of the Pose VAEs that the storage has."""
    return {
        name
        for m in measurements
        for name, is_there in zip(names, m.stored_vaes, strict=False)
        if is_there
    }


def _reused(cost: RunCost) -> RunCost:
    """A run whose whole training is reused; its stages it opens all the same."""
    return replace(cost, steps_s=(0.0,) * len(cost.steps_s))


def _with_seed(cost: RunCost, index: int) -> RunCost:
    """Another run of a trial: its Pose VAE has a seed of its own."""
    if index == 0:
        return cost

    def renamed(name: str) -> str:
        return f"{name}+{index}" if name.startswith("pose_vae/{") else name

    return replace(
        cost,
        shared={renamed(name): seconds for name, seconds in cost.shared.items()},
        disk={renamed(name): size for name, size in cost.disk.items()},
    )
