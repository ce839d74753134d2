"""The stages of a trial's data: images of a domain, a Pose VAE and its scores."""

import os
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.config import TrialConfig, VAEConfig
from trainables.data.domain import image_request
from trainables.data.image_store import ImageStore, open_image_store
from trainables.data.prepared import prepared_store
from trainables.data.skeleton_file import skeleton_of
from trainables.data.store_writer import write_store
from trainables.network.weight_file import read_weights
from trainables.pose_vae.fit import VAEEpoch, fit_pose_vae
from trainables.pose_vae.model import PoseVAE
from trainables.pose_vae.normalise import pose_vae_inputs
from trainables.pose_vae.pose_scorer import PoseScorer
from trainables.pose_vae.score import Information, information
from trainables.registry import DOMAINS, source_digest
from trainables.seeding import derive_seed, torch_generator
from trainables.stages.protocol import Outcome, StageCache, StageEntry

IMAGES_VERSION = 7
POSE_VAE_VERSION = 5
"""Part of the stage keys: raised when changed code of a stage changes its results."""

_MODEL_FILE = "model.pt"
_INFORMATION_FILE = "information.npy"


class PreparedEntry(NamedTuple):
    """A store that was prepared before the study, as an entry of the stage cache."""

    path: Path
    key: str
    outcome: Outcome = "hit"
    seconds: float = 0.0


class ImageStage(NamedTuple):
    """Images of a domain and their cache entry."""

    store: ImageStore
    entry: StageEntry


@dataclass(frozen=True)
class ScoredPoses:
    """A Pose VAE and its scores.

    Attributes:
        scores: ``<role>/<split>`` to the (N,) scores of its poses, NaN where unscored.
        information: How much the latent code says about the source training poses.
        model: The fitted Pose VAE on the CPU, frozen, of the J joints in ``joints``.
        joints: (K,) bool, the skeleton's joints that both domains label.
    """

    scores: dict[str, NDArray[np.float64]]
    information: Information
    model: PoseVAE
    joints: NDArray[np.bool_]


class PoseVAEStage(NamedTuple):
    """A Pose VAE with its scores, and its cache entry."""

    scored: ScoredPoses
    entry: StageEntry


def lineage(entries: Mapping[str, StageEntry]) -> dict[str, list[str | float]]:
    """What a trial reports about its stages: name to outcome, key and seconds of computing.

    The values are lists, because Tune flattens the dicts of a report.
    """
    return {name: [entry.outcome, entry.key, entry.seconds] for name, entry in entries.items()}


def image_stage(cache: StageCache, trial: TrialConfig, role: str, num_threads: int) -> ImageStage:
    """Get or make the images of a trial's ``source`` or ``target`` domain.

    The domains are the same for every seed of a study: seeds vary training, not data.

    Args:
        cache: The stage cache.
        trial: Settings.
        role: ``source`` or ``target``.
        num_threads: Cores that may draw or decode, but never more than this process may use.
    """
    num_threads = min(num_threads, len(os.sched_getaffinity(0)))
    domain, request = trial.data.of(role)[0], image_request(trial, role, num_threads)
    prepared = prepared_store(domain, request)
    if prepared is not None and request.root is not None:
        return ImageStage(prepared, PreparedEntry(request.root, prepared_key(prepared)))
    entry = cache.get(
        "images",
        image_stage_inputs(trial, role),
        lambda folder: write_store(folder, domain, request),
    )
    return ImageStage(open_image_store(entry.path), entry)


def image_stage_key(
    trial: TrialConfig, role: str, key_of: Callable[[str, Mapping[str, Any]], str]
) -> str:
    """Key of the stage of :func:`image_stage`, which is not computed.

    Args:
        trial: Settings.
        role: ``source`` or ``target``.
        key_of: Stage name and inputs to the key.

    Raises:
        OSError: If the data set is missing.
    """
    prepared = prepared_store(trial.data.of(role)[0], image_request(trial, role, 1))
    if prepared is not None:
        return prepared_key(prepared)
    return key_of("images", image_stage_inputs(trial, role))


def prepared_key(store: ImageStore) -> str:
    """Key of the images of a prepared store, which is in no stage cache."""
    return f"prepared-{store.digest}"


def image_stage_inputs(trial: TrialConfig, role: str) -> dict[str, Any]:
    """What the stage of :func:`image_stage` depends on, unless the store is prepared.

    Raises:
        OSError: If the data set is missing.
    """
    domain, root, num = trial.data.of(role)
    entry, request = DOMAINS[domain], image_request(trial, role, 1)
    inputs = {
        "version": IMAGES_VERSION,
        "role": role,
        "domain": domain,
        "root": root,
        "files": entry.load().digest(request),
        "num": num,
        "image_size": trial.data.image_size,
        "skeleton": skeleton_of(domain, request.options).definition(),
    }
    if request.crop != "image":
        inputs |= {"crop": request.crop, "crop_scale": request.crop_scale}
    if request.reading:
        inputs["options"] = request.reading
    if not entry.is_builtin:  # its code has no version
        inputs["code"] = source_digest(entry)
    return inputs


def shared_joints(source: ImageStore, target: ImageStore) -> NDArray[np.bool_]:
    """(K,) bool: joints that both data sets label. A Pose VAE for both is trained on these.

    Reads only the visibility flags of the training splits, no coordinates.
    """
    seen = [store.visible[store.splits["train"]].any(0) for store in (source, target)]
    return np.asarray(seen[0] & seen[1])


