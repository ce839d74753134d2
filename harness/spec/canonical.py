"""Rewrites the spellings that a study's file may use to one canonical form.

Besides its own words a file may use those of a W&B sweep: ``metric`` for a single metric,
``run_cap`` at the top, groups of ``parameters``, constants among them, any text as ``name`` or no
name. In canonical form every value is where :class:`harness.spec.StudySpec` expects it, and still
knows its line, its column and the words of the file.
"""

import re
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.space.fields import cannot_vary
from harness.spec.sections import NAME_PATTERN
from harness.yaml.source import YAMLPath, YAMLSource
from harness.yaml.text import shown

_GROUP = "parameters"
NULL_IS_LEFT_OUT = ("name", "early_terminate")
"""Words for which null means left out."""


def canonical(source: YAMLSource) -> YAMLSource:
    """Move every value to the place where an override may name it.

    Raises:
        SpecError: If something is given twice, in both spellings.
    """
    if "run_cap" in source.data:
        budget = source.data.get("budget", {})
        if not isinstance(budget, dict):
            raise source.error(("budget",), f"budget must be a mapping, got {shown(budget)}")
        if "run_cap" in budget:
            raise source.error(("run_cap",), "run_cap is given in budget too; keep one", True)
        source = source.moved(("run_cap",), ("budget", "run_cap"))
    if "metric" in source.data:
        if "metrics" in source.data:
            raise source.error(("metric",), "metric is given beside metrics; keep one", True)
        source = source.moved(("metric",), ("metrics", 0))
    return _without_groups(source)


def completed(source: YAMLSource) -> YAMLSource:
    """Give a canonical study its name, and move its constants to ``fixed``.

    A name with other characters becomes the ``title``, and a name is made from it; a study without
    a name gets the name of its file.

    Raises:
        SpecError: If there is no metric, or a constant is given twice.
    """
    if "metrics" not in source.data:
        raise source.error((), "metric is required: what the study optimises")
    data = {
        word: value
        for word, value in source.data.items()
        if value is not None or word not in NULL_IS_LEFT_OUT
    }
    source = _with_constants_fixed(replace(source, data=data))
    name = data.get("name") or Path(source.file).stem
    if not isinstance(name, str) or re.fullmatch(NAME_PATTERN, name):
        return replace(source, data=source.data | {"name": name})
    if data.get("name") and "title" not in data:
        source = source.moved(("name",), ("title",))
    return replace(source, data=source.data | {"name": study_name(name)})


def study_name(text: str) -> str:
    """A name for a study from any text: without accents, other characters replaced by hyphens.

    Example:
        >>> study_name("KL weight (2)")
        'kl-weight-2'
    """
    plain = unicodedata.normalize("NFKD", text.lower())
    words = re.findall("[a-z0-9_-]+", re.sub("[\u0300-\u036f]", "", plain))
    return "-".join(words).strip("_-")[:64].rstrip("_-") or "study"


def _with_constants_fixed(source: YAMLSource) -> YAMLSource:
    """Move W&B's constants among ``parameters`` to ``fixed``, for fields that cannot vary."""
    parameters, fixed = source.data.get(_GROUP), source.data.get("fixed", {})
    if not isinstance(parameters, dict) or not isinstance(fixed, dict):
        return source
    for name, parameter in parameters.items():
        path = _constant(parameter)
        if path is None or not cannot_vary(name):
            continue
        if source.holds(("fixed", name)):
            raise source.error(
                (_GROUP, name), f"parameters.{name} is in fixed too; keep one", True
            )
        source = source.moved((_GROUP, name, *path), ("fixed", name))
        left = {other: value for other, value in source.data[_GROUP].items() if other != name}
        source = source.with_parameters(left, {})
    return source


def _constant(parameter: Any) -> YAMLPath | None:
    """Path in a parameter to its only value; None if it is not a constant."""
    if not isinstance(parameter, dict):
        return None
    words, distribution = parameter.keys() - {"distribution"}, parameter.get("distribution")
    if words == {"value"} and distribution in (None, "constant"):
        return ("value",)
    values = parameter.get("values")
    is_single = isinstance(values, list) and len(values) == 1
    if words == {"values"} and is_single and distribution in (None, "categorical"):
        return ("values", 0)
    return None


def _without_groups(source: YAMLSource) -> YAMLSource:
    """Write W&B's ``adapt: {parameters: {lr: ...}}`` as ``adapt.lr: ...``, in the file's order."""
    written = source.data.get(_GROUP)
    if not isinstance(written, dict):
        return source
    flat: dict[str, Any] = {}
    renamed: dict[YAMLPath, YAMLPath] = {}
    for path, value in _leaves(source, written, (_GROUP,)):
        name = ".".join(str(word) for word in path[1::2])
        if name in flat:
            raise source.error(path, f"parameters.{name} is given twice, dotted and grouped", True)
        flat[name] = value
        if len(path) > 2:
            renamed[path] = (_GROUP, name)
    return source.with_parameters(flat, renamed) if renamed else source


def _leaves(
    source: YAMLSource, group: dict[str, Any], path: YAMLPath
) -> list[tuple[YAMLPath, Any]]:
    """Parameters in a group and its subgroups; every second word of a path is a name."""
    found: list[tuple[YAMLPath, Any]] = []
    for name, value in group.items():
        own = (*path, name)
        inner = value.get(_GROUP) if isinstance(value, dict) else None
        if not isinstance(inner, dict):
            found.append((own, value))
            continue
        for word in value:
            if word != _GROUP:
                sentence = f"{'.'.join(map(str, own))} is a group of parameters and takes no"
                raise source.error((*own, word), f"{sentence} {word}", True)
        found += _leaves(source, inner, (*own, _GROUP))
    return found
