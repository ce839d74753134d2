"""Which words of a study's file go together: methods, objectives, seeds, stopping, budget.

Each is legal alone. Some combinations would run and mean nothing, such as a test that can never
reach its threshold: they are refused here, with the reason.
"""

from collections.abc import Mapping
from typing import Any

from harness.space.fields import cannot_vary
from harness.spec.metric_names import known_metrics, unknown_metric
from harness.spec.study_spec import StudySpec
from harness.yaml.text import described
from harness.yaml.validation import did_you_mean, problem
from trainables.config import TrialConfig
from trainables.data.skeleton_file import find_skeleton
from trainables.registry import DOMAINS, MetricFacts

FIXED_SPACE_METHODS = ("gp", "cmaes", "qmc")
"""Methods that need the same parameters in every trial."""


def check_study(spec: StudySpec) -> None:
    """Run all checks of this module.

    Raises:
        ValidationError: If two parts of the study do not go together; with the path in the study.
    """
    _check_fields(spec)
    _check_skeleton(spec)
    _check_space(spec)
    _check_metrics(spec)
    _check_constraints(spec)
    _check_method(spec)
    _check_seeds(spec)
    _check_stopping(spec)
    _check_budget(spec)
    _check_resources(spec)


def _check_fields(spec: StudySpec) -> None:
    for name in spec.parameters:
        if cannot_vary(name):
            raise problem(
                ("parameters", name),
                "cannot be searched, or trials would not be comparable; give it one value",
                at_key=True,
            )
        if name in spec.fixed:
            raise problem(("fixed", name), "is in parameters too; keep one", at_key=True)
    for baseline, values in spec.baselines.items():
        for name in values:
            if cannot_vary(name):
                raise problem(
                    ("baselines", baseline, name),
                    "cannot differ between trials, or they would not be comparable; "
                    "it goes in fixed",
                    at_key=True,
                )
    if not spec.parameters and not spec.baselines:
        raise problem(
            (),
            "has neither parameters (constants of data.* and evaluation.* aside) nor "
            "baselines, so there is nothing to run",
        )


def _check_skeleton(spec: StudySpec) -> None:
    """Find the joints of the data sets, whose groups are part of the names of metrics."""
    fields = _fields(spec)
    for role in ("source", "target"):
        name = DOMAINS[fields[f"data.{role}"]].skeleton_field
        if fields.get(name) is not None:
            try:
                find_skeleton(fields[name])
            except (OSError, ValueError) as error:
                raise problem(("fixed", name), f"cannot be used: {error}") from None


def _check_space(spec: StudySpec) -> None:
    space = spec.space  # raises if its parameters do not fit
    if spec.method == "grid":
        space.grid()  # raises if its points cannot be listed


def _fixed(spec: StudySpec, field: str) -> Any:
    """Value that a study fixes a field to; the default if it fixes none."""
    parameter = spec.parameters.get(field)
    if parameter is not None and parameter.form == "value" and not parameter.when:
        return parameter.value
    return spec.fixed.get(field, TrialConfig().to_flat()[field])


def _fields(spec: StudySpec) -> dict[str, Any]:
    """A configuration in which the fields that cannot vary have the study's values."""
    return TrialConfig().to_flat() | spec.fixed


def _facts(spec: StudySpec) -> Mapping[str, MetricFacts]:
    return known_metrics(spec.trainable, _fields(spec))


def _check_name(spec: StudySpec, name: str, path: tuple[str | int, ...]) -> None:
    rule = unknown_metric(name, spec.trainable, _fields(spec))
    if rule is not None:
        raise problem((*path, "name"), rule)


def _check_metrics(spec: StudySpec) -> None:
    names = [metric.name for metric in spec.metrics]
    facts = _facts(spec)
    for index, metric in enumerate(spec.metrics):
        path = ("metrics", index)
        _check_name(spec, metric.name, path)
        if metric.name in names[:index]:
            raise problem((*path, "name"), f"repeats the metric {metric.name}")
        if "goal" not in metric.model_fields_set and facts[metric.name].better == "maximize":
            raise problem(
                path,
                f"needs its goal: the default is minimize, and of {metric.name} more is better",
            )
    if not spec.objectives:
        raise problem(("metrics",), "must have a metric with role objective, got none")


def _check_constraints(spec: StudySpec) -> None:
    rules = [constraint.rule for constraint in spec.constraints]
    for index, constraint in enumerate(spec.constraints):
        _check_name(spec, constraint.name, ("constraints", index))
        if rules[index] in rules[:index]:
            raise problem(("constraints", index), f"repeats the constraint {rules[index]}")


