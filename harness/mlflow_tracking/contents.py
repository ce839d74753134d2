"""What the MLflow runs of a study say, worked out from the ledger's events."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.mlflow_tracking.cursor import read_from
from harness.mlflow_tracking.environment import environment
from harness.mlflow_tracking.provenance import git_commit, harness_version
from harness.record.field_text import short_names, value_text
from harness.record.ledger import (
    TERMINAL_STATES,
    Event,
    RunRecord,
    apply_event,
    latest_description,
    searched_fields,
)
from harness.results.ranking import ranked_trials
from harness.spec import SpecError, checked_study

MAX_NAME = 80


def at_ms(event: Event) -> int:
    """Time of an event in milliseconds since 1970: the same whenever it is written."""
    return int(event["time"] * 1000)


def as_text(value: Any) -> str:
    """A parameter as MLflow shows it; lists without spaces so that they compare equal."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)


def config_hash(fields: dict[str, Any]) -> str:
    """Digest of a run's fields but its seed: equal for runs that may be averaged."""
    seedless = {name: value for name, value in fields.items() if name != "seed"}
    return hashlib.sha256(json.dumps(seedless, sort_keys=True).encode()).hexdigest()[:12]


def summary_title(study: Event) -> str:
    """Name of the run that stands for a whole study."""
    return "summary" if study["kind"] == "trial" else f"summary of {study['study']}"


def summary_tags(study: Event) -> dict[str, str]:
    """Tags of the run that stands for the whole study."""
    commit = git_commit()
    return {
        "mlflow.source.git.commit": commit,
        "study": study["study"],
        "study_id": study["study_id"],
        "kind": "summary",
        "state": "running",
        "objective": ",".join(goal["name"] for goal in study["objectives"]),
        "git_commit": commit,
        "harness_version": harness_version(),
    }


def run_tags(study: Event, event: Event) -> dict[str, str]:
    """Tags of a run, to filter and to group by."""
    fields, retry_of = event["fields"], event.get("retry_of")
    tags = {
        "study": study["study"],
        "study_id": study["study_id"],
        "kind": study["kind"],
        "run": str(event["number"]),
        "trial": str(event["trial"]),
        "seed": str(event["seed"]),
        "config_hash": config_hash(fields),
        "config": json.dumps(fields),
        "baseline": event["trial_name"] if event["is_baseline"] else "",
        "method": str(fields.get("adapt.method", "")),
        "sampling": str(fields.get("sampling.strategy", "")),
        "state": "running",
        "pruned": "false",
        **_circumstances(study),
    }
    return tags if retry_of is None else tags | {"retry_of": str(retry_of)}


def run_number(tags: Mapping[str, str]) -> int | None:
    """Number of a run by its tags; None for the run that stands for the whole study."""
    return int(tags["run"]) if "run" in tags else None


def _circumstances(study: Event) -> dict[str, str]:
    """What a replay of the run needs beside its config, and what its numbers depend on."""
    resources = study["resources"]
    return {
        "trainable": study["trainable"],
        **({"plugins": json.dumps(study["plugins"])} if study["plugins"] else {}),
        "objectives": json.dumps(study["objectives"]),
        "read_test": str(study["read_test"]).lower(),
        "cpus": str(resources["cpus"]),
        "gpus": str(resources["gpus"]),
        **environment(),
    }


def run_params(study: Event, event: Event) -> dict[str, Any]:
    """The fields in which the runs of a study differ, the same ones for all of its runs."""
    names = {*study["varied"]} | ({"seed"} if has_seeds(study) else set())
    return {name: value for name, value in event["fields"].items() if name in names}


def has_seeds(study: Event) -> bool:
    """Whether trials have several runs that differ in their seed."""
    return study["space"]["seeds"] > 1 or "seed" in study["varied"]


def run_title(study: Event, event: Mapping[str, Any], *, with_seed: bool = True) -> str:
    """Readable within the first 24 characters, which is what fits MLflow's list of runs.

    For example ``07 bins 2+4+5 of 6``, ``00 vae_hm``, ``12 s1 hardest kl_weight=0.0123``, and for
    a confirmation ``confirm s1000 vae_hm``.

    Args:
        study: The ledger's ``study`` event.
        event: The ledger's ``run`` event, or a :class:`harness.record.ledger.RunRecord` as a dict.
        with_seed: Whether to name the seed of a study with several.
    """
    kind = study["kind"]
    if kind == "replay":
        return str(study["study"])  # names the run that it replays
    start = "confirm" if kind == "confirmation" else f"{event['trial']:02}"
    words = [start, *([f"s{event['seed']}"] if with_seed and has_seeds(study) else [])]
    if event["is_baseline"]:
        return " ".join([*words, event["trial_name"]])
    searched = searched_fields(event["params"], event["fields"])
    varied = {name: searched[name] for name in study["varied"] if name in searched}
    described = _words_of(varied, event["fields"]) or [event["trial_name"]]
    while described and len(" ".join([*words, *described])) > MAX_NAME:
        described.pop()
    return " ".join([*words, *described])


