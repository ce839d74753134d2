"""Summaries of per-bin results: data frame in, data frame out."""

from collections.abc import Sequence

import pandas as pd

from trainables.metrics.intervals import mean_interval


def bin_summary(bins: pd.DataFrame) -> pd.DataFrame:
    """Mean per-bin PCK of each method over its seeds, with an interval.

    Args:
        bins: Rows of ``config``, ``seed``, ``bin`` and ``pck``, as
            :meth:`harness.results.Study.bins` gives them.

    Returns:
        Columns ``config``, ``bin``, ``mean``, ``low``, ``high``, ``num_seeds``. ``low`` and
        ``high`` bound the 95 % t interval of the mean over seeds; NaN with a single seed, which
        tells nothing about spread.

    Raises:
        ValueError: If there are no rows.
    """
    if bins.empty:
        raise ValueError("no complete trial reported per-bin PCK")
    rows = []
    for (config, index), group in bins.groupby(["config", "bin"], sort=True):
        values = group.groupby("seed")["pck"].mean().to_numpy()
        low, high = mean_interval(values)
        rows.append(
            {
                "config": config,
                "bin": index,
                "mean": float(values.mean()),
                "low": low,
                "high": high,
                "num_seeds": len(values),
            }
        )
    return pd.DataFrame(rows)


def bin_differences(bins: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Per-bin PCK of one setting less that of another, seed by seed.

    Args:
        bins: Rows of ``config``, ``seed``, ``bin`` and ``pck``.
        pairs: A setting and the one it is compared with; pairs without a common seed are left
            out.

    Returns:
        ``config`` and ``against``, ``bin``, ``mean`` difference in points, ``low`` and ``high``
        of its 95 % t interval over seeds (NaN for one seed), ``num_seeds``.
    """
    seeds = bins.groupby(["config", "bin", "seed"], as_index=False)["pck"].mean()
    rows = []
    for config, against in pairs:
        both = seeds[seeds["config"] == config].merge(
            seeds[seeds["config"] == against], on=["bin", "seed"], suffixes=("", "_against")
        )
        for index, group in both.groupby("bin"):
            gaps = group["pck"] - group["pck_against"]
            low, high = mean_interval(gaps)
            rows.append(
                {
                    "config": config,
                    "against": against,
                    "bin": index,
                    "mean": gaps.mean(),
                    "low": low,
                    "high": high,
                    "num_seeds": len(gaps),
                }
            )
    columns = ["config", "against", "bin", "mean", "low", "high", "num_seeds"]
    return pd.DataFrame(rows, columns=columns)


def overall_summary(trials: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """Mean and interval over seeds of one final metric, best setting first.

    Args:
        trials: ``Study.trials``.
        values: ``Study.final(metric)``: metric by trial number.

    Returns:
        Columns ``config``, ``mean``, ``low``, ``high``, ``num_seeds``; complete trials only.
    """
    complete = trials.loc[trials["state"] == "complete", ["number", "config", "seed"]]
    merged = complete.assign(value=complete["number"].map(values)).dropna(subset=["value"])
    rows = []
    for config, group in merged.groupby("config"):
        found = group.groupby("seed")["value"].mean().to_numpy()
        low, high = mean_interval(found)
        rows.append(
            {
                "config": config,
                "mean": float(found.mean()),
                "low": low,
                "high": high,
                "num_seeds": len(found),
            }
        )
    table = pd.DataFrame(rows, columns=["config", "mean", "low", "high", "num_seeds"])
    return table.sort_values("mean", ascending=False, ignore_index=True)
