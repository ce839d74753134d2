"""Fields of a trial as a study's YAML names them: checks of names and values.

``fixed`` and ``baselines`` give fields their values; a parameter becomes a domain of
:mod:`harness.space.domains` for the type of its field.
"""

import math
import types
import typing
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, get_args, get_origin

from pydantic import BeforeValidator, ValidationError

from harness.space.distributions import Beta, Drawn, Law, LogNormal, Normal, Weighted
from harness.space.domains import Categorical, CountedSubset, Domain, Subset
from harness.space.number_domains import Continuous, Rounded, Steps
from harness.space.parameters import Choose, Parameter
from harness.yaml.text import YAMLPath
from harness.yaml.validation import did_you_mean, problem
from trainables.config import coerce, trial_fields


def cannot_vary(name: str) -> bool:
    """Whether a field must have the same value in every trial of a study.

    Trials on different data, or judged differently, could not be compared.
    """
    return name.startswith(("data.", "evaluation."))


def check_field(name: str, path: YAMLPath) -> None:
    """Check that a dotted name is a field of a trial.

    Args:
        name: Dotted name.
        path: Where the name is written, for the error.
    """
    known = trial_fields()
    if name in known:
        return
    group = name.partition(".")[0]
    fields = [field for field in known if field.startswith(group + ".")]
    groups = dict.fromkeys(field.partition(".")[0] for field in known)
    hint = "" if fields and name == group else did_you_mean(name, known)
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
    """Field values from dotted or nested mappings; pydantic refuses what is not a mapping."""
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
"""Dotted field names to values of the fields' types; a file may nest the names."""


def _known_fields(data: Any) -> Any:
    for name in data if isinstance(data, dict) else ():
        check_field(name, (name,))
    return data


SearchedParameters = Annotated[dict[str, Parameter], BeforeValidator(_known_fields)]
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


def domain_of(name: str, parameter: Parameter, is_grid: bool = False) -> Domain | CountedSubset:
    """Compile a parameter for its field.

    Args:
        name: Dotted name of a field.
        parameter: Its words.
        is_grid: Whether its values are enumerated, not drawn.

    Raises:
        ValidationError: If the words do not fit the field, with a path relative to the parameter.
    """
    if parameter.form == "value":
        return Categorical((field_value(name, parameter.value, ("value",)),))
    if parameter.values is not None:
        return _categorical(name, parameter, is_grid)
    if parameter.choose is not None:
        return _subset(name, parameter.choose)
    return _drawn(name, parameter) if parameter.form == "law" else _range(name, parameter, is_grid)


def _categorical(name: str, parameter: Parameter, is_grid: bool) -> Categorical | Weighted:
    """A value that is listed n times is n times as likely; a grid has it once."""
    written, probabilities = parameter.values or (), parameter.probabilities
    if is_grid and probabilities is not None:
        raise problem(
            ("probabilities",), "has no meaning in a grid, which has each value once", at_key=True
        )
    weights: dict[Any, float] = {}
    for index, item in enumerate(written):
        value = field_value(name, item, ("values", index))
        weight = 1 / len(written) if probabilities is None else probabilities[index]
        weights[value] = weights.get(value, 0) + weight
    possible = {value: weight for value, weight in weights.items() if weight > 0}
    is_even = probabilities is None and len(weights) == len(written)
    if is_even or is_grid or len(possible) == 1:
        return Categorical(tuple(possible))
    return Weighted(tuple(possible), tuple(possible.values()))


def _drawn(name: str, parameter: Parameter) -> Drawn:
    kind, distribution = _type(name), parameter.distribution or ""
    if kind not in (int, float):
        raise problem((), f"cannot be a distribution, because {name} is not a number; use values")
    if kind is int and not distribution.startswith("q_"):
        raise problem(
            ("distribution",), f"is for real numbers, {name} is whole; use q_{distribution}"
        )
    law: Law
    if distribution.endswith("beta"):
        law = Beta(*(1 if word is None else word for word in (parameter.a, parameter.b)))
    else:
        family = LogNormal if distribution.endswith("log_normal") else Normal
        mu, sigma = parameter.mu or 0, 1 if parameter.sigma is None else parameter.sigma
        law = family(mu, sigma)
    domain = Drawn(law, _step(name, parameter))
    try:
        ends = domain.probes()
    except ArithmeticError:
        ends = (math.nan, math.nan)
    if not all(map(math.isfinite, ends)) or ends[0] == ends[1]:
        raise problem(("distribution",), f"{domain.describe()} has fewer than two possible values")
    return domain


