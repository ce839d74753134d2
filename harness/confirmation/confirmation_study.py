"""A confirmation as a study in which every run is a baseline: one finalist with one seed.

So nothing is drawn or pruned, and a resumed confirmation finds its runs by their names: more seeds
are more baselines.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.confirmation.finalists import (
    Finalist,
    Selection,
    judging_fields,
    metric_sections,
    select,
)
from harness.optuna_study.continuation import check_identity, identity
from harness.record.ledger import Event, read_runs, run_name, trial_of
from harness.space.fields import FieldValues
from harness.spec import SpecError, StudySpec, checked_study
from harness.yaml.source import YAMLSource, apply_override
from harness.yaml.validation import did_you_mean, problems
from trainables.config import TrialConfig, trial_fields

CONFIRMED = "-confirm"
FIRST_SEED = 1000
"""Seeds of a confirmation start here; searches use small ones."""
MAX_STUDY_NAME = 64
_SECTIONS = ("name", "fixed", "resources", "failures")
"""What ``--set`` may change beside fields of the trials."""


@dataclass(frozen=True)
class ConfirmationPlan:
    """What a confirmation will do.

    Attributes:
        spec: The study.
        searched_id: Id of the study that it confirms.
        selection: Which trials it trains, with the changes of ``--set``.
        summary: How many trials and seeds these are.
        notes: What the user should know before it starts, in sentences.
    """

    spec: StudySpec
    searched_id: str
    selection: Selection
    summary: str
    notes: tuple[str, ...]


def plan_confirmation(
    searched: Path, top: int, num_seeds: int, changes: Sequence[str]
) -> ConfirmationPlan:
    """Plan the confirmation of a study.

    Args:
        searched: Ledger of the search.
        top: Number of finalists.
        num_seeds: Fresh seeds of each finalist and baseline.
        changes: Texts ``path=value``: a field, with or without ``fixed.`` before it, or a value
            of the confirmation's name, resources or failures.

    Raises:
        SpecError: If there is nothing to confirm, or a change is not possible.
    """
    try:
        description, runs = read_runs(searched)
    except ValueError as error:
        raise SpecError(str(error)) from error
    name = description["study"]
    if (kind := description["kind"]) != "trial":
        raise SpecError(f"{name} is itself a {kind}; name the study that it belongs to")
    if description["trainable"] != "adaptation":
        raise SpecError(
            f"study {name} has {description['trainable']} trials; only adaptation trials have a "
            "test split to confirm on"
        )
    selection = select(description, runs, top)
    content = _sections(description, changes)
    changed, notes = _changed(selection, content.pop("fixed"))
    if not changed.all:
        raise SpecError(f"study {name} has no baseline, so --top must be at least 1, got {top}")
    notes += [f"baseline {sentence}; it is left out" for sentence in selection.left_out]
    if len(selection.finalists) < top:
        notes.append(
            f"the study has {len(selection.finalists)} trials to choose from, not {top}: they are "
            "complete, keep the constraints and differ from each other and from the baselines"
        )
    if any(record.state in ("running", "stopped") for record in runs.values()):
        notes.append(f"study {name} has not ended; what it finds later is not confirmed here")
    judging = judging_fields(changed.all[0].fields)
    baselines = {
        run_name(finalist.name, FIRST_SEED + i): {
            field: value
            for field, value in {**finalist.fields, "seed": FIRST_SEED + i}.items()
            if field not in judging
        }
        for i in range(num_seeds)
        for finalist in changed.all
    }
    spec = _validated(
        {
            **content,
            "trainable": description["trainable"],
            "metrics": metric_sections(description),
            "method": "random",
            "fixed": judging,
            "baselines": baselines,
        }
    )
    summary = f"{len(changed.all)} trials x {num_seeds} seeds"
    return ConfirmationPlan(spec, description["study_id"], changed, summary, tuple(notes))


def resumed(ledger: Path, spec: StudySpec, *, accept_change: bool) -> tuple[StudySpec, bool]:
    """The study that resumes a stored confirmation.

    More seeds of the same trials may be added. Other trials need ``accept_change``; the stored
    ones stay part of it.

    Args:
        ledger: Of the stored confirmation.
        spec: The confirmation that the user asks for.
        accept_change: Whether trials and code may differ.

    Returns:
        The study, and whether the engine must accept that it has changed.

    Raises:
        SpecError: If it cannot be resumed; says how it differs and what to do.
    """
    try:
        description, _ = read_runs(ledger)
    except ValueError as error:
        raise SpecError(str(error)) from error
    if description["kind"] != "confirmation":
        raise SpecError(
            f"{spec.name} is not a confirmation; give this one another name with --set name=..."
        )
    now = identity(spec)["space"]["baselines"]
    before: dict[str, Any] = description["space"]["baselines"]
    differing = [run for run in before if run in now and before[run] != now[run]]
    if differing:
        run = differing[0]
        words = ", ".join(_differences(before[run], now[run]))
        raise SpecError(
            f"the runs of {spec.name} have {words}; give the same --set to resume it, or "
            "start another one with --new"
        )
    if accept_change:
        kept = {run: fields for run, fields in before.items() if run not in now}
        return _with_baselines(spec, {**kept, **now}), True
    if problem := _unlike(before, now):
        raise SpecError(
            f"{spec.name} {problem}; give the same arguments to resume it (more --seeds add "
            "seeds), add to it with --accept-change, or start another one with --new"
        )
    if before == now:
        return spec, False
    grown = {**description, "space": {**description["space"], "baselines": now}}
    check_identity(grown, spec)  # nothing but the seeds may differ
    return spec, True


def _sections(description: Event, changes: Sequence[str]) -> dict[str, Any]:
    """Name, resources, failures and database of the search, with what ``--set`` changes.

    ``fixed`` holds the changed fields.
    """
    kept = json.loads(description["yaml"])
    source = YAMLSource(
        "the confirmation",
        {
            "plugins": description["plugins"],
            "name": _confirmation_name(description["study"]),
            "fixed": {},
            "resources": description["resources"],
            "failures": kept.get("failures", {}),
            "database": kept.get("database"),
        },
        {},
        {},
    )
    for text in changes:
        source = apply_override(source, _as_path(text))
    data = dict(source.data)
    try:
        data["fixed"] = TypeAdapter(FieldValues).validate_python(data["fixed"])
    except ValidationError as error:
        raise SpecError(f"--set fixed.{problems(error)[0].sentence}") from None
    for field in data["fixed"]:
        if field in judging_fields(data["fixed"]):
            raise SpecError(f"--set {field}: a confirmation keeps the study's data and evaluation")
        if field == "seed":
            raise SpecError("--set seed: a confirmation has fresh seeds; --seeds says how many")
    return data


def _as_path(text: str) -> str:
    """``adapt.epochs=6`` as ``fixed.adapt.epochs=6``; what names a section stays."""
    name = text.partition("=")[0].strip()
    words = name.partition(".")[0]
    fields = trial_fields()
    is_field = name in fields or any(field.startswith(f"{name}.") for field in fields)
    if is_field and words not in _SECTIONS:
        return f"fixed.{text.strip()}"
    if words in _SECTIONS or "=" not in text:
        return text
    raise SpecError(
        f"--set {text}: {name} is no field of a trial{did_you_mean(name, fields)}, nor a "
        f"value of {', '.join(_SECTIONS[2:])}"
    )


def _confirmation_name(searched: str) -> str:
    if len(searched) + len(CONFIRMED) <= MAX_STUDY_NAME:
        return searched + CONFIRMED
    # Two long names must not become one.
    digest = hashlib.sha256(searched.encode()).hexdigest()[:8]
    return f"{searched[: MAX_STUDY_NAME - len(CONFIRMED) - 9]}-{digest}{CONFIRMED}"


def _changed(selection: Selection, changes: Mapping[str, Any]) -> tuple[Selection, list[str]]:
    """The trials with changed fields; of trials that become equal, the first is kept.

    Baselines come before finalists, as the others are compared with one of them.
    """
    kept: dict[str, Finalist] = {}
    notes = []
    for finalist in selection.baselines + selection.finalists:
        try:
            fields = TrialConfig.from_flat({**finalist.fields, **changes}).to_flat()
        except ValueError as error:
            raise SpecError(f"trial {finalist.name}, as changed by --set: {error}") from error
        alike = json.dumps({n: v for n, v in fields.items() if n != "seed"}, sort_keys=True)
        if alike in kept:
            notes.append(f"{finalist.name} is the same as {kept[alike].name} with these changes")
        else:
            kept[alike] = replace(finalist, fields=fields)
    return (
        Selection(
            tuple(f for f in kept.values() if not f.is_baseline),
            tuple(f for f in kept.values() if f.is_baseline),
            selection.left_out,
        ),
        notes,
    )


def _unlike(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """How the baselines of two confirmations differ, unless it is only by more seeds."""
    old, new = _trials(before), _trials(now)
    if gone := old.keys() - new:
        return (
            f"has the trials {', '.join(old)}, of which {', '.join(sorted(gone))} would now be "
            "left out"
        )
    if added := [name for name in new if name not in old]:
        return f"has no trial {', '.join(added)}, which --top or the search now add"
    old_seeds, new_seeds = max(map(len, old.values())), max(map(len, new.values()))
    if new_seeds < old_seeds:
        return f"has {old_seeds} seeds, more than --seeds {new_seeds}"
    return None


def _trials(baselines: Mapping[str, Any]) -> dict[str, set[int]]:
    """Trials that a confirmation trains, each with its seeds."""
    found: dict[str, set[int]] = {}
    for name, fields in baselines.items():
        found.setdefault(trial_of(name, fields["seed"]), set()).add(fields["seed"])
    return found


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{field} {json.dumps(before.get(field))}, not {json.dumps(now.get(field))}"
        for field in dict.fromkeys((*before, *now))
        if before.get(field) != now.get(field)
    ][:5]


def _with_baselines(spec: StudySpec, baselines: Mapping[str, Any]) -> StudySpec:
    content = {name: getattr(spec, name) for name in spec.model_fields_set}
    content |= {
        "metrics": [{"name": m.name, "goal": m.goal} for m in spec.metrics],
        "baselines": baselines,
        "resources": spec.resources.model_dump(),
        "failures": spec.failures.model_dump(exclude_unset=True),
    }
    return _validated(content)


def _validated(content: Mapping[str, Any]) -> StudySpec:
    return checked_study(content, "cannot plan the confirmation")
