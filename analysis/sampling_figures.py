"""What a study trains on: difficulty scores, bins, schedules, and which ranges matter."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.palette import (
    BLACK,
    BLUE,
    FONT,
    GREY,
    ORANGE,
    VERMILION,
    colours,
    declutter,
    new_figure,
    shortened,
)
from analysis.paper_tables import verdict
from analysis.trial_names import trial_names

MAX_EDGES = 12
"""Most bins whose numbers are written above a histogram."""


def bin_edges(scores: NDArray[np.float64], bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scores between which the bins lie.

    Args:
        scores: (N,) scores, NaN where unscored.
        bins: (N,) bins by rank from 0, -1 where unscored.

    Returns:
        (B - 1,) the middle between the hardest pose of a bin and the easiest of the next.
    """
    found = [scores[bins == index] for index in range(int(bins.max()) + 1)]
    pairs = zip(found, found[1:], strict=False)
    return np.array([(easier.max() + harder.min()) / 2 for easier, harder in pairs])


def score_histogram(
    scores: NDArray[np.float64], bins: NDArray[np.int64], title: str = ""
) -> Figure:
    """How difficult the poses are, and where the bins are cut, on a logarithmic axis.

    Args:
        scores: (N,) reconstruction errors, > 0, NaN where unscored.
        bins: (N,) bins by rank from 0, -1 where unscored.
        title: Title of the axes.
    """
    known = scores[np.isfinite(scores)]
    figure = new_figure(2.9)
    axes = figure.subplots()
    axes.hist(
        known,
        bins=np.geomspace(known.min(), known.max(), 60).tolist(),
        color="#9CCBE8",
        edgecolor="white",
        lw=0.3,
    )
    edges = bin_edges(scores, bins)
    for edge in edges:
        axes.axvline(edge, color=VERMILION, linewidth=0.8)
    ends = [known.min(), *edges, known.max()]
    if len(edges) < MAX_EDGES:
        for index, (low, high) in enumerate(zip(ends, ends[1:], strict=False)):
            axes.text(
                np.sqrt(low * high), 0.97, str(index), ha="center", va="top", fontsize=FONT - 1,
                color=VERMILION, transform=axes.get_xaxis_transform(),
            )  # fmt: skip
    axes.set_xscale("log")
    axes.margins(y=0.12)
    axes.set_xlabel(
        f"reconstruction error by the Pose VAE; lines cut it into {len(edges) + 1} bins of equal "
        "size, 0 = easiest",
        fontsize=FONT,
    )
    axes.set_ylabel("poses", fontsize=FONT)
    axes.set_title(title, fontsize=FONT + 1)
    declutter(axes, "y")
    return figure


def curriculum_schedules(epochs: pd.DataFrame, runs: pd.DataFrame, title: str = "") -> Figure:
    """Share of the source that was active in each epoch, a line per trial.

    Args:
        epochs: ``Study.epochs``.
        runs: The rows of ``Study.runs`` whose trials are to be shown; of each trial the first.
        title: Title of the axes.

    Raises:
        ValueError: If none of the runs reported it.
    """
    names = trial_names(runs)
    first = runs.drop_duplicates("trial").set_index("number")["trial"]
    trials = {number: names[trial] for number, trial in first.items()}
    rows = epochs[epochs["metric"] == "sampling/active_fraction"]
    rows = rows[rows["number"].isin(list(trials))].sort_values("step")
    if rows.empty:
        raise ValueError("no run reported sampling/active_fraction")
    figure = new_figure(3.2)
    axes = figure.subplots()
    chosen = colours(list(trials.values()))
    # Trials of one schedule lie on each other: thinner lines above thicker ones show them all.
    for place, (number, name) in enumerate(trials.items()):
        own = rows[rows["number"] == number]
        axes.plot(
            own["step"], 100 * own["value"], drawstyle="steps-mid", marker="o", markersize=4,
            color=chosen[name], linewidth=1.5 + 1.2 * (len(trials) - 1 - place),
            label=shortened(name, 34),
        )  # fmt: skip
    axes.set_ylim(0, 105)
    axes.set_xticks(sorted(rows["step"].unique()))
    axes.set_xlabel("epoch", fontsize=FONT)
    axes.set_ylabel("active share of the source (%)", fontsize=FONT)
    axes.set_title(title, fontsize=FONT + 1)
    declutter(axes)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=FONT - 1)
    return figure


def effects_table(effects: pd.DataFrame) -> pd.DataFrame:
    """What including each range of difficulty does to the objective, in words and numbers.

    Args:
        effects: ``Study.effects()``.

    Returns:
        ``range`` of difficulty, ``mean`` effect in points, ``low`` and ``high`` of its 95 %
        interval, ``verdict`` and ``num_runs`` that it rests on.

    Raises:
        ValueError: If there is no effect.
    """
    _require(effects)
    table = pd.DataFrame(
        {
            "range": _range_names(effects),
            "mean": effects["effect"],
            "low": effects["low"],
            "high": effects["high"],
            "num_runs": effects["runs"],
        }
    )
    table.insert(
        4, "verdict", [verdict(*ends) for ends in zip(table["low"], table["high"], strict=True)]
    )
    return table


def effect_intervals(effects: pd.DataFrame, objective: str, title: str = "") -> Figure:
    """Effect of including each range of difficulty, with its interval, easiest on the left.

    Args:
        effects: ``Study.effects()``.
        objective: Name of the objective.
        title: Title of the axes.

    Raises:
        ValueError: If there is no effect.
    """
    _require(effects)
    figure = new_figure(3.3)
    axes = figure.subplots()
    axes.axhline(0, color=BLACK, linewidth=0.8)
    for place, row in enumerate(effects.to_dict("records")):
        is_shown = row["low"] > 0 or row["high"] < 0
        colour = GREY if not is_shown else BLUE if row["effect"] > 0 else ORANGE
        reach = [[row["effect"] - row["low"]], [row["high"] - row["effect"]]]
        axes.errorbar(
            place, row["effect"], reach, fmt="o" if is_shown else "s", color=colour,
            markerfacecolor=colour if is_shown else "white", markersize=7, capsize=4,
            elinewidth=1.8,
        )  # fmt: skip
    axes.set_xticks(
        range(len(effects)), [name.replace(" (", "\n(") for name in _range_names(effects)]
    )
    axes.set_xlim(-0.6, len(effects) - 0.4)
    axes.set_ylabel(f"effect on {objective}\n(points)", fontsize=FONT)
    axes.set_xlabel(
        "range of difficulty of the source poses; filled: the 95 % interval leaves out 0",
        fontsize=FONT,
    )
    axes.set_title(title, fontsize=FONT + 1)
    declutter(axes, "y")
    return figure


def _require(effects: pd.DataFrame) -> None:
    if effects.empty:
        raise ValueError(
            "too few complete trials, or trials that draw too alike, to tell what a range does"
        )


def _range_names(effects: pd.DataFrame) -> list[str]:
    places = {0: " (easiest)", len(effects) - 1: " (hardest)"}
    return [
        f"{100 * start:.0f} to {100 * end:.0f} %{places.get(place, '')}"
        for place, (start, end) in enumerate(zip(effects["start"], effects["end"], strict=True))
    ]
