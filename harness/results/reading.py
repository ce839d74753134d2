"""Reads a study's ledger into data frames, in one pass."""

import os
from array import array
from pathlib import Path

import numpy as np
import pandas as pd

from harness.record.ledger import Event, RunRecord, apply_event, latest_description, read_events
from harness.results.frames import Study
from harness.results.trial_label import trial_label
from trainables.config import trial_fields

STUDY_VARIABLE = "POSEBINS_STUDY"


def load_study(ledger: str | Path | None = None) -> Study:
    """Read a study.

    Args:
        ledger: Its ``events.jsonl``, or its folder; None reads the path from the environment
            variable ``POSEBINS_STUDY``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If no path is given or the file is damaged or has no study in it.
    """
    given = ledger or os.environ.get(STUDY_VARIABLE)
    if not given:
        raise ValueError(f"name a study's events.jsonl, here or in {STUDY_VARIABLE}")
    path = Path(given)
    path = path / "events.jsonl" if path.is_dir() else path
    description, records, epochs, times = _read_ledger(path)
    return Study(
        name=description["study"],
        objective=description["objective"],
        goal=description["goal"],
        runs=_runs(records),
        epochs=epochs,
        folder=path.parent,
        last_event=times[-1][1],
        wall_s=sum(last - first for first, last in times),
        _read=(description, records),
    )


def _read_ledger(
    path: Path,
) -> tuple[Event, dict[int, RunRecord], pd.DataFrame, list[tuple[float, float]]]:
    """A study's description, its runs, the frame of its epochs, and when each driver ran.

    It is read in one pass. A study of thousands of trials has millions of values: they go into
    arrays as they are read.
    """
    description: Event | None = None
    records: dict[int, RunRecord] = {}
    codes: dict[str, int] = {}
    numbers, steps, lengths = array("q"), array("q"), array("q")  # one for each epoch
    metrics, values = array("i"), array("d")  # one for each of its values
    times: list[tuple[float, float]] = []  # first and last event of each driver
    for event in read_events(path):
        if event["event"] in ("study", "resume"):
            times.append((event["time"], event["time"]))
        elif times:
            times[-1] = times[-1][0], event["time"]
        description = latest_description(description, event)
        apply_event(records, event)
        if event["event"] == "epoch":
            numbers.append(event["number"])
            steps.append(event["step"])
            lengths.append(len(event["metrics"]))
            metrics.extend([codes.setdefault(name, len(codes)) for name in event["metrics"]])
            values.extend(event["metrics"].values())
    if description is None:
        raise ValueError(f"{path} holds no study")
    epochs = {
        "number": np.repeat(np.array(numbers), lengths),
        "step": np.repeat(np.array(steps), lengths),
        "metric": pd.Categorical.from_codes(
            np.array(metrics, dtype=np.int32), pd.Index(list(codes), dtype=str)
        ),
        "value": np.array(values),
    }
    return description, records, pd.DataFrame(epochs), times


_OWN_COLUMNS = (
    "number", "name", "is_baseline", "state", "reason", "value", "epochs_run", "num_epochs",
    "busy_s", "trial",
)  # fmt: skip


def _runs(records: dict[int, RunRecord]) -> pd.DataFrame:
    rows = [
        {
            "number": record.number,
            "name": record.name,
            "is_baseline": record.is_baseline,
            "state": record.state,
            "reason": record.reason,
            "value": record.value,
            "epochs_run": record.step,
            "num_epochs": record.num_steps,
            "busy_s": record.busy_s,
            "trial": trial_label(record),
            **record.fields,
        }
        for record in records.values()
    ]
    # A plugin's fields are known here only if the plugin has been imported.
    recorded = (name for record in records.values() for name in record.fields)
    fields = dict.fromkeys((*trial_fields(), *recorded))
    return pd.DataFrame(rows, columns=[*_OWN_COLUMNS, *fields])