def vae_inputs(
    store: ImageStore, rows: NDArray[np.int64], joints: NDArray[np.bool_], norm: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised poses (N, J, 2) and mask (N, J) of some samples, shared joints only."""
    return pose_vae_inputs(
        torch.from_numpy(store.keypoints_px[rows]),
        torch.from_numpy(store.visible[rows]),
        torch.from_numpy(joints),
        norm,
        store.image_size,
        store.skeleton.torso,
    )


def pose_vae_stage(
    cache: StageCache,
    source: ImageStage,
    target: ImageStage,
    vae: VAEConfig,
    seed: int,
    splits: tuple[str, ...],
) -> PoseVAEStage:
    """Get or fit a Pose VAE on the source training poses, with the scores of some splits.

    Args:
        cache: The stage cache.
        source: Source images.
        target: Target images.
        vae: Settings.
        seed: Seed of the fit.
        splits: ``<role>/<split>`` of the poses to score; the labels of others are not read.
    """
    inputs = pose_vae_stage_inputs(source.entry.key, target.entry.key, vae, seed, splits)
    stores = {"source": source.store, "target": target.store}
    entry = cache.get(
        "pose_vae", inputs, lambda folder: _fit_and_score(folder, stores, vae, seed, splits)
    )
    return PoseVAEStage(_load_scored(entry.path, vae, seed, splits), entry)


def pose_vae_stage_inputs(
    source_key: str, target_key: str, vae: VAEConfig, seed: int, splits: tuple[str, ...]
) -> dict[str, Any]:
    """What the stage of :func:`pose_vae_stage` depends on.

    Args:
        source_key: Stage key of the source images.
        target_key: Stage key of the target images.
        vae: Settings.
        seed: Seed of the fit.
        splits: ``<role>/<split>`` of the poses to score.
    """
    return {
        "version": POSE_VAE_VERSION,
        "source": source_key,
        "target": target_key,
        "seed": seed,
        "splits": list(splits),
        **{name: getattr(vae, name) for name in VAEConfig.__dataclass_fields__},
    }


def _load_scored(folder: Path, vae: VAEConfig, seed: int, splits: tuple[str, ...]) -> ScoredPoses:
    """Load what :func:`_fit_and_score` wrote, without running pickled code.

    Raises:
        ValueError: If the folder holds something else.
    """
    weights = read_weights(folder / _MODEL_FILE)
    try:
        joints = np.load(folder / "joints.npy", allow_pickle=False)
        model = new_pose_vae(int(joints.sum()), vae, seed)
        model.load_state_dict(weights)
        return ScoredPoses(
            scores={name: read_scores(folder, name) for name in splits},
            information=_read_information(folder),
            model=model.requires_grad_(False).eval(),
            joints=joints,
        )
    except (OSError, EOFError, ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{folder} is not a readable stage of a Pose VAE: {error}") from error


def _read_information(folder: Path) -> Information:
    units, kl_nats, correlation = np.load(folder / _INFORMATION_FILE, allow_pickle=False).tolist()
    return Information(int(units), kl_nats, correlation)


def read_scores(folder: Path, split: str) -> NDArray[np.float64]:
    """The (N,) scores of the poses of ``<role>/<split>`` in the folder of a Pose VAE's stage.

    Raises:
        OSError, ValueError: If there are none, or the file is damaged.
    """
    scores: NDArray[np.float64] = np.load(folder / _score_file(split), allow_pickle=False)
    return scores


def _score_file(split: str) -> str:
    return split.replace("/", "_") + ".npy"


def new_pose_vae(num_joints: int, vae: VAEConfig, seed: int) -> PoseVAE:
    """A Pose VAE initialised from the trial's seed tree, independent of the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "pose_vae", "init"))
        return PoseVAE(num_joints, vae.latent_dim, vae.hidden_dim)


def train_pose_vae(
    source: ImageStore, joints: NDArray[np.bool_], vae: VAEConfig, seed: int
) -> tuple[PoseVAE, list[VAEEpoch]]:
    """Fit a Pose VAE on the source training poses; return it and the means of its epochs."""
    poses, mask = vae_inputs(source, source.splits["train"], joints, vae.norm)
    model = new_pose_vae(int(joints.sum()), vae, seed)
    generator = torch_generator(seed, "pose_vae", "fit")
    return model, list(fit_pose_vae(model, poses, mask, vae.kl_weight, vae.epochs, generator))


def _fit_and_score(
    folder: Path,
    stores: Mapping[str, ImageStore],
    vae: VAEConfig,
    seed: int,
    splits: tuple[str, ...],
) -> None:
    joints = shared_joints(stores["source"], stores["target"])
    model, _ = train_pose_vae(stores["source"], joints, vae, seed)
    source = stores["source"]
    scorer = PoseScorer(model, joints, vae.norm, source.skeleton, source.image_size)
    for name in splits:
        role, split = name.split("/")
        store = stores[role]
        rows = store.splits[split]
        keypoints, visible = store.keypoints_px[rows], store.visible[rows]
        scores = scorer.calibrated(torch.from_numpy(keypoints), torch.from_numpy(visible))
        np.save(folder / _score_file(name), scores.double().numpy())
    found = information(model, *vae_inputs(source, source.splits["train"], joints, vae.norm))
    np.save(folder / _INFORMATION_FILE, np.array(astuple(found)))
    np.save(folder / "joints.npy", joints)
    torch.save(model.state_dict(), folder / _MODEL_FILE)
