"""Files that the trials of a study read and that its own file names, such as weights."""

from dataclasses import dataclass
from typing import Any

from harness.spec.study_spec import StudySpec
from trainables.config import TrialConfig

FILE_FIELDS = ("net.weights", "style.encoder")
"""Fields of a trial that name files."""
_NETWORK = ("backbone", "depth", "width")


@dataclass(frozen=True)
class NamedFile:
    """A file that trials of a study read."""

    place: str
    """Where it was asked for, such as ``parameters.net.weights.values.1``."""
    field: str
    """Field of a trial that holds the path."""
    path: str | None
    """The path; None for the file in the package of ``net.backbone``."""
    fields: dict[str, Any]
    """All fields of a trial that reads it."""


def named_files(spec: StudySpec) -> tuple[NamedFile, ...]:
    """Files of weights that trials read, each once for every network that reads it."""
    found: dict[tuple[Any, ...], NamedFile] = {}
    for probe in spec.space.probes:
        fields = TrialConfig.from_flat(probe.fields).to_flat()
        for field in FILE_FIELDS:
            path, asking = fields[field], field
            if path is None:
                asking = "net.backbone"
                if field != "net.weights" or fields[asking] == "resnet":
                    continue
            key = (field, path, *(fields[f"net.{name}"] for name in _NETWORK))
            place = _place(spec, probe.baseline, asking, fields[asking])
            found.setdefault(key, NamedFile(place, field, path, fields))
    return tuple(found.values())


def _place(spec: StudySpec, baseline: str | None, field: str, value: Any) -> str:
    if baseline is not None and field in spec.baselines[baseline]:
        return f"baselines.{baseline}.{field}"
    if field not in spec.parameters:
        return f"fixed.{field}"
    values = spec.parameters[field].values
    return f"parameters.{field}." + (f"values.{values.index(value)}" if values else "value")
