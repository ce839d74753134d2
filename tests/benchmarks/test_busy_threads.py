"""A training step on two threads that sleep soon, against GNU OpenMP's own way of waiting.

One line of JSON for an idle machine and one for two busy processes beside the step. Asserts no
time.
"""

import json
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import pytest
import torch

from harness.nodes.thread_waits import SPIN_COUNT, SPINS

STEPS = """
import time, torch
from trainables.adapt.methods import build_net
from trainables.config import TrialConfig
torch.set_num_threads(2)
fields = {"net.backbone": "efficientnet_lite0", "data.image_size": 128}
net = build_net(TrialConfig.from_flat(fields), 16)
images = torch.zeros(32, 3, 128, 128)
times = []
for _ in range(7):
    start = time.perf_counter()
    net(images).sum().backward()
    times.append(time.perf_counter() - start)
print(sorted(times[1:])[3])
"""
TURNS = 3


@contextmanager
def busy():
    """A process that keeps one core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def seconds(environment):
    done = subprocess.run(
        [sys.executable, "-c", STEPS], env=environment, check=True, capture_output=True, text=True
    )
    return float(done.stdout)


@pytest.mark.benchmark
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("machine", "others"), [("idle", 0), ("busy", 2)])
def test_steps_of_threads_that_sleep_soon(capsys, machine, others):
    plain = {n: v for n, v in os.environ.items() if n not in (SPIN_COUNT, "OMP_WAIT_POLICY")}
    ours = plain | {SPIN_COUNT: SPINS}
    ratios, steps = [], []
    with ExitStack() as stack:
        for _ in range(others):
            stack.enter_context(busy())
        for turn in range(TURNS):
            order = (ours, plain) if turn % 2 else (plain, ours)
            times = {environment is ours: seconds(environment) for environment in order}
            ratios.append(times[False] / times[True])
            steps.append(times[True])
    found = {
        "benchmark": "busy_threads",
        "machine": machine,
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "step_s": round(statistics.median(steps), 2),
        "threads": 2,
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
    }
    with capsys.disabled():
        print(f"\n{json.dumps(found)}")
