"""Figures of label-free validators: data frame in, matplotlib figure out."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.palette import METHOD_COLOURS
from analysis.trial_names import METHODS
from trainables.metrics.metric_keys import VALIDATORS

MEASURES = {
    "spearman": "Spearman correlation with target PCK",
    "weighted_spearman": "weighted Spearman correlation with target PCK",
}


def validator_correlations(
    validators: pd.DataFrame, measure: str = "spearman", title: str = ""
) -> Figure:
    """How well each validator orders the checkpoints of each method.

    One row per validator, one point per method; pools of several methods are left to the table.

    Args:
        validators: ``Study.validators()``.
        measure: A key of :data:`MEASURES`.
        title: Title of the axes.

    Raises:
        ValueError: If there is no validator.
    """
    rows = validators[validators["method"].isin(METHODS)]
    names = _known_validators(rows["validator"])
    methods = [method for method in METHODS if method in set(rows["method"])]
    figure = Figure(figsize=(7.0, 1.4 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots()
    values = rows.pivot(index="validator", columns="method", values=measure)
    for number, method in enumerate(methods):
        # Methods beside each other within a row, so that equal values do not hide.
        offset = (number - (len(methods) - 1) / 2) * 0.18
        axes.plot(
            values[method].reindex(names), np.arange(len(names)) + offset, "o",
            color=METHOD_COLOURS[METHODS[method]], markersize=7, label=METHODS[method],
        )  # fmt: skip
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(axis="y", which="minor", alpha=0.3)
    axes.tick_params(axis="y", which="minor", length=0)
    axes.set_xlim(-1.05, 1.05)
    axes.set_xlabel(MEASURES[measure])
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=len(methods), frameon=False, fontsize=9)
    return figure


def validator_scatter(checkpoints: pd.DataFrame, title: str = "") -> Figure:
    """Each validator against target PCK, one point per checkpoint, coloured by method.

    Args:
        checkpoints: ``Study.checkpoints()``.
        title: Title of the figure.

    Raises:
        ValueError: If no checkpoint has a validator.
    """
    names = _known_validators(checkpoints[list(VALIDATORS)].dropna(axis="columns", how="all"))
    num_columns = min(3, len(names))
    num_rows = math.ceil(len(names) / num_columns)
    figure = Figure(figsize=(2.9 * num_columns, 2.4 * num_rows + 0.6), layout="constrained")
    grid = figure.subplots(num_rows, num_columns, sharey=True, squeeze=False).ravel()
    methods = [method for method in METHODS if method in set(checkpoints["method"])]
    for axes, name in zip(grid, names, strict=False):
        for method in methods:
            rows = checkpoints[checkpoints["method"] == method]
            axes.scatter(
                rows[name], rows["pck_05"], s=12, alpha=0.6, linewidths=0,
                color=METHOD_COLOURS[METHODS[method]],
            )  # fmt: skip
        axes.set_title(name, fontsize=10)
        axes.locator_params(axis="x", nbins=4)
        axes.ticklabel_format(axis="x", scilimits=(-3, 4))
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    figure.supylabel("target_val PCK@0.05 (%)", fontsize=10)
    figure.suptitle(title)
    marks = [
        Line2D([], [], marker="o", linestyle="", color=METHOD_COLOURS[METHODS[m]]) for m in methods
    ]
    figure.legend(
        marks, [METHODS[m] for m in methods], loc="outside lower center",
        ncols=len(methods), frameon=False, fontsize=9,
    )  # fmt: skip
    return figure


def _known_validators(present: pd.Series | pd.DataFrame) -> list[str]:
    """The validators that are there, in their order."""
    known = [name for name in VALIDATORS if name in set(present)]
    if not known:
        raise ValueError("no checkpoint reported a validator")
    return known
