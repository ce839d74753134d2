"""Paths in the settings of a trial, which workers read in another folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainables.config.field_paths import is_path
from trainables.config.trial_config import trial_fields
from trainables.registry import DOMAINS, SKELETONS


def absolute_paths(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Make the paths among flat fields absolute, seen from the current folder."""
    known = trial_fields()
    skeletons = {entry.skeleton_field for entry in DOMAINS.values()}

    def holds_path(name: str, value: Any) -> bool:
        if name in skeletons:  # given by a name or by the path of a file
            return value not in SKELETONS
        return is_path(known[name])

    return {
        name: str(Path(value).expanduser().resolve())
        if value is not None and holds_path(name, value)
        else value
        for name, value in fields.items()
    }
