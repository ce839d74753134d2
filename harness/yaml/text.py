"""YAML 1.2 text to plain Python data, with the line and column of every value.

Numbers, booleans and null follow YAML 1.2 (``1e-3`` is a number, ``no`` is a string). Stricter
than YAML on purpose: duplicate keys, keys that are not strings, infinities, tags and directives
are errors, and dates stay strings. Anchors, aliases and the merge key ``<<`` work.
"""

import io
import math
import re
import warnings
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLWarning
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from trainables.config.field_paths import written

YAMLPath = tuple[str | int, ...]
"""Keys and list indices from the top of a file to a value."""

MAX_CHARACTERS = 50_000
MAX_OPEN_BRACKETS = 100  # the parser's time grows with the square of open brackets
MAX_VALUES = 50_000  # aliases can multiply a short text without bound
MAX_DEPTH = 20
MAX_INT = 2**63 - 1

WIDTH = 99
"""Columns of a line that is written."""

_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset(_TAG + kind for kind in ("str", "timestamp", "value"))
_BASES = {"0x": 16, "0o": 8, "0b": 2}
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BRACKET = re.compile(r"[\[\]{}]")
_BAD_LINE_START = re.compile(r"^(?: *\t|%)", re.MULTILINE)


class SpecError(ValueError):
    """A study file is wrong; the message is ``file:line:column: sentence``, ready to print."""


