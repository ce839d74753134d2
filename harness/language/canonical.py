"""One way of writing for what a study's file may write in several.

Besides its own words a file may use those of a W&B sweep: ``metric`` for a single one, a
``run_cap`` at the top, groups of ``parameters``, no ``name``. After this every value is where
:class:`harness.spec.StudySpec` has it, and still knows its line and column.
"""

import re
from pathlib import Path
from typing import Any

from harness.language.yaml_source import YAMLPath, YAMLSource
from harness.language.yaml_text import shown

ALIASES = {"run_cap": "budget.run_cap", "metric": "metrics.0"}
"""First word of a path to the path that it stands for."""

_GROUP = "parameters"


def canonical(source: YAMLSource) -> YAMLSource:
    """The same study with everything in its place.

    Raises:
        SpecError: If something is given twice, in both ways of writing.
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


def study_name(file: str) -> str:
    """A legal name for a study whose file gives none: the file's, other characters replaced.

    Example:
        >>> study_name("sweeps/KL weight (2).yaml")
        'kl-weight-2'
    """
    words = re.findall("[a-z0-9_-]+", Path(file).stem.lower())
    return "-".join(words).strip("_-")[:64] or "study"


def _without_groups(source: YAMLSource) -> YAMLSource:
    """W&B's ``adapt: {parameters: {lr: ...}}`` as ``adapt.lr: ...``, in the file's order."""
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
    """Parameters in a group and the groups in it; every second word of a path is a name."""
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
