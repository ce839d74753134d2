"""Ray shell of an adaptation trial: config in, stages called, metrics and checkpoints out."""

from pathlib import Path
from typing import Any

import torch
from ray import tune

from trainables.adapt.fit import AdaptationRun, Domains, build_net
from trainables.checkpoint import load_state, save_state
from trainables.config import TrialConfig, VAEConfig
from trainables.sampling.bins import assign_bins, difficulty_order
from trainables.sampling.sampler import DifficultyView
from trainables.stages import image_stage, pose_vae_stage

REFERENCE_VAE = VAEConfig()
"""Scores the target poses behind ``pck_bin/*``: the same for all trials, so that a bin holds
the same poses whatever a trial's own ``vae.*``."""


class AdaptationTrainable(tune.Trainable):  # type: ignore[misc]
    """One epoch of pre-training or adaptation per step.

    Config keys: ``fields`` (flat field paths of a :class:`TrialConfig`), ``cache`` (a
    :class:`trainables.stages.StageCache`), ``num_threads``, ``read_test``.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Fetch or compute the stages and build the network."""
        torch.set_num_threads(config["num_threads"])
        trial = TrialConfig.from_flat(config["fields"])
        cache, num_threads = config["cache"], config["num_threads"]
        source, source_stage = image_stage(cache, trial.data, "source", num_threads)
        target, target_stage = image_stage(cache, trial.data, "target", num_threads)
        inputs = (source, source_stage), (target, target_stage)
        read_test = config["read_test"]
        scores, vae_stage = pose_vae_stage(
            cache, *inputs, trial.vae, trial.seed, splits=("source/train",)
        )
        judged = ("target/val", "target/test") if read_test else ("target/val",)
        reference, reference_stage = pose_vae_stage(
            cache, *inputs, REFERENCE_VAE, seed=0, splits=judged
        )
        difficulty = scores.scores["source/train"]

        def ids(store: Any, name: str) -> list[str]:
            return [store.ids[i] for i in store.splits[name]]

        train_ids = ids(source, "train")
        bin_count = trial.evaluation.bin_count
        domains = Domains(
            source=source,
            target=target,
            difficulty=DifficultyView(
                num_samples=len(train_ids),
                order=difficulty_order(difficulty, train_ids),
                bin_index=assign_bins(difficulty, train_ids, trial.bins.count),
            ),
            target_val_bins=assign_bins(
                reference.scores["target/val"], ids(target, "val"), bin_count
            ),
            target_test_bins=(
                assign_bins(reference.scores["target/test"], ids(target, "test"), bin_count)
                if read_test
                else None
            ),
        )
        net = build_net(trial, source.skeleton.num_joints)
        if trial.net.weights is not None:
            net.backbone.load_imagenet(Path(trial.net.weights))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._run = AdaptationRun(trial, domains, net, device)
        self._stages = {
            "images/source": source_stage.hit,
            "images/target": target_stage.hit,
            "pose_vae": vae_stage.hit,
            "pose_vae/reference": reference_stage.hit,
        }
        self._digests = {"source": source.digest, "target": target.digest}
        self._active_units = scores.active_units

    def step(self) -> dict[str, Any]:
        """Train and evaluate one epoch."""
        metrics = self._run.run_epoch()
        metrics["vae/active_units"] = float(self._active_units)
        return {
            "metrics": metrics,
            "step": self._run.epoch,
            "num_steps": self._run.total_epochs,
            "stages": self._stages,
            "digests": self._digests,
            "done": self._run.is_done,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the run's state."""
        save_state(Path(checkpoint_dir), self._run.state_dict())

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Continue from a written state."""
        self._run.load_state_dict(load_state(Path(checkpoint_dir)))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in this process."""
        self.setup(new_config)
        return True
