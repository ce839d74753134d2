"""A study: what one YAML file says, checked before anything starts.

:func:`load_study` is the way in. Whatever is wrong with the file comes out as a
:class:`SpecError`, one sentence that starts with file, line and column. ``python -m harness.spec``
prints the JSON Schema of these files for editors.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from harness.space.fields import COMPARED, FieldValues, SearchedParameters
from harness.space.space import Space
from harness.spec.canonical import ALIASES
from harness.spec.checks import check_combinations
from harness.spec.metric_names import Trainable
from harness.spec.sections import (
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
from harness.yaml.errors import Strict, Whole, problem
from trainables.metrics.metric_keys import BIN_PREFIX

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
