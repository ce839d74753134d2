"""How a replayed run compares with its record, and why they may differ."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.mlflow_tracking.environment import environment
from harness.mlflow_tracking.metric_sections import is_once, step_of
from harness.record.ledger import RunRecord, read_events, read_runs
from harness.replays.recorded_run import Point, RecordedRun, epoch_of
from harness.spec.metric_names import unrepeatable_metrics

_WORDS = {
    "code": "the code of trainables/ or the version of torch or numpy has changed",
    "git_commit": "the commit",
    "python": "Python",
    "torch": "torch",
    "numpy": "numpy",
    "machine": "the processor",
    "device": "the GPUs",
}


@dataclass(frozen=True)
class Gap:
    """One value that is not the same.

    Attributes:
        point: Metric and step.
        recorded: None if it was not reported then.
        now: None if it is not reported now.
    """

    point: Point
    recorded: float | None
    now: float | None

    @property
    def size(self) -> float:
        """Absolute difference; infinite if one value is missing."""
        if self.recorded is None or self.now is None:
            return float("inf")
        return abs(self.recorded - self.now)

    def __str__(self) -> str:
        then = "nothing" if self.recorded is None else repr(self.recorded)
        now = "nothing" if self.now is None else repr(self.now)
        return f"{self.point[0]} at {epoch_of(self.point)}: recorded {then}, now {now}"

    def as_json(self) -> dict[str, Any]:
        """As a JSON object."""
        metric, step = self.point
        return {"metric": metric, "step": step, "recorded": self.recorded, "now": self.now}


@dataclass(frozen=True)
class ReplayReport:
    """What came out of a replay.

    Attributes:
        run: The record.
        replayed: The run that was trained again.
        num_points: Values that were compared.
        gaps: Those that differ, in the order of the epochs.
        reasons: What else is different now, in sentences.
    """

    run: RecordedRun
    replayed: RunRecord
    num_points: int
    gaps: tuple[Gap, ...]
    reasons: tuple[str, ...]

    @property
    def ends_alike(self) -> bool:
        """Whether the replay failed if the recorded run did, and only then."""
        return (self.run.state == "failed") == (self.replayed.state == "failed")

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return self.ends_alike and not self.gaps

    @property
    def largest(self) -> Gap | None:
        """The largest difference of two values; None if none differ."""
        both = [gap for gap in self.gaps if gap.size < float("inf")]
        return max(both, key=lambda gap: gap.size, default=None)

    def lines(self) -> Iterator[str]:
        """In words, for the terminal."""
        if self.replayed.state == "failed":
            yield f"the replay failed: {self.replayed.reason}"
        if not self.ends_alike:
            yield f"the recorded run was {self.run.state}, the replay is {self.replayed.state}"
        if self.is_equal:
            yield f"equal: all {self.num_points} values of {self.run.last_step} epochs"
            return
        yield f"different: {len(self.gaps)} of {self.num_points} values"
        if self.gaps:
            yield f"  first: {self.gaps[0]}"
        if self.largest is not None:
            yield f"  largest absolute difference: {self.largest.size:.6g}, of {self.largest}"
        for reason in self.reasons:
            yield f"  likely reason: {reason}"
        if not self.reasons:
            yield (
                "  no reason is recorded: code, libraries, processor, threads and data are the "
                "same; an operation may lack a fixed order, as on GPUs, or the record was changed"
            )

    def as_json(self) -> dict[str, Any]:
        """As a JSON object; its fields are an interface and stay stable."""
        largest = self.largest
        return {
            "run_id": self.run.run_id,
            "study": self.run.study,
            "run": self.run.number,
            "equal": self.is_equal,
            "epochs": self.run.last_step,
            "values": self.num_points,
            "different": len(self.gaps),
            "first": self.gaps[0].as_json() if self.gaps else None,
            "largest": None if largest is None else {**largest.as_json(), "size": largest.size},
            "recorded_state": self.run.state,
            "recorded_reason": self.run.reason or None,
            "replayed_state": self.replayed.state,
            "replayed_reason": self.replayed.reason,
            "reasons": list(self.reasons),
        }


def compare(run: RecordedRun, ledger: Path) -> ReplayReport:
    """Compare a record with the study that replayed it, in all metrics that can be repeated.

    Args:
        run: The record.
        ledger: Of the replay, whose only run has ended.
    """
    _, runs = read_runs(ledger)
    (replayed,) = runs.values()
    now: dict[Point, float] = {}
    for event in read_events(ledger):
        if event["event"] == "epoch" and event["step"] <= run.last_step:
            for metric, value in event["metrics"].items():
                now[metric, step_of(metric, event["step"])] = value
    left_out = unrepeatable_metrics(run.trainable, replayed.fields)
    points = sorted(
        (point for point in {*run.points, *now} if point[0] not in left_out), key=_in_time
    )
    gaps = tuple(
        Gap(point, run.points.get(point), now.get(point))
        for point in points
        if run.points.get(point) != now.get(point)
    )
    return ReplayReport(run, replayed, len(points), gaps, tuple(_reasons(run, replayed)))


def _in_time(point: Point) -> tuple[bool, int, str]:
    metric, step = point
    return is_once(metric), step, metric


def _reasons(run: RecordedRun, replayed: RunRecord) -> Iterator[str]:
    """What differs from the recorded circumstances, in sentences."""
    for name, now in environment().items():
        then = run.environment.get(name)
        if name == "code":
            if then != now:
                yield _WORDS[name]
        elif then is None:
            yield f"{_WORDS[name]} was not recorded"
        elif then != now:
            yield f"{_WORDS[name]} was {then or 'unknown'}, is {now or 'unknown'}"
    yield from _changed("the content of the data set", run.digests, replayed.digests)
    keys = {name: stage[1] for name, stage in replayed.stages.items()}
    # A replay has no stage for its pre-training, as it is trained anew.
    recorded = {name: key for name, key in run.stage_keys.items() if name in keys}
    yield from _changed("the cached stage", recorded, keys)


def _changed(what: str, then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*then, *now}):
        if then.get(name) != now.get(name):
            yield f"{what} {name} was {then.get(name, 'none')}, is {now.get(name, 'none')}"
