"""Ask and tell over one stored Optuna study, in step with the ledger.

Ray's own ``OptunaSearch`` tells a trial that a scheduler stopped as COMPLETE, leaves a trial
with a NaN objective RUNNING for ever, never prunes, and forgets after a crash. Here the driver
alone asks and tells. Every fact goes into the ledger first and to Optuna second; whatever a crash
leaves in between, :meth:`StudyBridge.reconcile` completes.
"""

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from harness.optuna_study.outcomes import Settings
from harness.optuna_study.proposals import Proposal, Proposals
from harness.optuna_study.stored_trials import StoredTrials
from harness.record.ledger import SEED_MARK, Ledger, TrialRecord, read_events
from harness.record.run_report import Report, report_of
from harness.spec import StudySpec


@dataclass
class _OpenTrial:
    record: TrialRecord
    error: str | None = None


class StudyBridge:
    """The only owner of ask and tell.

    Args:
        spec: The study.
        ledger: Receives every event.
        proposals: New settings.
        settings: What became of the settings, nothing yet.
        stored: Optuna's trials.

    Attributes:
        is_draining: Set to ask for no more trials.
    """

    def __init__(
        self,
        spec: StudySpec,
        ledger: Ledger,
        proposals: Proposals,
        settings: Settings,
        stored: StoredTrials,
    ) -> None:
        self.is_draining = False
        self._spec = spec
        self._ledger = ledger
        self._proposals = proposals
        self._settings = settings
        self._stored = stored
        self._proposed: dict[int, Proposal] = {}
        self._open: dict[str, _OpenTrial] = {}
        self._ready: deque[tuple[int, int]] = deque()
        self._duplicates: dict[int, list[optuna.Trial]] = {}

    # Resuming

    def reconcile(self, *, retry_failed: bool = False) -> int:
        """Bring Optuna and this bridge up to date with the ledger, before anything is asked.

        Args:
            retry_failed: Queue every failed setting once more.

        Returns:
            How many failed settings were queued.
        """
        for event in read_events(self._ledger.path):
            self._settings.apply(event)
        trials = self._stored.all()
        first_runs = {
            record.setting: record
            for record in self._ledger.trials.values()
            if self._settings.seed_index(record.number) == 0
        }
        self._proposals.restore(trials, first_runs)
        for trial in trials:
            self._take_over(trial)
        return self._proposals.queue_retries(trials) if retry_failed else 0

    def _take_over(self, frozen: FrozenTrial) -> None:
        """Finish or go on with what an earlier driver left."""
        number, runs = frozen.number, self._settings.runs(frozen.number)
        if frozen.state.is_finished():
            if runs and self._settings.outcome(number) is None:
                self._end_as_told(frozen)  # the ledger's end was lost in a power failure
            return
        if frozen.state == TrialState.WAITING and not runs:
            return
        trial = self._stored.reopen(frozen)
        if not runs:
            self._take_up(self._proposals.read(trial))
            return
        self._proposed[number] = self._proposals.read(trial)
        self._report_missing(trial, frozen)
        for record in runs.values():
            if record.state in ("running", "stopped"):
                if record.flaw is not None:  # its driver died before it could say so
                    self._finish(record, "failed", record.flaw)
                elif self._settings.should_stop(record.number):
                    self._finish(record, "pruned", None)
                else:
                    self._ready.append((number, self._settings.seed_index(record.number)))
        self._advance(number)

    def _report_missing(self, trial: optuna.Trial, frozen: FrozenTrial) -> None:
        numbers = {record.number for record in self._settings.runs(frozen.number).values()}
        for event in self._ledger.epochs():
            if event["number"] in numbers:
                record = self._ledger.trials[event["number"]]
                reports = self._settings.reports(record, event["metrics"], event["step"])
                known = frozen.intermediate_values
                self._stored.report(trial, {k: v for k, v in reports.items() if k not in known})

    def _end_as_told(self, frozen: FrozenTrial) -> None:
        told = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
        state = told.get(frozen.state, "failed")
        for record in self._settings.runs(frozen.number).values():
            if record.state in ("running", "stopped"):
                reason = str(frozen.user_attrs.get("reason")) if state == "failed" else None
                self._finish(record, state, reason)

    # Asking

    def ask(self, ray_trial_id: str) -> tuple[int, dict[str, Any]] | None:
        """Number and fields of the next trial; None if there is none now."""
        while not self._ready and not self.is_draining and self._proposals.has_more:
            self._take_up(self._proposals.ask())
        if self.is_draining or not self._ready:
            return None
        setting, index = self._ready.popleft()
        record = self._settings.runs(setting).get(index)
        if record is None:
            record = self._start(self._proposed[setting], index)
        else:
            why = "its driver had ended"
            self._append("continued", number=record.number, step=record.step, why=why)
        self._open[ray_trial_id] = _OpenTrial(record)
        return record.number, record.fields

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will be asked, whatever the open trials bring."""
        seeds_may_follow = self._settings.num_seeds > 1 and bool(self._proposed)
        may_go_on = self._ready or self._proposals.has_more or seeds_may_follow
        return self.is_draining or not may_go_on

    @property
    def is_over(self) -> bool:
        """Whether every setting that there is has ended."""
        return not (self._ready or self._proposals.has_more or self._proposed)

    @property
    def is_exhausted(self) -> bool:
        """Whether the study ended because the space holds no further configuration."""
        return self._proposals.is_exhausted

    def _take_up(self, proposal: Proposal) -> None:
        """Ready a setting's first trial, or say why it will not run."""
        number = proposal.trial.number
        if proposal.duplicate_of is not None:
            self._repeat(proposal, proposal.duplicate_of)
            return
        self._proposed[number] = proposal
        if proposal.error is not None:
            self._finish(self._start(proposal, 0), "failed", proposal.error)
        else:
            self._ready.append((number, 0))

    def _start(self, proposal: Proposal, index: int) -> TrialRecord:
        setting, num_seeds = proposal.trial.number, self._settings.num_seeds
        seed = proposal.fields["seed"] + index
        name = proposal.baseline or f"trial-{setting}"
        number = setting * num_seeds + index
        self._append(
            "trial",
            number=number,
            setting=setting,
            name=name if num_seeds == 1 else f"{name}{SEED_MARK}{seed}",
            is_baseline=proposal.baseline is not None,
            params=proposal.params,
            fields={**proposal.fields, "seed": seed},
            retry_of=proposal.retry_of,
        )
        return self._ledger.trials[number]

    def _repeat(self, proposal: Proposal, original: int) -> None:
        """Give a configuration that is known already the outcome of its original."""
        trial, outcome = proposal.trial, self._settings.outcome(original)
        if not proposal.is_noted:
            self._append("duplicate", setting=trial.number, of=original)
            self._stored.note_duplicate(trial, original)
        if outcome is None:
            self._duplicates.setdefault(original, []).append(trial)
        else:
            self._stored.tell_duplicate(trial, original, outcome)

    # Reporting

    def report(self, ray_trial_id: str, result: dict[str, Any]) -> bool:
        """Take a trial's flattened Tune result; True if the trial should stop here.

        A step that was reported before (a retried trial starts again) changes nothing.
        """
        open_trial, report = self._open.get(ray_trial_id), report_of(result)
        if open_trial is None or report is None or report.step <= open_trial.record.step:
            return False
        record, step = open_trial.record, report.step
        open_trial.error = self._flaw(record, report)
        self._append(
            "epoch",
            number=record.number,
            step=step,
            num_steps=report.num_steps,
            metrics={n: value for n, value in report.metrics.items() if math.isfinite(value)},
            stages=report.stages,
            digests=report.digests,
            tags=report.tags,
            flaw=open_trial.error,
        )
        if open_trial.error is not None:
            return True
        reports = self._settings.reports(record, record.metrics, step)
        self._stored.report(self._proposed[record.setting].trial, reports)
        return step < record.num_steps and self._settings.should_stop(record.number)

    def _flaw(self, record: TrialRecord, report: Report) -> str | None:
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

    def note_error(self, ray_trial_id: str, sentence: str, *, goes_on: bool) -> None:
        """Remember why a trial crashed, and whether it goes on in another process."""
        open_trial = self._open.get(ray_trial_id)
        if open_trial is not None:
            open_trial.error = sentence
            if goes_on:
                record = open_trial.record
                self._append("continued", number=record.number, step=record.step, why=sentence)

    def record_of(self, ray_trial_id: str) -> TrialRecord | None:
        """The trial behind Ray's id, while it is open."""
        return self._open[ray_trial_id].record if ray_trial_id in self._open else None

    # Ending

    def complete(self, ray_trial_id: str) -> None:
        """Tell the end of a trial that reported all it had, or was stopped by :meth:`report`."""
        open_trial = self._open.pop(ray_trial_id, None)
        if open_trial is None:
            return
        record, error = open_trial.record, open_trial.error
        is_whole = 0 < record.num_steps <= record.step
        if error is None and self._spec.objective.name not in record.metrics:
            error = "the trial ended without a report"
        if error is not None:
            self._finish(record, "failed", error)
        elif not is_whole and self._settings.should_stop(record.number):
            self._finish(record, "pruned", None)
        else:
            self._finish(record, "complete", None)

    def fail(self, ray_trial_id: str) -> None:
        """Tell that a trial crashed for good."""
        open_trial = self._open.pop(ray_trial_id, None)
        if open_trial is not None:
            reason = open_trial.error or "the trial crashed without a message"
            self._finish(open_trial.record, "failed", reason)

    def stop_all(self, reason: str) -> None:
        """End every trial that has not ended: nothing stays RUNNING.

        In Optuna they wait, as they go on when the study does.
        """
        for open_trial in self._open.values():
            self._finish(open_trial.record, "stopped", reason)
        self._open.clear()
        duplicates = [trial for trials in self._duplicates.values() for trial in trials]
        for trial in [*(proposal.trial for proposal in self._proposed.values()), *duplicates]:
            self._stored.requeue(trial)

    def _finish(self, record: TrialRecord, state: str, reason: str | None) -> None:
        value = record.metrics.get(self._spec.objective.name) if state == "complete" else None
        self._append("finished", number=record.number, state=state, reason=reason, value=value)
        if state != "stopped":
            self._advance(record.setting)

    def _advance(self, setting: int) -> None:
        """Ready the seeds whose turn it is, or tell Optuna how the setting ended."""
        outcome = self._settings.outcome(setting)
        queued = {index for number, index in self._ready if number == setting}
        for index in self._settings.seeds_to_start(setting):
            if index not in queued:
                self._ready.append((setting, index))
        if self._settings.is_pruned(setting):
            self._ready = deque(entry for entry in self._ready if entry[0] != setting)
        if outcome is None or setting not in self._proposed:
            return
        self._stored.tell(self._proposed.pop(setting).trial, outcome)
        for duplicate in self._duplicates.pop(setting, []):
            self._stored.tell_duplicate(duplicate, setting, outcome)

    def _append(self, kind: str, **content: Any) -> None:
        self._ledger.append(kind, **content)
        self._settings.apply({"event": kind, "time": 0.0, **content})
