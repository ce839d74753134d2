"""A study: what one YAML file says, checked before anything starts.

:func:`load_study` is the way in. Whatever is wrong with the file comes out as a
:class:`SpecError`, one sentence that starts with file, line and column. ``python -m harness.spec``
prints the JSON Schema of these files for editors.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from harness.language.canonical import ALIASES, canonical, completed
from harness.language.combinations import check_combinations
from harness.language.draws import draws
from harness.language.fields import COMPARED, FieldValues, SearchedParameters
from harness.language.metric_names import BIN_PREFIX, Trainable
from harness.language.notices import notices
from harness.language.schema import Strict, Whole, problem, problems
from harness.language.sections import (
    BaselineName,
    Budget,
    Constraint,
    DatabaseURL,
    EarlyTerminate,
    Failures,
    Metric,
    Resources,
    Scheduler,
    StudyName,
)
from harness.language.yaml_source import SpecError, YAMLSource, apply_override, read_yaml
from harness.language.yaml_text import YAMLPath
from harness.space import Space
from trainables.config import TrialConfig

__all__ = ["SpecError", "StudySpec", "load_study"]

Method = Literal["tpe", "gp", "cmaes", "nsga2", "qmc", "random", "grid"]


class StudySpec(Strict):
    """Everything a study file says, with field names flattened and values of the right type."""

    other_keys: ClassVar[tuple[str, ...]] = tuple(ALIASES)
    _notices: tuple[str, ...] = PrivateAttr(default=())

    name: StudyName
    """Name of the study, the file's own if left out; from another text than 1 to 64 of a-z, 0-9, _
    and - a name is made."""
    title: str | None = None
    """Name to show instead, any text."""
    trainable: Trainable = "adaptation"
    """What a trial runs."""
    metrics: Annotated[tuple[Metric, ...], Field(strict=False, min_length=1)]
    """Metrics; several objectives make a study multi-objective. ``metric`` is accepted for a
    single one."""
    method: Annotated[Method, BeforeValidator(lambda word: "tpe" if word == "bayes" else word)] = (
        "tpe"
    )
    """How settings are chosen; ``bayes`` is another word for tpe."""
    parameters: SearchedParameters = Field(default_factory=dict)
    """Field of a trial to what it can be."""
    fixed: FieldValues = Field(default_factory=dict)
    """Field of a trial to its value in every trial."""
    baselines: dict[BaselineName, FieldValues] = Field(default_factory=dict)
    """Name to the fields of a setting that is tried first."""
    constraints: Annotated[tuple[Constraint, ...], Field(strict=False)] = ()
    """Bounds that a setting must keep to count as good."""
    seeds: Annotated[Whole, Field(ge=1, le=1000)] = 1
    """Runs of each setting, which differ in their seed alone; their mean is what counts."""
    early_terminate: EarlyTerminate = Field(default_factory=EarlyTerminate)
    """Stopping of bad trials."""
    budget: Budget = Field(default_factory=Budget)
    """End of the study. ``run_cap`` is accepted at the top level too."""
    failures: Failures = Field(default_factory=Failures)
    """Failing trials."""
    resources: Resources = Field(default_factory=Resources)
    """Resources of a trial."""
    database: DatabaseURL | None = None
    """SQLAlchemy URL of the Optuna studies, without a password; None for a file in the storage."""
    program: Any = None
    """W&B's script; ignored."""
    command: Any = None
    """W&B's command line; ignored."""
    project: Any = None
    """W&B's project; ignored."""
    entity: Any = None
    """W&B's team; ignored."""
    description: Any = None
    """W&B's description; ignored."""
    controller: Any = None
    """W&B's controller; ignored."""
    api_version: Any = Field(default=None, alias="apiVersion")
    """W&B's version of its language; ignored."""
    kind: Any = None
    """W&B's kind of file; ignored."""
    job: Any = None
    """W&B's launch job; ignored."""
    image_uri: Any = None
    """W&B's launch image; ignored."""
    scheduler: Scheduler | None = None
    """W&B's scheduler; ignored if it is W&B's own."""

    @property
    def objectives(self) -> tuple[Metric, ...]:
        """The metrics that the search optimises, at least one."""
        return tuple(metric for metric in self.metrics if metric.role == "objective")

    @property
    def objective(self) -> Metric:
        """The first objective."""
        return self.objectives[0]

    @property
    def pruning_metric(self) -> Metric:
        """What early stopping looks at: the named metric or the first objective.

        For ``wilcoxon`` over bins its name is ``pck_bin``, what the names of all bins begin with.
        """
        rule = self.early_terminate
        if rule.over == "bins":
            return Metric(name=BIN_PREFIX, goal="maximize", role="report")
        named = (metric for metric in self.metrics if metric.name == rule.metric)
        return next(named, self.objective)

    @property
    def notices(self) -> tuple[str, ...]:
        """What :func:`load_study` found that the user should know, in sentences."""
        return self._notices

    @property
    def max_settings(self) -> int | None:
        """Settings the study will try at most, baselines included; None for no limit."""
        points = self.space().points() if self.parameters else []
        total = None if points is None else len(points) + len(self.baselines)
        caps = [cap for cap in (self.budget.run_cap, total) if cap is not None]
        return min(caps, default=None)

    def space(self) -> Space:
        """The search space."""
        return Space(self.parameters, self.fixed, self.baselines, self.method == "grid")

    @model_validator(mode="after")
    def _is_consistent(self) -> "StudySpec":
        self._check_fields()
        space = self.space()
        if self.method == "grid":
            space.grid()
        check_combinations(self, space)
        return self

    def _check_fields(self) -> None:
        for name in self.parameters:
            if name in self.fixed:
                raise problem(("fixed", name), "is in parameters too; keep one", at_key=True)
        for baseline, values in self.baselines.items():
            for name in values:
                if name.startswith(COMPARED):
                    raise problem(
                        ("baselines", baseline, name),
                        "cannot differ between trials, or they would not be comparable; "
                        "it goes in fixed",
                        at_key=True,
                    )
        if not self.parameters and not self.baselines:
            raise problem(
                (),
                "has neither parameters (constants of data.* and evaluation.* aside) nor "
                "baselines, so there is nothing to run",
            )


