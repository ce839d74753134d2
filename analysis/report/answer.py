"""The first part of a report: what came out of the study, in sentences."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from analysis.report.comparison import Comparison, Gap
from analysis.report.wording import certainty, counted, listed, points, quoted, value_text
from harness.results.verdict import headline, looks_caution
from trainables.metrics.metric_keys import CONSTANT, control_metric

ADABN = "_adabn"
_SAMPLING = ("sampling.", "bins.", "curriculum.")


def answer(found: Comparison) -> Iterator[tuple[str, str]]:
    """What a reader wants to know first: a lead and a sentence or two for each question."""
    yield "Result", _result(found)
    yield "What was searched", _searched(found)
    if varies_sampling(found) and not found.is_confirmation:
        yield "Which difficulty to train on", _ranges(found)
    if _has_target_pck(found) and not found.trials.empty:
        yield "Controls", " ".join(_controls(found))
    yield "How sure this is", " ".join(_cautions(found))
    yield "What to do next", _next(found)


def varies_sampling(found: Comparison) -> bool:
    """Whether the study's trials differ in what they draw from the source."""
    spec = found.study.spec
    fields = {*spec.parameters, *(name for own in spec.baselines.values() for name in own)}
    return spec.trainable == "adaptation" and any(f.startswith(_SAMPLING) for f in fields)


def _has_target_pck(found: Comparison) -> bool:
    return found.metric in ("target_val/pck_05", "target_test/pck_05")


def _value(found: Comparison, trial: str) -> str:
    mean = float(found.trials.set_index("trial")["mean"][trial])
    return value_text(mean, is_percent=found.is_percent)


def _result(found: Comparison) -> str:
    if found.trials.empty:
        return (
            "**No trial ran to its end**, so there is nothing to compare. Its runs are: "
            f"{_states(found)}."
        )
    if found.verdict is not None:
        return f"**{headline(found.verdict)}** The section Verdict has every difference."
    if found.candidate is None:
        return (
            "**No trial is a result**: those that ran to their end train on target labels or "
            "break a constraint."
        )
    if len(found.study.spec.objectives) > 1:
        return _front(found)
    unit = f"`{found.metric}`"
    best = f"{quoted(found.candidate)} ({_value(found, found.candidate)})"
    if found.reference is None:
        return (
            f"**The best trial is {best}** by {unit}. There is no baseline to compare it with, so "
            "nothing says that the search was needed."
        )
    gap = found.gap(found.candidate, found.reference)
    assert gap is not None  # both have a mean of this metric
    other = f"{quoted(found.reference)} ({_value(found, found.reference)})"
    return (
        f"**{_headline(found, gap)}** {_compared(found, best, other)}, by {unit}. The difference "
        f"is {_points(found, gap)}: {certainty(found, gap)}."
    )


def _headline(found: Comparison, gap: Gap) -> str:
    is_better = (gap.mean > 0) == found.is_larger_better
    if not _is_searched(found):
        if gap.is_shown:
            return "The best baseline is better than the next."
        return "Nothing is shown: the best baseline is not known to be better than the next."
    if not gap.is_shown:
        return "Nothing is shown: no trial is known to be better than the best baseline."
    if is_better:
        return "A trial is better than the best baseline."
    return "No trial is better than the best baseline."


def _is_searched(found: Comparison) -> bool:
    """Whether the best trial is one that the search suggested, and not a baseline."""
    searched = found.trials.loc[~found.trials["is_baseline"], "trial"]
    return found.candidate in set(searched)


def _compared(found: Comparison, best: str, other: str) -> str:
    if not _is_searched(found):
        if not found.study.runs["is_baseline"].all():
            return (
                "No searched trial is a result of its own: none ran to its end, kept the "
                f"constraints and differs from the baselines. Of these {best} is the best and "
                f"{other} the next"
            )
        return f"The study compares baselines alone: the best is {best}, the next {other}"
    return f"The best searched trial is {best}, the best baseline {other}"


def _points(found: Comparison, gap: Gap) -> str:
    if not found.is_percent:
        return f"{gap.mean:+.3g}"
    return f"{points(gap.mean)} points"


