"""Fields of a trial as a study's YAML names them: checks of names and values.

``fixed`` and ``baselines`` set fields directly, ``parameters`` compiles its words into a domain
of :mod:`harness.language.domains`, for the type of the field.
"""

import math
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BeforeValidator

from harness.language.domains import (
    Categorical,
    Continuous,
    CountedSubset,
    Domain,
    Multiples,
    Subset,
)
from harness.language.parameters import Choose, Parameter
from harness.language.quantile_domains import Drawn, Weighted
from harness.language.quantiles import Beta, Law, LogNormal, Normal
from harness.language.schema import did_you_mean, problem
from harness.language.yaml_text import YAMLPath, shown
from trainables.config import FIELD_TYPES, coerce

MAX_STEPS = 1_000_000
"""Most steps of a range of real numbers with q; more is as good as continuous."""


def check_field(name: str, path: YAMLPath) -> None:
    """Check that a dotted name is a field of a trial.

    Args:
        name: Dotted name.
        path: Where the name is written, for the error.
    """
    if name in FIELD_TYPES:
        return
    group = name.partition(".")[0]
    fields = [field for field in FIELD_TYPES if field.startswith(group + ".")]
    groups = dict.fromkeys(field.partition(".")[0] for field in FIELD_TYPES)
    hint = "" if fields and name == group else did_you_mean(name, FIELD_TYPES)
    allowed = f"fields are grouped in {', '.join(groups)}"
    if fields:
        allowed = f"fields of {group} are {', '.join(fields)}"
    raise problem(path, f"is not a field of a trial{hint}; {allowed}", at_key=True)


def field_value(name: str, value: Any, path: YAMLPath) -> Any:
    """A value as the type of its field, lists as tuples.

    Args:
        name: Dotted name of a field.
        value: Value from YAML.
        path: Where the value is written, for the error.
    """
    try:
        return coerce(name, value)
    except ValueError as error:
        raise problem(path, str(error).removeprefix(f"{name} ")) from None


def _flattened(data: Any) -> Any:
    """Field values from dotted or nested mappings; what is no mapping is left to pydantic."""
    if not isinstance(data, dict):
        return data
    flat: dict[str, Any] = {}
    for path, value in _leaves(data, ()):
        name = ".".join(path)
        check_field(name, path)
        if name in flat:
            raise problem(path, "is given twice, dotted and nested", at_key=True)
        flat[name] = field_value(name, value, path)
    return flat


FieldValues = Annotated[dict[str, Any], BeforeValidator(_flattened)]
"""Dotted field names to values of the fields' types; written dotted or nested."""


def _searchable(data: Any) -> Any:
    for name in data if isinstance(data, dict) else ():
        check_field(name, (name,))
        if name.startswith(("evaluation.", "data.")):
            raise problem(
                (name,),
                "cannot be searched, or trials would not be comparable; it goes in fixed",
                at_key=True,
            )
    return data


SearchedParameters = Annotated[dict[str, Parameter], BeforeValidator(_searchable)]
"""Dotted field names to what a study searches."""


