"""How far a plan is from the study: predicted time, memory and disk against a whole run.

One line of JSON for each study, with ratios real / predicted. On a machine that does other work
at the same time the ratios say more about that work.
"""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from harness.forecast.plan import plan_study
from harness.spec import load_spec
from tests.benchmarks.process_memory import tree_pss
from tests.conftest import ROOT


def _disk(root: Path):
    total = 0
    for path in root.rglob("*"):
        with suppress(FileNotFoundError):  # it is renamed or removed meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total


def _really_run(study, overrides, storage):
    command = [sys.executable, "-m", "harness.run", study, "--json", "--storage", str(storage)]
    command += [word for text in overrides for word in ("--set", text)]
    started, peak = time.monotonic(), {"memory": 0, "disk": 0}
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:

        def watch():
            while process.poll() is None:
                peak["memory"] = max(peak["memory"], tree_pss(process.pid))
                peak["disk"] = max(peak["disk"], _disk(storage)) if storage.exists() else 0
                time.sleep(1)

        watcher = threading.Thread(target=watch)
        watcher.start()
        output, errors = process.communicate()
        wall_s = time.monotonic() - started
        watcher.join()
    assert process.returncode == 0, errors
    return json.loads(output), wall_s, peak


def _compared(interval, real):
    low, middle, high = interval
    return {
        "predicted": [round(low, 2), round(middle, 2), round(high, 2)],
        "real": round(real, 2),
        "ratio": round(real / middle, 3) if middle else None,
        "inside": low <= real <= high,
    }


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("study", "overrides"),
    [
        ("search_spaces/bins.yaml", []),
        ("search_spaces/kl_weight.yaml", ["budget.run_cap=8"]),
        (
            "search_spaces/bins.yaml",
            ["fixed.adapt.pretrain_epochs=2", "fixed.adapt.epochs=2", "budget.run_cap=6",
             "fixed.adapt.steps_per_epoch=20", "fixed.data.num_source=1000",
             "fixed.data.num_target=500", "early_terminate.max_iter=4"],
        ),
    ],
    ids=["bins", "kl_weight", "small"],
)  # fmt: skip
def test_a_plan_against_its_study(tmp_path, study, overrides):
    load = os.getloadavg()[0]
    started = time.monotonic()
    spec = load_spec(ROOT / study, overrides)
    plan = plan_study(spec, tmp_path / "runs").as_json()
    plan_s = time.monotonic() - started
    result, wall_s, peak = _really_run(study, overrides, tmp_path / "runs")
    again = plan_study(spec, tmp_path / "runs").as_json()
    stopped = sum(trial["state"] == "pruned" for trial in result["trials"])
    print(
        json.dumps({
            "benchmark": "plan_accuracy",
            "study": study,
            "overrides": overrides,
            "plan_s": round(plan_s, 1),
            "wall_s": _compared(plan["wall_s"], wall_s),
            "memory_gb": _compared([v / 1e9 for v in plan["memory_bytes"]], peak["memory"] / 1e9),
            "disk_mb": _compared([v / 1e6 for v in plan["disk_bytes"]], peak["disk"] / 1e6),
            "disk_mb_at_the_end": round(_disk(tmp_path / "runs") / 1e6, 1),
            "stopped": _compared(plan["stopped"], stopped),
            "second_study_wall_s": again["wall_s"],
            "load_before_and_after": [load, os.getloadavg()[0]],
        })
    )  # fmt: skip
    assert result["state"] == "complete"
