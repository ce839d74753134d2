"""How a search went: history, importances, schedules, validators, what it cost."""

from collections.abc import Iterator

import numpy as np

from analysis.report.comparison import MOST_SHOWN, Comparison
from analysis.report.page import Section, figure, paragraph, subheading, table
from analysis.report.wording import counted, interval_text, quoted
from analysis.sampling_figures import curriculum_schedules
from analysis.search_figures import (
    parameter_importances,
    pareto_front,
    search_history,
    time_saved,
)
from analysis.selections import GAIN, SELECTIONS, selection_table
from analysis.trial_names import METHODS
from analysis.validator_figures import validator_correlations

MOST_IMPORTANCES = 20
MANY_POINTS = 500
"""Trials from which on a figure of all of them is stored as pixels."""


def search_section(found: Comparison) -> Section | None:
    """The objective of every trial, the Pareto front, the importances."""
    trials = found.study.trials()
    if trials.empty or found.is_confirmation:
        return None
    is_long = len(trials) > MANY_POINTS
    parts = []
    for metric in found.study.spec.objectives:
        is_first = metric.name == found.study.objective
        shown = trials if is_first else trials.assign(low=np.nan, high=np.nan)
        drawn = search_history(shown, metric.name, metric.goal)
        parts.append(
            figure(
                drawn,
                f"{metric.name} of {len(trials)} complete trials in order, and the best so far",
                "Complete trials in the order in which they were suggested.",
                has_images=is_long,
            )
        )
    names = [metric.name for metric in found.study.spec.objectives]
    if len(names) > 1:
        drawn = pareto_front(trials, names[0], names[1])
        parts.append(
            figure(
                drawn,
                f"{names[1]} against {names[0]}",
                "On the line: no other trial is as good in all objectives and better in one.",
                has_images=is_long,
            )
        )
    parts += list(_importances(found))
    return Section("The search", "search", tuple(parts))


def _importances(found: Comparison) -> Iterator[str]:
    if not found.study.spec.parameters:
        return
    importances = found.study.importances()
    yield subheading("Which parameters decide")
    if importances.empty:
        yield paragraph("Too few complete trials to tell which parameter decides.")
        return
    shown = importances.head(MOST_IMPORTANCES)
    yield figure(
        parameter_importances(shown),
        "Importance of " + ", ".join(f"{name} {100 * v:.0f} %" for name, v in shown.items()),
        "Share of each parameter in what makes a trial one of the best tenth (PED-ANOVA). It has "
        f"neither sign nor interval; with {len(found.study.trials())} trials it is "
        + ("mostly noise." if len(found.study.trials()) < 50 else "a hint."),
    )
    if len(importances) > len(shown):
        yield paragraph(f"{len(importances) - len(shown)} parameters of less importance left out.")


def schedules_section(found: Comparison) -> Section | None:
    """How much of the source the curricula used in each epoch."""
    runs = found.study.runs
    curricula = runs[(runs["state"] == "complete") & (runs["sampling.strategy"] == "curriculum")]
    names = [n for n in found.trials["trial"] if n in set(curricula["trial"])][:MOST_SHOWN]
    chosen = curricula[curricula["trial"].isin(names)]
    epochs = found.part(names).epochs
    has_names = set(chosen["adapt.method"]) <= METHODS.keys()
    if not names or not has_names or "sampling/active_fraction" not in set(epochs["metric"]):
        return None
    more = curricula["trial"].nunique() - len(names)
    return Section(
        "Curricula",
        "curricula",
        (
            figure(
                curriculum_schedules(epochs, chosen),
                f"Active share of the source by epoch, for {', '.join(names)}",
                "Share of the source poses that could be drawn in each epoch"
                + (
                    f"; {counted(more, 'more trial')} with a curriculum not shown."
                    if more
                    else "."
                ),
            ),
        ),
    )


def validators_section(found: Comparison) -> Section | None:
    """Whether a checkpoint can be chosen without target labels."""
    judged = found.study.validators()
    if judged.empty:
        return None
    parts = [
        paragraph(
            "A validator is a label-free number by which a checkpoint can be chosen. Its "
            "correlation with target PCK says how well it orders all checkpoints of a method; "
            "checkpoints of one run resemble each other, so there is no interval."
        )
    ]
    if set(judged["method"]) & METHODS.keys():
        parts.append(
            figure(
                validator_correlations(judged),
                "Rank correlation of each validator with target PCK, a point for each method",
                "To the right: the validator orders checkpoints as target labels would.",
            )
        )
    choices = found.part(found.shown).choices()
    if not choices.empty:
        chosen = selection_table(choices)
        texts = {
            (row["trial"], row["selection"]): f"{row['mean']:{_sign(row['selection'])}.1f} "
            f"{interval_text(row['low'], row['high'])}".rstrip()
            for row in chosen.to_dict("records")
        }
        ways = [*SELECTIONS.values(), GAIN]
        parts.append(
            table(
                ["trial", *ways],
                (
                    [quoted(trial), *(texts.get((trial, way), "-") for way in ways)]
                    for trial in chosen["trial"].unique()
                ),
                "PCK@0.05 on target_val of the epoch that each way of choosing picks; the oracle "
                "uses target labels and is no method",
            )
        )
    return Section("Choosing a checkpoint", "validators", tuple(parts))


def _sign(selection: str) -> str:
    return "+" if selection == GAIN else ""


def cost_section(found: Comparison) -> Section:
    """Time that the study took, and what it did not have to compute."""
    saved = time_saved(found.study.runs, found.study.stages())
    rows = [
        [row["what"], duration(row["seconds"]), str(row["num_runs"])]
        for row in saved.to_dict("records")
    ]
    caption = "Time of workers; what was shared had been computed once by another run"
    parts = [
        paragraph(f"The study ran for {duration(found.study.wall_s)}."),
        table(["what", "time", "runs"], rows, caption),
    ]
    return Section("Cost", "cost", tuple(parts))


def duration(seconds: float) -> str:
    """A time in words, such as ``1 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
