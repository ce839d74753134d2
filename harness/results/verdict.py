"""What the test split says of the finalists: means, paired differences, and how sure they are.

Differences are paired by seed and taken to one reference, the baseline that was best in the
search. The paired t test decides whether one is shown. The finalists' p-values are adjusted
together (Holm): a reader who takes several of them for "better" should be wrong about any of them
in only 5 % of studies. Other baselines are there for orientation; their p-values are not adjusted,
nor are the intervals. The bootstrap-t interval beside the t interval assumes no normal values.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.record.ledger import RunRecord, read_events
from trainables.metrics.intervals import bootstrap_interval, holm, mean_interval, mean_p_value
from trainables.metrics.metric_keys import (
    CONSTANT,
    CONTROLS,
    TEST_BIN_PREFIX,
    bin_keys,
    control_metric,
)

METRIC = "target_test/pck_05"
ALPHA = 0.05


@dataclass(frozen=True)
class Estimate:
    """Mean of a metric over seeds.

    Attributes:
        mean: Over the seeds that reported it.
        interval: 95 % Student t interval; None for one seed.
        num_seeds: How many.
    """

    mean: float
    interval: tuple[float, float] | None
    num_seeds: int


@dataclass(frozen=True)
class Difference:
    """Paired difference of a trial to the reference.

    Attributes:
        mean: Of the differences, over the seeds that both have.
        interval: 95 % Student t interval; None for one seed.
        bootstrap: 95 % bootstrap-t interval; None below four seeds, which it cannot bound.
        num_seeds: Pairs.
        num_same_sign: Pairs whose difference has the sign of the mean.
        p_value: Of the paired t test; None for one seed.
        p_adjusted: Holm's over the finalists; of a baseline, the p-value itself.
        is_shown: Whether it is below :data:`ALPHA`.
    """

    mean: float
    interval: tuple[float, float] | None
    bootstrap: tuple[float, float] | None
    num_seeds: int
    num_same_sign: int
    p_value: float | None
    p_adjusted: float | None
    is_shown: bool


@dataclass(frozen=True)
class Judged:
    """One finalist or baseline.

    Attributes:
        name: Of it.
        is_baseline: Whether the search's file asked for it.
        estimates: Metric to its estimate.
        difference: To the reference; None for itself, or where no seed has both.
    """

    name: str
    is_baseline: bool
    estimates: dict[str, Estimate]
    difference: Difference | None = None


@dataclass(frozen=True)
class Verdict:
    """What the test split shows.

    Attributes:
        trials: Best mean first.
        reference: Baseline that differences are to; None if there is none.
        num_seeds: Seeds of the trial that has most.
        num_finalists: Finalists, whose p-values are adjusted together.
    """

    trials: tuple[Judged, ...]
    reference: str | None
    num_seeds: int
    num_finalists: int


def recorded_verdict(description: Mapping[str, Any], runs: Iterable[RunRecord]) -> Verdict | None:
    """The verdict on a study as its ledger has it.

    Args:
        description: The ledger's ``study`` event.
        runs: All runs.

    Returns:
        None for a study that is no confirmation.
    """
    compared = description["compared"]
    return judge(runs, **compared) if compared else None


def judge(
    runs: Iterable[RunRecord], baselines: Sequence[str], references: Sequence[str]
) -> Verdict:
    """Work out the verdict.

    Args:
        runs: Of the confirmation; those that are not complete do not count.
        baselines: Names of the search's baselines.
        references: Those that may be the reference, the best one first; it is the first that has
            a complete run.
    """
    found: dict[str, dict[int, Mapping[str, float]]] = {}
    for record in runs:
        if record.state == "complete" and METRIC in record.metrics:
            found.setdefault(record.trial_name, {})[record.seed] = record.metrics
    reference = next((name for name in references if name in found), None)
    gaps = {
        name: _gaps(found[name], found[reference])
        for name in found
        if reference is not None and name != reference
    }
    p_values = {name: mean_p_value(values) for name, values in gaps.items()}
    finalists = [name for name in gaps if name not in baselines]
    adjusted = p_values | dict(
        zip(finalists, holm([p_values[name] for name in finalists]), strict=True)
    )
    trials = [
        Judged(
            name=name,
            is_baseline=name in baselines,
            estimates=_estimates(list(seeds.values())),
            difference=_difference(gaps[name], p_values[name], adjusted[name])
            if gaps.get(name)
            else None,
        )
        for name, seeds in found.items()
    ]
    trials.sort(key=lambda trial: -trial.estimates[METRIC].mean)
    most = max(map(len, found.values()), default=0)
    return Verdict(tuple(trials), reference, most, len(finalists))


def _gaps(
    ours: Mapping[int, Mapping[str, float]], theirs: Mapping[int, Mapping[str, float]]
) -> list[float]:
    return [ours[seed][METRIC] - theirs[seed][METRIC] for seed in sorted(ours.keys() & theirs)]


def _estimates(runs: Sequence[Mapping[str, float]]) -> dict[str, Estimate]:
    names = dict.fromkeys(name for metrics in runs for name in metrics)
    values = {name: [metrics[name] for metrics in runs if name in metrics] for name in names}
    return {
        name: Estimate(math.fsum(found) / len(found), _finite(mean_interval(found)), len(found))
        for name, found in values.items()
    }


def _difference(gaps: list[float], p_value: float, adjusted: float) -> Difference:
    mean = math.fsum(gaps) / len(gaps)
    return Difference(
        mean=mean,
        interval=_finite(mean_interval(gaps)),
        bootstrap=_finite(bootstrap_interval(gaps)),
        num_seeds=len(gaps),
        num_same_sign=sum(gap * mean > 0 for gap in gaps),
        p_value=None if math.isnan(p_value) else p_value,
        p_adjusted=None if math.isnan(adjusted) else adjusted,
        is_shown=adjusted < ALPHA,
    )


def _finite(bounds: tuple[float, float]) -> tuple[float, float] | None:
    return bounds if all(map(math.isfinite, bounds)) else None


def looks_caution(num_looks: int) -> str | None:
    """What is to be said if runs were added after the test split had been read; else None.

    Args:
        num_looks: From the function of that name.
    """
    if num_looks < 2:
        return None
    times = "once" if num_looks == 2 else f"{num_looks - 1} times"
    return (
        f"Runs were added {times} after the test split had been read; every further look makes "
        "intervals and p-values less reliable."
    )


def num_looks(ledger: Path) -> int:
    """How often the test split was looked at: how often the study ended with new runs.

    The report is written just before the ledger's ``end`` event, when all runs have finished.
    """
    looks, has_new_runs, is_ended = 0, False, False
    running: set[int] = set()
    for event in read_events(ledger):
        is_ended = event["event"] == "end"
        if event["event"] == "run":
            has_new_runs |= event.get("retry_of") is None
            running.add(event["number"])
        elif event["event"] == "finished":
            running.discard(event["number"])
        elif is_ended and event["state"] == "complete" and has_new_runs:
            looks, has_new_runs = looks + 1, False
    return looks + (has_new_runs and not is_ended and not running)


def headline(verdict: Verdict) -> str:
    """What is shown, in one sentence."""
    if not verdict.trials:
        return "No run reported the test split."
    if verdict.reference is None:
        return "There is no baseline without target labels to compare with."
    against = f"{verdict.reference}, the best baseline of the search"
    finalists = {t.name: t.difference for t in verdict.trials if not t.is_baseline}
    if not finalists:
        return f"Baselines alone were trained; they are compared with {against}."
    better = [name for name, gap in finalists.items() if gap and gap.is_shown and gap.mean > 0]
    if better:
        return f"On the test split better than {against}: {', '.join(better)}."
    return f"On the test split no finalist is shown to be better than {against}."


def as_lines(verdict: Verdict) -> list[str]:
    """The verdict in words, for the terminal and MLflow's note; the first line sums it up."""
    if not verdict.trials:
        return [headline(verdict)]
    width = max(len(trial.name) for trial in verdict.trials)
    seeds = f"{verdict.num_seeds} seed{'s' if verdict.num_seeds > 1 else ''}"
    lines = [headline(verdict), f"{METRIC}, mean and 95 % t interval over {seeds}:"]
    for trial in verdict.trials:
        estimate = trial.estimates[METRIC]
        line = f"  {trial.name:<{width}}  {estimate.mean:6.2f} {_bounds(estimate.interval)}"
        if estimate.num_seeds < verdict.num_seeds:
            line += f" from {estimate.num_seeds} seed{'s' if estimate.num_seeds > 1 else ''}"
        lines.append(line + ("  (reference)" if trial.name == verdict.reference else ""))
    lines += _constant_lines(verdict)
    lines += _difference_lines(verdict, width)
    lines += _more_lines(verdict, width)
    return lines


