"""What the MLflow runs of a study say, worked out from the ledger's events."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.mlflow_tracking.cursor import read_from
from harness.mlflow_tracking.environment import environment
from harness.mlflow_tracking.note import study_note
from harness.mlflow_tracking.provenance import git_commit, harness_version
from harness.record.ledger import TERMINAL_STATES, Event, searched_fields

BARS = ("final/", "chosen_pck_05/", "chosen_epoch/")
"""Metrics that a run has once, at its end."""
MAX_NAME = 80


def at_ms(event: Event) -> int:
    """Time of an event in milliseconds since 1970: the same whenever it is written."""
    return int(event["time"] * 1000)


def step_of(metric: str, step: int) -> int:
    """Step to log a metric at; one whose only step is 0 is drawn as a bar, others as a curve."""
    return 0 if metric.startswith(BARS) else step


def as_text(value: Any) -> str:
    """A parameter as MLflow shows it; lists without spaces so that they compare equal."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)


def config_hash(fields: dict[str, Any]) -> str:
    """Digest of a run's fields but its seed: equal for runs that may be averaged."""
    seedless = {name: value for name, value in fields.items() if name != "seed"}
    return hashlib.sha256(json.dumps(seedless, sort_keys=True).encode()).hexdigest()[:12]


def study_tags(event: Event) -> dict[str, str]:
    """Tags of the study's run."""
    commit = git_commit()
    return {
        "mlflow.note.content": study_note(event),
        "mlflow.source.git.commit": commit,
        "study": event["study"],
        "study_id": event["study_id"],
        "stage": "study",
        "state": "running",
        "objective": ",".join(goal["name"] for goal in event["objectives"]),
        "git_commit": commit,
        "harness_version": harness_version(),
    }


def run_tags(study: Event, event: Event) -> dict[str, str]:
    """Tags of a run, to filter and to group by."""
    fields, retry_of = event["fields"], event.get("retry_of")
    tags = {
        "study": study["study"],
        "study_id": study["study_id"],
        "stage": "run",
        "run": str(event["number"]),
        "trial": str(event["trial"]),
        "seed": str(event["seed"]),
        "config_hash": config_hash(fields),
        "config": json.dumps(fields),
        "baseline": event["trial_name"] if event["is_baseline"] else "",
        "state": "running",
        "pruned": "false",
        **_circumstances(study),
    }
    return tags if retry_of is None else tags | {"retry_of": str(retry_of)}


def run_number(tags: Mapping[str, str]) -> int | None:
    """Number of a run by its tags; None for the run of the study.

    Earlier versions wrote the number into the tag ``trial``.
    """
    number = tags.get("run") or tags.get("trial")
    return None if number is None else int(number)


def _circumstances(study: Event) -> dict[str, str]:
    """What a replay of the run needs beside its config, and what its numbers depend on."""
    if "read_test" not in study:  # a ledger of an earlier version
        return environment()
    resources = study["resources"]
    return {
        "trainable": study["trainable"],
        **({"plugins": json.dumps(study["plugins"])} if study.get("plugins") else {}),
        "objectives": json.dumps(study["objectives"]),
        "read_test": str(study["read_test"]).lower(),
        "cpus": str(resources["cpus"]),
        "gpus": str(resources["gpus"]),
        **environment(),
    }


def run_params(study: Event, event: Event) -> dict[str, Any]:
    """Fields that a run does not share with the study, and its seed.

    Beside what varies these are what a baseline's ``parity`` sets and the study's fields do not.
    """
    fixed = study["fixed"]
    return {
        name: value
        for name, value in event["fields"].items()
        if name == "seed" or name not in fixed or value != fixed[name]
    }


def run_title(study: Event, event: Event) -> str:
    """Readable and unique in the study: ``hardest kl_weight=0.0123 #12``, ``vae_hm#1``."""
    end = f"#{event['number']}"
    if event["is_baseline"]:
        return f"{event['name']}{end}"
    searched = searched_fields(event["params"], event["fields"])
    words = [_word(name, searched[name]) for name in study["varied"] if name in searched]
    while len(" ".join([*words, end])) > MAX_NAME:
        words.pop()
    return " ".join([*(words or [event["name"]]), end])


def _word(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    shown = f"{value:.3g}" if isinstance(value, float) else as_text(value)
    return f"{name.rpartition('.')[2]}={shown}"


def lineage(stages: dict[str, list[Any]]) -> tuple[str, dict[str, float]]:
    """Tag that says which cached stages a run used, and the seconds of them as metrics.

    Args:
        stages: Stage name to outcome, key and the seconds that computing the entry took.
    """
    rows = {
        name: {"outcome": outcome, "key": key, "seconds": seconds}
        for name, (outcome, key, seconds) in stages.items()
    }
    saved = sum(row["seconds"] for row in rows.values() if row["outcome"] == "hit")
    spent = sum(row["seconds"] for row in rows.values() if row["outcome"] != "hit")
    metrics = {"stages/seconds_saved": float(saved), "stages/seconds_spent": float(spent)}
    return json.dumps(rows), metrics


def dataset_sources(study: Event, event: Event) -> Iterator[tuple[str, str, str, str]]:
    """Role, name, digest and origin of the data sets that a run reports."""
    fixed = study["fixed"]
    for role, digest in event["digests"].items():
        name = str(fixed.get(f"data.{role}", role))
        origin = {"root": fixed.get(f"data.{role}_root"), "domain": name}
        yield role, name, digest, json.dumps(origin)


def summary(ledger_path: Path, study: Event, end: Event) -> tuple[dict[str, float], int | None]:
    """What came out, from the ledger up to the end of a driver.

    Returns:
        Metrics ``runs/<state>``, ``trials/duplicate`` and ``best/<objective>``, the best of
        each objective by itself; and the run that is best by the first one.
    """
    states: dict[int, str] = {}
    metrics: dict[int, dict[str, float]] = {}
    num_duplicates = 0
    for event in _events_up_to(ledger_path, end):
        match event["event"]:
            case "run" | "continued":
                states[event["number"]] = "running"
            case "finished":
                states[event["number"]] = event["state"]
            case "epoch":
                metrics[event["number"]] = event["metrics"]
            case "duplicate":
                num_duplicates += 1
    counts = Counter(states.values())
    # All of them: what was stopped when an earlier driver ended may be none now.
    found = {f"runs/{state}": float(counts[state]) for state in TERMINAL_STATES}
    found["trials/duplicate"] = float(num_duplicates)
    complete = [n for n, state in states.items() if state == "complete" and n in metrics]
    first: int | None = None
    for index, goal in enumerate(study["objectives"]):
        sign = 1 if goal["goal"] == "maximize" else -1
        scored = [
            (sign * metrics[n][goal["name"]], -n) for n in complete if goal["name"] in metrics[n]
        ]
        if scored:
            value, number = max(scored)
            found[f"best/{goal['name']}"] = sign * value
            first = -number if index == 0 else first
    return found, first


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
