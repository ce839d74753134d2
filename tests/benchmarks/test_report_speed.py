"""What it costs to read a long study and to report it: 2,000 trials of 20 epochs with 25 bins."""

import json
import resource
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import ROOT
from trainables.config import TrialConfig
from trainables.metrics.metric_keys import CONTROLS, VALIDATORS

NUM_TRIALS, NUM_EPOCHS, NUM_BINS = 2000, 20, 25
PCK = "target_val/pck_05"
CONTENT = {
    "name": "long",
    "metrics": [{"name": PCK, "goal": "maximize"}],
    "parameters": {
        "vae.kl_weight": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1},
        "sampling.strategy": {"values": ["all", "hardest", "random", "easiest"]},
    },
    "baselines": {"all": {"sampling.strategy": "all"}},
}
READ = """
import json, resource, sys, time
started = time.monotonic()
from harness.results import load_study
study = load_study(sys.argv[1])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
print(json.dumps({"s": time.monotonic() - started, "peak_mb": peak, "values": len(study.epochs)}))
"""


def _metrics(rng, pck, epoch):
    """As many metrics as a run reports: groups of joints, readings, validators, bins."""
    names = [
        *(f"{split}/{kind}" for split in ("source_val", "target_val") for kind in (
            "pck_05_head", "pck_05_knee", "pck_05_hip", "pck_05_elbow", "pck_05_ankle",
            "evalpose", "evalpose_cosines", "evalpose_within_20", "evalpose_unit_signed",
        )),
        *(f"validator/{name}" for name in VALIDATORS),
        *(f"pck_bin/{index:02d}" for index in range(NUM_BINS)),
        "source_val/pck_05", "train/source_kl", "sampling/active_fraction",
    ]  # fmt: skip
    if epoch == NUM_EPOCHS:
        names += [f"final/pck_bin/{index:02d}" for index in range(NUM_BINS)]
        names += [f"target_val/control/pck_05/{control}" for control in CONTROLS]
        names += [f"chosen_{what}/{way}" for what in ("epoch", "pck_05") for way in VALIDATORS]
    values = (pck + rng.normal(0, 1, len(names))).clip(0, 100).tolist()
    return {**dict(zip(names, values, strict=True)), PCK: pck}


def _write(path):
    rng = np.random.default_rng(0)
    defaults = TrialConfig().to_flat()
    with path.open("w") as file:
        clock = 0.0

        def write(kind, **event):
            nonlocal clock
            clock += 1.0
            file.write(json.dumps({"event": kind, "time": clock, **event}) + "\n")

        write(
            "study", study="long", objective=PCK, goal="maximize", trainable="adaptation",
            yaml=json.dumps(CONTENT), plugins=[], compared=None, kind="trial", study_id="0f",
            code="c", environment={},
        )  # fmt: skip
        for number in range(NUM_TRIALS):
            params = {
                "vae.kl_weight": float(10 ** rng.uniform(-4, 0)),
                "sampling.strategy": str(rng.choice(["all", "hardest", "random", "easiest"])),
            }
            name = "all" if number == 0 else f"trial-{number}"
            write(
                "run", number=number, trial=number, trial_name=name, seed=0, name=name,
                is_baseline=number == 0, params=params, fields={**defaults, **params},
            )  # fmt: skip
            best = 40 - 3 * np.log10(params["vae.kl_weight"]) + rng.normal(0, 2)
            for epoch in range(1, NUM_EPOCHS + 1):
                metrics = _metrics(rng, float(best * epoch / NUM_EPOCHS), epoch)
                write(
                    "epoch", number=number, step=epoch, num_steps=NUM_EPOCHS, metrics=metrics,
                    stages={"pose_vae": ["hit", "0123", 4.0]}, digests={}, tags={},
                )  # fmt: skip
            write("finished", number=number, state="complete", reason=None, value=float(best))
    return path


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
def test_time_and_memory_to_read_and_to_report_a_long_study(tmp_path):
    ledger = _write(tmp_path / "events.jsonl")
    read = subprocess.run(
        [sys.executable, "-c", READ, str(ledger)], cwd=ROOT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    file = tmp_path / "report.html"
    started = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    command = [sys.executable, "-m", "analysis.report", str(ledger), "--out", str(file)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        json.dumps(
            {
                "benchmark": "report",
                "ledger_mb": ledger.stat().st_size >> 20,
                "load": json.loads(read.stdout),
                "report_s": round(time.monotonic() - started, 1),
                "report_cpu_s": round(used.ru_utime - before, 1),
                "peak_mb": used.ru_maxrss >> 10,
                "html_mb": round(file.stat().st_size / 1e6, 2),
            }
        )
    )
    assert file.read_text().endswith("</html>\n")