def _constant_lines(verdict: Verdict) -> list[str]:
    """Which trials are no better than one pose for every image."""
    constant = verdict.trials[0].estimates.get(control_metric(METRIC, CONSTANT))
    if constant is None:
        return []
    poor = [t.name for t in verdict.trials if t.estimates[METRIC].mean <= constant.mean]
    pose = f"the mean source pose ({constant.mean:.2f}), the same for every image"
    return [f"no better than {pose}: {', '.join(poor)}" if poor else f"all beat {pose}"]


def _difference_lines(verdict: Verdict, width: int) -> list[str]:
    if verdict.reference is None:
        return []
    lines = [f"paired differences to {verdict.reference}, the best baseline of the search:"]
    for trial in verdict.trials:
        found = trial.difference
        if found is None:
            if trial.name != verdict.reference:
                lines.append(f"  {trial.name:<{width}}  no seed in common")
            continue
        is_adjusted = not trial.is_baseline and verdict.num_finalists > 1
        line = f"  {trial.name:<{width}}  {found.mean:+6.2f} {_bounds(found.interval)}"
        line += f", bootstrap-t {_bounds(found.bootstrap, 'unbounded')}"
        line += f", {found.num_same_sign} of {found.num_seeds} seeds agree"
        if found.p_adjusted is not None:
            line += f", {'adjusted ' if is_adjusted else ''}p {p_text(found.p_adjusted)}"
        elif found.num_seeds > 1:
            line += ", the same in every seed, so its spread is unknown"
        lines.append(line + ("" if found.is_shown else ": no difference shown"))
    if verdict.num_finalists > 1:
        lines.append(
            f"p-values of the {verdict.num_finalists} finalists are adjusted together (Holm); "
            "intervals, and p-values of baselines, are not"
        )
    elif verdict.num_finalists == 1:
        lines.append("p-values are of single comparisons, not adjusted for the number of lines")
    return lines


