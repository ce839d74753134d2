"""Ray shell of an adaptation trial: from its config to metrics and checkpoints."""

from pathlib import Path
from typing import Any

import torch
from ray import tune

from trainables.checkpoint import CheckpointFolder
from trainables.config import TrialConfig
from trainables.evaluation.predictions import PREDICTIONS, write_predictions
from trainables.full_disk import is_no_space
from trainables.pose_vae.score import information_metrics
from trainables.registry import load_plugins
from trainables.stages.cached_run import CachedRun
from trainables.stages.trial_stages import TrialStages, start_run
from trainables.watchdog import Watchdog

PATIENCE = 0.5
"""Longest wait for another trial's pre-training, as a fraction of ``heartbeat_s``: the driver
assumes that a trial hangs if it reports nothing for ``heartbeat_s``."""
_STATES = ("last", "best", "result")


class AdaptationTrainable(tune.Trainable):
    """One epoch of pre-training or adaptation per step.

    Config keys: ``plugins`` (modules to import first), ``fields`` (flat field paths of a
    :class:`TrialConfig`), ``cache`` (a
    :class:`trainables.stages.protocol.StageCache`), ``folder`` (of the trial, on shared storage),
    ``num_threads``, ``image_threads`` (see :class:`TrialStages`), ``num_replicas`` (processes
    that share each batch), ``read_test``, ``heartbeat_s`` (longest time without a sign of life;
    None for no limit).

    A checkpoint contains ``last.pt``, from which the trial resumes exactly, ``best.pt``, the
    network of the best epoch so far by the label-free choice, and ``result.pt``, the report of the
    epoch. It is written before the epoch is reported, so a restarted trial reports its last epoch
    again in case the report was lost. After the last epoch ``predictions.arrow`` is written beside
    the checkpoints (:mod:`trainables.evaluation.predictions`). Tune's own checkpoints are not
    used: Tune copies them file by file, retries a damaged one, and forgets them when the driver
    dies.

    If another trial has finished the same pre-training, or an equal trial its whole training, its
    reports are reused from the stage cache epoch by epoch (:mod:`trainables.stages.cached_run`);
    the first checkpoint is then that of the last reused epoch. If another trial is pre-training,
    wait in the first :meth:`step`, not in :meth:`setup`: Tune starts no trial while ``setup``
    runs.
    """

    shares_training = True
    """Whether to reuse training from the cache and store it there. A replay trains anew:
    otherwise it would compare a record with itself."""

    def setup(self, config: dict[str, Any]) -> None:
        """Get all stages, build the network, resume from the last checkpoint."""
        num_threads = config["num_threads"]
        torch.set_num_threads(num_threads)
        load_plugins(config["plugins"])
        trial = TrialConfig.from_flat(config["fields"])
        folder = Path(config["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        self._watchdog = Watchdog(folder, config["heartbeat_s"])
        self._watchdog.watch()
        read_test, image_threads = config["read_test"], config["image_threads"]
        stages = TrialStages(trial, config["cache"], num_threads, read_test, image_threads)
        # Read before other processes start: stages that those compute would count as hits here.
        self._reported: dict[str, Any] = {
            "stages": stages.lineage,
            "digests": stages.digests,
            "tags": stages.tags,
        }
        num_replicas, heartbeat_s = config["num_replicas"], config["heartbeat_s"]
        spans = stages.spans(num_replicas) if self.shares_training else []
        self._run = CachedRun(
            start_run(stages, num_replicas, num_threads),
            config["cache"],
            spans,
            patience_s=None if heartbeat_s is None else PATIENCE * heartbeat_s,
            while_waiting=self._watchdog.watch,
        )
        self._information = stages.information
        self._folder, self._checkpoints = folder, CheckpointFolder(folder)
        self._unreported: dict[str, Any] | None = None
        self._resume()
        self._watchdog.rest()

    def _resume(self) -> None:
        loaded = self._checkpoints.load(_STATES)
        if loaded.states:
            self._run.load_state_dict(loaded.states["last"])
            self._run.best = loaded.states["best"]
            self._unreported = loaded.states["result"]
            self._reported = {name: self._unreported[name] for name in self._reported}
        if loaded.damaged:
            self._reported["tags"] = {
                **self._reported["tags"], "damaged_checkpoints": "; ".join(loaded.damaged)
            }  # fmt: skip

    def step(self) -> dict[str, Any]:
        """Report one epoch; right after a restart, the last epoch of the checkpoint again."""
        if self._unreported is not None:
            result, self._unreported = self._unreported, None
            return result
        self._watchdog.watch()
        metrics = self._run.run_epoch()
        metrics |= information_metrics(self._information)
        self._reported["stages"] = {**self._reported["stages"], **self._run.lineage}
        self._reported["tags"] = {**self._reported["tags"], **self._run.tags}
        result = {
            "metrics": metrics,
            "step": self._run.epoch,
            "num_steps": self._run.total_epochs,
            "done": self._run.is_done,
            **self._reported,
        }
        if self._run.is_done:  # before the checkpoint, from which a restarted trial only reports
            result = self._with_predictions(result)
        if self._run.has_state:
            result = self._saved(result)
        self._watchdog.rest()
        return result

    def _with_predictions(self, result: dict[str, Any]) -> dict[str, Any]:
        """Write what the last network predicted; the result, with a tag if there was no space."""
        assert self._run.predictions is not None
        try:
            write_predictions(self._folder / PREDICTIONS, self._run.predictions)
        except OSError as error:
            if not is_no_space(error):
                raise
            tags = {**result["tags"], "predictions": "no space"}
            return {**result, "tags": tags}
        return result

    def _saved(self, result: dict[str, Any]) -> dict[str, Any]:
        """Write a checkpoint; returns the result, with a tag if there was no space."""
        states = {"last": self._run.state_dict(), "best": self._run.best, "result": result}
        if self._checkpoints.save(self._run.epoch, states):
            return result
        tags = {**result["tags"], "checkpoint": f"no space at epoch {self._run.epoch}"}
        return {**result, "tags": tags}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in this process."""
        self.cleanup()
        del self._run  # two networks at once may be more than the GPU holds
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        """End the trial's other processes; let other trials train what it did not finish."""
        run = getattr(self, "_run", None)  # None if setup failed
        if run is not None:
            run.close()
        self._watchdog.close()
