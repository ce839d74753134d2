"""Summaries of per-bin results: data frame in, data frame out.

Two kinds of interval. Over seeds: how far another seed of the training would move the mean; it
takes two seeds or more. Over poses: how far other images of the same kind would; it takes the
predictions of one run, and says nothing of the seed.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from trainables.metrics.intervals import mean_interval


def mean_row(values: ArrayLike, count: str = "num_seeds") -> dict[str, float]:
    """``mean`` of some values, ``low`` and ``high`` of its 95 % t interval, and their ``count``.

    A single value tells nothing of spread: its interval is NaN.
    """
    found = pd.Series(np.asarray(values, dtype=float))
    low, high = mean_interval(found)
    return {"mean": float(found.mean()), "low": low, "high": high, count: len(found)}


def bin_summary(bins: pd.DataFrame) -> pd.DataFrame:
    """Mean per-bin PCK of each method over its seeds, with an interval.

    Args:
        bins: Rows of ``trial``, ``seed``, ``bin`` and ``pck``, as
            :meth:`harness.results.Study.bins` gives them.

    Returns:
        Columns ``trial``, ``bin``, ``mean``, ``low``, ``high``, ``num_seeds``. ``low`` and
        ``high`` bound the 95 % t interval of the mean over seeds; NaN with a single seed, which
        tells nothing about spread.

    Raises:
        ValueError: If there are no rows.
    """
    if bins.empty:
        raise ValueError("no complete run reported per-bin PCK")
    rows = []
    for (trial, index), group in bins.groupby(["trial", "bin"], sort=True):
        seeds = group.groupby("seed")["pck"].mean()
        rows.append({"trial": trial, "bin": index, **mean_row(seeds)})
    return pd.DataFrame(rows)


def bin_differences(bins: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Per-bin PCK of one trial less that of another, seed by seed.

    Args:
        bins: Rows of ``trial``, ``seed``, ``bin`` and ``pck``.
        pairs: A trial and the one it is compared with; pairs without a common seed are left
            out.

    Returns:
        ``trial`` and ``against``, ``bin``, ``mean`` difference in points, ``low`` and ``high``
        of its 95 % t interval over seeds (NaN for one seed), ``num_seeds``.
    """
    seeds = bins.groupby(["trial", "bin", "seed"], as_index=False).agg({"pck": "mean"})
    return _bin_gaps(seeds, pairs, "seed", "num_seeds")


def pose_bin_differences(images: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Per-bin PCK of one trial less that of another, image by image.

    Args:
        images: From :func:`analysis.per_image.trial_image_scores`.
        pairs: A trial and the one it is compared with.

    Returns:
        ``trial`` and ``against``, ``bin``, ``mean`` difference in points, ``low`` and ``high`` of
        its 95 % t interval over the poses of the bin, ``num_poses``.
    """
    binned = images[images["bin"] >= 0].dropna(subset=["pck"])
    return _bin_gaps(binned, pairs, "id", "num_poses")


def _bin_gaps(
    rows: pd.DataFrame, pairs: Sequence[tuple[str, str]], unit: str, count: str
) -> pd.DataFrame:
    """Differences of ``pck`` between trials in each bin, paired by the column ``unit``."""
    found = []
    for trial, against in pairs:
        both = rows[rows["trial"] == trial].merge(
            rows[rows["trial"] == against], on=["bin", unit], suffixes=("", "_against")
        )
        for index, group in both.groupby("bin"):
            gaps = group["pck"] - group["pck_against"]
            named = {"trial": trial, "against": against, "bin": index}
            found.append({**named, **mean_row(gaps, count)})
    columns = ["trial", "against", "bin", "mean", "low", "high", count]
    return pd.DataFrame(found, columns=columns)


def overall_summary(runs: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """Mean and interval over seeds of one final metric, best trial first.

    Args:
        runs: ``Study.runs``.
        values: ``Study.final(metric)``: metric by run number.

    Returns:
        Columns ``trial``, ``mean``, ``low``, ``high``, ``num_seeds``; complete runs only.
    """
    complete = runs.loc[runs["state"] == "complete", ["number", "trial", "seed"]]
    merged = complete.assign(value=complete["number"].map(values)).dropna(subset=["value"])
    rows = []
    for trial, group in merged.groupby("trial"):
        rows.append({"trial": trial, **mean_row(group.groupby("seed")["value"].mean())})
    table = pd.DataFrame(rows, columns=["trial", "mean", "low", "high", "num_seeds"])
    return table.sort_values("mean", ascending=False, ignore_index=True)
