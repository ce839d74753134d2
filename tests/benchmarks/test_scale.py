"""Does a trial of a long study cost what one of a short study costs? 5,000 trials, no Ray."""

import json
import math
import os
import time

import psutil
import pytest

from harness.spec import load_spec
from tests.simulation import Simulation

NUM_TRIALS = 5000
NUM_EPOCHS = 10
PCK = "target_val/pck_05"
STUDY = f"""
name: scale
trainable: adaptation
metric: {{name: {PCK}, goal: maximize}}
parameters:
  vae.kl_weight: {{distribution: log_uniform_values, min: 1e-4, max: 1}}
  sampling.strategy: {{values: [all, hardest, random]}}
baselines: {{all: {{sampling.strategy: all}}}}
early_terminate: {{type: hyperband_brackets, min_iter: 1, eta: 3, max_iter: {NUM_EPOCHS}}}
budget: {{run_cap: {NUM_TRIALS}}}
"""


def curve(fields, step):
    return {PCK: -math.log10(fields["vae.kl_weight"]) * math.sqrt(step)}


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
def test_time_and_memory_of_the_tenths_of_a_long_study(write_study, tmp_path):
    simulation = Simulation(load_spec(write_study(STUDY)), tmp_path)
    process, tenth = psutil.Process(), NUM_TRIALS // 10
    wall, used = time.monotonic(), time.process_time()
    tenths = []
    while simulation.step(curve, NUM_EPOCHS):
        if len(simulation.ledger.runs) >= tenth * (len(tenths) + 1):
            tenths.append(
                {
                    "wall_ms": round(1000 * (time.monotonic() - wall) / tenth, 1),
                    "cpu_ms": round(1000 * (time.process_time() - used) / tenth, 1),
                    "rss_mb": process.memory_info().rss >> 20,
                }
            )
            wall, used = time.monotonic(), time.process_time()
    simulation.close()
    ratios = {name: round(tenths[-1][name] / tenths[0][name], 2) for name in tenths[0]}
    report = {"benchmark": "scale", "trials": NUM_TRIALS, "last_to_first": ratios}
    print(json.dumps({**report, "per_trial": tenths, "load": os.getloadavg()}))
    assert len(simulation.ledger.runs) == NUM_TRIALS
