"""Reports of a run, read from the flat dictionary that Tune makes of them.

A trainable returns ``{"metrics": {...}, "step": ..., ...}``; Tune adds its own keys and flattens
nested dictionaries to ``metrics/target_val/pck_05`` and the like.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Report:
    """One report of a run; the last four as the trainable gave them.

    Attributes:
        step: Epoch, from 1.
        num_steps: Epochs of a full run.
        metrics: Numbers, finite or not.
        stages: Stage name to ``[outcome, key, seconds]``.
        digests: ``source`` and ``target`` to content digests.
        tags: What a reader of the results should know.
    """

    step: int
    num_steps: int
    metrics: dict[str, float]
    stages: dict[str, Any]
    digests: dict[str, Any]
    tags: dict[str, Any]


def report_of(result: Mapping[str, Any]) -> Report | None:
    """The report in a result; None if it is a result of Tune's own."""
    if "step" not in result:
        return None
    return Report(
        step=int(result["step"]),
        num_steps=int(result["num_steps"]),
        metrics={name: float(value) for name, value in _below("metrics/", result).items()},
        stages=_below("stages/", result),
        digests=_below("digests/", result),
        tags=_below("tags/", result),
    )


def _below(prefix: str, result: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in result.items() if k.startswith(prefix)}
