"""A study as Tune sees it: which run next, go on or stop, is it over, does a worker hang?

Tune's trials are the study's runs.

Thin shells around :class:`harness.optuna_study.bridge.StudyBridge`.
"""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from harness.nodes.ray_private import error_text, running_actor, will_retry
from harness.nodes.worker_deaths import WorkerDeaths
from harness.optuna_study.bridge import StudyBridge
from harness.record.full_disk import FullDisk
from harness.record.storage import StudyFolder
from harness.spec.sections import Failures
from harness.study.limits import Limits
from trainables.watchdog import NOTE

WATCH_EVERY_S = 1.0
GRACE_S = 30.0
"""A worker ends itself when it hangs; one that cannot even do that is killed this much later."""

_KILLED_BY_US = "was killed by `ray.kill`"
"""Ray's words for what :class:`HangingWorkers` does, and nothing else here."""


class BridgeSearcher(Searcher):
    """Shows a :class:`StudyBridge` to Tune as a searcher.

    Args:
        bridge: The study.
        folder: Folder of the study; each run has one in it.
        shared_config: Config keys that all runs get beside ``fields`` and ``folder``.
    """

    def __init__(
        self, bridge: StudyBridge, folder: StudyFolder, shared_config: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self._bridge = bridge
        self._folder = folder
        self._shared_config = shared_config

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next run's config; None if there may be one later."""
        asked = self._bridge.ask(trial_id)
        if asked is None:
            return str(Searcher.FINISHED) if self._bridge.is_finished else None
        number, fields = asked
        return {**self._shared_config, "fields": fields, "folder": str(self._folder.run(number))}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tune's last word on a run."""
        if error:
            self._bridge.fail(trial_id)
        else:
            self._bridge.complete(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study is in its own storage."""
        Path(checkpoint_path).write_bytes(b"")

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: see :meth:`save`."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher once at the start; a study is not resumed from that."""
        return {}


class BridgeScheduler(FIFOScheduler):
    """Shows a :class:`StudyBridge` to Tune as a scheduler that stops what is pruned.

    Args:
        bridge: The study.
        folder: Folder of the study.
        disk: Of the storage.
    """

    def __init__(self, bridge: StudyBridge, folder: StudyFolder, disk: FullDisk) -> None:
        super().__init__()
        self._bridge = bridge
        self._folder = folder
        self._disk = disk
        self._deaths = WorkerDeaths()

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Report an epoch."""
        stop = self._bridge.report(trial.trial_id, result)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Report the last epoch, which Tune does not pass to :meth:`on_trial_result`."""
        self._bridge.report(trial.trial_id, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Remember the error; Tune may start the run again, once there is space."""
        text = error_text(trial)
        sentence = (
            self._hanging(trial.trial_id, text)
            or self._dead(trial.trial_id, text)
            or error_sentence(text)
        )
        self._bridge.note_error(trial.trial_id, sentence, continues=will_retry(trial))
        self._disk.wait()

    def _hanging(self, trial_id: str, text: str) -> str | None:
        """What is known of a worker that hung and so ended itself, or was ended."""
        record = self._bridge.record_of(trial_id)
        if record is None:
            return None
        if _KILLED_BY_US in text:
            return f"the worker hung after epoch {record.step}, so that it had to be killed"
        note = self._folder.run(record.number) / NOTE
        if not note.is_file() or note.stat().st_size == 0:
            return None
        kept = note.replace(note.with_name(f"hung-after-{record.step}.txt"))
        return f"the worker hung after epoch {record.step}; where is in {kept}"

    def _dead(self, trial_id: str, text: str) -> str | None:
        """Why a worker's process died, if it did."""
        record = self._bridge.record_of(trial_id)
        if record is None:
            return None
        folder = self._folder.run(record.number)
        return self._deaths.sentence(text, folder / f"crashed-after-{record.step}.txt")

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of a study is resumed from Tune's pickles."""
        return {}


class StudyStopper(tune.Stopper):
    """Ends a study whose limits are reached.

    Args:
        bridge: The study; it drains when a budget is used up.
        limits: Its limits.
    """

    def __init__(self, bridge: StudyBridge, limits: Limits) -> None:
        self._bridge = bridge
        self._limits = limits

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No run is stopped by itself here."""
        return False

    def stop_all(self) -> bool:
        """Whether Tune should stop all runs now."""
        if self._limits.used_up is not None:
            self._bridge.drain()
        return self._limits.stops_runs is not None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of a study is resumed from Tune's pickles."""
        return {}


class HangingWorkers(tune.Callback):
    """Kills workers that give no sign of life and cannot end themselves.

    Args:
        bridge: The study.
        failures: Its limits.
    """

    def __init__(self, bridge: StudyBridge, failures: Failures) -> None:
        self._bridge = bridge
        self._limit_s = failures.heartbeat_s
        self._last_look = 0.0
        self._seen: dict[str, tuple[int, float]] = {}

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Look at the running ones, once a second."""
        now = time.monotonic()
        if self._limit_s is None or now - self._last_look < WATCH_EVERY_S:
            return
        self._last_look = now
        seen: dict[str, tuple[int, float]] = {}
        for trial in trials:
            actor = running_actor(trial)
            record = self._bridge.record_of(trial.trial_id)
            if actor is None or record is None:
                continue
            step, since = self._seen.get(trial.trial_id, (-1, now))
            seen[trial.trial_id] = (record.step, since if step == record.step else now)
            if now - seen[trial.trial_id][1] > self._limit_s + GRACE_S:
                ray.kill(actor)
                del seen[trial.trial_id]
        self._seen = seen

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of a study is resumed from Tune's pickles."""
        return {}


class Watch(tune.Callback):
    """Looks at something many times a second while runs are under way.

    Args:
        look: Looks, unless it has just looked.
    """

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Look."""
        self._look()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of a study is resumed from Tune's pickles."""
        return {}


def error_sentence(text: str) -> str:
    """The exception of a traceback's text: its last line of the form ``SomeError: message``."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (raised or lines or ["the run crashed without a message"])[-1]