def _check_method(spec: StudySpec) -> None:
    path, method, space = ("method",), spec.method, spec.space
    if not spec.parameters:
        return
    if method == "cmaes":
        if len(spec.objectives) > 1:
            raise problem(path, "cmaes knows one objective; use tpe, gp or nsga2 for several")
        if spec.constraints:
            raise problem(path, "cmaes knows no constraints; use tpe, gp or nsga2")
        if not space.numbers():
            raise problem(
                path, "cmaes searches numbers and there are only categories; use tpe or nsga2"
            )
    if method not in FIXED_SPACE_METHODS:
        return
    if conditional := space.conditional():
        raise problem(
            path,
            f"{method} would draw {', '.join(conditional)} at random, which not every trial has "
            f"(when, or choose from a searched count); use tpe or nsga2",
        )
    for baseline in space.baselines():
        if outside := [name for name in spec.parameters if name in baseline.overrides]:
            name = outside[0]
            raise problem(
                ("baselines", baseline.name),
                f"has {name} = {described(baseline.overrides[name])}, which its parameter cannot "
                f"take, and {method} then draws {name} at random; widen it, or use tpe or nsga2",
            )


def _check_seeds(spec: StudySpec) -> None:
    if spec.seeds == 1:
        return
    sentence = f"cannot be given per trial: with seeds {spec.seeds} each has several"
    if "seed" in spec.parameters:
        raise problem(("parameters", "seed"), sentence, at_key=True)
    for baseline, values in spec.baselines.items():
        if "seed" in values:
            raise problem(("baselines", baseline, "seed"), sentence, at_key=True)
    last = _fixed(spec, "seed") + spec.seeds - 1
    if last >= 2**31:
        raise problem(("seeds",), f"must keep seed below 2147483648, got {last} for the last run")


def _check_stopping(spec: StudySpec) -> None:
    rule, path = spec.early_terminate, ("early_terminate",)
    if rule.type == "none":
        return
    if rule.type == "wilcoxon":
        _check_pairs(spec)
    if rule.over == "bins":
        return
    names = [metric.name for metric in spec.metrics]
    if rule.metric is not None and rule.metric not in names:
        raise problem(
            (*path, "metric"),
            f"must be one of the metrics of this study, got {rule.metric}"
            f"{did_you_mean(rule.metric, names)}",
        )
    if rule.metric is None and len(spec.objectives) > 1:
        raise problem(
            path,
            f"needs a metric to compare trials by, as there are {len(spec.objectives)} objectives",
            at_key=True,
        )
    compared = spec.pruning_metric.name
    if rule.type != "wilcoxon" and not _facts(spec)[compared].is_reported_throughout:
        raise problem(
            path if rule.metric is None else (*path, "metric"),
            f"would compare {compared}, which not every epoch reports; name another metric",
            at_key=rule.metric is None,
        )


def _check_pairs(spec: StudySpec) -> None:
    """Refuse a threshold out of reach: a signed-rank test of n pairs has no p-value below 2^-n."""
    rule = spec.early_terminate
    if rule.over == "bins":
        if rule.metric is not None:
            raise problem(
                ("early_terminate", "metric"), "does not go with over bins, which compares pck_bin"
            )
        if spec.trainable != "adaptation":
            raise problem(
                ("early_terminate", "over"), f"must be seeds: {spec.trainable} trials have no bins"
            )
        num_pairs, what = _fixed(spec, "evaluation.bin_count"), "evaluation.bin_count"
        needs = f"{num_pairs} bins"
    else:
        # Once the last seed has been trained there is nothing left to stop.
        num_pairs, what = spec.seeds - 1, "seeds"
        needs = f"{num_pairs} of {spec.seeds} seeds, before the last one runs,"
    if num_pairs < 2 or 2.0**-num_pairs >= rule.p_threshold:
        smallest = 2.0 ** -max(num_pairs, 0)
        raise problem(
            ("early_terminate", "p_threshold"),
            f"can never be reached: {needs} give no p-value below {smallest:g}, "
            f"got {rule.p_threshold:g}; raise {what} or p_threshold",
        )


def _check_budget(spec: StudySpec) -> None:
    run_cap, num_baselines = spec.budget.run_cap, len(spec.baselines)
    path = ("budget", "run_cap")
    if run_cap is not None and run_cap < num_baselines:
        raise problem(path, f"must be at least the {num_baselines} baselines, got {run_cap}")
    if run_cap is not None and not spec.parameters and run_cap > num_baselines:
        raise problem(
            path,
            f"must be {num_baselines}, the number of baselines, as there are no parameters, "
            f"got {run_cap}",
        )
    if spec.budget.gpu_hours is not None and spec.resources.gpus == 0:
        raise problem(("budget", "gpu_hours"), "limits nothing, as resources.gpus is 0; use hours")


def _check_resources(spec: StudySpec) -> None:
    gpus = spec.resources.gpus
    if gpus <= 1:
        return
    name = "adapt.batch_size"
    default = _fixed(spec, name)
    for size in sorted({probe.fields.get(name, default) for probe in spec.space.probes}):
        if size % gpus:
            raise problem(
                ("resources", "gpus"),
                f"must divide adapt.batch_size ({size}), as each GPU takes an equal part, "
                f"got {gpus:g}",
            )
