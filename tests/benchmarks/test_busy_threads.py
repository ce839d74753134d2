"""What the wait of a run's threads for each other costs, on an idle and on a busy machine.

One line of JSON: seconds of a training step on two threads with the settings that the harness
gives its workers, over those with GNU OpenMP's own. Asserts no time.
"""

import json
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import pytest

from harness.nodes.cluster import _SETTINGS

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
print(sorted(times)[len(times) // 2])
"""


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
@pytest.mark.timeout(600)
def test_steps_on_two_threads(capsys):
    name = "GOMP_SPINCOUNT"
    plain = {n: value for n, value in os.environ.items() if n not in (name, "OMP_WAIT_POLICY")}
    ours = plain | {name: _SETTINGS[name]}
    ratios = {}
    for machine, others in {"idle": 0, "busy": 2}.items():
        with ExitStack() as stack:
            for _ in range(others):
                stack.enter_context(busy())
            pairs = [(seconds(ours), seconds(plain)) for _ in range(3)]
        ratios[machine] = [round(first / second, 2) for first, second in pairs]
    with capsys.disabled():
        print()
        print(
            json.dumps({n: {"median": statistics.median(r), "all": r} for n, r in ratios.items()})
        )
