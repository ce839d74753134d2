"""What the trials of a study reached: table, bins, ranges of difficulty, controls, EvalPose."""

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import per_bin_gain, per_bin_pck
from analysis.paper_tables import CONTROL_NAMES, READING_COLUMNS, control_scores
from analysis.report.answer import random_trial, range_name, varies_sampling
from analysis.report.comparison import Comparison
from analysis.report.page import Section, figure, paragraph, subheading, table
from analysis.report.wording import (
    certainty,
    counted,
    gap_text,
    interval_text,
    listed,
    points,
    quoted,
    value_text,
)
from analysis.sampling_figures import effect_intervals
from analysis.tables import bin_differences, bin_summary
from harness.results.verdict import Difference, p_text
from trainables.metrics.metric_keys import CONSTANT, FINAL_BIN_PREFIX, TEST_BIN_PREFIX

MOST_ROWS = 15
"""Best trials in the table; all baselines are in it."""
NEAR = 10.0
"""Points within which a control makes a reading of EvalPose useless, as in docs/evalpose.md."""


def verdict_section(found: Comparison) -> Section | None:
    """What the test split shows of each finalist; None for a search."""
    verdict = found.verdict
    if verdict is None or verdict.reference is None:
        return None
    rows = []
    for trial in verdict.trials:
        gap = trial.difference
        if gap is None:
            continue
        rows.append(
            [
                f"{quoted(trial.name)}{' *' if trial.is_baseline else ''}",
                f"{points(gap.mean)} {_interval(gap.interval)}".rstrip(),
                _interval(gap.bootstrap) or "-",
                f"{gap.num_same_sign} of {gap.num_seeds}",
                "-" if gap.p_adjusted is None else p_text(gap.p_adjusted),
                _shown(gap),
            ]
        )
    head = ["trial", "difference", "bootstrap-t", "seeds that agree", "p", "verdict"]
    caption = (
        f"Differences to {quoted(verdict.reference)}, the best baseline of the search, by "
        f"{quoted(found.metric)}, seed by seed, with 95 % t intervals and bootstrap-t intervals. "
        "* baseline"
    )
    note = "A difference is shown if p is below 0.05. " + (
        f"The p-values of the {verdict.num_finalists} finalists are adjusted together (Holm); "
        "those of baselines and the intervals are not."
        if verdict.num_finalists > 1
        else "Neither p-values nor intervals are adjusted for the number of rows."
    )
    parts = table(head, rows, caption, words=["verdict"]), paragraph(note)
    return Section("Verdict", "verdict", parts)