def _front(found: Comparison) -> str:
    objectives = listed([metric.name for metric in found.study.spec.objectives])
    front = found.trials.loc[found.trials["is_pareto"], "trial"].tolist()
    return (
        f"**{counted(len(front), 'trial')} of {len(found.trials)} "
        f"{'is' if len(front) == 1 else 'are'} Pareto-optimal**: no other trial is as good in "
        f"{objectives} and better in one. {'It is' if len(front) == 1 else 'They are'} "
        f"{listed(front)}."
    )


def _searched(found: Comparison) -> str:
    study, spec = found.study, found.study.spec
    goals = " and ".join(f"{metric.goal} `{metric.name}`" for metric in spec.objectives)
    trials = study.runs.drop_duplicates("trial")
    num_baselines = int(trials["is_baseline"].sum())
    first: dict[str, Any] = dict(study.runs.iloc[0]) if len(study.runs) else {}
    domains = (
        f"from `{first['data.source']}` to `{first['data.target']}`"
        if spec.trainable == "adaptation" and first
        else f"trainable `{spec.trainable}`"
    )
    what = (
        f"{spec.method} searched over {listed(list(spec.parameters), most=8)}"
        if spec.parameters
        else "nothing was searched: the file names every trial"
    )
    if found.is_confirmation:
        what = "it trains the best trials of a search and its baselines again with fresh seeds"
        goals = f"compare by `{found.metric}`, which the search has not read"
        num_baselines = 0
    baselines = f", {num_baselines} of them baselines" if num_baselines else ""
    methods = sorted(set(study.runs["adapt.method"])) if spec.trainable == "adaptation" else []
    by = f" with {listed(methods)}" if methods else ""
    return (
        f"{counted(len(trials), 'trial')}{baselines}, {domains}{by}, to {goals}; {what}. "
        f"{counted(len(study.runs), 'run')}: {_states(found)}."
    )


def _states(found: Comparison) -> str:
    counts = found.study.runs["state"].value_counts()
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "none"


def _ranges(found: Comparison) -> str:
    effects = found.effects
    if effects.empty:
        return (
            "It is not known what training on each range of difficulty adds: there are too few "
            "complete trials, or they draw nearly the same samples."
        )
    shown = effects[(effects["low"] > 0) | (effects["high"] < 0)]
    sign = 1 if found.study.goal == "maximize" else -1
    words = [
        f"{range_name(row, len(effects))} {'helps' if sign * row['effect'] > 0 else 'hurts'} "
        f"({_effect(row)})"
        for row in shown.to_dict("records")
    ]
    rest = effects.drop(shown.index).to_dict("records")
    texts = [f"{range_name(row, len(effects))} ({_effect(row)})" for row in rest]
    sentences = []
    if words:
        sentences.append(f"Training on {'; '.join(words)}.")
    if texts:
        start = "Of the other ranges nothing is shown" if words else "**Nothing is shown** of any"
        more = "" if words else " range: every interval includes 0"
        sentences.append(f"{start}{more}: {'; '.join(texts)}.")
    sentences.append(
        f"Effects on `{found.study.objective}` of including a range, with 95 % intervals, from "
        f"{int(effects['runs'].iloc[0])} runs."
    )
    return " ".join(sentences)


def range_name(row: dict[Any, Any], num_ranges: int) -> str:
    """A range of difficulty in words, such as ``the hardest poses (67 to 100 %)``."""
    ends = f"{100 * row['start']:.0f} to {100 * row['end']:.0f} %"
    if row["start"] == 0:
        return f"the easiest poses ({ends})"
    if row["end"] == 1:
        return f"the hardest poses ({ends})"
    middle = "the medium poses" if num_ranges == 3 else "poses of rank"
    return f"{middle} ({ends})" if num_ranges == 3 else f"{middle} {ends}"


def _effect(row: dict[Any, Any]) -> str:
    return f"{points(row['effect'])} [{points(row['low'])}, {points(row['high'])}]"


