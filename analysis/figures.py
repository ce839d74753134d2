"""Figures: data frame in, matplotlib figure out; nothing is read, saved or shown."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from trainables.metrics.intervals import mean_interval

METHOD_COLOURS = {
    # What the files of studies call their baselines.
    "all": "#1f77b4",
    "vae_hm": "#d62728",
    "vae_cl": "#2ca02c",
    "random_third": "#ff7f0e",
    "easy_third": "#9467bd",
    # Methods, whatever they sample.
    "source_only": "#7f7f7f",
    "oracle": "#000000",
    "regda": "#1f77b4",
    "udape": "#d95f02",
    # Rows of Table 1: a hue for each method, light for all of the source, dark for VAE-HM.
    "Source only": "#7f7f7f",
    "Oracle": "#000000",
    "RegDA": "#9ecae1",
    "RegDA VAE-CL": "#4a98c9",
    "RegDA VAE-HM": "#08519c",
    "RegDA random third": "#4fb3a5",
    "RegDA easy third": "#1b7f6f",
    "UDAPE": "#fdbe85",
    "UDAPE VAE-CL": "#f4892f",
    "UDAPE VAE-HM": "#b63d00",
    "UDAPE random third": "#d9a21b",
    "UDAPE easy third": "#8c6600",
}
"""One colour per method or trial in every figure; others take matplotlib's cycle."""
MAX_LABEL = 46


def per_bin_pck(
    summary: pd.DataFrame, methods: Sequence[str] | None = None, title: str = ""
) -> Figure:
    """PCK@0.05 per bin of pose difficulty, methods side by side (paper, Fig. 4).

    Bars start at 0. An interval is drawn where a method has several seeds; a bar without one
    is a single run.

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
    figure = Figure(figsize=(max(7.0, 1.3 * len(bins)), 4.2), layout="constrained")
    axes = figure.subplots()
    width = 0.82 / len(shown)
    for place, method in enumerate(shown):
        rows = summary[summary["trial"] == method].set_index("bin").reindex(bins)
        centre = np.arange(len(bins)) + (place - (len(shown) - 1) / 2) * width
        mean = rows["mean"].to_numpy()
        axes.bar(
            centre, mean, width * 0.94, label=_label(method, rows["num_seeds"]),
            color=METHOD_COLOURS.get(method),
        )  # fmt: skip
        low, high = rows["low"].to_numpy(), rows["high"].to_numpy()
        has_interval = ~np.isnan(low)
        if has_interval.any():
            error = np.stack([mean - low, high - mean])[:, has_interval]
            axes.errorbar(
                centre[has_interval], mean[has_interval], error.clip(0),
                fmt="none", ecolor="black", elinewidth=1, capsize=2,
            )  # fmt: skip
    axes.set_xticks(np.arange(len(bins)), [str(b) for b in bins])
    axes.set_xlabel("bin of target poses by Pose VAE score, 0 = easiest")
    axes.set_ylabel("PCK@0.05, mean over poses (%)")
    axes.set_ylim(0, 100)
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    columns = min(3, math.ceil(len(shown) / 2))
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
    return figure


def trial_intervals(scores: pd.DataFrame, column: str = "All", title: str = "") -> Figure:
    """A score of every trial: mean and interval over seeds, seeds as small points.

    Args:
        scores: From :func:`analysis.table1.seed_scores`; trials from the top in their order.
        column: Score to draw.
        title: Title of the axes.
    """
    trials = list(scores["trial"].unique())
    figure = Figure(figsize=(7.0, 1.1 + 0.34 * len(trials)), layout="constrained")
    axes = figure.subplots()
    for place, trial in enumerate(trials):
        values = scores.loc[scores["trial"] == trial, column].dropna()
        colour = METHOD_COLOURS.get(trial, "#333333")
        low, high = mean_interval(values)
        if not np.isnan(low):
            axes.plot([low, high], [place, place], color=colour, linewidth=2.2, zorder=2)
        # Beside the line, or the points of close seeds would hide it.
        axes.plot(values, [place + 0.24] * len(values), "o", color=colour, markersize=3, alpha=0.8)
        axes.plot(values.mean(), place, "o", color=colour, markersize=8, zorder=3)
    axes.set_yticks(range(len(trials)), [_shortened(trial) for trial in trials])
    axes.set_ylim(len(trials) - 0.4, -0.6)
    name = "PCK@0.05, mean of the limb joints (%)" if column == "All" else f"{column} (%)"
    axes.set_xlabel(f"{name}\nlarge point and line: mean and 95 % t interval; small: seeds")
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    return figure


def _shortened(name: str) -> str:
    return name if len(name) <= MAX_LABEL else name[: MAX_LABEL - 3] + "..."


def _label(method: str, num_seeds: pd.Series) -> str:
    seeds = int(num_seeds.max())
    return f"{_shortened(method)} ({seeds} seed{'s' if seeds > 1 else ''})"