def _more_lines(verdict: Verdict, width: int) -> list[str]:
    """EvalPose, the bins and the controls: means alone, as there are too many for intervals."""
    names = bin_keys({name for t in verdict.trials for name in t.estimates}, TEST_BIN_PREFIX)
    columns = {
        "evalpose": "target_test/evalpose",
        "unit_signed": "target_test/evalpose_unit_signed",
        **{f"bin {name.removeprefix(f'{TEST_BIN_PREFIX}/')}": name for name in names},
    }
    width = max(width, *map(len, CONTROLS))
    lines = [f"  {'means':<{width}}  " + " ".join(f"{head:>11}" for head in columns)]

    def add(label: str, estimates: list[Estimate | None]) -> None:
        shown = (f"{e.mean:11.2f}" if e else f"{'-':>11}" for e in estimates)
        lines.append(f"  {label:<{width}}  " + " ".join(shown))

    for trial in verdict.trials:
        add(trial.name, [trial.estimates.get(name) for name in columns.values()])
    any_trial = verdict.trials[0]  # what controls score does not depend on the network
    for control in CONTROLS:
        controls = [control_metric(name, control) for name in columns.values()]
        if any(name in any_trial.estimates for name in controls):
            add(control, [any_trial.estimates.get(name) for name in controls])
    if any(control_metric(METRIC, c) in any_trial.estimates for c in CONTROLS):
        lines.append(f"  {', '.join(CONTROLS)}: predictions that no network made")
    return lines


def _bounds(interval: tuple[float, float] | None, otherwise: str = "one seed") -> str:
    return f"[{otherwise}]" if interval is None else f"[{interval[0]:.2f}, {interval[1]:.2f}]"


def p_text(value: float) -> str:
    """A p-value with three decimals."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def as_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as a JSON object; intervals that are unbounded are null."""
    return {
        "metric": METRIC,
        "reference": verdict.reference,
        "adjustment": "holm" if verdict.num_finalists > 1 else None,
        "trials": [
            {
                "name": trial.name,
                "role": "baseline" if trial.is_baseline else "finalist",
                "metrics": {name: asdict(estimate) for name, estimate in trial.estimates.items()},
                "difference": None if trial.difference is None else asdict(trial.difference),
            }
            for trial in verdict.trials
        ],
    }