def _step(name: str, parameter: Parameter) -> float | None:
    """Step of a ``q_`` distribution, an int for a field of whole numbers."""
    step = parameter.step
    if step is None:
        return None
    return _whole(name, "q", step) if _type(name) is int else float(step)


def _whole(name: str, word: str, value: float | None) -> int:
    assert value is not None
    if value % 1:
        whose = "int_uniform" if _type(name) is float else name
        raise problem((word,), f"must be a whole number for {whose}, got {value}")
    return int(value)


def _subset(name: str, choose: Choose) -> Subset | CountedSubset:
    if not is_list_field(name):
        raise problem(
            ("choose",), f"needs a field that is a list, such as bins.subset, not {name}"
        )
    if not isinstance(choose.from_, str):
        most = len(choose.from_) if choose.max is None else choose.max
        return Subset(choose.from_, choose.min, most)
    path = ("choose", "from")
    if choose.from_ not in trial_fields() or _type(choose.from_) is not int:
        counts = [field for field in trial_fields() if _type(field) is int]
        raise problem(
            path,
            f"must be a list of items or a whole-number field such as bins.count, "
            f"got {choose.from_!r}{did_you_mean(choose.from_, counts)}",
        )
    return CountedSubset(choose.from_, choose.min, choose.max)


def _range(name: str, parameter: Parameter, is_grid: bool) -> Continuous | Steps | Rounded:
    kind, distribution = _type(name), parameter.range_law
    if kind not in (int, float):
        raise problem((), f"cannot be a range, because {name} is not a number; use values")
    if distribution == "int_uniform":
        first = _whole(name, "min", parameter.min)
        return Steps(first, 1, _whole(name, "max", parameter.max) - first)
    low, high = map(float, parameter.ends())
    if not math.isfinite(high - low):
        raise problem(("max",), f"is too far from min {low}, got {high}")
    step = _step(name, parameter)
    if step is None:
        if kind is int:
            raise _needs_whole(name, parameter)
        return Continuous(low, high, parameter.is_log)
    if is_grid and distribution == "q_uniform":
        # W&B's grid counts up from min and leaves max out.
        start = _whole(name, "min", parameter.min) if kind is int else low
        num_steps = (Decimal(repr(high)) - Decimal(repr(low))) / Decimal(repr(step))
        return Steps(start, step, math.ceil(num_steps) - 1)
    domain = Rounded(low, high, step, parameter.is_log)
    smallest, largest = domain.probes()
    if smallest == largest:
        word = "q" if parameter.q is not None else "distribution"
        raise problem((word,), f"leaves {smallest} alone from {low:g} to {high:g}; write value")
    return domain


def _needs_whole(name: str, parameter: Parameter) -> ValidationError:
    """The error for real numbers in a field of whole ones."""
    if parameter.distribution is None:
        word = "min" if isinstance(parameter.min, float) else "max"
        return problem(
            (word,),
            f"is written with a point, so real numbers are meant, but {name} is whole; write "
            f"whole numbers, or add distribution: int_uniform",
        )
    other = "q_log_uniform_values" if parameter.is_log else "int_uniform"
    return problem(("distribution",), f"is for real numbers, {name} is whole; use {other}")


def _type(name: str) -> Any:
    """Type of a field without ``None``; ``Literal`` and ``tuple`` types keep their arguments."""
    hint = trial_fields()[name]
    if get_origin(hint) in (types.UnionType, typing.Union):
        return next(arg for arg in get_args(hint) if arg is not types.NoneType)
    return hint
