"""How a search went: history, Pareto front, importances, and what was saved."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.palette import BLUE, FONT, GREY, ORANGE, VERMILION, declutter, new_figure, shortened


def search_history(
    trials: pd.DataFrame, objective: str, goal: str = "maximize", title: str = ""
) -> Figure:
    """The objective of every complete trial in the order of the suggestions, and the best so far.

    A trial that breaks a constraint or trains on target labels is not among the best.

    Args:
        trials: ``Study.trials()``; ``low`` and ``high`` of the objective, or NaN for no bars.
        objective: A column of it.
        goal: ``maximize`` or ``minimize``.
        title: Title of the axes.

    Raises:
        ValueError: If there is no complete trial.
    """
    _require(trials)
    figure = new_figure(3.2)
    axes = figure.subplots()
    values = trials[objective].to_numpy(float)
    best = pd.Series(np.where(trials["is_result"], values, np.nan)).ffill()
    best = best.cummax() if goal == "maximize" else best.cummin()
    axes.step(trials["number"], best, where="post", color=VERMILION, label="best so far")
    reach = np.nan_to_num(np.stack([values - trials["low"], trials["high"] - values]).clip(0))
    is_oracle = trials["is_feasible"] & ~trials["is_result"]
    kinds = {
        "suggested": (~trials["is_baseline"] & ~is_oracle, BLUE, "o"),
        "baseline": (trials["is_baseline"] & ~is_oracle, ORANGE, "D"),
        "trained on target labels": (is_oracle, GREY, "s"),
    }
    for label, (chosen, colour, marker) in kinds.items():
        rows = chosen.to_numpy(bool)
        if rows.any():
            axes.errorbar(
                trials["number"][rows], values[rows], reach[:, rows], fmt=marker, color=colour,
                markersize=5, elinewidth=1, label=label,
            )  # fmt: skip
    broken = ~trials["is_feasible"].to_numpy(bool)
    if broken.any():
        axes.plot(
            trials["number"][broken],
            values[broken],
            "x",
            color="black",
            label="breaks a constraint",
        )
    axes.set_xlabel("trial", fontsize=FONT)
    axes.set_ylabel(objective, fontsize=FONT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(title, fontsize=FONT + 1)
    declutter(axes)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=FONT - 1)
    return figure


def pareto_front(trials: pd.DataFrame, x: str, y: str, title: str = "") -> Figure:
    """Every complete trial by two objectives; those that no other beats in both stand out.

    Args:
        trials: ``Study.trials()`` of a study with several objectives.
        x: Objective to the right, a column of ``trials``.
        y: Objective upwards.
        title: Title of the axes.

    Raises:
        ValueError: If there is no complete trial, or a column is missing.
    """
    _require(trials)
    for name in (x, y):
        if name not in trials:
            raise ValueError(f"{name} is no objective of this study")
    figure = new_figure(4.2, width=5.6)
    axes = figure.subplots()
    front = trials[trials["is_pareto"]].sort_values(x)
    others = trials[~trials["is_pareto"]]
    axes.plot(others[x], others[y], "o", color=GREY, markersize=5, alpha=0.8, label="other trials")
    axes.plot(
        front[x], front[y], "o--", color=BLUE, markersize=7, linewidth=1, label="Pareto front"
    )
    for row in front.to_dict("records"):
        axes.annotate(
            shortened(row["trial"], 26), (row[x], row[y]), xytext=(5, 5),
            textcoords="offset points", fontsize=FONT - 2,
        )  # fmt: skip
    axes.margins(0.12)
    axes.set_xlabel(x, fontsize=FONT)
    axes.set_ylabel(y, fontsize=FONT)
    axes.set_title(title, fontsize=FONT + 1)
    declutter(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=FONT - 1)
    return figure


def parameter_importances(importances: pd.Series, title: str = "") -> Figure:
    """Share of each searched parameter in what makes a trial one of the best.

    Args:
        importances: ``Study.importances()``.
        title: Title of the axes.

    Raises:
        ValueError: If there is none.
    """
    if importances.empty:
        raise ValueError("too few complete trials to tell the importance of a parameter")
    figure = new_figure(0.9 + 0.3 * len(importances))
    axes = figure.subplots()
    names = [shortened(str(name), 40) for name in importances.index]
    axes.barh(range(len(names)), 100 * importances.to_numpy(), color=BLUE, height=0.66)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("importance for being among the best trials (%), PED-ANOVA", fontsize=FONT)
    axes.set_title(title, fontsize=FONT + 1)
    declutter(axes, "x")
    return figure


def time_saved(runs: pd.DataFrame, stages: pd.DataFrame) -> pd.DataFrame:
    """Worker seconds that a study spent, and an estimate of what it did not have to.

    Sharing: a stage that was found had been computed once, so its seconds then are what was saved;
    the stages of a run whose whole training was found are in that training's seconds. Pruning: the
    epochs that a pruned run did not train, at the mean time of an epoch in this study.

    Args:
        runs: ``Study.runs``.
        stages: ``Study.stages()``.

    Returns:
        ``what`` (spent, then each stage that was shared, pruning), ``seconds`` and ``num_runs``.
    """
    rows = [("spent by workers", float(runs["busy_s"].sum()), len(runs))]
    # A stage that a run has under two names is there once.
    stages = stages.drop_duplicates(["number", "key"])
    hits = stages[stages["outcome"] == "hit"]
    whole = hits.loc[hits["stage"] == "training", "number"]
    inside = hits["stage"].eq("pretrain") & hits["number"].isin(whole)
    for stage, group in hits[~inside].groupby("stage", sort=False):
        rows.append((f"saved by sharing {stage}", float(group["seconds"].sum()), len(group)))
    pruned = runs[runs["state"] == "pruned"]
    if len(pruned):
        ended = runs[runs["epochs_run"] > 0]
        per_epoch = ended["busy_s"].sum() / ended["epochs_run"].sum()
        missed = (pruned["num_epochs"] - pruned["epochs_run"]).sum()
        rows.append(("saved by pruning (estimate)", float(per_epoch * missed), len(pruned)))
    return pd.DataFrame(rows, columns=["what", "seconds", "num_runs"])


def time_saved_bars(table: pd.DataFrame, title: str = "") -> Figure:
    """The rows of :func:`time_saved` as bars, in minutes."""
    figure = new_figure(0.9 + 0.32 * len(table))
    axes = figure.subplots()
    shades = [GREY if what.startswith("spent") else BLUE for what in table["what"]]
    minutes = table["seconds"] / 60
    bars = axes.barh(range(len(table)), minutes, color=shades, height=0.66)
    texts = [f"{m:.1f} ({n} runs)" for m, n in zip(minutes, table["num_runs"], strict=True)]
    axes.bar_label(bars, texts, padding=3, fontsize=FONT - 2)
    axes.set_yticks(range(len(table)), table["what"].tolist())
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xlabel("minutes of one worker", fontsize=FONT)
    axes.set_title(title, fontsize=FONT + 1)
    declutter(axes, "x")
    return figure


def _require(trials: pd.DataFrame) -> None:
    if trials.empty:
        raise ValueError("the study has no complete trial")
