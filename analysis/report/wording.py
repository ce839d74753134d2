"""How a report words numbers and their certainty."""

import math

from analysis.report.comparison import Comparison, Gap


def value_text(value: float, *, is_percent: bool) -> str:
    """A value of a metric: a percentage with one decimal, anything else with four digits."""
    if math.isnan(value):
        return "-"
    return f"{value:.1f}" if is_percent else f"{value:.4g}"


def interval_text(low: float, high: float, *, is_percent: bool = True) -> str:
    """An interval in brackets; empty without one."""
    if math.isnan(low):
        return ""
    ends = (value_text(end, is_percent=is_percent) for end in (low, high))
    return "[{}, {}]".format(*ends)


def points(difference: float) -> str:
    """A difference of percentages with its sign and one decimal; never ``-0.0``."""
    return f"{round(difference, 1) + 0.0:+.1f}"


def gap_text(gap: Gap | None, *, is_percent: bool = True) -> str:
    """A difference with its sign and its interval."""
    if gap is None:
        return "-"
    mean = points(gap.mean) if is_percent else f"{gap.mean:+.3g}"
    return f"{mean} {interval_text(gap.low, gap.high, is_percent=is_percent)}".rstrip()


def certainty(found: Comparison, gap: Gap) -> str:
    """What a difference shows, as the end of a sentence about it."""
    if gap.num_seeds == 0:
        return "the two have no seed in common, so nothing is shown"
    if math.isnan(gap.low):
        return "one seed each, so there is no interval and nothing is shown"
    interval = interval_text(gap.low, gap.high, is_percent=found.is_percent)
    seeds = f"95 % interval {interval}, paired over {gap.num_seeds} seeds"
    if not gap.is_shown:
        return f"{seeds}: it includes 0, so nothing is shown"
    is_better = (gap.mean > 0) == found.is_larger_better
    return f"{seeds}: {'better' if is_better else 'worse'} beyond the noise of the seeds"


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 trial``, ``2 trials``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: list[str], most: int = 6) -> str:
    """Names as code, in a sentence; the rest of a long list is counted."""
    shown = [quoted(name) for name in names[:most]]
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def quoted(name: str) -> str:
    """A user's name for a sentence of the page, which sets it as code."""
    return f"`{name.replace('`', chr(39))}`"
