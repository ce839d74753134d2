"""Figures of results per bin and per trial: data frame in, matplotlib figure out.

Nothing is read, saved or shown.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.palette import BLACK, FONT, colours, declutter, new_figure, shortened
from trainables.metrics.intervals import mean_interval

MANY_BINS = 10
"""With more bins a figure is wider, and its intervals have no caps."""


def per_bin_pck(
    summary: pd.DataFrame, methods: Sequence[str] | None = None, title: str = ""
) -> Figure:
    """PCK@0.05 per bin of pose difficulty, methods side by side (paper, Fig. 4).

    Bars start at 0. An interval is drawn where there is one; a bar without it is a single run.

    Args:
        summary: From :func:`analysis.tables.bin_summary`.
        methods: Trials to show, in order; None for all, best mean first.
        title: Title of the axes.

    Raises:
        ValueError: If a method is not in the summary.
    """
    known = summary.groupby("trial")["mean"].mean().sort_values(ascending=False)
    shown = list(known.index) if methods is None else list(methods)
    for method in shown:
        if method not in known.index:
            raise ValueError(f"no trial named {method!r}; known are {', '.join(known.index)}")
    bins = np.sort(summary["bin"].unique())
    has_many = len(bins) > MANY_BINS
    figure = new_figure(3.8, width=11.0 if has_many else 7.0)
    axes = figure.subplots()
    width = 0.84 / len(shown)
    chosen = colours(shown)
    for place, method in enumerate(shown):
        rows = summary[summary["trial"] == method].set_index("bin").reindex(bins)
        centre = np.arange(len(bins)) + (place - (len(shown) - 1) / 2) * width
        mean = rows["mean"].to_numpy()
        label = _label(method, rows["num_seeds"])
        axes.bar(centre, mean, width * 0.94, label=label, color=chosen[method])
        low, high = rows["low"].to_numpy(), rows["high"].to_numpy()
        has_interval = ~np.isnan(low)
        if has_interval.any():
            error = np.stack([mean - low, high - mean])[:, has_interval]
            axes.errorbar(
                centre[has_interval], mean[has_interval], error.clip(0), fmt="none",
                ecolor=BLACK, elinewidth=0.7, capsize=0 if has_many else 2, capthick=0.7,
            )  # fmt: skip
    axes.set_xticks(np.arange(len(bins)), [str(b) for b in bins])
    axes.set_xlim(-0.6, len(bins) - 0.4)
    axes.set_xlabel("bin of target poses by Pose VAE score, 0 = easiest", fontsize=FONT)
    axes.set_ylabel("PCK@0.05, mean over poses (%)", fontsize=FONT)
    axes.set_ylim(0, 100)
    axes.set_title(title, fontsize=FONT + 1)
    declutter(axes, "y")
    _legend_below(figure, len(shown))
    return figure


def per_bin_gain(differences: pd.DataFrame, title: str = "") -> Figure:
    """What a trial gains over another in each bin, with paired intervals.

    Args:
        differences: From :func:`analysis.tables.bin_differences` or
            :func:`analysis.tables.pose_bin_differences`; one line per pair, in their order.
        title: Title of the axes.

    Raises:
        ValueError: If there is no pair.
    """
    if differences.empty:
        raise ValueError("no two trials to compare have a seed in common")
    pairs = list(dict.fromkeys(zip(differences["trial"], differences["against"], strict=True)))
    bins = np.sort(differences["bin"].unique())
    figure = new_figure(3.6, width=11.0 if len(bins) > MANY_BINS else 7.0)
    axes = figure.subplots()
    axes.axhline(0, color=BLACK, linewidth=0.8)
    chosen = colours([trial for trial, _ in pairs])
    names = [trial for trial, _ in pairs]
    for place, (trial, against) in enumerate(pairs):
        is_pair = (differences["trial"] == trial) & (differences["against"] == against)
        rows = differences[is_pair].set_index("bin").reindex(bins)
        centre = np.arange(len(bins)) + (place - (len(pairs) - 1) / 2) * 0.6 / len(pairs)
        # A second pair of the same trial is hollow.
        is_hollow = trial in names[:place]
        axes.errorbar(
            centre, rows["mean"], _reach(rows), fmt="o", color=chosen[trial], markersize=5,
            markerfacecolor="white" if is_hollow else chosen[trial], elinewidth=1.3, capsize=2,
            label=f"{shortened(trial, 30)} over {shortened(against, 30)}",
        )  # fmt: skip
    axes.set_xticks(np.arange(len(bins)), [str(b) for b in bins])
    axes.set_xlabel("bin of target poses by Pose VAE score, 0 = easiest", fontsize=FONT)
    axes.set_ylabel("gain in PCK@0.05 (points)", fontsize=FONT)
    axes.set_title(title, fontsize=FONT + 1)
    declutter(axes, "y")
    _legend_below(figure, len(pairs))
    return figure


def trial_intervals(scores: pd.DataFrame, column: str = "All", title: str = "") -> Figure:
    """A score of every trial: mean and interval over seeds, seeds as small points.

    Args:
        scores: From :func:`analysis.paper_tables.seed_scores`; trials from the top in their order.
        column: Score to draw.
        title: Title of the axes.
    """
    trials = list(scores["trial"].unique())
    figure = new_figure(1.1 + 0.34 * len(trials))
    axes = figure.subplots()
    chosen = colours(trials)
    for place, trial in enumerate(trials):
        values = scores.loc[scores["trial"] == trial, column].dropna()
        low, high = mean_interval(values)
        if not np.isnan(low):
            axes.plot([low, high], [place, place], color=chosen[trial], linewidth=2.2, zorder=2)
        # Beside the line, or the points of close seeds would hide it.
        axes.plot(values, [place + 0.24] * len(values), "o", color=BLACK, markersize=2.5)
        axes.plot(values.mean(), place, "o", color=chosen[trial], markersize=8, zorder=3)
    axes.set_yticks(range(len(trials)), [shortened(trial) for trial in trials])
    axes.set_ylim(len(trials) - 0.4, -0.6)
    name = "PCK@0.05, mean of the joints behind All (%)" if column == "All" else f"{column} (%)"
    axes.set_xlabel(
        f"{name}\nlarge point and line: mean and 95 % t interval; small: seeds", fontsize=FONT
    )
    axes.set_title(title, fontsize=FONT + 1)
    declutter(axes, "x")
    return figure


def _reach(rows: pd.DataFrame) -> NDArray[np.float64]:
    """(2, N) distances from the means to the ends of their intervals; 0 without one."""
    ends = np.stack([rows["mean"] - rows["low"], rows["high"] - rows["mean"]])
    reach: NDArray[np.float64] = np.nan_to_num(ends.clip(0))
    return reach


def _legend_below(figure: Figure, num: int) -> None:
    columns = num if num <= 2 else min(3, math.ceil(num / 2))
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=FONT - 1)


def _label(method: str, num_seeds: pd.Series) -> str:
    seeds = int(num_seeds.max())
    return f"{shortened(method)} ({seeds} seed{'s' if seeds > 1 else ''})"