def _controls(found: Comparison) -> Iterator[str]:
    yield _constant(found)
    yield _adabn(found)
    yield _random(found)


def _constant(found: Comparison) -> str:
    constant = found.study.final(control_metric(found.metric, CONSTANT)).mean()
    if pd.isna(constant):
        return "What the mean source pose would score was not recorded."
    pose = f"the mean source pose ({constant:.1f}), one pose for every image"
    poor = found.trials.loc[found.trials["mean"] <= constant, "trial"].tolist()
    if not poor and len(found.trials) == 1:
        return f"The only complete trial beats {pose}."
    if not poor:
        return f"All {len(found.trials)} complete trials beat {pose}."
    return f"**Not better than {pose}, so nothing useful was learned: {listed(poor)}.**"


def _adabn(found: Comparison) -> str:
    metric = found.metric + ADABN
    plain = found.trials.loc[found.trials["method"] == "source_only", "trial"]
    adapted = found.trials[~found.trials["method"].isin(["source_only", "oracle"])]
    source = next((n for n in plain if not math.isnan(found.mean(n, metric))), None)
    if source is None or adapted.empty:
        return "There is no source-only trial with AdaBN to compare the adapted ones with."
    best = str(adapted["trial"].iloc[0])
    gap = found.gap(best, source, other=metric)
    assert gap is not None
    return (
        f"With AdaBN, which trains nothing on the target, {quoted(source)} reaches "
        f"{found.mean(source, metric):.1f}; {quoted(best)} minus that is {points(gap.mean)} "
        f"points: {certainty(found, gap)}."
    )


def random_trial(found: Comparison, trial: str) -> str | None:
    """The best trial of the same method that draws a random share of the poses; None without."""
    runs = found.study.runs.drop_duplicates("trial").set_index("trial")
    same = (runs["adapt.method"] == runs["adapt.method"][trial]) & (
        runs["sampling.strategy"] == "random"
    )
    known = [name for name in found.trials["trial"] if name in same.index and same[name]]
    return next((name for name in known if name != trial), None)


def _random(found: Comparison) -> str:
    trial = found.candidate
    other = None if trial is None else random_trial(found, trial)
    if trial is None or other is None:
        return (
            "No other trial of its method draws a random share of the poses. So it is not known "
            "whether a gain comes from which poses are drawn or only from their number."
        )
    gap = found.gap(trial, other)
    assert gap is not None
    return (
        f"Against a random share of the poses ({quoted(other)}, {_value(found, other)}), "
        f"{quoted(trial)} differs by {_points(found, gap)}: {certainty(found, gap)}."
    )


def _cautions(found: Comparison) -> Iterator[str]:
    if found.is_confirmation:
        yield (
            "The trials were chosen before the test split was read. With several trials, take the "
            "adjusted p-values of the section Verdict, not single intervals."
        )
        caution = looks_caution(found.study.num_looks)
        if caution is not None:
            yield caution
        return
    num = len(found.trials)
    if num > 1:
        yield (
            f"The best of {num} trials was chosen by the same numbers that are shown here, so its "
            "value is too good; the test split has not been read."
        )
    if found.study.spec.seeds == 1:
        yield "Each trial has one seed: how far another seed would move it is not known."
    pruned = int((found.study.runs["state"] == "pruned").sum())
    if pruned:
        yield (
            f"Runs that were stopped early ({pruned}) are left out of the trials and of the "
            "effects of difficulty."
        )


def _next(found: Comparison) -> str:
    study = found.study
    if found.is_confirmation:
        return (
            "More seeds make intervals narrower: `python -m harness.confirm` with more `--seeds`, "
            f"for the study that {quoted(study.name)} confirms."
        )
    if study.spec.trainable != "adaptation":
        return (
            "Take the best settings into a study of adaptation; only such a study has a test "
            "split to confirm on."
        )
    return (
        f"Confirm with fresh seeds on the test split: `python -m harness.confirm {study.name}` "
        "(with `--storage` if it is not in `runs`). It trains the best trials and every baseline "
        "again and says which differences are shown."
    )