def _leaves(data: Mapping[str, Any], path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for key, value in data.items():
        if isinstance(value, dict) and value:
            found += _leaves(value, (*path, key))
        else:
            found.append(((*path, key), value))
    return found


def is_list_field(name: str) -> bool:
    """Whether a field holds a list, as bins.subset does."""
    return get_origin(_type(name)) is tuple


def domain_of(name: str, parameter: Parameter) -> Domain | CountedSubset:
    """Compile a parameter for its field.

    Args:
        name: Dotted name of a field.
        parameter: Its words.

    Raises:
        ValidationError: If the words do not fit the field, with a path relative to the parameter.
    """
    if parameter.form == "value":
        return Categorical((field_value(name, parameter.value, ("value",)),))
    if parameter.values is not None:
        return _categorical(name, parameter.values, parameter.probabilities)
    if parameter.choose is not None:
        return _subset(name, parameter.choose)
    return _drawn(name, parameter) if parameter.form == "law" else _range(name, parameter)


def _categorical(
    name: str, written: tuple[Any, ...], probabilities: tuple[float, ...] | None
) -> Categorical | Weighted:
    values: dict[Any, float] = {}
    for index, item in enumerate(written):
        value = field_value(name, item, ("values", index))
        if value in values:
            raise problem(("values", index), f"repeats the value {shown(item)}")
        values[value] = 1 if probabilities is None else probabilities[index]
    possible = {value: weight for value, weight in values.items() if weight > 0}
    if probabilities is None or len(possible) == 1:
        return Categorical(tuple(possible))
    return Weighted(tuple(possible), tuple(possible.values()))


def _drawn(name: str, parameter: Parameter) -> Drawn:
    kind, distribution = _type(name), parameter.distribution or ""
    if kind not in (int, float):
        raise problem((), f"cannot be a distribution, because {name} is no number; use values")
    if kind is int:
        if not distribution.startswith("q_"):
            raise problem(
                ("distribution",), f"is for real numbers, {name} is whole; use q_{distribution}"
            )
        _require_whole(name, parameter, ("q",))
    law: Law
    if distribution.endswith("beta"):
        law = Beta(*(1 if word is None else word for word in (parameter.a, parameter.b)))
    else:
        family = LogNormal if distribution.endswith("log_normal") else Normal
        mu, sigma = parameter.mu or 0, 1 if parameter.sigma is None else parameter.sigma
        law = family(mu, sigma)
    step = parameter.step
    domain = Drawn(law, step if step is None or kind is int else float(step))
    try:
        ends = domain.probes()
    except ArithmeticError:
        ends = (math.nan, math.nan)
    if not all(map(math.isfinite, ends)) or ends[0] == ends[1]:
        raise problem(("distribution",), f"{domain.describe()} has less than two possible values")
    if step is not None and (ends[1] - ends[0]) / step > MAX_STEPS:
        raise problem(("q",), f"leaves over {MAX_STEPS} steps from {ends[0]:g} to {ends[1]:g}")
    return domain


def _require_whole(name: str, parameter: Parameter, words: tuple[str, ...]) -> None:
    for word in words:
        value = getattr(parameter, word)
        if isinstance(value, float):
            raise problem(
                (word,),
                f"must be written as a whole number for whole numbers of {name}, got {value}",
            )


def _subset(name: str, choose: Choose) -> Subset | CountedSubset:
    if not is_list_field(name):
        raise problem(
            ("choose",), f"needs a field that is a list, such as bins.subset, not {name}"
        )
    if not isinstance(choose.from_, str):
        most = len(choose.from_) if choose.max is None else choose.max
        return Subset(choose.from_, choose.min, most)
    path = ("choose", "from")
    if choose.from_ not in FIELD_TYPES or _type(choose.from_) is not int:
        counts = [field for field in FIELD_TYPES if _type(field) is int]
        raise problem(
            path,
            f"must be a list of items or a whole-number field such as bins.count, "
            f"got {choose.from_!r}{did_you_mean(choose.from_, counts)}",
        )
    return CountedSubset(choose.from_, choose.min, choose.max)


def _range(name: str, parameter: Parameter) -> Continuous | Multiples:
    low, high = parameter.ends()
    is_whole = _is_whole(name, parameter)
    if is_whole:
        _require_whole(name, parameter, ("q",) if parameter.is_exponent else ("min", "max", "q"))
        step = int(parameter.step or 1)
        multiples = Multiples.within(low, high, step, parameter.is_log)
    elif parameter.step is None:
        if not math.isfinite(high - low):
            raise problem(("max",), f"is too far from min {low}, got {high}")
        return Continuous(float(low), float(high), parameter.is_log)
    else:
        multiples = Multiples.within(low, high, float(parameter.step), parameter.is_log)
    num_steps = multiples.last - multiples.first
    step_path = ("q",) if parameter.q is not None else ("distribution",)
    if num_steps < 1:
        raise problem(
            step_path, f"leaves fewer than two multiples of {parameter.step} from {low} to {high}"
        )
    if num_steps > MAX_STEPS and not is_whole:
        raise problem(
            step_path, f"leaves {num_steps} steps from {low} to {high}; at most {MAX_STEPS}"
        )
    return multiples


def _is_whole(name: str, parameter: Parameter) -> bool:
    kind, distribution = _type(name), parameter.distribution
    if kind is int:
        if distribution == "uniform":
            raise problem(
                ("distribution",), f"is for real numbers, {name} is whole; use int_uniform"
            )
        return True
    if kind is not float:
        raise problem((), f"cannot be a range, because {name} is no number; use values")
    is_written_whole = isinstance(parameter.min, int) and isinstance(parameter.max, int)
    is_inferred = distribution is None and parameter.q is None and is_written_whole
    return distribution == "int_uniform" or is_inferred


def _type(name: str) -> Any:
    """Type of a field without ``None``; ``Literal`` and ``tuple`` types keep their arguments."""
    hint = FIELD_TYPES[name]
    if get_origin(hint) in (types.UnionType, typing.Union):
        return next(arg for arg in get_args(hint) if arg is not types.NoneType)
    return hint
