"""What a newcomer waits for: first line, whole study, memory of all its processes."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from tests.benchmarks.process_memory import tree_pss
from tests.conftest import ROOT


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
def test_the_first_study(tmp_path):
    command = [
        sys.executable, "-m", "harness.run", "search_spaces/bins.yaml", "--json",
        "--storage", str(tmp_path),
    ]  # fmt: skip
    started = time.monotonic()
    peak, first_line_s = 0, None
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:

        def watch():
            nonlocal peak
            while process.poll() is None:
                peak = max(peak, tree_pss(process.pid))
                time.sleep(1)

        watcher = threading.Thread(target=watch)
        watcher.start()
        for _ in process.stderr:
            first_line_s = first_line_s or time.monotonic() - started
        output = process.stdout.read()
    watcher.join()
    result = json.loads(output)
    complete = [trial for trial in result["trials"] if trial["state"] == "complete"]
    print(
        json.dumps(
            {
                "benchmark": "first_study",
                "wall_s": round(time.monotonic() - started, 1),
                "first_line_s": round(first_line_s, 2),
                "peak_memory_gib": round(peak / 2**30, 2),
                "trials": len(result["trials"]),
                "pruned": sum(trial["state"] == "pruned" for trial in result["trials"]),
                "best_source_pck_05": max(t["metrics"]["source_val/pck_05"] for t in complete),
                "cpus": os.cpu_count(),
            }
        )
    )
    assert process.returncode == 0
    assert result["state"] == "complete"
