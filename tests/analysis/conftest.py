"""Studies as their ledgers leave them, without training anything."""

import json

import numpy as np
import pytest

from harness.record.ledger import Ledger, trial_of
from harness.record.storage import Storage
from harness.results import load_study
from harness.stage_cache.cache import DiskStageCache
from trainables.config import TrialConfig
from trainables.evaluation.predictions import (
    PREDICTIONS,
    Predictions,
    metrics_of,
    write_predictions,
)
from trainables.metrics.metric_keys import CONTROLS, VALIDATORS
from trainables.stages.binned_poses import binned_poses
from trainables.stages.trial_stages import TrialStages

CONTENT = {
    "name": "small",
    "metrics": [{"name": "target_val/pck_05", "goal": "maximize"}],
    "parameters": {"sampling.strategy": {"values": ["all", "hardest"]}},
}
"""What the study's file says."""
TINY = {
    "data.num_source": 120, "data.num_target": 120, "data.image_size": 32, "data.heatmap_size": 16,
    "vae.epochs": 2, "vae.hidden_dim": 8, "bins.count": 3, "evaluation.bin_count": 3,
}  # fmt: skip
REGDA, UDAPE = {"adapt.method": "regda"}, {"adapt.method": "udape"}
ARMS = {
    "": {"sampling.strategy": "all"},
    "_hm": {"sampling.strategy": "hardest"},
    "_cl": {"sampling.strategy": "curriculum"},
    "_third": {"sampling.strategy": "random"},
}
TRIALS = {
    "source_only": {"adapt.method": "source_only"},
    "oracle": {"adapt.method": "oracle"},
    **{f"regda{arm}": {**REGDA, **fields} for arm, fields in ARMS.items()},
    **{f"udape{arm}": {**UDAPE, **fields} for arm, fields in ARMS.items()},
    # Enough to tell what each third of the source does.
    **{
        f"bins_{subset}": {"sampling.strategy": "bins", "bins.count": 3, "bins.subset": [*subset]}
        for subset in ((0,), (1,), (0, 1), (1, 2))
    },
}
"""The trials of the stored study, from the worst to the best."""


def append_runs(path, runs, stages=None, content=CONTENT, study="small", **description):
    """Write the ledger of a study.

    A run is (name, fields, epochs), or has its state as a fourth: the metrics of each epoch in
    order. Names such as ``all-seed0`` make trials of several seeds; those that start with
    ``trial-`` were searched, the others are baselines.
    """
    trials = {}
    told = {
        "kind": "trial", "compared": None, "environment": {}, "code": "c", "study_id": "0f",
        **description,
    }  # fmt: skip
    with Ledger(path) as ledger:
        ledger.append(
            "study", study=study, objective=content["metrics"][0]["name"],
            goal=content["metrics"][0]["goal"], trainable=content.get("trainable", "adaptation"),
            yaml=json.dumps(content), plugins=[], **told,
        )  # fmt: skip
        for number, (name, changed, epochs, *state) in enumerate(runs):
            fields = {**TrialConfig().to_flat(), **changed}
            seed = fields["seed"]
            trial_name = trial_of(name, seed)
            trial = trials.setdefault(trial_name, len(trials))
            ledger.append(
                "run", number=number, trial=trial, trial_name=trial_name, seed=seed,
                name=name, is_baseline=not name.startswith("trial-"), params={}, fields=fields,
            )  # fmt: skip
            for step, metrics in enumerate(epochs, start=1):
                ledger.append(
                    "epoch", number=number, step=step, num_steps=len(epochs),
                    metrics=metrics, stages=(stages or {}).get(seed, {}), digests={}, tags={},
                )  # fmt: skip
            ledger.append(
                "finished", number=number, state=(state or ["complete"])[0], reason=None,
                value=None,
            )  # fmt: skip
        ledger.append("end", state="complete", wall_s=1.0)
    return path


@pytest.fixture
def write_ledger(tmp_path):
    """Write the ledger of a study and return its path, see :func:`append_runs`."""
    return lambda runs, **options: append_runs(tmp_path / "events.jsonl", runs, **options)


@pytest.fixture(scope="session")
def stored_study(tmp_path_factory):
    """The ledger of a study with all that its storage holds; only the training is made up.

    Images, scores and bins are real. What a network predicted is the truth with errors, fewer
    for a later trial of :data:`TRIALS`; the metrics of its last epoch are of these predictions.
    """
    storage = Storage(tmp_path_factory.mktemp("storage"))
    cache = DiskStageCache(storage.stages)
    lineage, target = {}, None
    for seed in (0, 1):
        trial = TrialConfig.from_flat({**TINY, "seed": seed})
        lineage[seed] = TrialStages(trial, cache, 1, False).lineage
        keys = {name: stage[1] for name, stage in lineage[seed].items()}
        target = binned_poses(storage.stages, trial, keys, "target")
    runs = []
    for place, (name, fields) in enumerate(TRIALS.items()):
        for seed in (0, 1):
            predictions = _predicted(target, error_px=2.6 - 0.15 * place, seed=10 * place + seed)
            folder = storage.study("small").run(len(runs))
            folder.mkdir(parents=True)
            write_predictions(folder / PREDICTIONS, predictions)
            epochs = [_epoch(metrics_of(predictions), step) for step in (1, 2, 3)]
            runs.append((f"{name}-seed{seed}", {**TINY, **fields, "seed": seed}, epochs))
    return append_runs(storage.ledger("small"), runs, lineage)


def _predicted(poses, error_px, seed):
    rng = np.random.default_rng(seed)
    truth = np.nan_to_num(poses.keypoints_px, nan=16.0)
    num = len(poses.rows)
    return Predictions(
        split=np.full(num, "target_val"),
        ids=np.array([poses.store.ids[row] for row in poses.rows]),
        keypoints_px=(truth + rng.normal(0, error_px, truth.shape)).astype(np.float32),
        confidence=rng.uniform(0.1, 0.2, poses.visible.shape).astype(np.float32),
        truth_px=poses.keypoints_px.astype(np.float32),
        visible=poses.visible,
        scores=poses.scores.astype(np.float32),
        bins=poses.bins.astype(np.int16),
        skeleton=poses.store.skeleton,
        image_size=poses.store.image_size,
        heatmap_size=TINY["data.heatmap_size"],
    )


def _epoch(last, step):
    """The metrics of one of three epochs of a run that ends with ``last``."""
    pck = last["target_val/pck_05"] * step / 3
    metrics = {
        **{name: value for name, value in last.items() if not name.startswith("final/")},
        "target_val/pck_05": pck,
        "source_val/pck_05": 60.0,
        "sampling/active_fraction": step / 3,
        **{f"validator/{name}": pck + index for index, name in enumerate(VALIDATORS)},
        "vae/active_units": 4.0,
        "vae/kl": 6.5,
        "vae/mean_pose_correlation": 0.4,
        "vae/is_collapsed": 0.0,
    }
    if step < 3:
        return metrics
    ways = ("default", "kept", "last", "oracle_val", *VALIDATORS)
    readings = ("pck_05", "evalpose", "evalpose_unit_signed")
    return {
        **metrics,
        **last,
        "target_val/pck_05_adabn": pck - 1,
        **{f"target_val/control/{r}/{c}": 10.0 for r in readings for c in CONTROLS},
        **{f"chosen_epoch/{way}": 3.0 for way in ways},
        **{f"chosen_pck_05/{way}": pck for way in ways},
    }


@pytest.fixture
def study_of(write_ledger):
    """The study of some runs, read back."""
    return lambda runs: load_study(write_ledger(runs))
