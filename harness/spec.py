"""A study: what one YAML file says, checked before anything starts.

:func:`load_study` is the way in. Whatever is wrong with the file comes out as a
:class:`SpecError`, one sentence that starts with file, line and column.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from harness.fields import FieldValues, SearchedParameters
from harness.schema import Strict, dotted, problem, problems
from harness.sections import (
    BaselineName,
    Budget,
    EarlyTerminate,
    Failures,
    Metric,
    Resources,
    StudyName,
)
from harness.space import Space
from harness.suggester import RandomSuggester
from harness.yaml_source import SpecError, YAMLSource, apply_override, read_yaml
from harness.yaml_text import YAMLPath, shown
from trainables.config import TrialConfig

__all__ = ["SpecError", "StudySpec", "load_study"]

NUM_DRAWS = 64
"""Fewest random configurations that a study is checked with."""
MAX_DRAWS = 256
"""Most configurations that a study is checked with to visit every value."""

_ALIASES = {"run_cap": "budget.run_cap", "metric": "metrics.0"}


class StudySpec(Strict):
    """Everything a study file says, with field names flattened and values of the right type."""

    name: StudyName
    """Name of the study."""
    trainable: Literal["adaptation", "pose_vae"]
    """What a trial runs."""
    metrics: Annotated[tuple[Metric, ...], Field(strict=False, min_length=1)]
    """Metrics; exactly one is the objective. ``metric`` is accepted for a single one."""
    method: Annotated[
        Literal["tpe", "random", "grid"],
        BeforeValidator(lambda word: "tpe" if word == "bayes" else word),
    ] = "tpe"
    """How configurations are chosen; ``bayes`` is another word for tpe."""
    parameters: SearchedParameters = Field(default_factory=dict)
    """Field of a trial to what it can be."""
    fixed: FieldValues = Field(default_factory=dict)
    """Field of a trial to its value in every trial."""
    baselines: dict[BaselineName, FieldValues] = Field(default_factory=dict)
    """Name to the fields of a configuration that is tried first."""
    early_terminate: EarlyTerminate = Field(default_factory=EarlyTerminate)
    """Stopping of bad trials."""
    budget: Budget = Field(default_factory=Budget)
    """End of the study. ``run_cap`` is accepted at the top level too."""
    failures: Failures = Field(default_factory=Failures)
    """Failing trials."""
    resources: Resources = Field(default_factory=Resources)
    """Resources of a trial."""

    @property
    def objective(self) -> Metric:
        """The metric that the search optimises."""
        return next(metric for metric in self.metrics if metric.role == "objective")

    def space(self) -> Space:
        """The search space."""
        return Space(self.parameters, self.fixed, self.baselines)

    @model_validator(mode="after")
    def _is_consistent(self) -> "StudySpec":
        self._check_metrics()
        self._check_fields()
        space = self.space()
        if self.method == "grid":
            space.grid()
        self._check_budget()
        self._check_resources()
        return self

    def _check_metrics(self) -> None:
        names = [metric.name for metric in self.metrics]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise problem(("metrics", index, "name"), f"repeats the metric {name}")
        objectives = [metric.name for metric in self.metrics if metric.role == "objective"]
        if len(objectives) != 1:
            given = ", ".join(objectives) or "none"
            raise problem(
                ("metrics",),
                f"must have exactly one metric with role objective, got {given}; "
                f"give the others role report",
            )

    def _check_fields(self) -> None:
        for name in self.parameters:
            if name in self.fixed:
                raise problem(("fixed", name), "is in parameters too; keep one", at_key=True)
        for baseline, values in self.baselines.items():
            for name in values:
                if name.startswith(("evaluation.", "data.")):
                    raise problem(
                        ("baselines", baseline, name),
                        "cannot differ between trials, or they would not be comparable; "
                        "it goes in fixed",
                        at_key=True,
                    )
        if not self.parameters and not self.baselines:
            raise problem((), "has neither parameters nor baselines, so there is nothing to run")

    def _check_budget(self) -> None:
        run_cap, num_baselines = self.budget.run_cap, len(self.baselines)
        path = ("budget", "run_cap")
        if run_cap is None:
            if self.method != "grid":
                raise problem(path, f"is required for method {self.method}")
            return
        if run_cap < num_baselines:
            raise problem(path, f"must be at least the {num_baselines} baselines, got {run_cap}")
        if not self.parameters and run_cap > num_baselines:
            raise problem(
                path,
                f"must be {num_baselines}, the number of baselines, as there are no parameters, "
                f"got {run_cap}",
            )

    def _check_resources(self) -> None:
        batch_size = self.fixed.get("adapt.batch_size", TrialConfig().adapt.batch_size)
        if self.resources.gpus > 1 and batch_size % self.resources.gpus:
            raise problem(
                ("resources", "gpus"),
                f"must divide adapt.batch_size ({batch_size}), as each GPU takes an equal part, "
                f"got {self.resources.gpus:g}",
            )


def load_study(path: Path | str, overrides: Sequence[str] = ()) -> StudySpec:
    """Load a study file and check it, down to the configurations that it can draw.

    Args:
        path: YAML file.
        overrides: Texts ``path=value``, see :func:`apply_override`, applied in order.

    Raises:
        SpecError: If anything is wrong with the file or an override.
    """
    source = _canonical(read_yaml(path))
    for text in overrides:
        aliases = {
            old: new for old, new in _ALIASES.items() if new.partition(".")[0] in source.data
        }
        source = _canonical(apply_override(source, text, aliases))
    try:
        spec = StudySpec.model_validate(source.data)
    except ValidationError as error:
        first = problems(error)[0]
        raise source.error(first.path, first.sentence, first.at_key) from None
    _check_trials(spec, source)
    return spec


def _canonical(source: YAMLSource) -> YAMLSource:
    """Put ``metric`` and a top-level ``run_cap`` where the spec has them."""
    if "run_cap" in source.data:
        budget = source.data.get("budget", {})
        if not isinstance(budget, dict):
            raise source.error(("budget",), f"budget must be a mapping, got {shown(budget)}")
        if "run_cap" in budget:
            raise source.error(("run_cap",), "run_cap is given in budget too; keep one", True)
        source = source.moved(("run_cap",), ("budget", "run_cap"))
    if "metric" in source.data:
        if "metrics" in source.data:
            raise source.error(("metric",), "metric is given beside metrics; keep one", True)
        source = source.moved(("metric",), ("metrics", 0))
    return source


def _check_trials(spec: StudySpec, source: YAMLSource) -> None:
    """Build the configurations of the baselines and of random draws."""
    space = spec.space()
    for baseline in space.baselines():
        suggester = RandomSuggester(random.Random(0), baseline.enqueue)
        try:
            TrialConfig.from_flat(space.suggest(suggester, baseline.overrides))
        except ValueError as error:
            path: YAMLPath = ("baselines", baseline.name)
            field = _first_word(error)
            if field in spec.fixed and field not in spec.baselines[baseline.name]:
                raise source.error(("fixed", field), f"fixed.{error}") from None
            written = (*path, field) if field in spec.baselines[baseline.name] else path
            sentence = f"{dotted(path)} is not a valid trial: {error}"
            raise source.error(written, sentence) from None
    for config in space.probes(NUM_DRAWS, MAX_DRAWS):
        try:
            TrialConfig.from_flat(config)
        except ValueError as error:
            field = _first_word(error)
            if field in spec.fixed and field not in spec.parameters:
                raise source.error(("fixed", field), f"fixed.{error}") from None
            path = ("parameters", field) if field in spec.parameters else ("parameters",)
            path = path if spec.parameters else ("fixed",)
            sentence = f"{dotted(path)} can make a trial that is not valid: {error}"
            raise source.error(path, sentence) from None


def _first_word(error: ValueError) -> str:
    """The field that an error of :class:`TrialConfig` is about."""
    return str(error).partition(" ")[0]
