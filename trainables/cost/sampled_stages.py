"""The stages of a trial on a small sample of its images, to measure what the trial costs.

The keys are those of the real stages, so that what a storage has already is known.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.adapt.adaptation_run import AdaptationRun
from trainables.adapt.methods import build_net
from trainables.config import FOLDER_DOMAINS, DataConfig, TrialConfig, VAEConfig
from trainables.data.image_store import ImageStore, build_image_store
from trainables.data.leeds import read_leeds
from trainables.data.scene import CHUNK
from trainables.data.splits import SPLITS
from trainables.distributed.shard import WHOLE, Shard
from trainables.stages.data_stages import ImageStage, image_stage, pose_vae_stage_inputs
from trainables.stages.protocol import Outcome, StageClaim
from trainables.stages.trial_stages import TrialStages

NUM_DECODED = 64
"""Images of a folder that are decoded. A rendered domain makes a whole chunk in any case."""

Look = Callable[[str, Mapping[str, Any]], tuple[str, bool]]
"""Stage name and inputs to the stage's key and whether the storage has it."""


@dataclass(frozen=True)
class SampledEntry:
    """A stage made of the sample under the key of the real one."""

    path: Path
    key: str
    hit: bool
    outcome: Outcome
    seconds: float = 0.0


class SampledCache:
    """A stage cache that computes stages from the sample, and knows which real ones exist.

    Args:
        folder: Where samples are made; removed by whoever made it.
        look: Tells of the real stages.
    """

    def __init__(self, folder: Path, look: Look) -> None:
        self._folder = folder
        self._look = look
        self._samples: dict[str, Path] = {}

    def set_images(self, role: str, folder: Path) -> None:
        """Give the sample of a domain, which stands for all of its images."""
        self._samples[f"images/{role}"] = folder

    def get(
        self, stage: str, inputs: Mapping[str, Any], compute: Callable[[Path], None]
    ) -> SampledEntry:
        """See :class:`trainables.stages.protocol.StageCache`.

        One sample of a style network stands for all, whatever their steps.
        """
        key, is_there = self._look(stage, inputs)
        named = {"images": f"images/{inputs.get('role')}", "style": stage}
        name = named.get(stage, f"{stage}/{key}")
        if name not in self._samples:
            folder = self._folder / name
            folder.mkdir(parents=True)
            compute(folder)
            self._samples[name] = folder
        return SampledEntry(self._samples[name], key, is_there, "hit" if is_there else "miss")

    def claim(
        self, stage: str, inputs: Mapping[str, Any], should_stop: Callable[[], bool] | None = None
    ) -> StageClaim:
        """Nothing that is measured takes a stage over several reports."""
        raise NotImplementedError(f"a sample of the stage {stage} cannot be claimed")


@dataclass(frozen=True)
class SampledImages:
    """A domain's sample and what it says of all images.

    Attributes:
        folder: Store of the sample.
        num: Images of the real domain.
        seconds: What making all of them takes.
        bytes: Their size on disk.
    """

    folder: Path
    num: int
    seconds: float
    bytes: int


def sample_images(data: DataConfig, role: str, folder: Path, num_threads: int) -> SampledImages:
    """Render or decode a few images; time and size scale with their number.

    Reading a data set's labels takes the same for any sample and is counted once.

    Raises:
        FileNotFoundError, ValueError: If the data set is missing or damaged.
    """
    domain, root, num = (
        (data.source, data.source_root, data.num_source)
        if role == "source"
        else (data.target, data.target_root, data.num_target)
    )
    path = None if root is None else Path(root)
    fixed_s, num_sampled = 0.0, min(num, CHUNK)
    if domain in FOLDER_DOMAINS and path is not None:
        started = time.perf_counter()
        num = len(read_leeds(domain, path, num).image_paths)
        fixed_s = time.perf_counter() - started
        num_sampled = min(num, NUM_DECODED)
    started = time.perf_counter()
    build_image_store(
        folder, role, domain, path, num_sampled, data.image_size, seed=0, num_threads=num_threads
    )
    scaled_s = max(time.perf_counter() - started - fixed_s, 0.0) * num / num_sampled
    size = sum(file.stat().st_size for file in folder.iterdir())
    return SampledImages(folder, num, fixed_s + scaled_s, round(size * num / num_sampled))