@dataclass
class YAMLText:
    """A parsed text: its data and where each value stands.

    Args:
        file: Name of the file, or the override the text comes from.
        has_lines: Whether errors name a line and column after ``file``.
    """

    file: str
    has_lines: bool = True
    data: Any = None
    """Mappings, lists, strings, finite numbers, booleans and None; None for an empty text."""
    is_empty: bool = False
    """Whether the text is only blanks and comments."""
    values: dict[YAMLPath, tuple[int, int]] = field(default_factory=dict)
    """Line and column, both from 1, of each value; of its key where the value is a block."""
    keys: dict[YAMLPath, tuple[int, int]] = field(default_factory=dict)
    """Line and column, both from 1, of the key of each entry of a mapping."""
    num_values: int = 0
    """Values read so far; what an alias repeats counts again."""

    def parse(self, text: str) -> "YAMLText":
        """Fill in the data and the places, and return self.

        Raises:
            SpecError: If the text is not one document of valid YAML within the limits of this
                module.
        """
        self._check_characters(text)
        reader = YAML(typ="safe", pure=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", YAMLWarning)  # an anchor defined twice is legal
                node = reader.compose(text)
            self.is_empty = node is None
            self.data = None if node is None else self._build(node, ())
        except RecursionError:
            raise self._error(1, 1, "the file is nested too deeply") from None
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise self._error(line, column, _syntax_sentence(error, text)) from None
        except YAMLError as error:
            raise self._error(1, 1, f"not valid YAML: {' '.join(str(error).split())}") from None
        return self

    def _check_characters(self, text: str) -> None:
        if len(text) > MAX_CHARACTERS:
            raise self._error(
                1, 1, f"the file has {len(text)} characters; at most {MAX_CHARACTERS} are read"
            )
        num_open = 0
        for bracket in _BRACKET.finditer(text):
            num_open = num_open + 1 if bracket.group() in "[{" else max(0, num_open - 1)
            if num_open > MAX_OPEN_BRACKETS:
                place = _line_column(text, bracket.start())
                raise self._error(*place, f"more than {MAX_OPEN_BRACKETS} brackets are open")
        if bad := _UNPRINTABLE.search(text):
            code = f"U+{ord(bad.group()):04X}"
            raise self._error(*_line_column(text, bad.start()), f"character {code} is not allowed")
        if bad := _BAD_LINE_START.search(text):
            sentence = "a tab cannot indent a line; use spaces"
            if bad.group() == "%":
                sentence = "a line cannot start with %; YAML directives are not supported"
            raise self._error(*_line_column(text, bad.end() - 1), sentence)

    def _error(self, line: int, column: int, sentence: str) -> SpecError:
        where = f"{self.file}:{line}:{column}" if self.has_lines else self.file
        return SpecError(f"{where}: {sentence}")

    def _error_at(self, node: Node, sentence: str) -> SpecError:
        return self._error(*_mark(node), sentence)

    def _count(self, node: Node) -> None:
        self.num_values += 1
        if self.num_values > MAX_VALUES:
            raise self._error_at(node, f"the file holds more than {MAX_VALUES} values")

    def _build(self, node: Node, path: YAMLPath) -> Any:
        self._count(node)
        if len(path) > MAX_DEPTH:
            raise self._error_at(node, f"values are nested more than {MAX_DEPTH} levels deep")
        is_block = isinstance(node, MappingNode | SequenceNode) and not node.flow_style
        self.values[path] = self.keys[path] if is_block and path in self.keys else _mark(node)
        if isinstance(node, MappingNode) and node.tag == _TAG + "map":
            data = {}
            for key, (key_node, value_node) in self._pairs(node).items():
                self.keys[(*path, key)] = _mark(key_node)
                data[key] = self._build(value_node, (*path, key))
            return data
        if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
            return [self._build(item, (*path, i)) for i, item in enumerate(node.value)]
        return self._scalar(node)

    def _pairs(self, node: MappingNode) -> dict[str, tuple[Node, Node]]:
        """Entries of a mapping; those of the mappings under its merge key come last."""
        own: dict[str, tuple[Node, Node]] = {}
        merged: dict[str, tuple[Node, Node]] = {}
        for key_node, value_node in node.value:
            self._count(key_node)
            if key_node.tag == _TAG + "merge":
                is_list = isinstance(value_node, SequenceNode)
                for source in value_node.value if is_list else [value_node]:
                    if not isinstance(source, MappingNode):
                        raise self._error_at(source, "<< takes a mapping or a list of mappings")
                    merged = self._pairs(source) | merged
                continue
            if key_node.tag not in _TEXT_TAGS or not isinstance(key_node.value, str):
                written = key_node.value if isinstance(key_node.value, str) else "a collection"
                raise self._error_at(
                    key_node, f"a key must be text, got {written or 'nothing'}; quote it"
                )
            if key_node.value in own:
                first = own[key_node.value][0].start_mark.line + 1
                raise self._error_at(
                    key_node, f"key {shown(key_node.value)} is given twice, first on line {first}"
                )
            own[key_node.value] = (key_node, value_node)
        return own | {key: pair for key, pair in merged.items() if key not in own}

    def _scalar(self, node: Node) -> str | float | bool | None:
        kind, text = str(node.tag).removeprefix(_TAG), node.value
        if isinstance(text, str):
            if node.tag in _TEXT_TAGS:
                return text
            if kind == "null" and text.lower() in ("", "~", "null"):
                return None
            if kind == "bool" and text.lower() in ("true", "false"):
                return text.lower() == "true"
            if kind in ("int", "float"):
                return self._number(node, kind)
        raise self._error_at(node, f"the tag {shown(kind)} is not supported here")

    def _number(self, node: Node, kind: str) -> float:
        text = node.value.replace("_", "").lower()
        try:
            if kind == "float":
                number = float(text.replace(".inf", "inf").replace(".nan", "nan"))
            else:
                digits = text.lstrip("+-")
                base = _BASES.get(digits[:2])
                number = int(digits) if base is None else int(digits[2:], base)
                number = -number if text.startswith("-") else number
        except ValueError:
            raise self._error_at(node, f"{shown(node.value)} is not a number") from None
        if not math.isfinite(number):
            raise self._error_at(node, f"{shown(node.value)} is not a finite number")
        if kind == "int" and abs(number) > MAX_INT:
            raise self._error_at(node, f"{shown(node.value)} is beyond 64 bits")
        return number


def shown(value: object) -> str:
    """A value for an error message, on one line of at most 60 characters."""
    text = written(value)
    return text if len(text) <= 60 else text[:57] + "..."


def described(value: object) -> str:
    """A value in running text: whole, and strings without quotes."""
    return value if isinstance(value, str) else written(value)


def _mark(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _line_column(text: str, index: int) -> tuple[int, int]:
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def _syntax_sentence(error: MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark
    if mark is not None and text[mark.index : mark.index + 1] == "\t":
        return "a tab cannot separate words; use spaces"
    parts = [part for part in (error.context, error.problem) if part]
    return f"not valid YAML: {' '.join(', '.join(parts).split())}"


def as_yaml(content: Any) -> str:
    """Plain Python data as YAML."""
    yaml, out = YAML(), io.StringIO()
    yaml.width = WIDTH
    yaml.dump(content, out)
    return out.getvalue()
