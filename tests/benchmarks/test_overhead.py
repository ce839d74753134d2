"""Wall time that the harness adds to a run which computes nothing."""

import io
import json
import os

import pytest

from harness.record.storage import Storage
from harness.spec import load_spec
from harness.study.follow import follow_study
from harness.study.launch import Launch
from tests.noop_trainable import NoopTrainable

NUM_TRIALS = 200
NUM_REPORTS = 10
STUDY = f"""
name: overhead
trainable: adaptation
metric: {{name: target_val/pck_05, goal: maximize}}
parameters:
  vae.kl_weight: {{distribution: log_uniform_values, min: 1e-4, max: 1}}
fixed: {{adapt.epochs: {NUM_REPORTS}}}
early_terminate: {{type: hyperband_brackets, min_iter: 1, eta: 3, max_iter: {NUM_REPORTS}}}
budget: {{run_cap: {NUM_TRIALS}}}
"""


@pytest.mark.benchmark
@pytest.mark.filterwarnings("ignore")
def test_overhead_per_trial(write_study, tmp_path):
    spec = load_spec(write_study(STUDY))
    result, tracker = follow_study(
        spec, Launch(Storage(tmp_path), trainable=NoopTrainable), io.StringIO()
    )
    from harness.record.ledger import read_events

    events = list(read_events(tmp_path / "studies" / "overhead" / "events.jsonl"))
    finished = [event["time"] for event in events if event["event"] == "finished"]
    start_up = finished[0] - events[0]["time"]
    per_trial = (finished[-1] - finished[0]) / (len(finished) - 1)
    print(
        json.dumps(
            {
                "benchmark": "overhead",
                "trials": len(finished),
                "start_up_s": round(start_up, 2),
                "s_per_trial_after_start_up": round(per_trial, 3),
                "wall_s": round(result.wall_s, 2),
                "epochs": sum(event["event"] == "epoch" for event in events),
                "cpus": os.cpu_count(),
                "load": os.getloadavg(),
            }
        )
    )
    assert len(tracker.run_ids) == NUM_TRIALS
    assert tracker.num_unwritten == 0
