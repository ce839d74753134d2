"""Summaries of per-bin results: data frame in, data frame out.

Two kinds of interval. Over seeds: how far another seed of the training would move the mean; it
takes two seeds or more. Over poses: how far other images of the same kind would; it takes the
predictions of one run, and says nothing of the seed.
"""

from collections.abc import Sequence

import pandas as pd

from trainables.metrics.intervals import mean_interval


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
        values = group.groupby("seed")["pck"].mean().to_numpy()
        low, high = mean_interval(values)
        rows.append(
            {
                "trial": trial,
                "bin": index,
                "mean": float(values.mean()),
                "low": low,
                "high": high,
                "num_seeds": len(values),
            }
        )
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
    seeds = bins.groupby(["trial", "bin", "seed"], as_index=False)["pck"].mean()
    rows = []
    for trial, against in pairs:
        both = seeds[seeds["trial"] == trial].merge(
            seeds[seeds["trial"] == against], on=["bin", "seed"], suffixes=("", "_against")
        )
        for index, group in both.groupby("bin"):
            gaps = group["pck"] - group["pck_against"]
            low, high = mean_interval(gaps)
            rows.append(
                {
                    "trial": trial,
                    "against": against,
                    "bin": index,
                    "mean": gaps.mean(),
                    "low": low,
                    "high": high,
                    "num_seeds": len(gaps),
                }
            )
    columns = ["trial", "against", "bin", "mean", "low", "high", "num_seeds"]
    return pd.DataFrame(rows, columns=columns)


def pose_bin_summary(images: pd.DataFrame) -> pd.DataFrame:
    """Mean per-bin PCK of each trial, with an interval over the poses of the bin.

    Args:
        images: From :func:`analysis.per_image.trial_image_scores`; images in no bin are left out.

    Returns:
        The columns of :func:`bin_summary`; ``low`` and ``high`` bound the 95 % t interval of the
        mean over poses.
    """
    binned = images[images["bin"] >= 0].dropna(subset=["pck"])
    rows = []
    for (trial, index), group in binned.groupby(["trial", "bin"], sort=True):
        low, high = mean_interval(group["pck"])
        rows.append(
            {
                "trial": trial,
                "bin": index,
                "mean": group["pck"].mean(),
                "low": low,
                "high": high,
                "num_seeds": int(group["num_seeds"].iloc[0]),
            }
        )
    columns = ["trial", "bin", "mean", "low", "high", "num_seeds"]
    return pd.DataFrame(rows, columns=columns)


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
    rows = []
    for trial, against in pairs:
        both = binned[binned["trial"] == trial].merge(
            binned[binned["trial"] == against], on=["bin", "id"], suffixes=("", "_against")
        )
        for index, group in both.groupby("bin"):
            gaps = group["pck"] - group["pck_against"]
            low, high = mean_interval(gaps)
            rows.append(
                {
                    "trial": trial,
                    "against": against,
                    "bin": index,
                    "mean": gaps.mean(),
                    "low": low,
                    "high": high,
                    "num_poses": len(gaps),
                }
            )
    columns = ["trial", "against", "bin", "mean", "low", "high", "num_poses"]
    return pd.DataFrame(rows, columns=columns)


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
        found = group.groupby("seed")["value"].mean().to_numpy()
        low, high = mean_interval(found)
        rows.append(
            {
                "trial": trial,
                "mean": float(found.mean()),
                "low": low,
                "high": high,
                "num_seeds": len(found),
            }
        )
    table = pd.DataFrame(rows, columns=["trial", "mean", "low", "high", "num_seeds"])
    return table.sort_values("mean", ascending=False, ignore_index=True)
