"""Trials that a study can make, drawn before it starts: to check them, and what they read."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.space.suggester import RandomSuggester
from trainables.config import TrialConfig

if TYPE_CHECKING:
    from harness.spec import StudySpec

NUM_DRAWS = 64
"""Fewest random configurations that a study is checked with."""
MAX_DRAWS = 256
"""Most configurations that a study is checked with to visit every value."""
FILE_FIELDS = ("net.weights", "style.encoder")
"""Fields of a trial that name files."""


@dataclass(frozen=True)
class Draw:
    """Fields of one trial that a study can make."""

    baseline: str | None
    """Name of the baseline; None for a random draw."""
    fields: dict[str, Any]
    """Dotted field name to value; those left out have their default."""


@dataclass(frozen=True)
class NamedFile:
    """A file that trials of a study read, named in the study's own file."""

    place: str
    """Where the path was written, such as ``parameters.net.weights.values.1``."""
    field: str
    """Field of a trial that holds the path."""
    path: str
    """The path."""
    fields: dict[str, Any]
    """All fields of a trial that reads it."""


def draws(spec: "StudySpec") -> Iterator[Draw]:
    """The baselines, then random draws that visit every value worth probing."""
    space = spec.space()
    for baseline in space.baselines():
        suggester = RandomSuggester(random.Random(0), baseline.enqueue)
        yield Draw(baseline.name, space.suggest(suggester, baseline.overrides))
    for fields in space.probes(NUM_DRAWS, MAX_DRAWS):
        yield Draw(None, fields)


def named_files(spec: "StudySpec") -> tuple[NamedFile, ...]:
    """Files of weights that trials read, each once for every network that reads it."""
    found: dict[tuple[Any, ...], NamedFile] = {}
    for draw in draws(spec):
        fields = TrialConfig.from_flat(draw.fields).to_flat()
        for field in FILE_FIELDS:
            path = fields[field]
            if path is not None:
                key = (field, path, fields["net.depth"], fields["net.width"])
                place = _place(spec, draw.baseline, field, path)
                found.setdefault(key, NamedFile(place, field, path, fields))
    return tuple(found.values())


def _place(spec: "StudySpec", baseline: str | None, field: str, value: Any) -> str:
    if baseline is not None and field in spec.baselines[baseline]:
        return f"baselines.{baseline}.{field}"
    if field not in spec.parameters:
        return f"fixed.{field}"
    values = spec.parameters[field].values
    return f"parameters.{field}." + (f"values.{values.index(value)}" if values else "value")