class TimedRun(AdaptationRun):
    """A run that notes how long the training of an epoch took, and trains a few steps only."""

    train_s = 0.0
    """Seconds of the last epoch's training."""

    def set_steps(self, steps: int) -> None:
        """Train so many steps in the following epochs."""
        adapt = replace(self._config.adapt, steps_per_epoch=steps)
        self._config = replace(self._config, adapt=adapt)

    @property
    def steps(self) -> int:
        """Steps of the following epochs."""
        return self._config.adapt.steps_per_epoch

    def _train(self, weights: Any) -> dict[str, float]:
        started = time.perf_counter()
        losses = super()._train(weights)  # ends with losses on the CPU, so a GPU has finished
        self.train_s = time.perf_counter() - started
        return losses


@dataclass(frozen=True)
class SampledStages(TrialStages):
    """A trial's stages on the sample, its evaluation splits at a share of their real size.

    Attributes:
        num: ``source`` and ``target`` to the number of images of the real domains.
        share: Of the images that an evaluation looks at, in (0, 1].
    """

    num: Mapping[str, int]
    share: float = 1.0

    def timed_run(self, device: torch.device) -> TimedRun:
        """A run on the sample, not yet trained."""
        net = build_net(self.trial, self._source[0].skeleton.num_joints)
        return TimedRun(self.trial, self._domains(device), net, device, WHOLE)

    @property
    def target(self) -> ImageStore:
        """The sample of the target."""
        return self._target[0]

    def __call__(self, device: torch.device, shard: Shard) -> NoReturn:
        """Not for several processes."""
        raise NotImplementedError("a sampled run is of one process")

    @cached_property
    def _source(self) -> ImageStage:
        return self._resized("source")

    @cached_property
    def _target(self) -> ImageStage:
        return self._resized("target")

    def _evaluation_bins(self, split: str) -> NDArray[np.int64]:
        """Any bins: repeated images have no order, and a bin costs the same whatever is in it."""
        num = len(self._target[0].splits[split])
        return np.arange(num, dtype=np.int64) % self.trial.evaluation.bin_count

    def _resized(self, role: str) -> ImageStage:
        """Evaluation splits of a domain that repeat the sample's images up to their number."""
        store, entry = image_stage(self.cache, self.trial.data, role, self.num_threads)
        splits = {
            name: rows
            if name == "train"
            else np.resize(rows, max(8, round(SPLITS[role][name] * self.num[role] * self.share)))
            for name, rows in store.splits.items()
        }
        return ImageStage(replace(store, splits=splits), entry)


def has_pose_vae(cache: SampledCache, look: Look, trial: TrialConfig, vae: VAEConfig) -> bool:
    """Whether the storage has a trial's Pose VAE; nothing is computed.

    Args:
        cache: Holds samples of both domains.
        look: Tells of the real stages.
        trial: Of whose domains and seed.
        vae: Settings of the Pose VAE.
    """
    source, target = (
        image_stage(cache, trial.data, role, 1)[1].key for role in ("source", "target")
    )
    inputs = pose_vae_stage_inputs(source, target, vae, trial.seed, ("source/train",))
    return look("pose_vae", inputs)[1]


def has_training(stages: SampledStages, look: Look, num_replicas: int) -> bool:
    """Whether the storage has a trial's whole training, so that it will be told it.

    Args:
        stages: Of the trial.
        look: Tells of the real stages.
        num_replicas: Processes of the trial.
    """
    span = stages.training_span(num_replicas)
    return span is not None and look(span.stage, span.inputs)[1]
