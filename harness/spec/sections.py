"""Sections of a study file beside the search space."""

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from harness.yaml.errors import Number, Strict, Whole, problem, whole_if_possible
from harness.yaml.text import shown

DATABASE_VARIABLE = "POSEBINS_DATABASE"
"""Environment variable with the SQLAlchemy URL of the Optuna studies."""

HEARTBEAT_S = 7200.0
"""Longest silence of a trial that nobody asked about: an epoch of a large study and its stages
take less."""


def matches(pattern: str, rule: str) -> Any:
    """Check of a text against a pattern, for ``Annotated``.

    Args:
        pattern: Regular expression for the whole text.
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
    """A number that trials report."""

    name: MetricName
    """Key of the metric, ``<split>/<metric>``, such as ``target_val/pck_05``."""
    goal: Literal["maximize", "minimize"] = "minimize"
    """Which way is better; as in W&B, minimize if left out."""
    role: Literal["objective", "report"] = "objective"
    """What the search optimises, or what is only shown beside it."""
    target: Number | None = None
    """W&B's value at which a sweep ends; ignored, budget says when a study ends."""
    impute: str | None = None
    """W&B's value of failed runs; ignored, as a failed trial has none here."""
    impute_while_running: str | bool | None = None
    """W&B's value of running runs; ignored, as the methods know of running trials."""


class Constraint(Strict):
    """Bound that a metric of a trial's last report must keep; ``max`` or ``min``."""

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
        """How far a value is beyond the bound; at most 0 if it keeps it, as Optuna has it."""
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
    """W&B's words for who proposes the settings of a sweep; here method says that."""

    engine: Literal["wandb"]
    """W&B's own, the one that method is about; optuna and ax would run code of the user's."""


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
    """wilcoxon: what the pairs are: the seeds of a setting, or the bins of the target poses."""
    p_threshold: Annotated[Number, Field(gt=0, lt=1)] = 0.1
    """wilcoxon: a setting is stopped if its p-value is below this."""

    @property
    def rungs(self) -> tuple[int, ...]:
        """hyperband: iterations from which on a trial is compared with others, fewest first."""
        found: set[int] = set()
        if self.max_iter is not None:
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

    @property
    def first_stop(self) -> int | None:
        """Iterations before a trial can be stopped; None for never, or where nobody can know."""
        if self.type in {"none", "wilcoxon"}:
            return None
        return self.rungs[0] if self.type == "hyperband" else self.min_iter

    def most_stopped(self, num_searched: int, num_baselines: int) -> int:
        """How many searched settings can be stopped; the first of a study never are."""
        first = self.startup_trials if self.type == "median" else 1
        spared = max(0, max(1, first) - num_baselines)
        return 0 if self.first_stop is None else max(0, num_searched - spared)

    def num_kept(self, num_trials: int) -> int:
        """hyperband: how many of the trials that have reached a rung are good enough to go on."""
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


class Budget(Strict):
    """When a study ends."""

    run_cap: Annotated[Whole, Field(ge=1)] | None = None
    """Settings in all, baselines included; None for all of a grid, or all baselines where there
    are no parameters, else for no limit."""
    hours: Annotated[Number, Field(gt=0)] | None = None
    """Wall-clock hours; None for no limit."""
    gpu_hours: Annotated[Number, Field(gt=0)] | None = None
    """Hours of GPUs that trials have held, a shared one by its fraction; None for no limit."""
    drain: Literal["stop", "finish"] = "stop"
    """What happens to running trials when the hours are over."""

    def seconds(self, gpus_in_use: float) -> float:
        """Seconds after which the hours or the GPU-hours are used up; infinite without either."""
        by_gpus = self.gpu_hours / gpus_in_use if self.gpu_hours and gpus_in_use else math.inf
        return 3600 * float(min(self.hours or math.inf, by_gpus))


class Failures(Strict):
    """What happens when trials fail."""

    retries: Annotated[Whole, Field(ge=0)] = 1
    """Times that a lost trial is started again."""
    max_rate: Annotated[Number, Field(ge=0, le=1)] = 0.3
    """Fraction of failed trials above which the study counts as failed."""
    timeout_s: Annotated[Number, Field(gt=0)] | None = None
    """Longest that a trial may take in all, in seconds; None for no limit."""
    heartbeat_s: Annotated[Number, Field(gt=0)] | None = HEARTBEAT_S
    """Longest that a trial may be without a report, in seconds; None for no limit."""

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
    """What one trial gets, and how many run at once."""

    cpus: Annotated[Whole, Field(ge=1)] = 1
    """CPU cores of a trial."""
    gpus: Annotated[Number, Field(ge=0)] = 0
    """GPUs of a trial; a fraction shares one."""
    parallel: Annotated[Whole, Field(ge=1)] | None = None
    """Trials at once; None for as many as fit the machines."""

    @model_validator(mode="after")
    def _has_whole_gpus(self) -> "Resources":
        if self.gpus > 1 and self.gpus % 1:
            raise problem(("gpus",), f"must be whole above 1, got {self.gpus}")
        return self


def _database(url: str) -> str:
    # The message never shows the URL: it may hold a password.
    if not re.fullmatch(r"[a-z]+(\+[a-z0-9_]+)?://\S*", url):
        raise problem((), "must be an SQLAlchemy URL, such as postgresql://host/name")
    if re.match(r"[^/]*//[^/@]*:[^/@]*@", url) or re.search("[?&]password=", url):
        raise problem(
            (),
            f"must not hold a password, as the file is kept with the results; "
            f"give the whole URL in {DATABASE_VARIABLE}",
        )
    if re.fullmatch(r"sqlite(\+\w+)?://(/?|/:memory:)", url):
        raise problem((), "must outlive the study, which a database in memory does not")
    return url


DatabaseURL = Annotated[str, AfterValidator(_database)]
"""SQLAlchemy URL without a password."""
