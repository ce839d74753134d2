"""Ask and tell over one stored Optuna study, in step with the ledger.

A suggestion of Optuna becomes a trial, a trial one run for each seed. Ray Tune's trials are runs.

Ray's own ``OptunaSearch`` tells a trial that a scheduler stopped as COMPLETE, leaves a trial
with a NaN objective RUNNING for ever, never prunes, and forgets after a crash. Here the driver
alone asks and tells. Every fact goes into the ledger first and to Optuna second; what a crash
leaves half done, :meth:`StudyBridge.reconcile` completes.
"""

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from harness.optuna_study.outcomes import TrialOutcomes
from harness.optuna_study.stored_trials import StoredTrials
from harness.optuna_study.suggestions import Suggestion, Suggestions
from harness.record.ledger import Ledger, RunRecord, read_events, run_name, trial_of
from harness.record.run_report import Report, report_of
from harness.spec import StudySpec


@dataclass
class _OpenRun:
    record: RunRecord
    error: str | None = None


class StudyBridge:
    """The only owner of ask and tell.

    Args:
        spec: The study.
        ledger: Receives every event.
        suggestions: Where the next trial comes from.
        outcomes: How trials stand; knows of none yet.
        stored: Optuna's trials.
    """

    def __init__(
        self,
        spec: StudySpec,
        ledger: Ledger,
        suggestions: Suggestions,
        outcomes: TrialOutcomes,
        stored: StoredTrials,
    ) -> None:
        self._is_draining = False
        self._spec = spec
        self._ledger = ledger
        self._suggestions = suggestions
        self._outcomes = outcomes
        self._stored = stored
        self._taken: dict[int, Suggestion] = {}  # by trial, of those that have not ended
        self._open: dict[str, _OpenRun] = {}
        self._ready: deque[tuple[int, int]] = deque()
        self._duplicates: dict[int, list[optuna.Trial]] = {}

    # Resuming

    def reconcile(self, *, retry_failed: bool = False) -> int:
        """Bring Optuna and this bridge up to date with the ledger, before anything is asked.

        Args:
            retry_failed: Queue every failed trial once more.

        Returns:
            How many failed trials were queued.
        """
        for event in read_events(self._ledger.path):
            self._outcomes.apply(event)
        trials = self._stored.all()
        first_runs = {
            record.trial: record
            for record in self._ledger.runs.values()
            if self._outcomes.seed_index(record.number) == 0
        }
        self._suggestions.restore(trials, first_runs)
        for trial in trials:
            self._take_over(trial)
        return self._suggestions.queue_retries(trials) if retry_failed else 0

    def _take_over(self, frozen: FrozenTrial) -> None:
        """Finish or resume a trial that an earlier driver left."""
        number, runs = frozen.number, self._outcomes.runs(frozen.number)
        if frozen.state.is_finished():
            if runs and self._outcomes.outcome(number) is None:
                self._end_as_stored(frozen)  # the ledger's end was lost in a power failure
            return
        if frozen.state == TrialState.WAITING and not runs:
            return
        trial = self._stored.reopen(frozen)
        if not runs:
            self._take_up(self._suggestions.read(trial))
            return
        self._taken[number] = self._suggestions.read(trial)
        self._report_missing(trial, frozen)
        for record in runs.values():
            if record.state in ("running", "stopped"):
                if record.flaw is not None:  # its driver died before it could say so
                    self._finish(record, "failed", record.flaw)
                elif self._outcomes.should_stop(record.number):
                    self._finish(record, "pruned", None)
                else:
                    self._ready.append((number, self._outcomes.seed_index(record.number)))
        self._advance(number)

    def _report_missing(self, trial: optuna.Trial, frozen: FrozenTrial) -> None:
        numbers = {record.number for record in self._outcomes.runs(frozen.number).values()}
        for event in self._ledger.epochs():
            if event["number"] in numbers:
                record = self._ledger.runs[event["number"]]
                reports = self._outcomes.reports(record, event["metrics"], event["step"])
                known = frozen.intermediate_values
                self._stored.report(trial, {k: v for k, v in reports.items() if k not in known})

    def _end_as_stored(self, frozen: FrozenTrial) -> None:
        ended = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
        state = ended.get(frozen.state, "failed")
        for record in self._outcomes.runs(frozen.number).values():
            if record.state in ("running", "stopped"):
                reason = str(frozen.user_attrs.get("reason")) if state == "failed" else None
                self._finish(record, state, reason)

    # Asking

    def ask(self, ray_trial_id: str) -> tuple[int, dict[str, Any]] | None:
        """Number and fields of the next run; None if there is none now."""
        while not self._ready and not self._is_draining and self._suggestions.has_more:
            self._take_up(self._suggestions.ask())
        if self._is_draining or not self._ready:
            return None
        trial, index = self._ready.popleft()
        record = self._outcomes.runs(trial).get(index)
        if record is None:
            record = self._start(self._taken[trial], index)
        else:
            why = "its driver had ended"
            self._append("continued", number=record.number, step=record.step, why=why)
        self._open[ray_trial_id] = _OpenRun(record)
        return record.number, record.fields

    def drain(self) -> None:
        """Ask for no more trials; what runs may end."""
        self._is_draining = True

    @property
    def is_finished(self) -> bool:
        """Whether no further run will start, whatever the open ones report."""
        seeds_may_follow = self._outcomes.num_seeds > 1 and bool(self._taken)
        may_continue = self._ready or self._suggestions.has_more or seeds_may_follow
        return self._is_draining or not may_continue

    @property
    def is_over(self) -> bool:
        """Whether all trials have ended and no further one will be asked for."""
        return not (self._ready or self._suggestions.has_more or self._taken)

    @property
    def is_exhausted(self) -> bool:
        """Whether the study ended because the space holds no further configuration."""
        return self._suggestions.is_exhausted

    def _take_up(self, suggestion: Suggestion) -> None:
        """Ready a trial's first run, or say why there is none."""
        number = suggestion.trial.number
        if suggestion.duplicate_of is not None:
            self._repeat(suggestion, suggestion.duplicate_of)
            return
        self._taken[number] = suggestion
        if suggestion.error is not None:
            self._finish(self._start(suggestion, 0), "failed", suggestion.error)
        else:
            self._ready.append((number, 0))

    def _start(self, suggestion: Suggestion, index: int) -> RunRecord:
        trial, num_seeds = suggestion.trial.number, self._outcomes.num_seeds
        seed = suggestion.fields["seed"] + index
        name = suggestion.baseline or f"trial-{trial}"
        number = trial * num_seeds + index
        self._append(
            "run",
            number=number,
            trial=trial,
            trial_name=trial_of(name, seed),  # a baseline may be one seed of a finalist
            seed=seed,
            name=name if num_seeds == 1 else run_name(name, seed),
            is_baseline=suggestion.baseline is not None,
            params=suggestion.params,
            fields={**suggestion.fields, "seed": seed},
            retry_of=suggestion.retry_of,
        )
        return self._ledger.runs[number]

    def _repeat(self, suggestion: Suggestion, original: int) -> None:
        """Give a duplicate the outcome of its original, now or when there is one."""
        trial, outcome = suggestion.trial, self._outcomes.outcome(original)
        if not suggestion.is_noted:
            self._append("duplicate", trial=trial.number, of=original)
            self._stored.note_duplicate(trial, original)
        if outcome is None:
            self._duplicates.setdefault(original, []).append(trial)
        else:
            self._stored.tell_duplicate(trial, original, outcome)

    # Reporting

    def report(self, ray_trial_id: str, result: dict[str, Any]) -> bool:
        """Take a run's flattened Tune result; True if the run should stop here.

        A step that was reported before (a run that crashed starts again) changes nothing.
        """
        open_run, report = self._open.get(ray_trial_id), report_of(result)
        if open_run is None or report is None or report.step <= open_run.record.step:
            return False
        record, step = open_run.record, report.step
        open_run.error = self._flaw(record, report)
        self._append(
            "epoch",
            number=record.number,
            step=step,
            num_steps=report.num_steps,
            metrics={n: value for n, value in report.metrics.items() if math.isfinite(value)},
            stages=report.stages,
            digests=report.digests,
            tags=report.tags,
            flaw=open_run.error,
        )
        if open_run.error is not None:
            return True
        reports = self._outcomes.reports(record, record.metrics, step)
        self._stored.report(self._taken[record.trial].trial, reports)
        return step < record.num_steps and self._outcomes.should_stop(record.number)

    def _flaw(self, record: RunRecord, report: Report) -> str | None:
        for metric in self._spec.objectives:
            value = report.metrics.get(metric.name, math.nan)
            if not math.isfinite(value):
                what = "was not reported" if metric.name not in report.metrics else f"is {value}"
                return f"objective {metric.name} {what} at step {report.step}"
        limit = self._spec.failures.timeout_s
        busy_s = record.busy_s + time.time() - record.seen_at
        if limit is not None and busy_s > limit and report.step < report.num_steps:
            return f"took longer than failures.timeout_s, {limit:g} s"
        return None

    def note_error(self, ray_trial_id: str, sentence: str, *, continues: bool) -> None:
        """Remember why a run crashed, and whether it continues in another process."""
        open_run = self._open.get(ray_trial_id)
        if open_run is not None:
            open_run.error = sentence
            if continues:
                record = open_run.record
                self._append("continued", number=record.number, step=record.step, why=sentence)

    def record_of(self, ray_trial_id: str) -> RunRecord | None:
        """The run behind Ray's id, while it is open."""
        return self._open[ray_trial_id].record if ray_trial_id in self._open else None

    # Ending

    def complete(self, ray_trial_id: str) -> None:
        """End a run that reported all it had, or was stopped by :meth:`report`."""
        open_run = self._open.pop(ray_trial_id, None)
        if open_run is None:
            return
        record, error = open_run.record, open_run.error
        is_whole = 0 < record.num_steps <= record.step
        if error is None and self._spec.objective.name not in record.metrics:
            error = "the run ended without a report"
        if error is not None:
            self._finish(record, "failed", error)
        elif not is_whole and self._outcomes.should_stop(record.number):
            self._finish(record, "pruned", None)
        else:
            self._finish(record, "complete", None)

    def fail(self, ray_trial_id: str) -> None:
        """End a run that crashed for good."""
        open_run = self._open.pop(ray_trial_id, None)
        if open_run is not None:
            reason = open_run.error or "the run crashed without a message"
            self._finish(open_run.record, "failed", reason)

    def stop_all(self, reason: str) -> None:
        """End every run that has not ended, also one of an earlier driver that did not continue.

        In Optuna their trials wait until the study is resumed.
        """
        self._open.clear()
        for record in self._ledger.runs.values():
            if record.state == "running":
                self._finish(record, "stopped", reason)
        duplicates = [trial for trials in self._duplicates.values() for trial in trials]
        for trial in [*(suggestion.trial for suggestion in self._taken.values()), *duplicates]:
            self._stored.requeue(trial)

    def _finish(self, record: RunRecord, state: str, reason: str | None) -> None:
        value = record.metrics.get(self._spec.objective.name) if state == "complete" else None
        self._append("finished", number=record.number, state=state, reason=reason, value=value)
        if state != "stopped":
            self._advance(record.trial)

    def _advance(self, trial: int) -> None:
        """Ready the seeds whose turn it is, or tell Optuna how the trial ended."""
        outcome = self._outcomes.outcome(trial)
        queued = {index for number, index in self._ready if number == trial}
        for index in self._outcomes.seeds_to_start(trial):
            if index not in queued:
                self._ready.append((trial, index))
        if self._outcomes.is_pruned(trial):
            self._drop_ready(trial)
            outcome = self._outcomes.outcome(trial)
        if outcome is None or trial not in self._taken:
            return
        self._stored.tell(self._taken.pop(trial).trial, outcome)
        for duplicate in self._duplicates.pop(trial, []):
            self._stored.tell_duplicate(duplicate, trial, outcome)

    def _drop_ready(self, trial: int) -> None:
        """Start no more seeds of a pruned trial; those that were to be continued are pruned."""
        indices = [index for number, index in self._ready if number == trial]
        self._ready = deque(entry for entry in self._ready if entry[0] != trial)
        for index in indices:
            record = self._outcomes.runs(trial).get(index)
            if record is not None:
                self._append(
                    "finished", number=record.number, state="pruned", reason=None, value=None
                )

    def _append(self, kind: str, **content: Any) -> None:
        self._ledger.append(kind, **content)
        self._outcomes.apply({"event": kind, "time": 0.0, **content})