def _interval(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else interval_text(*bounds)


def _shown(gap: Difference) -> str:
    if not gap.is_shown:
        return "nothing is shown"
    return "better" if gap.mean > 0 else "worse"


def trials_section(found: Comparison) -> Section:
    """The best trials and all baselines."""
    trials = found.trials
    parts = []
    if trials.empty:
        parts.append(paragraph("No trial ran to its end."))
    else:
        shown = trials[(trials.index < MOST_ROWS) | trials["is_baseline"]]
        head, rows = _trial_rows(found, shown)
        parts.append(table(head, rows, _trials_caption(found)))
        if len(shown) < len(trials):
            rest = counted(len(trials) - len(shown), "more complete trial")
            parts.append(paragraph(f"And {rest} below the best {MOST_ROWS}."))
    parts += [paragraph(text) for text in _failures(found)]
    return Section("Trials", "trials", tuple(parts))


def _trials_caption(found: Comparison) -> str:
    text = f"Complete trials, the best first, by {quoted(found.metric)}"
    if (found.trials["num_seeds"] > 1).any():
        text += "; in brackets 95 % t intervals over seeds"
    if found.reference is not None:
        text += f"; gap: difference to {quoted(found.reference)}, seed by seed"
    return f"{text}. * baseline"


def _trial_rows(found: Comparison, shown: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    is_multi = len(found.study.spec.objectives) > 1
    others = [m.name for m in found.study.spec.metrics if m.name != found.metric]
    head = ["trial", found.metric, "gap", *others, "seeds"]
    rows = []
    for trial in shown.to_dict("records"):
        name = trial["trial"]
        marks = " *" if trial["is_baseline"] else ""
        marks += ", Pareto-optimal" if is_multi and trial["is_pareto"] else ""
        marks += "" if trial["is_feasible"] else ", breaks a constraint"
        marks += "" if pd.isna(trial["repeats"]) else f", the same as {quoted(trial['repeats'])}"
        marks += ", trained on target labels" if trial["method"] == "oracle" else ""
        interval = interval_text(trial["low"], trial["high"], is_percent=found.is_percent)
        is_other = found.reference not in (None, name)
        gap = found.gap(name, found.reference) if found.reference and is_other else None
        rows.append(
            [
                f"{quoted(name)}{marks}",
                f"{value_text(trial['mean'], is_percent=found.is_percent)} {interval}".rstrip(),
                gap_text(gap, is_percent=found.is_percent),
                *(value_text(found.mean(name, m), is_percent=_is_percent(m)) for m in others),
                str(trial["num_seeds"]),
            ]
        )
    return head, rows


def _is_percent(metric: str) -> bool:
    return "pck" in metric or "evalpose" in metric


def _failures(found: Comparison) -> Iterator[str]:
    runs = found.study.runs
    for state in ("failed", "stopped"):
        rows = runs[runs["state"] == state]
        reasons = rows["reason"].dropna().value_counts()
        if len(rows):
            why = "; ".join(f"{reason} ({count})" for reason, count in reasons.head(3).items())
            yield f"{counted(len(rows), 'run')} {state}{f': {why}' if why else ''}."


def bins_figure(found: Comparison) -> Figure | None:
    """PCK of each bin of the shown trials; None if no run reported bins."""
    bins = _bins(found)
    return None if bins.empty else per_bin_pck(bin_summary(bins), _with_bins(found, bins))


def bins_section(found: Comparison) -> Section | None:
    """PCK of each bin of target poses, and what the trials gain in it."""
    drawn = bins_figure(found)
    if drawn is None:
        return None
    bins = _bins(found)
    shown = _with_bins(found, bins)
    num_seeds = found.study.runs["seed"].nunique()
    parts = [
        figure(
            drawn,
            f"Bars: PCK in each of {bins['bin'].nunique()} bins of target poses, for "
            f"{', '.join(shown)}",
            "Target poses are sorted into bins of equal size by one Pose VAE, the same for all "
            "trials; bin 0 is the easiest. "
            + (
                "Thin lines are 95 % t intervals over seeds."
                if num_seeds > 1
                else "Each bar is one run, so small differences say nothing."
            ),
        )
    ]
    pairs = [(name, found.reference) for name in shown if found.reference not in (None, name)]
    gains = bin_differences(bins, [(a, b) for a, b in pairs if b is not None][:3])
    if not gains.empty:
        parts.append(
            figure(
                per_bin_gain(gains),
                f"Points: difference to {found.reference} in each bin",
                f"Gain over {quoted(str(found.reference))} in each bin. "
                + (
                    "Lines are 95 % t intervals of the differences, seed by seed; where one "
                    "crosses 0, nothing is shown of the bin."
                    if num_seeds > 1
                    else "One seed each: there are no intervals, so nothing is shown of a bin."
                ),
            )
        )
    return Section("Difficulty of target poses", "bins", tuple(parts))


def _bins(found: Comparison) -> pd.DataFrame:
    prefix = TEST_BIN_PREFIX if found.is_confirmation else FINAL_BIN_PREFIX
    return found.part(found.shown).bins(prefix)


def _with_bins(found: Comparison, bins: pd.DataFrame) -> list[str]:
    known = set(bins["trial"])
    return [name for name in found.shown if name in known]


def ranges_section(found: Comparison) -> Section | None:
    """What training on each range of difficulty adds."""
    if found.is_confirmation or not varies_sampling(found):
        return None
    effects = found.effects
    if effects.empty:
        return None
    is_shown = (effects["low"] > 0) | (effects["high"] < 0)
    sign = 1 if found.study.goal == "maximize" else -1
    rows = [
        [
            range_name(row, len(effects)),
            points(row["effect"]),
            interval_text(row["low"], row["high"]),
            ("helps" if sign * row["effect"] > 0 else "hurts") if shown else "nothing is shown",
        ]
        for row, shown in zip(effects.to_dict("records"), is_shown, strict=True)
    ]
    drawn = effect_intervals(effects, found.study.objective)
    parts = [
        paragraph(
            "Each complete trial is one observation: its objective, and how its draws were spread "
            "over the difficulty of source poses. The effect of a range is what an even spread "
            "over all poses gives, minus an even spread without the range."
        ),
        figure(
            drawn,
            f"Effects of {len(effects)} ranges of difficulty with their intervals",
            "A line that crosses 0 shows nothing of its range.",
        ),
        table(
            ["range", "effect", "95 % interval", "verdict"],
            rows,
            f"Effect on {quoted(found.study.objective)} from {int(effects['runs'].iloc[0])} runs",
            words=["verdict"],
        ),
    ]
    return Section("Which difficulty to train on", "ranges", tuple(parts))


def controls_section(found: Comparison) -> Section | None:
    """What scores without a method: no network, no adaptation, random samples."""
    split = found.metric.partition("/")[0]
    scores = control_scores(found.study, split)
    if not found.metric.endswith("/pck_05") or scores.empty or found.trials.empty:
        return None
    rows = [
        [row["trial"], *(value_text(row[c], is_percent=True) for c in ("All", *READING_COLUMNS))]
        for row in scores.to_dict("records")
    ]
    for name in found.shown:
        metrics = (found.metric, *(f"{split}/{reading}" for reading in READING_COLUMNS.values()))
        rows.append(
            [quoted(name), *(value_text(found.mean(name, m), is_percent=True) for m in metrics)]
        )
    parts = [
        paragraph(
            "The upper rows are predictions that no network made. A trial that is not above the "
            "mean source pose has learned nothing useful; see also Controls in the answer above."
        ),
        table(
            ["prediction", "PCK@0.05", *READING_COLUMNS],
            rows,
            f"Controls and trials, {split}, in %",
        ),
        paragraph(_evalpose_caution(found, scores, split)),
    ]
    parts += list(_random_rows(found))
    return Section("Controls and EvalPose", "controls", tuple(parts))


def _evalpose_caution(found: Comparison, scores: pd.DataFrame, split: str) -> str:
    """Which readings of EvalPose tell the best trial from the mean pose, in this study."""
    constant = scores.set_index("trial").loc[CONTROL_NAMES[CONSTANT]]
    best = str(found.candidate or found.trials["trial"].iloc[0])
    blind = [
        reading
        for reading, metric in READING_COLUMNS.items()
        if found.mean(best, f"{split}/{metric}") - constant[reading] < NEAR
    ]
    start = (
        "`EvalPose` is the equation as the paper prints it; it gives high values to poses that no "
        "network predicted, so trust `unit_signed`, and PCK before both."
    )
    if not blind:
        return f"{start} In this study every reading puts {quoted(best)} well above the mean pose."
    near = f"less than {NEAR:.0f} points above it, or below"
    if len(blind) == len(READING_COLUMNS):
        return (
            f"{start} **In this study no reading tells {quoted(best)} from the mean source pose** "
            f"({near}): EvalPose says nothing here."
        )
    return (
        f"{start} **In this study {listed(blind)} cannot tell {quoted(best)} from the mean source "
        f"pose** ({near}): differences there say little."
    )


def _random_rows(found: Comparison) -> Iterator[str]:
    """What ways of sampling gain over a random share of the poses."""
    rows = []
    strategies = found.study.runs.drop_duplicates("trial").set_index("trial")["sampling.strategy"]
    for name in found.shown:
        other = random_trial(found, name)
        if other is None or strategies[name] in ("all", "random"):
            continue
        gap = found.gap(name, other)
        if gap is not None:
            rows.append([quoted(name), quoted(other), gap_text(gap), certainty(found, gap)])
    if rows:
        yield subheading("Against random samples")
        yield table(
            ["trial", "random", "difference", "certainty"],
            rows,
            "Choice of poses against a random share of them, maybe of another size, in points",
            words=["random", "certainty"],
        )
