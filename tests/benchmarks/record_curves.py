"""Trains a grid of small trials and keeps their learning curves for ``test_time_to_quality.py``.

    python -m tests.benchmarks.record_curves

takes ten minutes of one core and writes ``curves/people32.csv``: one row per trial, its varied
fields and the target PCK after each epoch, below comments that say how it was made. The trials
are real: the stages and the training loop of ``trainables/``, without Ray around them.
"""

import csv
import itertools
import os
import tempfile
import time
from pathlib import Path

import torch

from harness.stage_cache.cache import DiskStageCache
from trainables.config import TrialConfig
from trainables.stages.trial_stages import TrialStages, start_run

CURVES = Path(__file__).parent / "curves" / "people32.csv"
METRIC = "target_val/pck_05"
GRID = {
    "adapt.lr": [float(f"{10 ** (exponent / 3):.2g}") for exponent in range(-12, 1)],
    "adapt.batch_size": [8, 16, 32],
    "adapt.method": ["source_only", "regda"],
    "sampling.strategy": ["all", "hardest", "easiest"],
}
FIXED = {
    "data.source": "people_clean",
    "data.target": "people_wild",
    "data.num_source": 800,
    "data.num_target": 600,
    "data.image_size": 32,
    "data.heatmap_size": 16,
    "net.width": 8,
    "vae.epochs": 10,
    "adapt.pretrain_epochs": 3,
    "adapt.epochs": 6,
    "adapt.steps_per_epoch": 10,
}


def learning_curve(fields: dict[str, object], cache: DiskStageCache) -> list[float]:
    """The metric after each epoch of a trial, in percent."""
    stages = TrialStages(TrialConfig.from_flat(fields), cache, num_threads=1, read_test=False)
    run = start_run(stages, num_replicas=1, num_threads=1)
    curve = []
    while not run.is_done:
        curve.append(run.run_epoch()[METRIC])
    return curve


def record(path: Path) -> None:
    """Train the whole grid and write the file."""
    torch.set_num_threads(1)
    started, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        cache = DiskStageCache(Path(folder))
        for values in itertools.product(*GRID.values()):
            fields = {**FIXED, **dict(zip(GRID, values, strict=True))}
            rows.append([*values, *(f"{value:.3f}" for value in learning_curve(fields, cache))])
    minutes = (time.monotonic() - started) / 60
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        file.write(f"# {METRIC} in percent after each epoch of {len(rows)} real trials.\n")
        file.write("# Made by: python -m tests.benchmarks.record_curves\n")
        file.write(f"# torch {torch.__version__}, one CPU thread, {minutes:.0f} minutes.\n")
        file.write(f"# Fixed: {', '.join(f'{name}={value}' for name, value in FIXED.items())}\n")
        writer = csv.writer(file, lineterminator="\n")
        num_epochs = len(rows[0]) - len(GRID)
        writer.writerow([*GRID, *(f"epoch_{index + 1}" for index in range(num_epochs))])
        writer.writerows(rows)
    os.replace(part, path)


if __name__ == "__main__":
    record(CURVES)
