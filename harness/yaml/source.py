"""A study's YAML file as plain data that remembers where each value was written.

The first step of loading a study. All that this module knows of studies is which sections have
dotted field names as keys.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from harness.yaml.text import SpecError, YAMLPath, YAMLText, shown

__all__ = ["SpecError", "YAMLPath", "YAMLSource", "apply_override", "read_yaml"]

T = TypeVar("T")


@dataclass(frozen=True)
class YAMLSource:
    """Plain data of a YAML file and the place of every value in it."""

    file: str
    """Name of the file, as the user gave it."""
    data: dict[str, Any]
    """Mappings, lists, strings, finite numbers, booleans and None."""
    values: Mapping[YAMLPath, tuple[int, int]]
    """Line and column, both from 1, of each value; of its key where the value is a block."""
    keys: Mapping[YAMLPath, tuple[int, int]]
    """Line and column, both from 1, of the key of each entry of a mapping."""
    overrides: Mapping[YAMLPath, str] = field(default_factory=dict)
    """Path to the override that set it, such as ``budget.run_cap=3``."""
    names: Mapping[YAMLPath, YAMLPath] = field(default_factory=dict)
    """Path of each value that was moved, to the path at which it was written."""

    def written(self, path: YAMLPath) -> str:
        """A dotted path in the words of the file; ``the study`` for the file as a whole."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.names:
                path = (*self.names[path[:length]], *path[length:])
                break
        return ".".join(map(str, path)) or "the study"

    def place(self, path: YAMLPath, at_key: bool = False) -> str:
        """``file:line:column`` or ``--set key=value`` of a path.

        Args:
            path: Path whose elements may be dotted names that the file writes nested. Of a path
                that is not in the file, the nearest ancestor that is.
            at_key: Point at the key instead of the value.
        """
        written, rest = (path, []) if path in self.values else _descend(self.data, path)
        for length in range(len(written), -1, -1):
            prefix = written[:length]
            if prefix in self.overrides:
                return f"--set {self.overrides[prefix]}"
            is_key = at_key and not rest and length == len(written)
            mark = (self.keys if is_key else self.values).get(prefix)
            if mark is not None:
                return f"{self.file}:{mark[0]}:{mark[1]}"
        return f"{self.file}:1:1"

    def holds(self, path: YAMLPath) -> bool:
        """Whether the file has a value at a path, whose dotted names it may write nested."""
        return not _descend(self.data, path)[1]

    def error(self, path: YAMLPath, sentence: str, at_key: bool = False) -> SpecError:
        """A :class:`SpecError` that points at a path, as :meth:`place` does."""
        return SpecError(f"{self.place(path, at_key)}: {sentence}")

    def moved(self, old: YAMLPath, new: YAMLPath) -> "YAMLSource":
        """The same source with one value moved to a new path, its places included.

        Missing mappings on the new path are created; for index 0, a list.
        """
        data = copy.deepcopy(self.data)
        value = _get(data, old[:-1]).pop(old[-1])
        node: Any = data
        for key, following in zip(new[:-1], new[1:], strict=True):
            node = node.setdefault(key, [] if following == 0 else {})
        if isinstance(node, list):
            node.append(value)
        else:
            node[new[-1]] = value
        return replace(
            self,
            data=data,
            values=_with_moved_paths(self.values, old, new),
            keys=_with_moved_paths(self.keys, old, new),
            overrides=_with_moved_paths(self.overrides, old, new),
            names={**self.names, new: old},
        )

    def with_parameters(
        self, parameters: dict[str, Any], renamed: Mapping[YAMLPath, YAMLPath]
    ) -> "YAMLSource":
        """The same source with another mapping of ``parameters``.

        Args:
            parameters: The new mapping.
            renamed: Old path to new path of each value that moved within it.
        """
        replaced = self
        for old, new in renamed.items():
            replaced = replace(
                replaced,
                values=_with_moved_paths(replaced.values, old, new),
                keys=_with_moved_paths(replaced.keys, old, new),
                overrides=_with_moved_paths(replaced.overrides, old, new),
            )
        return replace(replaced, data={**self.data, "parameters": parameters})


