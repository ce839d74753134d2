"""Which settings of a search are worth training again: its best ones and every baseline."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.record.ledger import Event, TrialRecord
from harness.results.frames import setting_name
from harness.results.ranking import RankedSetting, ranked_settings
from harness.space.fields import cannot_vary
from harness.spec import SpecError, StudySpec, checked_study

MAX_NAME = 52
"""Characters of a setting's name; with a seed's number it is the name of a baseline."""


@dataclass(frozen=True)
class Finalist:
    """A setting to train again.

    Attributes:
        name: Says what it is; unique among the finalists.
        is_baseline: Whether the search's file asked for it.
        fields: Flat fields of its trials; the seed is replaced.
    """

    name: str
    is_baseline: bool
    fields: dict[str, Any]

    @property
    def reads_target_labels(self) -> bool:
        """Whether it trains on target labels; then it is no method to be compared with."""
        return bool(self.fields["adapt.method"] == "oracle")


@dataclass(frozen=True)
class Selection:
    """What a search says about who is to be confirmed.

    Attributes:
        finalists: The best searched settings, best first.
        baselines: Baselines, in the search's order of quality.
        left_out: Baselines that are not complete, each with why.
    """

    finalists: tuple[Finalist, ...]
    baselines: tuple[Finalist, ...]
    left_out: tuple[str, ...]

    @property
    def all(self) -> tuple[Finalist, ...]:
        """Finalists, then baselines."""
        return self.finalists + self.baselines

    @property
    def references(self) -> tuple[str, ...]:
        """Baselines to compare with, best first.

        Best on the search's objective: the test split has no part in who is compared with whom.
        """
        return tuple(b.name for b in self.baselines if not b.reads_target_labels)


def select(description: Event, trials: Mapping[int, TrialRecord], top: int) -> Selection:
    """Choose by what the search measured.

    A setting counts as the mean over its seeds, also where the search drew the seed like another
    parameter. Those that keep the constraints alone can be finalists; of several objectives the
    Pareto-optimal settings come first, and among these the better by the first objective.

    Args:
        description: Of the search.
        trials: Its trials.
        top: Number of finalists.

    Raises:
        SpecError: If no setting is complete.
    """
    if not trials:
        raise SpecError(f"study {description['study']} has no complete trial to confirm")
    spec = _judging_spec(description, next(iter(trials.values())).fields)
    complete = ranked_settings(spec, list(trials.values()))
    ranked = ranked_settings(
        spec.model_copy(update={"seeds": 1}), [_mean_trial(same) for same in _alike(complete)]
    )
    if not ranked:
        raise SpecError(f"study {description['study']} has no complete trial to confirm")
    searched = [s for s in ranked if not s.is_baseline and not s.broken]
    searched.sort(key=lambda setting: not setting.is_pareto)  # stable: ranked within
    baselines = [setting for setting in ranked if setting.is_baseline]
    names = _names(baselines)
    done = {setting.number for setting in complete}
    return Selection(
        tuple(Finalist(_searched_name(s), False, _fields(s)) for s in searched[:top]),
        tuple(Finalist(name, True, _fields(s)) for name, s in zip(names, baselines, strict=True)),
        tuple(_reasons(trials.values(), done)),
    )


def judging_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say what data a trial has and how it is judged."""
    return {name: value for name, value in fields.items() if cannot_vary(name)}


def metric_sections(description: Event) -> list[dict[str, Any]]:
    """The objectives of a study as a study file has them."""
    return [{"name": m["name"], "goal": m["goal"]} for m in description["objectives"]]


def _judging_spec(description: Event, fields: Mapping[str, Any]) -> StudySpec:
    """A study with the objectives, constraints and seeds of the search, and nothing else."""
    if "space" not in description:
        raise SpecError(
            f"study {description['study']} was recorded by an earlier version, whose ledger does "
            "not say how it judged its settings; run it again"
        )
    space = description["space"]
    constraints = [
        {key: value for key, value in constraint.items() if value is not None}
        for constraint in space["constraints"]
    ]
    return checked_study(
        {
            "name": "search",
            "trainable": description["trainable"],
            "metrics": metric_sections(description),
            "constraints": constraints,
            "seeds": space["seeds"],
            "method": "random",
            "fixed": judging_fields(fields),
            "baselines": {"any": {}},
        },
        f"cannot rank the settings of study {description['study']}",
    )


def _alike(settings: Sequence[RankedSetting]) -> list[list[RankedSetting]]:
    """Settings grouped where they differ in their seed alone."""
    groups: dict[str, list[RankedSetting]] = {}
    for setting in sorted(settings, key=lambda setting: setting.number):
        fields = {n: v for n, v in setting.trials[0].fields.items() if n != "seed"}
        groups.setdefault(json.dumps(fields, sort_keys=True), []).append(setting)
    return list(groups.values())


def _mean_trial(settings: Sequence[RankedSetting]) -> TrialRecord:
    """One trial in place of all that differ in their seed, with their mean metrics."""
    # As a baseline if one of them is: its name is the one a person gave.
    first = next((s for s in settings if s.is_baseline), settings[0])
    shared = [name for name in first.means if all(name in s.means for s in settings)]
    means = {name: math.fsum(s.means[name] for s in settings) / len(settings) for name in shared}
    return replace(first.trials[0], name=first.name, metrics=means)


def _fields(setting: RankedSetting) -> dict[str, Any]:
    return setting.trials[0].fields


def _searched_name(setting: RankedSetting) -> str:
    """The trial's number, which is unique, and in words what is searched."""
    words = re.sub("[^A-Za-z0-9]+", "-", setting_name(setting.trials[0])).strip("-")
    name = setting.name
    return (name if words == name else f"{name}_{words}")[:MAX_NAME].rstrip("-_")


def _names(baselines: Sequence[RankedSetting]) -> list[str]:
    """Names of the baselines, shortened by their setting's number where they are too long."""
    return [
        s.name if len(s.name) <= MAX_NAME else f"{s.name[: MAX_NAME - 8]}_{s.number}"
        for s in baselines
    ]


def _reasons(trials: Sequence[TrialRecord] | Any, done: set[int]) -> list[str]:
    """The baselines that cannot be confirmed, each once and with why."""
    reasons: dict[int, str] = {}
    for record in trials:
        if record.is_baseline and record.setting not in done and record.state != "complete":
            why = f": {record.reason}" if record.reason else ""
            reasons.setdefault(record.setting, f"{record.name} is {record.state}{why}")
    return list(reasons.values())
