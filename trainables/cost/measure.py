"""What a trial of one configuration costs: a few real steps of each of its stages, timed.

What scales with what:

* images: the number of images of a domain;
* Pose VAE: epochs, measured over the real number of poses (above :data:`MAX_POSES`, in
  proportion to them);
* style network: steps of encoder and decoder; style statistics: training images of both domains;
* training: steps of each phase; a step is of the real batch size, so that memory is real too;
* evaluation: once an epoch, images of the validation splits and up to 200 for the validators.

On several GPUs a trial's process trains on its part of each batch; what the processes exchange
is not measured.
"""

import math
import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainables.checkpoint import save_states
from trainables.config import TrialConfig, VAEConfig
from trainables.cost.measurement import Measurement
from trainables.cost.sampled_stages import (
    Look,
    SampledCache,
    SampledImages,
    SampledStages,
    TimedRun,
    has_pose_vae,
    has_training,
    sample_images,
)
from trainables.data.image_store import ImageStore, open_image_store
from trainables.data.splits import SPLITS
from trainables.evaluation.evaluate import evaluate, with_target_statistics
from trainables.evaluation.validation import MAX_IMAGES
from trainables.pose_vae.fit import fit_pose_vae
from trainables.pose_vae.score import corruption_auc, rank_stability, score_poses
from trainables.seeding import torch_generator
from trainables.stages.data_stages import image_stage, new_pose_vae, shared_joints, vae_inputs
from trainables.stages.style_stage import style_stage
from trainables.stages.trial_stages import REFERENCE_VAE
from trainables.style.style_fit import UnlabelledImages, train_style_net

MAX_POSES = 20_000
"""Poses that an epoch of a Pose VAE is measured over."""
VAE_EPOCHS = 4
STYLE_STEPS = 6
TRAINING_S = 1.2
"""Aim for the time of a measured epoch's training; a step that takes longer is done once."""
MAX_STEPS = 8
EVALUATION_S = 1.5
"""Aim for the time of an evaluation; a costlier one is measured on a share of its images."""
MEASURED_EPOCHS = 2
_ENDLESS = 10**6


@dataclass(frozen=True)
class Job:
    """What to measure.

    Attributes:
        trainable: ``adaptation`` or ``pose_vae``.
        fields: Flat fields of the trial.
        vaes: Flat fields of other trials, to tell whose Pose VAE the storage has.
        num_threads: Threads of the CPU.
        gpus: GPUs of a trial; 0 measures on the CPU.
        given: Flat fields of other trials, to tell whose whole training it has.
    """

    trainable: str
    fields: Mapping[str, Any]
    vaes: Sequence[Mapping[str, Any]]
    num_threads: int
    gpus: float = 0.0
    given: Sequence[Mapping[str, Any]] = ()


