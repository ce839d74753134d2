"""A run as MLflow recorded it: everything that is needed to train it again."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from harness.mlflow_tracking.contents import run_number
from harness.mlflow_tracking.environment import environment
from harness.mlflow_tracking.metric_sections import is_once, ledger_metric, step_of
from harness.mlflow_tracking.uri_check import check_tracking
from harness.record.masking import masked
from harness.spec import SpecError
from harness.spec.database import sqlite_file

T = TypeVar("T")
Point = tuple[str, int]
"""Metric, and the step it is recorded at; 0 for what a run has once, at its end."""

_NOT_REPORTED = ("stages/seconds_saved", "stages/seconds_spent")
"""Metrics that a run does not report: times of its stages, which the driver adds."""
_NEEDED = ("trainable", "objectives", "read_test", "cpus", "gpus", "code")
_UNKNOWN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class RecordedRun:
    """One run of a study.

    Attributes:
        run_id: MLflow's id.
        study: Name of its study.
        study_id: The ledger's id of its study.
        number: Number of the run in it.
        name: Name of the run.
        state: ``complete``, ``pruned``, ``failed`` or ``stopped``.
        reason: Why it failed or stopped; empty otherwise.
        fields: Flat fields of its config.
        trainable: What it ran.
        plugins: Modules with code of the user's own that it needs.
        objectives: ``{"name", "goal"}`` of each.
        read_test: Whether it read the test split.
        cpus: Threads.
        gpus: GPUs, or the share of one.
        environment: As :func:`harness.mlflow_tracking.environment.environment`; what is not
            recorded is missing.
        stage_keys: Stage name to the key of its entry.
        digests: ``source`` and ``target`` to the content digest of the data.
        points: Value of every metric at every step, as the run reported them.
        last_step: Last epoch that it reported; 0 for none.
    """

    run_id: str
    study: str
    study_id: str
    number: int
    name: str
    state: str
    reason: str
    fields: dict[str, Any]
    trainable: str
    plugins: list[str]
    objectives: list[dict[str, str]]
    read_test: bool
    cpus: int
    gpus: float
    environment: dict[str, str]
    stage_keys: dict[str, str]
    digests: dict[str, str]
    points: dict[Point, float]
    last_step: int


def read_run(tracking_uri: str, run_id: str) -> RecordedRun:
    """Read a run; the store is not changed.

    Args:
        tracking_uri: Database or server.
        run_id: MLflow's id of the run.

    Raises:
        SpecError: If the store cannot be read, or the run cannot be trained again.
    """
    check_tracking(tracking_uri)
    shown = masked(tracking_uri)
    file = sqlite_file(tracking_uri)
    if file is not None and not file.is_file():
        raise SpecError(f"{shown} does not exist; --storage or --tracking-uri says where to look")
    # The user is waiting; MLflow would try for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri)
    run = _asked(lambda: client.get_run(run_id), run_id, shown)
    tags = run.data.tags
    number = _checked_number(run_id, run.info.status, tags)
    points = {
        (metric, step_of(metric, point.step)): point.value
        for name in sorted(run.data.metrics)
        if (metric := ledger_metric(name)) is not None and metric not in _NOT_REPORTED
        for point in _asked(_history(client, run_id, name), run_id, shown)
    }
    last_step = max((step for _, step in points), default=0)
    stages = _json(run_id, tags, "stages") if "stages" in tags else {}
    return RecordedRun(
        run_id=run_id,
        study=tags["study"],
        study_id=tags["study_id"],
        number=number,
        name=str(run.info.run_name),
        state=tags["state"],
        reason=tags.get("reason", ""),
        fields=_json(run_id, tags, "config"),
        trainable=tags["trainable"],
        plugins=_json(run_id, tags, "plugins") if "plugins" in tags else [],
        objectives=_json(run_id, tags, "objectives"),
        read_test=tags["read_test"] == "true",
        cpus=int(tags["cpus"]),
        gpus=float(tags["gpus"]),
        environment={name: tags[name] for name in environment() if name in tags},
        stage_keys={name: row["key"] for name, row in stages.items()},
        digests={
            tag.value: found.dataset.digest
            for found in run.inputs.dataset_inputs
            for tag in found.tags
            if tag.key == "mlflow.data.context"
        },
        points=points,
        last_step=last_step,
    )


def epoch_of(point: Point) -> str:
    """Where a point is, in words."""
    metric, step = point
    return "the end" if is_once(metric) else f"epoch {step}"


def _history(client: Any, run_id: str, metric: str) -> Callable[[], list[Any]]:
    return lambda: list(client.get_metric_history(run_id, metric))


def _asked(ask: Callable[[], T], run_id: str, shown_uri: str) -> T:
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code in _UNKNOWN:
            raise SpecError(f"no run {run_id} in {shown_uri}") from error
        first = str(error).partition("\n")[0][:200]
        raise SpecError(f"{shown_uri} cannot be read: {masked(first)}") from error


def _checked_number(run_id: str, status: str, tags: Mapping[str, str]) -> int:
    """Number of a run that has ended and that says all that a replay needs."""
    if "study_id" not in tags or "study" not in tags:
        raise SpecError(f"run {run_id} is of another project: it has no tags of a study's run")
    number = run_number(tags)
    if number is None:
        raise SpecError(
            f"run {run_id} sums up the whole study {tags['study']}; name one of its other runs"
        )
    if status in ("RUNNING", "SCHEDULED") or tags.get("state") == "running":
        raise SpecError(
            f"run {run_id} has not ended: wait for it, or, if its driver died, resume study "
            f"{tags['study']} first"
        )
    missing = [name for name in ("config", *_NEEDED) if name not in tags]
    if missing:
        raise SpecError(
            f"run {run_id} lacks the tags {', '.join(missing)}, without which it cannot be "
            "trained again as it was"
        )
    return number


def _json(run_id: str, tags: Mapping[str, str], name: str) -> Any:
    try:
        return json.loads(tags[name])
    except json.JSONDecodeError as error:
        raise SpecError(f"run {run_id}: the tag {name} is damaged ({error.msg})") from error
