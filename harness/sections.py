"""Sections of a study file beside the search space."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from harness.schema import Number, Strict, problem
from harness.yaml_text import shown


def matches(pattern: str, rule: str) -> AfterValidator:
    """Check of a text against a pattern.

    Args:
        pattern: Regular expression for the whole text.
        rule: What is allowed, in words.
    """

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise problem((), f"must be {rule}, got {shown(text)}")
        return text

    return AfterValidator(check)


StudyName = Annotated[
    str,
    matches(
        "[a-z0-9][a-z0-9_-]{0,63}",
        "1 to 64 of a-z, 0-9, _ and -, the first a letter or digit",
    ),
]
"""Name of a study: part of folder names and of the names of its runs."""

BaselineName = Annotated[
    str, matches("[A-Za-z0-9_-]{1,64}", "1 to 64 of letters, digits, _ and -")
]
"""Name of a baseline."""


class Metric(Strict):
    """A number that trials report."""

    name: Annotated[str, matches("[A-Za-z0-9_./-]+", "letters, digits and _ . / - only")]
    """Key of the metric, ``<split>/<metric>``, such as ``target_val/pck_05``."""
    goal: Literal["maximize", "minimize"]
    """Which way is better."""
    role: Literal["objective", "report"] = "objective"
    """What the search optimises, or what is only shown beside it."""


class EarlyTerminate(Strict):
    """When a trial that does badly is stopped, in the words of W&B sweeps.

    Iterations are reports of the objective, one per epoch.
    """

    type: Literal["hyperband", "median", "none"] = "none"
    """hyperband: successive halving; median: below the median of the earlier trials."""
    min_iter: int = Field(default=1, ge=1)
    """Iterations before a trial can be stopped."""
    eta: int = Field(default=3, ge=2)
    """hyperband: one in eta trials goes on from each bracket to the next."""
    max_iter: int | None = Field(default=None, ge=1)
    """hyperband: iterations of a full trial; None to find out."""
    s: int | None = Field(default=None, ge=1, le=1)
    """hyperband: 1 for a single bracket (successive halving); None for as many as fit."""
    startup_trials: int = Field(default=5, ge=0)
    """median: trials that are never stopped, at the start."""

    @model_validator(mode="after")
    def _fits_type(self) -> "EarlyTerminate":
        foreign = {"hyperband": ["startup_trials"], "median": ["eta", "max_iter", "s"]}
        for word in foreign.get(self.type, ()):
            if word in self.model_fields_set:
                raise problem((word,), f"does not go with type {self.type}", at_key=True)
        if self.max_iter is not None and self.max_iter < self.min_iter:
            raise problem(
                ("max_iter",),
                f"must be >= min_iter, got min_iter {self.min_iter} and max_iter {self.max_iter}",
            )
        return self


class Budget(Strict):
    """When a study ends."""

    run_cap: int | None = Field(default=None, ge=1)
    """Trials in all, baselines included; None, for a grid only, for all of the grid."""
    hours: Annotated[Number, Field(gt=0)] | None = None
    """Wall-clock hours; None for no limit."""


class Failures(Strict):
    """What happens when trials fail."""

    retries: int = Field(default=1, ge=0)
    """Times that a lost trial is started again."""
    max_rate: Annotated[Number, Field(ge=0, le=1)] = 0.3
    """Fraction of failed trials above which the study counts as failed."""


class Resources(Strict):
    """What one trial gets, and how many run at once."""

    cpus: int = Field(default=1, ge=1)
    """CPU cores of a trial."""
    gpus: Annotated[Number, Field(ge=0)] = 0
    """GPUs of a trial; a fraction shares one."""
    parallel: int | None = Field(default=None, ge=1)
    """Trials at once; None for as many as fit the machines."""

    @model_validator(mode="after")
    def _has_whole_gpus(self) -> "Resources":
        if self.gpus > 1 and self.gpus % 1:
            raise problem(("gpus",), f"must be whole above 1, got {self.gpus}")
        return self
