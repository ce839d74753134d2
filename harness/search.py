"""Optuna and Ray Tune around one stored study.

Ray's own ``OptunaSearch`` tells a trial that a scheduler stopped as COMPLETE, leaves a trial
with a NaN objective RUNNING for ever and never prunes. Here the driver alone asks and tells:
:class:`StudyBridge` owns the Optuna study, and two thin shells show it to Tune as a searcher
(which configuration next?) and as a scheduler (go on or stop?). Stopping is Optuna's pruner, so
its state lies in the study's storage. Everything that happens goes into the ledger.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from harness.ledger import Ledger, TrialRecord
from harness.space import Space
from harness.storage import absolute_paths
from trainables.config import TrialConfig

RESULT_PREFIX = "metrics/"
"""Tune flattens a trial's ``{"metrics": {...}}`` to this."""


@dataclass
class _OpenTrial:
    trial: optuna.Trial
    record: TrialRecord
    error: str | None = None
    is_pruned: bool = False


class StudyBridge:
    """The only owner of ask and tell.

    Args:
        study: From :func:`harness.optuna_study.create_study`.
        space: Search space.
        objective: Name of the optimised metric.
        max_trials: Trials to ask for in all.
        ledger: Receives every event.
    """

    def __init__(
        self, study: optuna.Study, space: Space, objective: str, max_trials: int, ledger: Ledger
    ) -> None:
        self._study = study
        self._space = space
        self._objective = objective
        self._max_trials = max_trials
        self._ledger = ledger
        self._num_asked = 0
        self._open: dict[str, _OpenTrial] = {}

    def ask(self, ray_trial_id: str) -> dict[str, Any] | None:
        """Fields of the next trial, or None when the budget is asked for."""
        while self._num_asked < self._max_trials:
            trial = self._study.ask()
            self._num_asked += 1
            overrides = json.loads(trial.user_attrs.get("overrides", "{}"))
            suggested = self._space.suggest(trial, overrides)
            try:
                fields = absolute_paths(TrialConfig.from_flat(suggested).to_flat())
            except ValueError as error:
                # A space may hold a combination that no draw of the check at load has met.
                fields = {**TrialConfig().to_flat(), **suggested}
                self._start(ray_trial_id, trial, fields)
                self._finish(ray_trial_id, TrialState.FAIL, "failed", str(error))
                continue
            self._start(ray_trial_id, trial, fields)
            return fields
        return None

    def _start(self, ray_trial_id: str, trial: optuna.Trial, fields: dict[str, Any]) -> None:
        baseline = trial.user_attrs.get("baseline")
        self._ledger.append(
            "trial",
            number=trial.number,
            name=baseline or f"trial-{trial.number}",
            is_baseline=baseline is not None,
            params=trial.params,
            fields=fields,
        )
        record = self._ledger.trials[trial.number]
        self._open[ray_trial_id] = _OpenTrial(trial, record)
        trial.set_user_attr("ray_trial_id", ray_trial_id)

    def report(self, ray_trial_id: str, result: dict[str, Any]) -> bool:
        """Take a trial's flattened Tune result; True if the trial should stop here.

        A step that was reported before (a retried trial starts again) changes nothing.
        """
        open_trial = self._open.get(ray_trial_id)
        if open_trial is None or "step" not in result:
            return False
        record, step = open_trial.record, int(result["step"])
        if step <= record.step:
            return False
        metrics = {
            key.removeprefix(RESULT_PREFIX): float(value)
            for key, value in result.items()
            if key.startswith(RESULT_PREFIX)
        }
        value = metrics.get(self._objective, math.nan)
        self._ledger.append(
            "epoch",
            number=record.number,
            step=step,
            num_steps=int(result["num_steps"]),
            metrics={name: number for name, number in metrics.items() if math.isfinite(number)},
            stages=_below("stages/", result),
            digests=_below("digests/", result),
            tags=_below("tags/", result),
        )
        if not math.isfinite(value):
            what = "was not reported" if self._objective not in metrics else f"is {value}"
            open_trial.error = f"objective {self._objective} {what} at step {step}"
            return True
        open_trial.trial.report(value, step)
        if record.is_baseline or step >= record.num_steps:
            return False
        # Some pruners answer with a numpy bool.
        open_trial.is_pruned = bool(open_trial.trial.should_prune())
        return open_trial.is_pruned

    def note_error(self, ray_trial_id: str, sentence: str) -> None:
        """Remember why a trial crashed; it may yet be retried."""
        if ray_trial_id in self._open:
            self._open[ray_trial_id].error = sentence

    def complete(self, ray_trial_id: str) -> None:
        """Tell the end of a trial that reported all it had, or was stopped by :meth:`report`."""
        open_trial = self._open.get(ray_trial_id)
        if open_trial is None:
            return
        record = open_trial.record
        if open_trial.is_pruned:
            self._finish(ray_trial_id, TrialState.PRUNED, "pruned", None)
        elif open_trial.error is not None and record.step < max(record.num_steps, 1):
            self._finish(ray_trial_id, TrialState.FAIL, "failed", open_trial.error)
        elif self._objective not in record.metrics:
            reason = open_trial.error or "the trial ended without a report"
            self._finish(ray_trial_id, TrialState.FAIL, "failed", reason)
        else:
            self._finish(ray_trial_id, TrialState.COMPLETE, "complete", None)

    def fail(self, ray_trial_id: str) -> None:
        """Tell that a trial crashed for good."""
        if ray_trial_id in self._open:
            reason = self._open[ray_trial_id].error or "the trial crashed without a message"
            self._finish(ray_trial_id, TrialState.FAIL, "failed", reason)

    def stop_all(self, reason: str) -> None:
        """End every trial that has not ended: nothing stays RUNNING."""
        for ray_trial_id in list(self._open):
            self._finish(ray_trial_id, TrialState.FAIL, "stopped", reason)

    def _finish(
        self, ray_trial_id: str, optuna_state: TrialState, state: str, reason: str | None
    ) -> None:
        open_trial = self._open.pop(ray_trial_id)
        record = open_trial.record
        value = record.metrics[self._objective] if state == "complete" else None
        if reason is not None:
            open_trial.trial.set_user_attr("reason", reason)
        self._study.tell(open_trial.trial, value, state=optuna_state)
        self._ledger.append(
            "finished", number=record.number, state=state, reason=reason, value=value
        )

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher once at the start; a study is not resumed from that."""
        return {}


def _below(prefix: str, result: dict[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in result.items() if k.startswith(prefix)}


class BridgeSearcher(Searcher):
    """Shows a :class:`StudyBridge` to Tune as a searcher.

    Args:
        bridge: The study.
        shared_config: Config keys that all trials get beside their ``fields``.
    """

    def __init__(self, bridge: StudyBridge, shared_config: dict[str, Any]) -> None:
        super().__init__()
        self._bridge = bridge
        self._shared_config = shared_config

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next trial's config."""
        fields = self._bridge.ask(trial_id)
        if fields is None:
            return str(Searcher.FINISHED)
        return {**self._shared_config, "fields": fields}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tune's last word on a trial."""
        if error:
            self._bridge.fail(trial_id)
        else:
            self._bridge.complete(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study is in its own storage."""
        Path(checkpoint_path).write_bytes(b"")

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: see :meth:`save`."""


class BridgeScheduler(FIFOScheduler):
    """Shows a :class:`StudyBridge` to Tune as a scheduler that stops what is pruned."""

    def __init__(self, bridge: StudyBridge) -> None:
        super().__init__()
        self._bridge = bridge

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Report an epoch."""
        stop = self._bridge.report(trial.trial_id, result)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Report the last epoch, which Tune does not pass to :meth:`on_trial_result`."""
        self._bridge.report(trial.trial_id, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Remember the error; Tune may retry the trial."""
        # The file on this machine: the copy in the storage follows later.
        written = Path(trial.error_file) if trial.error_file else None
        text = written.read_text() if written is not None and written.is_file() else ""
        self._bridge.note_error(trial.trial_id, error_sentence(text))


def error_sentence(text: str) -> str:
    """The exception of a traceback's text: its last line of the form ``SomeError: message``."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (raised or lines or ["the trial crashed without a message"])[-1]
