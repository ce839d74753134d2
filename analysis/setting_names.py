"""What a study's settings are called in tables and figures, and the order they stand in.

A setting is what all seeds of a trial share, ``Study.trials["config"]``. Its name follows from
its fields, not from what the study's file calls it, so tables of different studies read alike.
"""

from collections import Counter
from collections.abc import Mapping
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


def setting_names(trials: pd.DataFrame) -> dict[str, str]:
    """Readable names of a study's settings.

    Args:
        trials: ``Study.trials``, or a part of its rows.

    Returns:
        ``config`` to name, such as ``RegDA VAE-HM``, in the order of the paper's Table 1. Where
        several settings of a study would have the same name, it is followed by the ``config``
        that tells them apart.
    """
    records = trials.drop_duplicates("config").to_dict("records")
    names = {fields["config"]: _name(fields) for fields in sorted(records, key=_place)}
    shared = Counter(names.values())
    return {c: f"{name} ({c})" if shared[name] > 1 else name for c, name in names.items()}


def named(rows: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """The same rows with readable names in the column ``config``, settings in table order."""
    names = setting_names(trials)
    place = {config: index for index, config in enumerate(names)}
    ordered = rows.sort_values("config", key=lambda column: column.map(place), kind="stable")
    return ordered.assign(config=ordered["config"].map(names)).reset_index(drop=True)


def _place(setting: Mapping[Any, Any]) -> tuple[int, int]:
    return (
        list(METHODS).index(setting["adapt.method"]),
        list(STRATEGIES).index(setting["sampling.strategy"]),
    )


def _name(setting: Mapping[Any, Any]) -> str:
    method, strategy = METHODS[setting["adapt.method"]], setting["sampling.strategy"]
    return f"{method} {_strategy_name(setting, strategy)}".strip()


def _strategy_name(setting: Mapping[Any, Any], strategy: str) -> str:
    name = STRATEGIES[strategy]
    if strategy == "curriculum":
        is_papers = all(setting[field] == value for field, value in _VAE_CL.items())
        return name if is_papers else "curriculum"
    if strategy == "bins":
        chosen = ", ".join(map(str, setting["bins.subset"]))
        return f"bins {chosen} of {setting['bins.count']}"
    if strategy in ("random", "easiest", "hardest"):
        is_third = abs(setting["sampling.keep"] - 1 / 3) < 1e-6
        share = "third" if is_third else f"{100 * setting['sampling.keep']:.0f} %"
        # VAE-HM is a third in the paper; the controls' names have to say so.
        return name if is_third and strategy == "hardest" else f"{name} {share}"
    return name
