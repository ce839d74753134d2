"""The section ``early_terminate``: when a trial that does badly is stopped.

Who acts on it is ``harness.optuna_study.pruners``; ``harness.forecast.simulation`` plays it.
"""

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from harness.spec.sections import MetricName
from harness.yaml.validation import Number, Strict, Whole, problem, whole_if_possible

_WORDS_OF_TYPE = {
    "hyperband": {"min_iter", "max_iter", "eta", "s", "strict"},
    "hyperband_brackets": {"min_iter", "max_iter", "eta"},
    "successive_halving": {"min_iter", "eta"},
    "median": {"min_iter", "startup_trials"},
    "wilcoxon": {"min_iter", "over", "p_threshold"},
}
_MAX_RUNGS = 100
"""Rungs above min_iter, as in W&B."""
_LAST_RUNG = 10**9
"""More iterations than any trial has."""


class EarlyTerminate(Strict):
    """When a trial that does badly is stopped, in the words of W&B sweeps.

    Iterations are reports of the metric, one per epoch.
    """

    type: Literal[
        "hyperband", "hyperband_brackets", "successive_halving", "median", "wilcoxon", "none"
    ] = "none"
    """hyperband: W&B's rule, which compares a trial with all others at the rungs that it has
    reached; hyperband_brackets: one in eta goes on at each rung, with several first rungs, from
    min_iter on; successive_halving: the same with one first rung; median: below the median of the
    earlier trials; wilcoxon: worse than the best trial, pair by pair of seeds or bins, by a
    signed-rank test."""
    metric: MetricName | None = None
    """One of the metrics: what is looked at; None for the only objective."""
    min_iter: Annotated[Whole, Field(ge=1)] = 1
    """Iterations before a trial can be stopped; hyperband: the first rung, the others are at
    min_iter * eta, min_iter * eta^2 and so on; wilcoxon over seeds: seeds."""
    eta: Annotated[Number, BeforeValidator(whole_if_possible), Field(gt=1)] = 3
    """hyperband, hyperband_brackets, successive_halving: one in eta trials goes on from each rung
    to the next; a whole number but for hyperband."""
    max_iter: Annotated[Whole, Field(ge=1)] | None = None
    """hyperband: what s counts down from; min_iter is not used then; hyperband_brackets:
    iterations of a full trial, None to find out."""
    s: Annotated[Whole, Field(ge=1, le=10_000)] | None = None
    """hyperband: number of rungs below max_iter, at max_iter / eta, max_iter / eta^2 and so on;
    not used without max_iter."""
    strict: bool = True
    """hyperband: whether a trial's value at the last rung counts; if not, its best so far."""
    startup_trials: Annotated[Whole, Field(ge=0)] = 5
    """median: trials that are never stopped, at the start."""
    over: Literal["seeds", "bins"] | None = None
    """wilcoxon: what the pairs are: the seeds of a trial, or the bins of the target poses."""
    p_threshold: Annotated[Number, Field(gt=0, lt=1)] = 0.1
    """wilcoxon: a trial is stopped if its p-value is below this."""

    @property
    def rungs(self) -> tuple[int, ...]:
        """Iterations at which trials are compared, fewest first; none for median and wilcoxon.

        Those of bracket i of hyperband_brackets are ``rungs[i:]``.
        """
        found: set[int] = set()
        if self.type in ("median", "wilcoxon", "none"):
            return ()
        if self.type == "hyperband" and self.max_iter is not None:
            rung = self.max_iter / self.eta
            while rung >= 1 and len(found) < (self.s or 0):
                found.add(int(rung))
                rung /= self.eta
        else:
            rung = self.min_iter
            while rung <= _LAST_RUNG and len(found) < _MAX_RUNGS:
                found.add(int(rung))
                rung *= self.eta
        return tuple(sorted(found))

    def bracket_shares(self, longest: int) -> tuple[int, ...]:
        """hyperband_brackets: how many of ``sum(shares)`` trials go to each bracket.

        The shares of :class:`optuna.pruners.HyperbandPruner`.

        Args:
            longest: Iterations of a full trial. If they are fewer than min_iter there is one
                bracket, whose first rung no trial reaches.
        """
        num = max(0, math.floor(math.log(longest / self.min_iter, self.eta))) + 1
        return tuple(
            math.ceil(num * self.eta**rungs / (rungs + 1)) for rungs in reversed(range(num))
        )

    @property
    def first_stop(self) -> int | None:
        """The first epoch after which a trial can be stopped; None if none can be.

        A wilcoxon test over bins has its pairs from the first epoch on, whatever min_iter is; one
        over seeds looks at trials that have ended.
        """
        match self.type:
            case "none":
                return None
            case "median":
                return self.min_iter
            case "wilcoxon":
                return 1 if self.over == "bins" else None
            case _:
                return self.rungs[0]

    def num_kept(self, num_trials: int) -> int:
        """How many of the trials that have reached a rung are good enough to go on."""
        if self.type == "hyperband":
            return int((1 / self.eta) * num_trials) + 1
        return max(1, int(num_trials // self.eta))

    @model_validator(mode="after")
    def _fits_type(self) -> "EarlyTerminate":
        if self.type != "none":
            allowed = _WORDS_OF_TYPE[self.type] | {"type", "metric"}
            for word in sorted(self.model_fields_set - allowed):
                raise problem((word,), f"does not go with type {self.type}", at_key=True)
        if self.type == "wilcoxon" and self.over is None:
            raise problem(("over",), "is required for type wilcoxon: seeds or bins")
        if self.type == "hyperband":
            self._check_rungs()
        elif isinstance(self.eta, float):
            raise problem(("eta",), f"must be a whole number but for hyperband, got {self.eta}")
        elif self.max_iter is not None and self.max_iter < self.min_iter:
            raise problem(
                ("max_iter",),
                f"must be >= min_iter, got min_iter {self.min_iter} and max_iter {self.max_iter}",
            )
        return self

    def _check_rungs(self) -> None:
        if self.max_iter is None:
            if "min_iter" not in self.model_fields_set:
                raise problem((), "needs min_iter, or max_iter with s, for type hyperband")
        elif self.s is None:
            raise problem(
                ("s",),
                "is required with max_iter: the number of rungs below it; for brackets up to "
                "max_iter the type is hyperband_brackets",
            )
        elif self.max_iter < self.eta:
            raise problem(
                ("max_iter",), f"must be >= eta ({self.eta}) for a rung below, got {self.max_iter}"
            )
