"""Which trials of a search are worth training again: its best ones and every baseline."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.record.ledger import Event, RunRecord
from harness.results.ranking import RankedTrial, ranked_trials, reads_target_labels
from harness.results.trial_label import trial_label
from harness.space.fields import cannot_vary
from harness.spec import SpecError, StudySpec, checked_study

MAX_NAME = 52
"""Characters of a finalist's name; with a seed's number it is the name of a baseline."""


@dataclass(frozen=True)
class Finalist:
    """A trial to train again.

    Attributes:
        name: Says what it is; unique among the finalists.
        is_baseline: Whether the search's file asked for it.
        fields: Flat fields of its config; the seed is replaced.
    """

    name: str
    is_baseline: bool
    fields: dict[str, Any]

    @property
    def reads_target_labels(self) -> bool:
        """Whether it trains on target labels; then it is no method to be compared with."""
        return reads_target_labels(self.fields)


@dataclass(frozen=True)
class Selection:
    """Which trials of a search are confirmed.

    Attributes:
        finalists: The best searched trials, best first.
        baselines: Baselines, in the search's order of quality.
        left_out: Baselines that are not complete, each with the reason.
    """

    finalists: tuple[Finalist, ...]
    baselines: tuple[Finalist, ...]
    left_out: tuple[str, ...]

    @property
    def all(self) -> tuple[Finalist, ...]:
        """Finalists, then baselines."""
        return self.finalists + self.baselines

    @property
    def compared(self) -> dict[str, list[str]]:
        """Arguments of :func:`harness.results.verdict.judge`, for the ledger.

        The references are in the order of the search's objective, so that the test split does not
        decide what is compared.
        """
        return {
            "baselines": [b.name for b in self.baselines],
            "references": [b.name for b in self.baselines if not b.reads_target_labels],
        }


def select(description: Event, runs: Mapping[int, RunRecord], top: int) -> Selection:
    """Choose by what the search measured.

    A trial counts as the mean over its seeds, also where the search drew the seed like another
    parameter. Only those that keep the constraints, read no target label and repeat no
    other can be finalists.
    With several objectives the Pareto-optimal trials come first, and among these the better by
    the first objective.

    Args:
        description: The search's ``study`` event.
        runs: Its runs.
        top: Number of finalists.

    Raises:
        SpecError: If no trial is complete.
    """
    if not runs:
        raise SpecError(f"study {description['study']} has no complete trial to confirm")
    spec = _judging_spec(description, next(iter(runs.values())).fields)
    complete = ranked_trials(spec, runs.values())
    ranked = ranked_trials(
        spec.model_copy(update={"seeds": 1}), [_mean_run(same) for same in _alike(complete)]
    )
    if not ranked:
        raise SpecError(f"study {description['study']} has no complete trial to confirm")
    searched = [t for t in ranked if not t.is_baseline and t.repeats is None and t.is_result]
    searched.sort(key=lambda trial: not trial.is_pareto)  # stable: ranked within
    baselines = [trial for trial in ranked if trial.is_baseline]
    names = _names(baselines)
    done = {trial.number for trial in complete}
    return Selection(
        tuple(Finalist(_searched_name(t), False, _fields(t)) for t in searched[:top]),
        tuple(Finalist(name, True, _fields(t)) for name, t in zip(names, baselines, strict=True)),
        tuple(_reasons(runs.values(), done)),
    )


def judging_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say what data a trial has and how it is judged."""
    return {name: value for name, value in fields.items() if cannot_vary(name)}


def metric_sections(description: Event) -> list[dict[str, Any]]:
    """The objectives of a study as a study file has them."""
    return [{"name": m["name"], "goal": m["goal"]} for m in description["objectives"]]


def _judging_spec(description: Event, fields: Mapping[str, Any]) -> StudySpec:
    """A study with the objectives, constraints and seeds of the search, and nothing else."""
    space = description["space"]
    constraints = [
        {key: value for key, value in constraint.items() if value is not None}
        for constraint in space["constraints"]
    ]
    return checked_study(
        {
            "name": "search",
            "plugins": description["plugins"],
            "trainable": description["trainable"],
            "metrics": metric_sections(description),
            "constraints": constraints,
            "seeds": space["seeds"],
            "method": "random",
            "fixed": judging_fields(fields),
            "baselines": {"any": {}},
        },
        f"cannot rank the trials of study {description['study']}",
    )


def _alike(trials: Sequence[RankedTrial]) -> list[list[RankedTrial]]:
    """Trials grouped where they differ in their seed alone."""
    groups: dict[str, list[RankedTrial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        fields = {n: v for n, v in trial.runs[0].fields.items() if n != "seed"}
        groups.setdefault(json.dumps(fields, sort_keys=True), []).append(trial)
    return list(groups.values())


def _mean_run(trials: Sequence[RankedTrial]) -> RunRecord:
    """One run in place of all trials that differ in their seed, with their mean metrics."""
    # Under a baseline's name if one of them is a baseline: the user gave it.
    first = next((t for t in trials if t.is_baseline), trials[0])
    shared = [name for name in first.means if all(name in t.means for t in trials)]
    means = {name: math.fsum(t.means[name] for t in trials) / len(trials) for name in shared}
    return replace(first.runs[0], metrics=means)


def _fields(trial: RankedTrial) -> dict[str, Any]:
    return trial.runs[0].fields


def _searched_name(trial: RankedTrial) -> str:
    """The trial's number, which is unique, and in words what is searched."""
    words = re.sub("[^A-Za-z0-9]+", "-", trial_label(trial.runs[0])).strip("-")
    name = trial.name
    return (name if words == name else f"{name}_{words}")[:MAX_NAME].rstrip("-_")


def _names(baselines: Sequence[RankedTrial]) -> list[str]:
    """Names of the baselines, shortened by their trial's number where they are too long."""
    return [
        t.name if len(t.name) <= MAX_NAME else f"{t.name[: MAX_NAME - 8]}_{t.number}"
        for t in baselines
    ]


def _reasons(runs: Sequence[RunRecord] | Any, done: set[int]) -> list[str]:
    """The baselines that cannot be confirmed, each once and with the reason."""
    reasons: dict[int, str] = {}
    for record in runs:
        if record.is_baseline and record.trial not in done and record.state != "complete":
            why = f": {record.reason}" if record.reason else ""
            reasons.setdefault(record.trial, f"{record.trial_name} is {record.state}{why}")
    return list(reasons.values())