def read_yaml(path: Path | str) -> YAMLSource:
    """Load a YAML file whose top level is a mapping.

    Raises:
        SpecError: If the file cannot be read, is not UTF-8, is not valid YAML, is empty or its
            top level is not a mapping.
    """
    file = str(path)
    try:
        raw = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SpecError(f"{file}: the file cannot be read: {reason}") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise SpecError(f"{file}:{line}:{column}: the file is not UTF-8 text") from None
    parsed = YAMLText(file).parse(text)
    if parsed.is_empty:
        raise SpecError(f"{file}:1:1: the file is empty; a study is a mapping of keys to values")
    if not isinstance(parsed.data, dict):
        line, column = parsed.values[()]
        raise SpecError(
            f"{file}:{line}:{column}: the top level must be a mapping, got {shown(parsed.data)}"
        )
    return YAMLSource(file, parsed.data, parsed.values, parsed.keys)


def apply_override(
    source: YAMLSource, text: str, aliases: Mapping[str, str] | None = None
) -> YAMLSource:
    """The same source with one path set, as ``--set path=value`` on the command line does.

    Args:
        source: Loaded file; it is not changed.
        text: ``path=value``. The path's words are separated by dots and list indices count from
            0; a dotted field name is found whether the file writes it dotted or nested. Missing
            mappings on the path are created. The value is YAML; left out, it is null.
        aliases: First word of a path to the path that it stands for.

    Raises:
        SpecError: If the text is not ``path=value``, the value is not valid YAML or the path
            leads through something that is not a mapping.
    """
    text = " ".join(text.splitlines())
    written, equals, value_text = text.partition("=")
    head, dot, tail = written.strip().partition(".")
    words = ((aliases or {}).get(head, head) + dot + tail).split(".")
    if not equals or not all(words):
        raise SpecError(f"--set {text}: must look like path=value, as fixed.adapt.epochs=3 does")
    value = YAMLText(f"--set {text}", has_lines=False).parse(value_text).data

    data = copy.deepcopy(source.data)
    path, rest = _descend(data, words)
    keys = _new_keys(path, rest)
    if not keys:
        path, keys = path[:-1], [path[-1]]
    parent = _get(data, path)
    if parent is None and path:
        parent = _get(data, path[:-1])[path[-1]] = {}
    if rest and not isinstance(parent, dict):
        name = ".".join(map(str, path))
        raise SpecError(f"--set {text}: {name} is {shown(parent)} and has no {keys[0]}")
    target = (*path, keys[0])
    for key in keys[:-1]:
        parent[key] = parent = {}
    parent[keys[-1]] = value
    return replace(
        source,
        data=data,
        values=_without(source.values, target),
        keys=_without(source.keys, target),
        overrides={**_without(source.overrides, target), target: text},
    )


def _descend(data: Any, words: Sequence[str | int]) -> tuple[YAMLPath, list[str | int]]:
    """Follow words as far as the data goes, joining or splitting dotted names to find keys.

    Returns:
        The path that exists, and the words left over.
    """
    path: list[str | int] = []
    rest: list[str | int] = []
    for word in words:
        rest += str(word).split(".") if isinstance(word, str) else [word]
    while rest:
        for length in range(len(rest), 0, -1):
            key = _key(data, rest[:length])
            if key is not None:
                break
        else:
            break
        data, rest = data[key], rest[length:]
        path.append(key)
    return tuple(path), rest


def _key(node: Any, words: Sequence[str | int]) -> str | int | None:
    if isinstance(node, dict):
        name = ".".join(map(str, words))
        return name if name in node else None
    if isinstance(node, list) and len(words) == 1:
        return {str(index): index for index in range(len(node))}.get(str(words[0]))
    return None


def _new_keys(path: YAMLPath, rest: Sequence[str | int]) -> list[str | int]:
    """Keys to create below an existing path: dotted field names stay one key."""
    section = str((*path, *rest)[0])
    dotted_from = {"fixed": 1, "baselines": 2}.get(section)
    if section == "parameters":
        dotted_from = 1 if len(path) < 2 else 3  # parameters / field / when / field
    num_single = len(rest) if dotted_from is None else max(0, dotted_from - len(path))
    dotted = ".".join(map(str, rest[num_single:]))
    return [*rest[:num_single], *([dotted] if dotted else [])]


def _get(data: Any, path: YAMLPath) -> Any:
    for key in path:
        data = data[key]
    return data


def _without(places: Mapping[YAMLPath, T], prefix: YAMLPath) -> dict[YAMLPath, T]:
    return {path: place for path, place in places.items() if path[: len(prefix)] != prefix}


def _with_moved_paths(
    places: Mapping[YAMLPath, T], old: YAMLPath, new: YAMLPath
) -> dict[YAMLPath, T]:
    moved = {
        new + path[len(old) :] if path[: len(old)] == old else path: place
        for path, place in places.items()
    }
    if old in places:
        for length in range(1, len(new)):
            moved.setdefault(new[:length], places[old])
    return moved
