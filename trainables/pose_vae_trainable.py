"""Ray shell of a Pose VAE trial: measures, without target labels, how well scores rank poses."""

from typing import Any

import torch
from ray import tune

from trainables.builtins import num_pose_vae_reports
from trainables.config import TrialConfig
from trainables.pose_vae.fit import fit_pose_vae
from trainables.pose_vae.score import (
    corruption_auc,
    information,
    information_metrics,
    rank_stability,
    score_poses,
)
from trainables.registry import load_plugins
from trainables.seeding import derive_seed, torch_generator
from trainables.stages.data_stages import (
    image_stage,
    lineage,
    new_pose_vae,
    shared_joints,
    vae_inputs,
)


class PoseVAETrainable(tune.Trainable):
    """One of at most five equal parts of the epochs per step, for two VAEs of different seeds.

    Metrics on source validation poses: ``vae/corruption_auc`` (whether scores separate poses from
    poses with one joint exchanged) and ``vae/rank_stability`` (Spearman correlation between the
    two VAEs' scores); for the first VAE ``vae/active_units``, ``vae/kl``,
    ``vae/mean_pose_correlation`` and ``vae/is_collapsed``. ``vae/reconstruction`` is the first
    VAE's mean over its last epoch of training.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Read the poses and start both VAEs."""
        torch.set_num_threads(config["num_threads"])
        load_plugins(config["plugins"])
        trial = TrialConfig.from_flat(config["fields"])
        cache, threads = config["cache"], config["image_threads"]
        source, source_stage = image_stage(cache, trial, "source", threads)
        target, target_stage = image_stage(cache, trial, "target", threads)
        joints = shared_joints(source, target)
        poses, mask = vae_inputs(source, source.splits["train"], joints, trial.vae.norm)
        self._held_out = vae_inputs(source, source.splits["val"], joints, trial.vae.norm)
        self._trial = trial
        seeds = (trial.seed, derive_seed(trial.seed, "second_vae") % 2**31)
        self._models = [new_pose_vae(int(joints.sum()), trial.vae, seed) for seed in seeds]
        self._fits = [
            fit_pose_vae(
                model,
                poses,
                mask,
                trial.vae.kl_weight,
                trial.vae.epochs,
                torch_generator(seed, "pose_vae", "fit"),
            )
            for model, seed in zip(self._models, seeds, strict=True)
        ]
        self._num_steps = num_pose_vae_reports(trial.to_flat())
        self._reports = 0
        self._stages = lineage({"images/source": source_stage, "images/target": target_stage})
        self._digests = {"source": source.digest, "target": target.digest}

    def step(self) -> dict[str, Any]:
        """Train until the next report and evaluate the scores."""
        self._reports += 1
        until = self._trial.vae.epochs * self._reports // self._num_steps
        reached = []
        for fit in self._fits:
            for epoch in fit:
                if epoch.epoch == until:
                    reached.append(epoch)
                    break
        first, second = (score_poses(model, *self._held_out) for model in self._models)
        generator = torch_generator(self._trial.seed, "corruption")
        metrics = {
            "vae/corruption_auc": corruption_auc(self._models[0], *self._held_out, generator),
            "vae/rank_stability": rank_stability(first, second),
            "vae/reconstruction": reached[0].reconstruction,
            **information_metrics(information(self._models[0], *self._held_out)),
        }
        return {
            "metrics": metrics,
            "step": self._reports,
            "num_steps": self._num_steps,
            "stages": self._stages,
            "digests": self._digests,
            "done": self._reports == self._num_steps,
        }

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in this process."""
        self.setup(new_config)
        return True
