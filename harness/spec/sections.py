"""Sections of a study file besides the search space."""

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from harness.yaml.text import shown
from harness.yaml.validation import Number, Strict, Whole, problem

HEARTBEAT_S = 7200.0
"""Default of heartbeat_s: an epoch of a large study and its stages take less."""


def matches(pattern: str, rule: str) -> Any:
    """Validator of a string against a pattern, for ``Annotated``.

    Args:
        pattern: Regular expression for the whole string.
        rule: What is allowed, in words.
    """

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise problem((), f"must be {rule}, got {shown(text)}")
        return text

    return AfterValidator(check)


NAME_PATTERN = "[a-z0-9][a-z0-9_-]{0,63}"
StudyName = Annotated[
    str, matches(NAME_PATTERN, "1 to 64 of a-z, 0-9, _ and -, the first a letter or digit")
]
"""Name of a study: part of folder names and of the names of its runs."""

BaselineName = Annotated[
    str, matches("[A-Za-z0-9_-]{1,64}", "1 to 64 of letters, digits, _ and -")
]
"""Name of a baseline."""

MetricName = Annotated[str, matches("[A-Za-z0-9_./-]+", "letters, digits and _ . / - only")]
"""Key of a metric, ``<split>/<metric>``."""


class Metric(Strict):
    """A number that runs report."""

    name: MetricName
    """Key of the metric, ``<split>/<metric>``, such as ``target_val/pck_05``."""
    goal: Literal["maximize", "minimize"] = "minimize"
    """Which direction is better; as in W&B, minimize if left out."""
    role: Literal["objective", "report"] = "objective"
    """objective: the search optimises it; report: it is only shown."""
    target: Number | None = None
    """W&B's value at which a sweep ends; ignored, budget ends a study."""
    impute: str | None = None
    """W&B's value for failed runs; ignored, as a failed run has no value here."""
    impute_while_running: str | bool | None = None
    """W&B's value for running runs; ignored, as the methods know of running trials."""


class Constraint(Strict):
    """Bound on a metric in a trial's last report; ``max`` or ``min``."""

    name: MetricName
    """Key of the metric."""
    max: Number | None = None
    """Largest allowed value."""
    min: Number | None = None
    """Smallest allowed value."""

    @property
    def rule(self) -> str:
        """The bound in words, such as ``train/source_kl <= 2``."""
        sign, bound = (">=", self.min) if self.max is None else ("<=", self.max)
        return f"{self.name} {sign} {bound:g}"

    def violation(self, value: float) -> float:
        """How far a value lies beyond the bound; at most 0 if it keeps it, as in Optuna."""
        if self.max is not None:
            return value - self.max
        assert self.min is not None
        return self.min - value

    @model_validator(mode="after")
    def _has_one_bound(self) -> "Constraint":
        if (self.max is None) == (self.min is None):
            given = "none" if self.max is None else "both; write two constraints"
            raise problem((), f"needs one of max and min, got {given}")
        return self


class Scheduler(Strict):
    """W&B's choice of what suggests the trials of a sweep; here that is method."""

    engine: Literal["wandb"]
    """wandb: W&B's own; optuna and ax would run the user's code."""


class Budget(Strict):
    """When a study ends."""

    run_cap: Annotated[Whole, Field(ge=1)] | None = None
    """Most trials, baselines included; None for a whole grid, for all baselines of a study
    without parameters, otherwise for no limit."""
    hours: Annotated[Number, Field(gt=0)] | None = None
    """Wall-clock hours; None for no limit."""
    gpu_hours: Annotated[Number, Field(gt=0)] | None = None
    """GPU-hours of all runs, a shared GPU counted by its fraction; None for no limit."""
    drain: Literal["stop", "finish"] = "stop"
    """What happens to runs when the hours are over: stop them, or let them finish."""

    def seconds(self, gpus_in_use: float) -> float:
        """Seconds after which the hours or the GPU-hours are used up; infinite without either."""
        by_gpus = self.gpu_hours / gpus_in_use if self.gpu_hours and gpus_in_use else math.inf
        return 3600 * float(min(self.hours or math.inf, by_gpus))


class Failures(Strict):
    """What happens when runs fail."""

    retries: Annotated[Whole, Field(ge=0)] = 1
    """How often a run that crashed is started again."""
    max_rate: Annotated[Number, Field(ge=0, le=1)] = 0.3
    """Fraction of failed runs above which the study counts as failed."""
    timeout_s: Annotated[Number, Field(gt=0)] | None = None
    """Longest total time of a run, in seconds; None for no limit."""
    heartbeat_s: Annotated[Number, Field(gt=0)] | None = HEARTBEAT_S
    """Longest time of a run without a report, in seconds; None for no limit."""

    @model_validator(mode="after")
    def _beats_before_the_end(self) -> "Failures":
        timeout, heartbeat = self.timeout_s, self.heartbeat_s
        is_given = "heartbeat_s" in self.model_fields_set
        if is_given and timeout is not None and heartbeat is not None and heartbeat >= timeout:
            raise problem(
                ("heartbeat_s",), f"must be below timeout_s ({timeout:g}), got {heartbeat:g}"
            )
        return self


class Resources(Strict):
    """What one run gets, and how many there are at once."""

    cpus: Annotated[Whole, Field(ge=1)] = 1
    """CPU cores of a run."""
    gpus: Annotated[Number, Field(ge=0)] = 0
    """GPUs of a run; a fraction shares one."""
    parallel: Annotated[Whole, Field(ge=1)] | None = None
    """Runs at once; None for as many as the machines hold."""

    @model_validator(mode="after")
    def _has_whole_gpus(self) -> "Resources":
        if self.gpus > 1 and self.gpus % 1:
            raise problem(("gpus",), f"must be whole above 1, got {self.gpus}")
        return self
