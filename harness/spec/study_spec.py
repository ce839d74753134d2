"""The model of a study: what one YAML file says, with values of the right types.

:func:`harness.spec.load.load_spec` makes a model of a file and checks that its parts go together.
``python -m harness.spec`` prints the JSON Schema of these files for editors.
"""

from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr

from harness.space.fields import FieldValues, SearchedParameters
from harness.space.space import Space
from harness.spec.database import DatabaseURL
from harness.spec.early_terminate import EarlyTerminate
from harness.spec.sections import (
    BaselineName,
    Budget,
    Constraint,
    Failures,
    Metric,
    Resources,
    Scheduler,
    StudyName,
)
from harness.yaml.text import shown
from harness.yaml.validation import Strict, Whole, did_you_mean, problem
from trainables.config import TrialConfig
from trainables.metrics.metric_keys import BIN_PREFIX
from trainables.registry import TRAINABLES, PluginError, load_plugins

ALIASES = {"run_cap": "budget.run_cap", "metric": "metrics.0"}
"""First word of a path in a file to the path that it stands for."""

Method = Literal["tpe", "gp", "cmaes", "nsga2", "qmc", "random", "grid"]


def _loaded(modules: tuple[str, ...]) -> tuple[str, ...]:
    """Import the plugins, and see that the options that they add have usable defaults."""
    for index, module in enumerate(modules):
        try:
            load_plugins([module])
            TrialConfig()
        except (PluginError, TypeError, ValueError) as error:
            sentence = str(error) if isinstance(error, PluginError) else f"{module}: {error}"
            raise problem((index,), f"is of no use: {sentence}") from None
    return modules


def _known_trainable(name: Any) -> Any:
    if not isinstance(name, str) or name not in TRAINABLES:
        hint = did_you_mean(name, TRAINABLES) if isinstance(name, str) else ""
        raise problem((), f"must be one of {', '.join(TRAINABLES)}, got {shown(name)}{hint}")
    return name


class StudySpec(Strict):
    """Everything that a study file says, with dotted field names and values of the right type."""

    other_keys: ClassVar[tuple[str, ...]] = tuple(ALIASES)
    _notices: tuple[str, ...] = PrivateAttr(default=())

    name: StudyName
    """Name of the study, 1 to 64 of a-z, 0-9, _ and -; made from any other text, or from the name
    of the file if left out."""
    title: str | None = None
    """Name to show in place of name, any text."""
    plugins: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_loaded)] = ()
    """Modules of the user's own with further data sets, methods, strategies or trainables. They
    are imported before the rest is read, as it may name what they add."""
    trainable: Annotated[str, BeforeValidator(_known_trainable)] = "adaptation"
    """What a trial trains."""
    metrics: Annotated[tuple[Metric, ...], Field(strict=False, min_length=1)]
    """Metrics; with several objectives the study is multi-objective. ``metric`` is accepted for a
    single one."""
    method: Annotated[Method, BeforeValidator(lambda word: "tpe" if word == "bayes" else word)] = (
        "tpe"
    )
    """How trials are chosen; ``bayes`` means tpe."""
    parameters: SearchedParameters = Field(default_factory=dict)
    """Fields of a trial that are searched, with what each can be."""
    fixed: FieldValues = Field(default_factory=dict)
    """Fields of a trial with their value in every trial."""
    baselines: dict[BaselineName, FieldValues] = Field(default_factory=dict)
    """Trials to try first, by name, each with its fields."""
    constraints: Annotated[tuple[Constraint, ...], Field(strict=False)] = ()
    """Bounds on metrics; a trial that breaks one is not feasible."""
    seeds: Annotated[Whole, Field(ge=1, le=1000)] = 1
    """Runs of each trial, which differ in their seed alone and count by their mean."""
    early_terminate: EarlyTerminate = Field(default_factory=EarlyTerminate)
    """When bad trials are stopped; if left out, none is."""
    budget: Budget = Field(default_factory=Budget)
    """When the study ends. ``run_cap`` is accepted at the top level, too."""
    failures: Failures = Field(default_factory=Failures)
    """What happens when runs fail."""
    resources: Resources = Field(default_factory=Resources)
    """What one run gets, and how many there are at once."""
    database: DatabaseURL | None = None
    """SQLAlchemy URL of the Optuna studies, without a password; None for a file in the storage.
    The environment variable POSEBINS_DATABASE comes first."""
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
    """W&B's scheduler; its own is ignored, others are refused."""

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
        """The metric that early termination compares: the named one or the first objective.

        For ``wilcoxon`` over bins its name is ``pck_bin``, the start of the names of all bins.
        """
        rule = self.early_terminate
        if rule.over == "bins":
            return Metric(name=BIN_PREFIX, goal="maximize", role="report")
        named = (metric for metric in self.metrics if metric.name == rule.metric)
        return next(named, self.objective)

    @property
    def required_metrics(self) -> list[str]:
        """Metrics without which a run is not complete."""
        names = [metric.name for metric in self.objectives]
        names += [constraint.name for constraint in self.constraints]
        return names if self.early_terminate.over == "bins" else [*names, self.pruning_metric.name]

    def note(self, notices: tuple[str, ...]) -> None:
        """Keep what the user should know of the file; :func:`load_spec` calls this once."""
        self._notices = notices

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know of the file, in sentences; from :func:`load_spec`."""
        return self._notices

    @cached_property
    def space(self) -> Space:
        """The search space, built once.

        Raises:
            ValidationError: If the parameters do not fit the fields or each other.
        """
        return Space(self.parameters, self.fixed, self.baselines, self.method == "grid")

    @cached_property
    def max_trials(self) -> int | None:
        """Most trials that the study can try, baselines included; None for no limit."""
        points = self.space.points() if self.parameters else []
        total = None if points is None else len(points) + len(self.baselines)
        caps = [cap for cap in (self.budget.run_cap, total) if cap is not None]
        return min(caps, default=None)

    @property
    def amount(self) -> str:
        """How much the study runs, in words."""
        trials = self.max_trials
        if trials is None:
            return "trials until it is stopped (Ctrl-C)"
        amount = f"{trials} trial{'s' * (trials != 1)}"
        return amount if self.seeds == 1 else f"{amount} x {self.seeds} seeds"
