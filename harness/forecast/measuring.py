"""A few real steps of a trial, on a sample of its images, in a process like a trial's own.

As many processes measure at once as the study has trials at once (at most :data:`MAX_AT_ONCE`):
trials share caches, memory bandwidth and the power budget of the cores, so each is slower than
alone. Of a trial on several GPUs one process is measured; what they exchange is not.
"""

import multiprocessing
import os
import resource
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from pathlib import Path

import torch

from harness.nodes.thread_waits import limit_spinning
from harness.spec.sections import Resources
from harness.stage_cache.cache import DiskStageCache
from harness.yaml.text import SpecError
from trainables.checkpoint import save_states
from trainables.child_process import end_with_parent
from trainables.config import TrialConfig
from trainables.data.render.scene import CHUNK
from trainables.data.splits import expected_sizes
from trainables.distributed.shard import WHOLE
from trainables.evaluation.validation import MAX_IMAGES
from trainables.stages.data_stages import image_stage, pose_vae_stage
from trainables.stages.trial_stages import TrialStages

MAX_AT_ONCE = 8
NUM_STEPS, STYLE_STEPS = 5, 30
"""Steps of each phase of training, and of encoder and decoder, that are measured."""
LONG_STEP_S = 10.0
"""Of steps that take this long one is measured: their times hardly differ."""


@dataclass(frozen=True)
class Measurement:
    """What a trial costs, scaled to its real number of images; seconds and bytes.

    Attributes:
        device: ``cpu`` or the name of the GPU that was measured.
        stages: Name of a stage, as in a trial's lineage, to its time and its size on disk; that of
            images is the time of one core.
        memory_bytes: Largest resident memory of the process.
        gpu_bytes: Largest reserved memory of the GPU.
        fixed_s: Start once the stages are there, and what the first steps and the last
            evaluation take beyond others.
        phases: Of source pre-training and of the method, a step's time, and that of evaluation
            and checkpoint after an epoch.
        checkpoint_bytes: A checkpoint, last state and best network.
    """

    device: str
    stages: Mapping[str, tuple[float, int]]
    memory_bytes: int = 0
    gpu_bytes: int = 0
    fixed_s: float = 0.0
    phases: tuple[tuple[float, float], ...] = ((0.0, 0.0), (0.0, 0.0))
    checkpoint_bytes: int = 0


