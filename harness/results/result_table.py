"""What a study found, as lines of text, for the terminal and for MLflow.

The table has the best trials, all baselines, and what needs no training. Below it stands what
training on each range of difficulty adds.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.record.field_text import short_names, value_text
from harness.results.ranking import RankedTrial, reads_target_labels
from harness.spec import StudySpec
from trainables.metrics.metric_keys import CONSTANT, CONTROLS, control_metric

SHOWN = 5
"""Best trials in the table; baselines and Pareto-optimal trials are all shown."""
WIDTH = 100
"""Columns of a line."""
_HEADER_WIDTH = 11
_ADABN = "_adabn"


@dataclass(frozen=True)
class _Row:
    number: str
    name: str
    values: Sequence[float | None]
    gap: float | None = None
    interval: str = ""
    words: str = ""


def result_table(spec: StudySpec, ranked: Sequence[RankedTrial]) -> Iterator[str]:
    """Lines of the table with its legend, at most :data:`WIDTH` columns wide.

    Args:
        spec: The study.
        ranked: Its complete trials, best first; at least one.
    """
    is_multi = len(spec.objectives) > 1
    # What is trained on target labels is no method to be compared with.
    reference = next(
        (t for t in ranked if t.is_baseline and not reads_target_labels(t.runs[0].fields)), None
    )
    shown = [*ranked[:SHOWN]]
    shown += [t for t in ranked[SHOWN:] if t.is_baseline or (is_multi and t.is_pareto)]
    metrics = [metric.name for metric in spec.metrics]
    rows = [*_trial_rows(spec, shown, reference), *_control_rows(metrics, shown)]
    yield from _laid_out(metrics, rows)
    if len(shown) < len(ranked):
        rest = len(ranked) - len(shown)
        yield f"  and {rest} more complete trial{'s' * (rest > 1)} below the best {SHOWN}"
    for line in _legend(spec, shown, reference):
        yield from wrapped(line)


def effect_lines(spec: StudySpec, ranked: Sequence[RankedTrial], num_pruned: int) -> Iterator[str]:
    """Lines that say what including each range of difficulty does.

    Args:
        spec: The study; without lines unless it varies which poses are drawn.
        ranked: Its complete trials.
        num_pruned: Runs that were pruned.
    """
    fields = {*spec.parameters, *(name for own in spec.baselines.values() for name in own)}
    if not any(field.startswith(("sampling.", "bins.", "curriculum.")) for field in fields):
        return
    from harness.results.effects import difficulty_effects  # imports numpy and torch

    effects = difficulty_effects(spec, ranked)
    yield ""
    if not effects:
        yield (
            "  What each range of difficulty does is unknown: too few complete trials, or they "
            "differ too little."
        )
        return
    yield (
        f"  What training on a range of difficulty adds to {spec.objective.name}, in points, with "
        "a 95 % interval"
    )
    yield f"  (an even spread over all poses minus one without the range; {effects[0].runs} runs):"
    sign = 1 if spec.objective.goal == "maximize" else -1
    for effect in effects:
        place = {0.0: "easiest", 1.0: "hardest"}
        ends = f"{effect.start:.0%} to {effect.end:.0%}".replace("%", " %")
        name = place.get(effect.start) or place.get(effect.end) or ""
        verdict = "helps" if sign * effect.effect > 0 else "hurts"
        verdict = verdict if effect.is_shown else "nothing is shown"
        interval = f"[{effect.low:+.1f}, {effect.high:+.1f}]"
        yield f"    {ends:<14} {name:<8} {effect.effect:>+5.1f}  {interval:<14}  {verdict}"
    if num_pruned:
        yield (
            f"    {num_pruned} pruned runs are left out. They did badly, so what they drew looks "
            "better here than it is."
        )


def wrapped(sentence: str) -> list[str]:
    """A sentence below the table, in lines of at most :data:`WIDTH` columns."""
    return textwrap.wrap(sentence, WIDTH, initial_indent="  ", subsequent_indent="    ")


def _trial_rows(
    spec: StudySpec, shown: Sequence[RankedTrial], reference: RankedTrial | None
) -> Iterator[_Row]:
    objective = spec.objective.name
    for trial, words in zip(shown, _differences(spec, shown), strict=True):
        marks = "*" * trial.is_baseline
        marks += "+" * (len(spec.objectives) > 1 and trial.is_pareto)
        marks += "!" * bool(trial.broken) + "~" * (_beats_constant(spec, trial) is False)
        yield _Row(
            number=str(trial.number),
            name=f"{trial.name} {marks}".rstrip(),
            values=[trial.means.get(metric.name) for metric in spec.metrics],
            gap=None
            if reference is None or trial is reference
            else trial.means[objective] - reference.means[objective],
            interval="" if spec.seeds == 1 else "[{:.4g}, {:.4g}]".format(*trial.interval),
            words=words if trial.repeats is None else f"{words} (as trial {trial.repeats})",
        )


def _control_rows(metrics: Sequence[str], shown: Sequence[RankedTrial]) -> Iterator[_Row]:
    """What the metrics give without training a method; the same for all trials."""
    plain = [t for t in shown if t.runs[0].fields["adapt.method"] == "source_only"]
    for trial in plain[:1]:
        adabn = [trial.means.get(metric + _ADABN) for metric in metrics]
        if any(value is not None for value in adabn):
            words = f"{trial.name} with AdaBN"
            yield _Row("-", "adabn", adabn, words=words)
    for control in CONTROLS:
        values = [shown[0].means.get(control_metric(metric, control)) for metric in metrics]
        if any(value is not None for value in values):
            yield _Row("-", control, values, words="no network")


def _beats_constant(spec: StudySpec, trial: RankedTrial) -> bool | None:
    """Whether the objective is better than that of the mean source pose; None if unknown."""
    constant = trial.means.get(control_metric(spec.objective.name, CONSTANT))
    if constant is None:
        return None
    value = trial.means[spec.objective.name]
    return value > constant if spec.objective.goal == "maximize" else value < constant


def _differences(spec: StudySpec, shown: Sequence[RankedTrial]) -> list[str]:
    """For each trial, the fields in which the trials differ, by their shortest clear names."""
    named: list[Mapping[str, Any]] = [
        {**trial.runs[0].searched, **spec.baselines.get(trial.name, {})} for trial in shown
    ]
    fields = [trial.runs[0].fields for trial in shown]
    differing = {
        field
        for own in named
        for field in own
        if len(shown) == 1 or any(other[field] != fields[0][field] for other in fields)
    }
    short = short_names(differing)
    return [
        " ".join(f"{short[field]}={value_text(v)}" for field, v in own.items() if field in short)
        for own in named
    ]


def _laid_out(metrics: Sequence[str], rows: Sequence[_Row]) -> Iterator[str]:
    heads = [_header(metric) for metric in metrics]
    widths = [max(8, *map(len, head)) for head in heads]
    height = max(map(len, heads))
    heads = [[""] * (height - len(head)) + head for head in heads]
    name_width = max(len(row.name) for row in rows)
    interval_width = max(len(row.interval) for row in rows)

    def line(number: str, name: str, cells: Sequence[str], interval: str, gap: str) -> str:
        parts = [f"{number:>5}", f"{name:<{name_width}}"]
        parts += [f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)]
        parts += [f"{interval:>{interval_width}}"] * bool(interval_width) + [f"{gap:>6}"]
        return "  " + "  ".join(parts)

    for level in range(height):
        is_last = level == height - 1
        words = ("trial", "name", "95 %", "gap") if is_last else ("", "", "", "")
        cells = [head[level] for head in heads]
        text = line(words[0], words[1], cells, words[2], words[3])
        yield f"{text}  differs in" if is_last else text.rstrip()
    for row in rows:
        cells = ["-" if value is None else f"{value:.4g}" for value in row.values]
        gap = "" if row.gap is None else f"{row.gap:+.3g}"
        start = line(row.number, row.name, cells, row.interval, gap)
        room = max(WIDTH - len(start) - 2, 24)
        first, *rest = textwrap.wrap(row.words, room, break_long_words=False) or [""]
        yield f"{start}  {first}".rstrip()
        yield from (" " * (len(start) + 2) + words for words in rest)


def _header(metric: str) -> list[str]:
    """A metric's name in lines that are as short as its words allow."""
    lines = []
    for part in metric.split("/"):
        words = part.split("_")
        line = words[0]
        for word in words[1:]:
            if len(line) + 1 + len(word) <= _HEADER_WIDTH:
                line += f"_{word}"
            else:
                lines.append(f"{line}_")
                line = word
        lines.append(line)
    return lines


def _legend(
    spec: StudySpec, shown: Sequence[RankedTrial], reference: RankedTrial | None
) -> Iterator[str]:
    if len(spec.objectives) > 1:
        names = ", ".join(metric.name for metric in spec.objectives)
        yield f"+ Pareto-optimal: no other trial is as good in {names} and better in one"
    for trial in shown:
        if trial.broken:
            yield f"! {trial.name} breaks {' and '.join(trial.broken)}"
    if reference is not None:
        yield f"* baseline; gap: {spec.objective.name} minus that of {reference.name}"
    beaten = [_beats_constant(spec, trial) for trial in shown]
    if False in beaten:
        yield (
            "~ no better than the mean source pose, the same for every image: nothing useful "
            "was learned"
        )
    elif None not in beaten:
        yield "Every trial shown beats the mean source pose, the same for every image."
    if spec.seeds == 1:
        yield "One seed each and the last epoch's values: a small gap is not a finding."
    else:
        yield f"Means over {spec.seeds} seeds, Student t; the last epoch's values."
