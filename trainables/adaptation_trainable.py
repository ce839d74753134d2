"""Ray shell of an adaptation trial: config in, stages called, metrics and checkpoints out."""

from pathlib import Path
from typing import Any

import torch
from ray import tune

from trainables.adapt.replicas import ReplicatedRun
from trainables.checkpoint import load_state, save_states
from trainables.config import TrialConfig
from trainables.trial_run import TrialStages, start_run


class AdaptationTrainable(tune.Trainable):
    """One epoch of pre-training or adaptation per step.

    Config keys: ``fields`` (flat field paths of a :class:`TrialConfig`), ``cache`` (a
    :class:`trainables.stages.StageCache`), ``num_threads``, ``num_replicas`` (processes that
    share each batch), ``read_test``.

    A checkpoint holds ``last.pt``, from which the trial goes on as if nothing had happened, and
    ``best.pt``, the network of the best epoch so far by the label-free choice.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Fetch or compute the stages and build the network."""
        num_threads = config["num_threads"]
        torch.set_num_threads(num_threads)
        trial = TrialConfig.from_flat(config["fields"])
        stages = TrialStages(trial, config["cache"], num_threads, config["read_test"])
        # Before other processes start, so that what was computed here counts as computed.
        self._reported = {"stages": stages.hits, "digests": stages.digests, "tags": stages.tags}
        self._run = start_run(stages, config["num_replicas"], num_threads)
        self._active_units = stages.active_units

    def step(self) -> dict[str, Any]:
        """Train and evaluate one epoch."""
        metrics = self._run.run_epoch()
        metrics["vae/active_units"] = float(self._active_units)
        return {
            "metrics": metrics,
            "step": self._run.epoch,
            "num_steps": self._run.total_epochs,
            "done": self._run.is_done,
            **self._reported,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the run's state and its best network."""
        save_states(Path(checkpoint_dir), {"last": self._run.state_dict(), "best": self._run.best})

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Continue from a written state."""
        self._run.load_state_dict(load_state(Path(checkpoint_dir), "last"))
        self._run.best = load_state(Path(checkpoint_dir), "best")

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in this process."""
        self.cleanup()
        del self._run  # two networks at once may be more than the GPU holds
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        """End the other processes of the trial."""
        run = getattr(self, "_run", None)  # None if setup failed
        if isinstance(run, ReplicatedRun):
            run.close()