def load_study(path: Path | str, overrides: Sequence[str] = ()) -> StudySpec:
    """Load a study file and check it, down to the configurations that it can draw.

    Args:
        path: YAML file.
        overrides: Texts ``path=value``, see :func:`apply_override`, applied in order.

    Raises:
        SpecError: If anything is wrong with the file or an override.
    """
    source = canonical(read_yaml(path))
    overridden = _overridden(source, overrides)
    try:
        return _checked(overridden)
    except SpecError as error:
        raise _blamed(error, source, overrides) from None


def _overridden(source: YAMLSource, overrides: Sequence[str]) -> YAMLSource:
    for text in overrides:
        aliases = {
            old: new for old, new in ALIASES.items() if new.partition(".")[0] in source.data
        }
        source = canonical(apply_override(source, text, aliases))
    return source


def _checked(source: YAMLSource) -> StudySpec:
    source = completed(source)
    try:
        spec = StudySpec.model_validate(source.data)
    except ValidationError as error:
        first = problems(error)[0]
        sentence = f"{source.written(first.path)} {first.predicate}"
        raise source.error(first.path, sentence, first.at_key) from None
    _check_trials(spec, source)
    spec._notices = notices(spec, source)
    return spec


def _blamed(error: SpecError, source: YAMLSource, overrides: Sequence[str]) -> SpecError:
    """The error, at the override without which there would be none.

    A value of ``--set`` may be wrong only together with a line of the file, and the check may
    come upon that line first.
    """
    if str(error).startswith("--set "):
        return error
    sentence = str(error).removeprefix(f"{source.file}:").lstrip("0123456789:").lstrip()
    for index in reversed(range(len(overrides))):
        try:
            _checked(_overridden(source, [*overrides[:index], *overrides[index + 1 :]]))
        except SpecError:
            continue
        text = " ".join(overrides[index].splitlines())
        return SpecError(f"--set {text}: {sentence}")
    return error


def _check_trials(spec: StudySpec, source: YAMLSource) -> None:
    """Build the configurations of the baselines and of random draws."""
    for draw in draws(spec):
        try:
            TrialConfig.from_flat(draw.fields)
        except ValueError as error:
            raise _invalid_trial(spec, source, draw.baseline, str(error)) from None


def _invalid_trial(
    spec: StudySpec, source: YAMLSource, baseline: str | None, sentence: str
) -> SpecError:
    field = sentence.partition(" ")[0]  # an error of a trial starts with its field
    own: dict[str, Any] = spec.baselines[baseline] if baseline is not None else {}
    if field in spec.fixed and field not in own:
        path: YAMLPath = ("fixed", field)
        return source.error(path, source.written(path) + sentence.removeprefix(field))
    if baseline is not None:
        path = ("baselines", baseline)
        written = (*path, field) if field in own else path
        return source.error(written, f"{source.written(path)} is not a valid trial: {sentence}")
    path = ("parameters", field) if field in spec.parameters else ("parameters",)
    path = path if spec.parameters else ("fixed",)
    subject = source.written(path)
    if field in spec.parameters and spec.parameters[field].is_exponent:
        subject += f", whose {spec.parameters[field].distribution} takes exponents to the base e,"
    return source.error(path, f"{subject} can make a trial that is not valid: {sentence}")


if __name__ == "__main__":
    from harness.language.json_schema import main

    main()