class Workload:
    """A trial on a sample of its images, measured at its start and then run on as load.

    Args:
        job: What to measure.
        look: Tells which stages the storage has.
        folder: Empty folder for samples.

    Raises:
        FileNotFoundError, ValueError: If a data set is missing or damaged.
        RuntimeError: If the device's memory does not suffice, among others.
    """

    def __init__(self, job: Job, look: Look, folder: Path) -> None:
        torch.set_num_threads(job.num_threads)
        self._job = job
        self._look = look
        self._trial = _own_part(TrialConfig.from_flat(job.fields), job.gpus)
        self._folder = folder
        self._cache = SampledCache(folder, look)
        is_gpu = job.gpus > 0 and torch.cuda.is_available()
        self._device = torch.device("cuda" if is_gpu else "cpu")
        self._run: TimedRun | None = None
        self._images: dict[str, SampledImages] = {}

    def measure(self) -> Measurement:
        """Measure; takes seconds for a small network, longer for a large one."""
        for role in ("source", "target"):
            place = Path(tempfile.mkdtemp(dir=self._folder))
            sample = sample_images(self._trial.data, role, place, self._job.num_threads)
            self._images[role] = sample
            self._cache.set_images(role, place)
        source = open_image_store(self._images["source"].folder)
        target = open_image_store(self._images["target"].folder)
        stages = {
            f"images/{role}": image_stage(self._cache, self._trial.data, role, 1)[1].hit
            for role in self._images
        }
        vae_epoch_s, report_s = self._vae_costs(source, target, self._trial.vae)
        measured = Measurement(
            device=self._device_name(),
            stages=stages,
            images_s={role: sample.seconds for role, sample in self._images.items()},
            images_bytes={role: sample.bytes for role, sample in self._images.items()},
            vae_epoch_s=vae_epoch_s,
            evaluation_s=[report_s],
        )
        if self._job.trainable == "adaptation":
            measured = self._adaptation(measured, source, target)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        gpu = torch.cuda.max_memory_reserved() if self._device.type == "cuda" else 0
        return replace(measured, peak_bytes=peak, peak_gpu_bytes=gpu)

    def go_on(self) -> None:
        """Train a little more, so that what is measured beside this is measured under load."""
        if self._run is not None:
            self._run.run_epoch()
        else:
            source, target = (open_image_store(image.folder) for image in self._images.values())
            self._vae_costs(source, target, self._trial.vae)

    def _device_name(self) -> str:
        return torch.cuda.get_device_name() if self._device.type == "cuda" else "cpu"

    def _vae_costs(
        self, source: ImageStore, target: ImageStore, vae: VAEConfig
    ) -> tuple[float, float]:
        """Seconds of an epoch over all source training poses, and of a report on two VAEs."""
        num = round(SPLITS["source"]["train"] * self._images["source"].num)
        rows = np.resize(source.splits["train"], min(num, MAX_POSES))
        joints = shared_joints(source, target)
        poses, mask = vae_inputs(source, rows, joints, vae.norm)
        model = new_pose_vae(int(joints.sum()), vae, 0)
        generator = torch_generator(0, "measure")
        epochs = fit_pose_vae(model, poses, mask, vae.kl_weight, VAE_EPOCHS + 1, generator)
        next(epochs)  # warm-up
        started = time.perf_counter()
        for _ in islice(epochs, VAE_EPOCHS):
            pass
        epoch_s = (time.perf_counter() - started) / VAE_EPOCHS * num / len(rows)
        started = time.perf_counter()
        scores = score_poses(model, poses, mask)
        corruption_auc(model, poses, mask, generator)
        rank_stability(scores, scores)
        held_out = SPLITS["source"]["val"] / SPLITS["source"]["train"]
        return epoch_s, (time.perf_counter() - started) * held_out * num / len(rows)

    def _adaptation(
        self, measured: Measurement, source: ImageStore, target: ImageStore
    ) -> Measurement:
        trial = self._trial
        vaes = [TrialConfig.from_flat(fields) for fields in self._job.vaes]
        measured = replace(
            measured,
            stored_vaes=[has_pose_vae(self._cache, self._look, v, v.vae) for v in vaes],
            reference_vae_epoch_s=self._vae_costs(source, target, REFERENCE_VAE)[0],
        )
        if _may_restyle(trial):
            measured = self._style(measured, source, target)
        num = {role: image.num for role, image in self._images.items()}
        stages = SampledStages(trial, self._cache, self._job.num_threads, False, num)
        measured = replace(measured, stored_trainings=self._stored_trainings(num))
        # Sampled here, before the clock starts; a trial's start below only opens them.
        shared = {n: o[0] == "hit" for n, o in stages.lineage.items() if n != "pose_vae"}
        share = self._share(stages)
        stages = replace(stages, share=share)
        started = time.perf_counter()
        adapt = replace(trial.adapt, pretrain_epochs=1 + MEASURED_EPOCHS, epochs=_ENDLESS)
        run = replace(stages, trial=replace(trial, adapt=adapt)).timed_run(self._device)
        built_s = time.perf_counter() - started
        if _may_restyle(trial):  # nearly all of it are the styles of the training images
            sampled = len(source.splits["train"]) + len(target.splits["train"])
            real = sum(SPLITS[role]["train"] * n for role, n in num.items())
            built_s *= max(1.0, real / sampled)
        self._run = run
        first_s, pretrain, evaluations = self._phase(run)
        first_adapt_s, adapt_s, more = self._phase(run)
        evaluation_s = [seconds / share for seconds in evaluations + more]
        size, written_s = _checkpoint_costs(run, self._folder)
        return replace(
            measured,
            stages=measured.stages | shared,
            vae_bytes=_size(self._folder / "pose_vae"),
            setup_s=built_s + first_s + first_adapt_s,
            pretrain_step_s=pretrain,
            adapt_step_s=adapt_s,
            evaluation_s=evaluation_s,
            final_s=self._final_s(run, stages) / share,
            checkpoint_s=written_s,
            checkpoint_bytes=size,
        )

    def _stored_trainings(self, num: Mapping[str, int]) -> list[bool]:
        threads, replicas = self._job.num_threads, max(1, int(self._job.gpus))
        found = []
        for trial in map(TrialConfig.from_flat, self._job.given):
            stages = SampledStages(trial, self._cache, threads, False, num)
            # There is a sample of the style network if this process's own trial needs one.
            may_ask = _may_restyle(self._trial) or not _may_restyle(trial)
            found.append(may_ask and has_training(stages, self._look, replicas))
        return found

    def _share(self, stages: SampledStages) -> float:
        """Share of an evaluation's images that can be looked at in :data:`EVALUATION_S`."""
        size = self._trial.data.image_size
        net = stages.timed_run(self._device).net.eval()
        images = torch.zeros((8, 3, size, size), device=self._device)
        with torch.no_grad():
            net(images)
            started = time.perf_counter()
            net(images).sum().item()  # waits for a GPU
        image_s = (time.perf_counter() - started) / len(images)
        num = {role: image.num for role, image in self._images.items()}
        looked_at = 0.1 * num["source"] + 0.2 * num["target"] + 5 * MAX_IMAGES
        return min(1.0, EVALUATION_S / (image_s * looked_at))

    def _phase(self, run: TimedRun) -> tuple[float, list[float], list[float]]:
        """What the phase's first step takes beyond another, its steps, its evaluations."""
        run.set_steps(1)
        run.run_epoch()
        first_s = run.train_s
        run.set_steps(min(MAX_STEPS, max(1, math.ceil(TRAINING_S / max(first_s, 1e-4)))))
        steps, evaluations = [], []
        for _ in range(MEASURED_EPOCHS):
            started = time.perf_counter()
            run.run_epoch()
            evaluations.append(time.perf_counter() - started - run.train_s)
            steps.append(run.train_s / run.steps)
        return max(0.0, first_s - min(steps)), steps, evaluations

    def _final_s(self, run: TimedRun, stages: SampledStages) -> float:
        target, rows = stages.target, stages.target.splits["val"]
        started = time.perf_counter()
        adapted = with_target_statistics(run.net, target.images, target.splits["train"])
        evaluate(adapted, target, rows, self._trial.data.heatmap_size)
        return time.perf_counter() - started

    def _style(self, measured: Measurement, source: ImageStore, target: ImageStore) -> Measurement:
        trial = self._trial
        images = [image_stage(self._cache, trial.data, role, 1) for role in self._images]
        short = replace(trial.style, encoder_steps=min(1, trial.style.encoder_steps), steps=1)
        threads, device = self._job.num_threads, self._device
        style_stage(self._cache, images[0], images[1], short, threads, device)
        domains = (
            UnlabelledImages.training_split(source),
            UnlabelledImages.training_split(target),
        )

        def seconds(encoder_steps: int, steps: int) -> float:
            style = replace(short, encoder_steps=encoder_steps, steps=steps)
            started = time.perf_counter()
            train_style_net(domains, style, torch_generator(0, "measure"), device)
            return time.perf_counter() - started  # its losses have come to the CPU

        base = seconds(1, 1)
        return replace(
            measured,
            style_fixed_s=base,
            style_encoder_step_s=max(0.0, seconds(1 + STYLE_STEPS, 1) - base) / STYLE_STEPS,
            style_step_s=max(0.0, seconds(1, 1 + STYLE_STEPS) - base) / STYLE_STEPS,
            style_bytes=_size(self._folder / "style"),
        )


def _own_part(trial: TrialConfig, gpus: float) -> TrialConfig:
    """The trial as one of its processes trains it."""
    batch_size = max(2, trial.adapt.batch_size // max(1, int(gpus)))
    return replace(trial, adapt=replace(trial.adapt, batch_size=batch_size))


def _may_restyle(trial: TrialConfig) -> bool:
    udape = trial.adapt.udape
    is_used = udape.style_alpha > 0 and max(udape.style_source, udape.style_target) > 0
    return trial.adapt.method == "udape" and is_used


def _checkpoint_costs(run: TimedRun, folder: Path) -> tuple[int, float]:
    place = Path(tempfile.mkdtemp(dir=folder))
    started = time.perf_counter()
    save_states(place, {"last": run.state_dict(), "best": run.best})
    return _size(place), time.perf_counter() - started


def _size(folder: Path) -> int:
    """Bytes of the files of a folder; of several stages of a kind, of the largest."""
    inner = [path for path in folder.iterdir() if path.is_dir()]
    if inner:
        return max(_size(path) for path in inner)
    return sum(path.stat().st_size for path in folder.iterdir())