def _words_of(searched: dict[str, Any], fields: dict[str, Any]) -> list[str]:
    """What a trial tries; how it draws comes first."""
    words = []
    if any(name.startswith(("sampling.", "bins.")) for name in searched):
        strategy = fields.get("sampling.strategy")
        if strategy == "bins":
            words.append(_bins(fields))
        elif "sampling.strategy" in searched:
            words.append(str(strategy))
        searched = {
            name: value
            for name, value in searched.items()
            if name != "sampling.strategy" and not (name.startswith("bins.") and strategy)
        }
    short = short_names(searched)
    return words + [
        value if isinstance(value, str) else f"{short[name]}={value_text(value)}"
        for name, value in searched.items()
    ]


def _bins(fields: dict[str, Any]) -> str:
    subset = fields.get("bins.subset")
    chosen = "all" if subset is None else value_text(subset)
    return f"bins {chosen} of {fields.get('bins.count')}"


def lineage(stages: dict[str, list[Any]]) -> tuple[dict[str, str], dict[str, float]]:
    """Tags that say which cached stages a run used, and the seconds of them as metrics.

    Args:
        stages: Stage name to outcome, key and the seconds that computing the entry took.

    Returns:
        All of it in the tag ``stages``, and one tag for each stage, to filter by its outcome; and
        the metrics.
    """
    rows = {
        name: {"outcome": outcome, "key": key, "seconds": seconds}
        for name, (outcome, key, seconds) in stages.items()
    }
    tags = {"stages": json.dumps(rows)}
    tags |= {f"stage/{name}": str(row["outcome"]) for name, row in rows.items()}
    # A stage that a run has under two names counts once, as it was met first.
    once = {row["key"]: row for row in reversed(rows.values())}.values()
    saved = sum(row["seconds"] for row in once if row["outcome"] == "hit")
    spent = sum(row["seconds"] for row in once if row["outcome"] != "hit")
    return tags, {"stages/seconds_saved": float(saved), "stages/seconds_spent": float(spent)}


def dataset_sources(study: Event, event: Event) -> Iterator[tuple[str, str, str, str]]:
    """Role, name, digest and origin of the data sets that a run reports."""
    fixed = study["fixed"]
    for role, digest in event["digests"].items():
        name = str(fixed.get(f"data.{role}", role))
        origin = {"root": fixed.get(f"data.{role}_root"), "domain": name}
        yield role, name, digest, json.dumps(origin)


def ended_runs(ledger_path: Path, end: Event) -> tuple[Event, dict[int, RunRecord], int]:
    """The study as a driver left it.

    Args:
        ledger_path: The ledger.
        end: The driver's last event.

    Returns:
        The study's description, its runs, and how many trials repeated earlier ones.
    """
    study: Event | None = None
    runs: dict[int, RunRecord] = {}
    num_duplicates = 0
    for event in _events_up_to(ledger_path, end):
        study = latest_description(study, event)
        apply_event(runs, event)
        num_duplicates += event["event"] == "duplicate"
    if study is None:
        raise ValueError(f"{ledger_path} holds no study")
    return study, runs, num_duplicates


def counts(runs: Mapping[int, RunRecord], num_duplicates: int) -> dict[str, str]:
    """How many runs ended in each state and how many trials repeated earlier ones, as tags."""
    states = Counter(record.state for record in runs.values())
    found = {f"runs_{state}": str(states[state]) for state in TERMINAL_STATES}
    return found | {"duplicate_trials": str(num_duplicates)}


def best_of(study: Event, runs: Mapping[int, RunRecord]) -> tuple[dict[str, str], int | None]:
    """The best that a search found, by the rule of its tables.

    Returns:
        Tags ``best/<objective>``, for each objective by itself the best mean over seeds of a
        trial that is a result (:attr:`harness.results.ranking.RankedTrial.is_result`); and the
        first run of the trial that is best by the first objective. Nothing for a confirmation,
        whose verdict judges its trials, or if this version does not read the study's file.
    """
    if study["kind"] == "confirmation":
        return {}, None
    try:
        spec = checked_study(json.loads(study["yaml"]), "the best trial is not known")
    except SpecError:  # other code recorded it; the note says so
        return {}, None
    results = [trial for trial in ranked_trials(spec, runs.values()) if trial.is_result]
    if not results:
        return {}, None
    tags = {}
    for goal in spec.objectives:
        choose = max if goal.goal == "maximize" else min
        tags[f"best/{goal.name}"] = f"{choose(trial.means[goal.name] for trial in results):.6g}"
    return tags, results[0].runs[0].number


def _events_up_to(ledger_path: Path, end: Event) -> Iterator[Event]:
    offset = 0
    while True:
        events, offset = read_from(ledger_path, offset)
        if not events:
            return
        for event in events:
            yield event
            if event == end:
                return
