"""What a report compares: the best trial, what it is measured against, their difference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from analysis.tables import overall_summary
from harness.results import Study
from harness.results.verdict import METRIC as TEST_METRIC
from harness.results.verdict import Verdict
from trainables.metrics.intervals import mean_interval

MOST_SHOWN = 6
"""Most trials in a figure that sets trials side by side."""
_FLAGS = ["is_feasible", "is_result", "is_pareto"]
_COLUMNS = [
    "trial", "number", "is_baseline", "method", "mean", "low", "high", "num_seeds",
    *_FLAGS, "repeats",
]  # fmt: skip


@dataclass(frozen=True)
class Gap:
    """A difference of two trials, seed by seed.

    Attributes:
        mean: Difference; positive if the first trial's metric is larger.
        low: Lower end of the 95 % t interval; NaN for one seed.
        high: Upper end.
        num_seeds: Seeds that both trials have; 0 if the means of different seeds were taken.
    """

    mean: float
    low: float
    high: float
    num_seeds: int

    @property
    def is_shown(self) -> bool:
        """Whether there is an interval and it leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Comparison:
    """The complete trials of a study in order, and how they differ.

    A confirmation is judged by the test split, a search by its first objective.

    Attributes:
        study: The study.
    """

    study: Study

    @property
    def is_confirmation(self) -> bool:
        """Whether the study trained the best trials of a search again."""
        return bool(self.study.description["kind"] == "confirmation")

    @property
    def metric(self) -> str:
        """What the trials are compared by."""
        return TEST_METRIC if self.is_confirmation else self.study.objective

    @cached_property
    def verdict(self) -> Verdict | None:
        """What a confirmation shows; None for a search."""
        return self.study.verdict

    @property
    def is_larger_better(self) -> bool:
        """Whether a larger value of :attr:`metric` is better."""
        return self.is_confirmation or self.study.goal == "maximize"

    @property
    def is_percent(self) -> bool:
        """Whether the metric is a percentage, so that differences are in points."""
        return "pck" in self.metric or "evalpose" in self.metric

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The complete trials, the best first; those that break a constraint last.

        Returns:
            ``trial`` (as in ``Study.runs``), ``number`` (of the first trial of that name),
            ``is_baseline``, ``method``, ``mean`` of the metric over seeds, ``low`` and ``high`` of
            its 95 % t interval (NaN for one seed), ``num_seeds``, and the flags and
            ``repeats`` of ``Study.trials()``.
        """
        known = self.study.trials()
        runs = self.study.runs[self.study.runs["trial"].isin(known["trial"])]
        means = overall_summary(runs, self.study.final(self.metric))
        first = known.drop_duplicates("trial").set_index("trial")
        flags = known.groupby("trial")[_FLAGS].any()
        methods = runs.drop_duplicates("trial").set_index("trial")["adapt.method"]
        is_baseline = first["is_baseline"]
        if self.verdict is not None:  # the file of a confirmation names the finalists, too
            finalists = [trial.name for trial in self.verdict.trials if not trial.is_baseline]
            is_baseline = is_baseline & ~first.index.isin(finalists)
        table = means.assign(
            number=means["trial"].map(first["number"]),
            is_baseline=means["trial"].map(is_baseline),
            method=means["trial"].map(methods),
            repeats=means["trial"].map(first["repeats"]),
            **{name: means["trial"].map(flags[name]) for name in _FLAGS},
        )[_COLUMNS].astype(dict.fromkeys(["is_baseline", *_FLAGS], bool))
        order = ["is_feasible", "mean", "number"]
        ascending = [False, not self.is_larger_better, True]
        return table.sort_values(order, ascending=ascending, ignore_index=True)

    @cached_property
    def candidate(self) -> str | None:
        """The best trial that the search suggested; of baselines alone, the best of them.

        It keeps the constraints, trains on no target label, repeats no other trial and is not what
        a confirmation compares with. None if there is no such trial.
        """
        fair = self._fair
        if self.verdict is not None:
            fair = fair[fair["trial"] != self.verdict.reference]
        searched = fair[~fair["is_baseline"]]
        return next(iter(searched["trial"]), next(iter(fair["trial"]), None))

    @cached_property
    def reference(self) -> str | None:
        """The best baseline beside the candidate that trains on no target label; None without.

        A confirmation has the one that was best in the search.
        """
        if self.verdict is not None:
            return self.verdict.reference
        fair = self._fair
        others = fair.loc[fair["is_baseline"] & (fair["trial"] != self.candidate), "trial"]
        return next(iter(others), None)

    @cached_property
    def effects(self) -> pd.DataFrame:
        """See ``Study.effects``; of thousands of trials it takes seconds."""
        return self.study.effects()

    @property
    def _fair(self) -> pd.DataFrame:
        """Trials that keep the constraints, train on no target label and repeat no other."""
        return self.trials[self.trials["is_result"] & self.trials["repeats"].isna()]

    @cached_property
    def shown(self) -> list[str]:
        """Few trials that stand for all: the best, the reference, then the other baselines."""
        baselines = self.trials.loc[self.trials["is_baseline"], "trial"]
        searched = self._fair.loc[~self._fair["is_baseline"], "trial"]
        first = [name for name in (self.candidate, self.reference) if name is not None]
        chosen = list(dict.fromkeys([*first, *baselines, *searched]))[:MOST_SHOWN]
        place = {name: index for index, name in enumerate(self.trials["trial"])}
        return sorted(chosen, key=lambda name: place[name])

    def part(self, trials: Sequence[str]) -> Study:
        """The study with the complete runs of some trials alone."""
        runs = self.study.runs
        runs = runs[runs["trial"].isin(list(trials)) & (runs["state"] == "complete")]
        epochs = self.study.epochs
        return replace(self.study, runs=runs, epochs=epochs[epochs["number"].isin(runs["number"])])

    def gap(
        self, trial: str, against: str, metric: str | None = None, other: str | None = None
    ) -> Gap | None:
        """Difference of two trials, paired by seed where they have seeds in common.

        Args:
            trial: A complete trial.
            against: What it is compared with.
            metric: Metric of the first; None for :attr:`metric`.
            other: Metric of the second; None for that of the first.

        Returns:
            None if one of them did not report its metric.
        """
        first = self._by_seed(trial, metric or self.metric)
        second = self._by_seed(against, other or metric or self.metric)
        if first.empty or second.empty:
            return None
        differences = (first - second).dropna()
        if differences.empty:
            return Gap(float(first.mean() - second.mean()), math.nan, math.nan, 0)
        low, high = mean_interval(differences)
        return Gap(float(differences.mean()), low, high, len(differences))

    def mean(self, trial: str, metric: str) -> float:
        """Mean of a metric over the seeds of a trial; NaN if it was not reported."""
        return float(self._by_seed(trial, metric).mean())

    def _by_seed(self, trial: str, metric: str) -> pd.Series:
        runs = self._complete_runs.get(trial)
        if runs is None:
            return pd.Series(dtype=float)
        values = runs["number"].map(self._final(metric))
        return values.groupby(runs["seed"]).mean().dropna()

    @cached_property
    def _complete_runs(self) -> dict[str, pd.DataFrame]:
        runs = self.study.runs[self.study.runs["state"] == "complete"]
        return {str(trial): rows for trial, rows in runs.groupby("trial")}

    def _final(self, metric: str) -> pd.Series:
        if metric not in self._finals:
            self._finals[metric] = self.study.final(metric)
        return self._finals[metric]

    @cached_property
    def _finals(self) -> dict[str, pd.Series]:
        return {}
