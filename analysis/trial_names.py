"""What a study's trials are called in tables and figures, and the order they stand in.

The runs of a trial differ in their seed alone and share ``Study.runs["trial"]``. A trial's name
follows from its fields, not from what the study's file calls it, so tables of different studies
read alike.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

METHODS = {
    "source_only": "Source only",
    "oracle": "Oracle",
    "regda": "RegDA",
    "udape": "UDAPE",
}
"""``adapt.method`` to the name of the paper's Table 1, in its order."""
STRATEGIES = {
    "all": "",
    "curriculum": "VAE-CL",
    "hardest": "VAE-HM",
    "random": "random",
    "easiest": "easy",
    "bins": "bins",
}
"""``sampling.strategy`` to the second half of a name, in the order of rows: the paper's two ways
of sampling, then controls that it lacks."""

_VAE_CL = {
    "curriculum.order": "easy_to_hard",
    "curriculum.mode": "cumulative",
    "curriculum.pacing": "step",
    "curriculum.start_fraction": 1 / 3,
    "curriculum.full_at": 2 / 3,
}
"""The paper's curriculum: easy, easy and medium, all. Others are named ``curriculum``."""


def trial_names(runs: pd.DataFrame) -> dict[str, str]:
    """Readable names of a study's trials.

    Args:
        runs: ``Study.runs``, or a part of its rows.

    Returns:
        ``trial`` to name, such as ``RegDA VAE-HM``, in the order of the paper's Table 1. Where
        several trials of a study would have the same name, it is followed by the ``trial``
        that tells them apart.
    """
    records = runs.drop_duplicates("trial").to_dict("records")
    names = {fields["trial"]: _name(fields) for fields in sorted(records, key=_place)}
    shared = Counter(names.values())
    return {t: f"{name} ({t})" if shared[name] > 1 else name for t, name in names.items()}


def named(rows: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The same rows with readable names in the column ``trial``, trials in table order."""
    names = trial_names(runs)
    place = {trial: index for index, trial in enumerate(names)}
    ordered = rows.sort_values("trial", key=lambda column: column.map(place), kind="stable")
    return ordered.assign(trial=ordered["trial"].map(names)).reset_index(drop=True)


def named_baselines(runs: pd.DataFrame) -> list[str]:
    """Readable names of the complete trials that the study's file names; of all if it names none.

    Args:
        runs: ``Study.runs``.
    """
    complete = runs[runs["state"] == "complete"]
    chosen = complete.loc[complete["is_baseline"], "trial"].unique()
    names = trial_names(complete)
    return [name for trial, name in names.items() if not len(chosen) or trial in chosen]


def sampling_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Each trial that samples with the trial of its method that uses all of the source.

    Args:
        names: Readable names of trials.
    """
    return [(name, method) for method in names for name in names if name.startswith(f"{method} ")]


def _place(trial: Mapping[Any, Any]) -> tuple[int, int]:
    """Where a trial stands in a table: what the tables do not know, such as plugins', is last."""
    places = [*METHODS, trial["adapt.method"]], [*STRATEGIES, trial["sampling.strategy"]]
    return places[0].index(trial["adapt.method"]), places[1].index(trial["sampling.strategy"])


def _name(trial: Mapping[Any, Any]) -> str:
    method, strategy = trial["adapt.method"], trial["sampling.strategy"]
    method = METHODS.get(method, method)
    return f"{method} {_strategy_name(trial, strategy)}".strip()


def _strategy_name(trial: Mapping[Any, Any], strategy: str) -> str:
    name = STRATEGIES.get(strategy, strategy)
    if strategy == "curriculum":
        is_papers = all(trial[field] == value for field, value in _VAE_CL.items())
        return name if is_papers else "curriculum"
    if strategy == "bins":
        chosen = ", ".join(map(str, trial["bins.subset"]))
        return f"bins {chosen} of {trial['bins.count']}"
    if strategy in ("random", "easiest", "hardest"):
        is_third = abs(trial["sampling.keep"] - 1 / 3) < 1e-6
        share = "third" if is_third else f"{100 * trial['sampling.keep']:.0f} %"
        # VAE-HM is a third in the paper; the controls' names have to say so.
        return name if is_third and strategy == "hardest" else f"{name} {share}"
    return name
