"""Strict pydantic models, and their errors as one plain sentence about one place.

A check inside a model raises :func:`problem` with a path relative to that model; pydantic puts
the model's own path in front, and :func:`problems` makes the sentences.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from harness.yaml.text import YAMLPath, shown


class Strict(BaseModel):
    """Frozen model that converts no types and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")
    other_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that a file may use besides the model's own; the list of allowed keys names them."""

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        allowed = [field.alias or name for name, field in cls.model_fields.items()]
        allowed += cls.other_keys
        for key in data if isinstance(data, dict) else ():
            if key not in allowed:
                raise problem(
                    (key,),
                    f"is not a known key{did_you_mean(key, allowed)}; "
                    f"allowed are {', '.join(allowed)}",
                    at_key=True,
                )
        return data


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a study."""

    path: YAMLPath
    """Keys and list indices that lead to the place, in the structure of the models."""
    predicate: str
    """Rest of a sentence that starts with the path."""
    at_key: bool = False
    """Whether the key is wrong, not the value."""

    @property
    def sentence(self) -> str:
        """The whole sentence."""
        return f"{dotted(self.path) or 'the study'} {self.predicate}"


def problem(path: YAMLPath, predicate: str, at_key: bool = False) -> ValidationError:
    """An error to raise in a validator; the sentence is the full dotted path and the predicate.

    Args:
        path: Path relative to what is being validated.
        predicate: Rest of the sentence, such as ``must be below 3, got 4``.
        at_key: Whether the key is wrong, not the value.
    """
    kind = PydanticCustomError("study", "{predicate}", {"predicate": predicate, "at_key": at_key})
    detail = InitErrorDetails(type=kind, loc=path, input=None)
    return ValidationError.from_exception_data("study", [detail])


@contextmanager
def below(*prefix: str) -> Iterator[None]:
    """Prefix the paths of problems that are raised in the block."""
    try:
        yield
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        context = detail["ctx"]
        path = (*prefix, *detail["loc"])
        raise problem(path, context["predicate"], context["at_key"]) from None


def problems(error: ValidationError) -> list[Problem]:
    """All problems that a failed validation found."""
    return [_problem_of(detail) for detail in error.errors(include_url=False)]


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """`` (did you mean ...?)`` for the nearest of the options; empty if none is near."""
    options = list(options)
    near = [option for option in options if option.rpartition(".")[2] == word]
    near += difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def dotted(path: Iterable[str | int]) -> str:
    """A path as it is written in ``--set``."""
    return ".".join(map(str, path))


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError("float_type", "must be a number")
    return value


Number = Annotated[int | float, BeforeValidator(_number)]
"""A whole number stays an int: the kind of a range depends on how its ends are written."""


def whole_if_possible(value: Any) -> Any:
    """An int for a float without a fraction, anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(whole_if_possible)]
"""A whole number, however it is written: ``4``, ``4.0`` or ``4e0``."""

_PREDICATES: dict[str, str] = {
    "missing": "is required",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "bool_type": "must be true or false",
    "greater_than": "must be > {gt}",
    "greater_than_equal": "must be >= {ge}",
    "less_than": "must be < {lt}",
    "less_than_equal": "must be <= {le}",
    "too_short": "must not be empty",
}


def _problem_of(detail: Mapping[str, Any]) -> Problem:
    path, kind, context = detail["loc"], detail["type"], detail.get("ctx", {})
    is_key = "[key]" in path  # pydantic's mark of an error in the key itself
    path = tuple(word for word in path if word != "[key]")
    if kind == "study":
        return Problem(path, context["predicate"], context["at_key"] or is_key)
    value = detail["input"]
    predicate = _PREDICATES[kind].format(**context) if kind in _PREDICATES else detail["msg"]
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", context["expected"])
        hint = did_you_mean(value, options) if isinstance(value, str) else ""
        predicate = f"must be one of {', '.join(options)}, got {shown(value)}{hint}"
    elif kind not in ("missing", "too_short"):
        predicate += f", got {shown(value)}"
    return Problem(path, predicate)
