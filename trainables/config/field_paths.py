"""Nested dataclasses as a flat mapping of dotted field paths to values."""

import dataclasses
import sys
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

_IS_PATH = "path"
FilePath = Annotated[str, _IS_PATH]
"""Type of a field that holds a path of a file or folder. A study makes the path absolute, because
its trials run in another folder."""
_UNCHANGED: dict[Any, type[Any]] = {bool: bool, str: str, FilePath: str}
_KINDS: dict[Any, str] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text", FilePath: "text",
}  # fmt: skip


def field_types(cls: type[Any], prefix: str = "") -> dict[str, Any]:
    """Dotted path of every leaf field of a nested dataclass to its type.

    A mapping is no leaf: it holds options, whose paths :data:`trainables.registry.SECTIONS` knows.
    """
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        if dataclasses.is_dataclass(hint):
            found |= field_types(typing.cast(type[Any], hint), f"{prefix}{name}.")
        elif get_origin(hint) is not Mapping:
            found[prefix + name] = _without_notes(hint)
    return found


def _without_notes(hint: Any) -> Any:
    """A type without annotations that mean nothing here, such as those of other libraries."""
    if get_origin(hint) is not Annotated:
        return hint
    inner, *notes = get_args(hint)
    known = [note for note in notes if note == _IS_PATH or isinstance(note, Mapping)]
    return Annotated[inner, known[0]] if known else inner


def build(cls: type[Any], values: Mapping[str, Any], prefix: str = "", **given: Any) -> Any:
    """A nested dataclass from dotted paths; omitted fields keep their default.

    Args:
        cls: The dataclass.
        values: Dotted path to value; other paths are ignored.
        prefix: Of the paths of this dataclass.
        given: Fields that are not among the paths.
    """
    kwargs = dict(given)
    for name, hint in typing.get_type_hints(cls).items():
        path = prefix + name
        if dataclasses.is_dataclass(hint):
            kwargs[name] = build(typing.cast(type[Any], hint), values, path + ".")
        elif path in values:
            kwargs[name] = values[path]
    return cls(**kwargs)


def read_path(config: object, path: str) -> Any:
    """The value at a dotted path."""
    for name in path.split("."):
        config = getattr(config, name)
    return config


def written(value: object) -> str:
    """A value for an error message, as a YAML file writes it: ``null`` and ``true``."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{written(k)}: {written(v)}' for k, v in value.items())}}}"
    return repr(value)


def as_type(path: str, hint: Any, value: object) -> Any:
    """Check a value against the type of a field and return it as that type.

    Args:
        path: Name of the field, for the message.
        hint: Its type: bool, int, float, str, :data:`FilePath`, a Literal, a str that is annotated
            with the mapping of names that it can be, a tuple of ints, or one of these ``| None``.
        value: A list becomes a sorted tuple, a whole float becomes an int.

    Raises:
        ValueError: If the value does not fit; the message names what the field takes.
    """
    if get_origin(hint) in (types.UnionType, typing.Union):
        if value is None:
            return None
        hint = next(arg for arg in get_args(hint) if arg is not types.NoneType)
    if (options := choices(hint)) is not None:
        return _one_of(path, options, value)
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple) or not all(_is_int(v) for v in value):
            raise ValueError(f"{path} must be a list of whole numbers, got {written(value)}")
        return tuple(sorted(int(v) for v in value))
    if hint is int and _is_int(value):
        return int(typing.cast(float, value))
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) <= sys.float_info.max:  # NaN, infinite or a huge whole number
            raise ValueError(f"{path} must be finite, got {written(value)}")
        return float(value)
    if isinstance(value, _UNCHANGED.get(hint, ())):
        return value
    raise ValueError(f"{path} must be {_KINDS[hint]}, got {written(value)}")


def is_path(hint: Any) -> bool:
    """Whether the type of a field is :data:`FilePath` or ``FilePath | None``."""
    return hint == FilePath or FilePath in get_args(hint)


def choices(hint: Any) -> tuple[Any, ...] | None:
    """The values that a type lists; None for other types."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) is Annotated and hint != FilePath:
        return tuple(hint.__metadata__[0])
    return None


def _one_of(path: str, options: tuple[Any, ...], value: object) -> Any:
    if value not in options or isinstance(value, bool):
        allowed = ", ".join(str(option) for option in options)
        raise ValueError(f"{path} must be one of {allowed}, got {written(value)}")
    return options[options.index(value)]  # the int of 10.0


def _is_int(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def require(condition: bool, name: str, rule: str, value: object) -> None:
    """Raise a ValueError that names the field, the rule and the value unless a condition holds."""
    if not condition:
        raise ValueError(f"{name} must be {rule}, got {written(value)}")
