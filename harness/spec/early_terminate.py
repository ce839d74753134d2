"""The section ``early_terminate``: when a trial that does badly is stopped.

Owns the rungs and brackets, which ``harness.optuna_study.pruners`` applies.
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

    An iteration is one report of the metric, one per epoch.
    """

    type: Literal[
        "hyperband", "hyperband_brackets", "successive_halving", "median", "wilcoxon", "none"
    ] = "none"
    """hyperband: W&B's rule, which compares a trial at its last rung with all others that reached
    it; hyperband_brackets: one trial in eta continues at each rung, and trials differ in their
    first rung, which is min_iter or later; successive_halving: the same with min_iter as the first
    rung of all; median: stops a trial below the median of earlier trials; wilcoxon: stops a trial
    that a signed-rank test over pairs of seeds or bins finds worse than the best; none: stops no
    trial."""
    metric: MetricName | None = None
    """The metric to compare, one of the study's; None for the only objective."""
    min_iter: Annotated[Whole, Field(ge=1)] = 1
    """First iteration after which a trial can be stopped; hyperband: the first rung, followed by
    min_iter * eta, min_iter * eta^2 and so on; wilcoxon: fewest seeds, not used over bins."""
    eta: Annotated[Number, BeforeValidator(whole_if_possible), Field(gt=1)] = 3
    """hyperband, hyperband_brackets, successive_halving: one trial in eta continues from each rung
    to the next; a whole number, except for hyperband."""
    max_iter: Annotated[Whole, Field(ge=1)] | None = None
    """hyperband: what s counts down from, in place of min_iter; hyperband_brackets: iterations of
    a full trial, None to find out."""
    s: Annotated[Whole, Field(ge=1, le=10_000)] | None = None
    """hyperband: number of rungs below max_iter: max_iter / eta, max_iter / eta^2 and so on; not
    used without max_iter."""
    strict: bool = True
    """hyperband: whether a trial counts by its value at the rung, not by its best so far."""
    startup_trials: Annotated[Whole, Field(ge=0)] = 5
    """median: complete trials that are needed before any trial is stopped."""
    over: Literal["seeds", "bins"] | None = None
    """wilcoxon: what is paired: the seeds of a trial, or the bins of the target poses."""
    p_threshold: Annotated[Number, Field(gt=0, lt=1)] = 0.1
    """wilcoxon: p-value below which a trial is stopped."""

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

        A wilcoxon test over bins has its pairs after the first epoch, whatever min_iter is; a test
        over seeds compares trials that have ended.
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

    def most_stopped(self, num_searched: int, num_baselines: int) -> int:
        """How many searched trials can be stopped; the first of a study never are.

        0 for wilcoxon, of which nothing is known before it is run.
        """
        if self.type in ("none", "wilcoxon"):
            return 0
        first = self.startup_trials if self.type == "median" else 1
        return max(0, num_searched - max(0, max(1, first) - num_baselines))

    def num_kept(self, num_trials: int) -> int:
        """hyperband: how many of the trials that have reached a rung continue."""
        return int((1 / self.eta) * num_trials) + 1

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
            raise problem(("eta",), f"must be whole, except for hyperband, got {self.eta}")
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
