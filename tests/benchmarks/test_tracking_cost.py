"""What recording in MLflow costs a study: wall time, the writer's CPU time, and a server down."""

import json
import os
import socket
import statistics
import time

import psutil
import pytest

from harness.mlflow_tracking.tracker import MLflowTracker
from harness.record.ledger import Ledger
from tests.mlflow_study import client, study_events

NUM_TRIALS, NUM_REPORTS, NUM_METRICS, TRIAL_S = 200, 10, 30, 0.25


def _events():
    """A study of runs that compute nothing, each with ten reports of thirty metrics."""
    study, run, epoch, *_ = study_events([(1, "complete")])
    *_, finished, end = study_events([(1, "complete")])
    metrics = {f"group/metric_{i:02}": 0.5 + i for i in range(NUM_METRICS)}
    yield study, 0.0
    for number in range(NUM_TRIALS):
        own = {"number": number, "trial": number}
        yield run | own, 0.0
        for step in range(1, NUM_REPORTS + 1):
            yield epoch | own | {"step": step, "metrics": metrics}, TRIAL_S / NUM_REPORTS
        yield finished | own, 0.0
    yield end, 0.0


def _feed(ledger, tracker):
    """Append the events at their pace, late ones at once; seconds of each append."""
    appends, due = [], time.monotonic()
    writer_cpu_s = 0.0
    for event, pause in _events():
        due += pause
        time.sleep(max(due - time.monotonic(), 0.0))
        content = {name: value for name, value in event.items() if name not in ("event", "time")}
        started = time.perf_counter()
        ledger.append(event["event"], **content)
        appends.append(time.perf_counter() - started)
    if tracker is not None and tracker._process.poll() is None:
        times = psutil.Process(tracker._process.pid).cpu_times()
        writer_cpu_s = times.user + times.system
    return appends, writer_cpu_s


def _measured(folder, uri):
    """Wall time of feeding and closing, the driver's and the writer's CPU time, the appends."""
    folder.mkdir()
    own = os.times()
    started = time.monotonic()
    tracker = None
    with Ledger(folder / "events.jsonl") as ledger:
        if uri is not None:
            tracker = MLflowTracker(uri, folder / "artifacts", folder / "events.jsonl")
            ledger.subscribe(tracker)
        appends, writer_cpu_s = _feed(ledger, tracker)
    fed_s = time.monotonic() - started
    now = os.times()
    if tracker is not None:
        tracker.close()
    return {
        "wall_s": round(fed_s, 2),
        "close_s": round(time.monotonic() - started - fed_s, 2),
        "driver_cpu_s": round(now.user + now.system - own.user - own.system, 2),
        "writer_cpu_s": round(writer_cpu_s, 2),
        "append_median_us": round(statistics.median(appends) * 1e6, 1),
        "append_p99_us": round(sorted(appends)[int(0.99 * len(appends))] * 1e6, 1),
        "append_max_ms": round(max(appends) * 1e3, 2),
        "num_unwritten": 0 if tracker is None else tracker.num_unwritten,
    }


@pytest.mark.benchmark
@pytest.mark.timeout(600)
def test_the_cost_of_tracking(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client(uri).search_experiments()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{probe.getsockname()[1]}"
    found = {
        "without": _measured(tmp_path / "without", None),
        "sqlite": _measured(tmp_path / "sqlite", uri),
        "server_down": _measured(tmp_path / "down", down),
    }
    print(
        json.dumps(
            {
                "benchmark": "tracking_cost",
                "trials": NUM_TRIALS,
                "reports_per_trial": NUM_REPORTS,
                "metrics_per_report": NUM_METRICS,
                "s_per_trial": TRIAL_S,
                "cpus": os.cpu_count(),
                **found,
            }
        )
    )
    assert found["sqlite"]["num_unwritten"] == 0
    assert found["server_down"]["num_unwritten"] > 0