def measure_trials(
    trials: Sequence[TrialConfig], trainable: str, resources: Resources, at_once: int
) -> list[Measurement]:
    """Measure trials in fresh processes.

    Args:
        trials: What to measure.
        trainable: ``adaptation`` or ``pose_vae``.
        resources: What one run gets.
        at_once: Trials of the study at once; spare processes repeat the first trials as load.

    Raises:
        SpecError: If a trial cannot be measured; one sentence.
    """
    limit_spinning()
    at_once, context = min(at_once, MAX_AT_ONCE), multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="measure-") as folder,
        ProcessPoolExecutor(at_once, context, _prepare, (folder, resources)) as pool,
    ):
        jobs = [
            pool.submit(measure, trial, trainable, resources, Path(folder, f"{number}"))
            for trial, number in zip(cycle(trials), range(max(at_once, len(trials))), strict=False)
        ]
        try:
            return [job.result() for job in jobs][: len(trials)]
        except (OSError, ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
            pool.shutdown(cancel_futures=True)
            # CUDA's OutOfMemoryError has a page of advice after its sentence.
            why = (str(error) or repr(error)).strip().splitlines()[0]
            raise SpecError(f"cannot measure a trial: {why}") from error


def _prepare(folder: str, resources: Resources) -> None:
    """Make the process see no GPU that is not its, and end with its parent, however that ends."""
    warnings.simplefilter("ignore")
    if not resources.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    end_with_parent(partial(shutil.rmtree, folder, ignore_errors=True))


def measure(trial: TrialConfig, trainable: str, resources: Resources, folder: Path) -> Measurement:
    """Measure a trial in this process, with samples in ``folder``; see :func:`measure_trials`.

    Raises:
        OSError, ValueError, ArithmeticError, RuntimeError: If it cannot be trained.
    """
    threads, is_gpu = resources.cpus, torch.cuda.is_available()
    torch.set_num_threads(threads)
    sample, cache = _sample(trial, max(1, int(resources.gpus))), DiskStageCache(folder)
    pair = {role: image_stage(cache, sample, role, 1) for role in ("source", "target")}
    taken = {role: sum(map(len, images.store.splits.values())) for role, images in pair.items()}
    # A data set with fewer images than a sample has no more.
    num = {role: n if n < CHUNK else trial.data.of(role)[2] for role, n in taken.items()}
    source_more, target_more = (num[role] / taken[role] for role in num)
    more = {
        "images/source": source_more,
        "images/target": target_more,
        "pose_vae": source_more,
        "pose_vae/reference": source_more,
        "style": (trial.style.encoder_steps + trial.style.steps) / (2 * STYLE_STEPS),
    }
    # The first fit of all does not count.
    warm_up = replace(sample.vae, epochs=1)
    pose_vae_stage(cache, pair["source"], pair["target"], warm_up, 0, ("source/train",))
    stages, costs = TrialStages(sample, cache, threads, read_test=False), {}
    for name, (_, key, seconds) in stages.lineage.items():
        size = _size(folder / name.split("/")[0] / str(key))
        size = round(size * more[name]) if name.startswith("images") else size
        costs[name] = float(seconds) * more[name], size
    measured = Measurement(torch.cuda.get_device_name() if is_gpu else "cpu", costs)
    if trainable == "adaptation":
        # Where images are restyled, a run starts with the styles of all of them.
        start_more = max(source_more, target_more) if trial.restyling is not None else 1.0
        judged_more = _images_judged(**num) / _images_judged(**taken)
        measured = _trained(measured, stages, start_more, judged_more)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    gpu = torch.cuda.max_memory_reserved() if is_gpu else 0
    return replace(measured, memory_bytes=memory, gpu_bytes=gpu)


def _sample(trial: TrialConfig, num_replicas: int) -> TrialConfig:
    """The trial on few images, as one of its processes trains it; sampling costs nothing."""
    return TrialConfig.from_flat({
        **trial.to_flat(),
        "data.num_source": min(trial.data.num_source, CHUNK),
        "data.num_target": min(trial.data.num_target, CHUNK),
        "style.encoder_steps": STYLE_STEPS, "style.steps": STYLE_STEPS,
        "adapt.pretrain_epochs": 2, "adapt.epochs": 2, "adapt.steps_per_epoch": 1,
        "adapt.batch_size": max(2, trial.adapt.batch_size // num_replicas),
        "sampling.strategy": "all", "sampling.trim": 0.0,
        "bins.count": 2, "bins.subset": None, "evaluation.bin_count": 2,
    })  # fmt: skip


def _images_judged(source: int, target: int) -> int:
    """Images that an evaluation and its validators show to the network, of so many."""
    of_source, of_target = expected_sizes(source, "source"), expected_sizes(target, "target")
    validated = 3 * min(MAX_IMAGES, of_target["train"]) + min(MAX_IMAGES, of_source["val"])
    return of_source["val"] + of_target["val"] + validated


def _trained(
    measured: Measurement, stages: TrialStages, start_more: float, judged_more: float
) -> Measurement:
    """Add the costs of training; the factors are of the time of a start and of an evaluation."""
    started = time.perf_counter()
    run = stages(torch.device("cpu" if measured.device == "cpu" else "cuda"), WHOLE)
    fixed_s, phases = (time.perf_counter() - started) * start_more, []
    run.run_epoch()  # of one step; warms up
    for _ in range(2):
        first_s = _seconds(partial(run.train, 1))
        num_steps = NUM_STEPS if first_s < LONG_STEP_S else 1
        step_s = _seconds(partial(run.train, num_steps)) / num_steps
        judged_s = max(0.0, _seconds(run.run_epoch) - step_s)
        phases.append((step_s, judged_s * judged_more))
        fixed_s += max(0.0, first_s - step_s)
    fixed_s += max(0.0, _seconds(run.run_epoch) - step_s - judged_s) * judged_more
    with tempfile.TemporaryDirectory() as place:
        states = {"last": run.state_dict(), "best": run.best}
        saved_s = _seconds(partial(save_states, Path(place), states))
        size = _size(Path(place))
    after = tuple((step_s, judged_s + saved_s) for step_s, judged_s in phases)
    return replace(measured, fixed_s=fixed_s, phases=after, checkpoint_bytes=size)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()  # ends with numbers on the CPU, so a GPU has finished
    return time.perf_counter() - started


def _size(folder: Path) -> int:
    # A prepared store is not in the cache.
    return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0
