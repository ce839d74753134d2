"""Speed of RegDA's step with a shared forward pass against the step with three.

Both take the same steps from the same weights on the same batches, in turns, on one thread.
Prints one line of JSON; asserts that the parameters agree and no time.
"""

import json
import time

import numpy as np
import pytest
import torch

from tests.reference.regda_three_forward import ThreeForwardRegDA
from trainables.adapt.adapter import SourceBatch, TargetBatch
from trainables.adapt.optimisers import default_recipe
from trainables.adapt.regda import RegDA, RegDAWeights
from trainables.config import AdaptConfig, DataConfig, NetConfig
from trainables.data.heatmaps import heatmap_targets
from trainables.network.pose_net import PoseNet

REPEATS = 15
WARMUP = 3
NUM_JOINTS = 16


def make(cls):
    data, net = DataConfig(), NetConfig()
    torch.manual_seed(0)
    pose_net = PoseNet(NUM_JOINTS, net.depth, net.width, data.image_size, data.heatmap_size)
    weights = RegDAWeights(margin=4.0, tradeoff=1.0, gradient_scale=1.0, ramp_steps=100.0)
    pose_net.place(torch.device("cpu"))
    return cls(pose_net, weights, default_recipe(1e-3, 600))


def make_batches():
    data, num = DataConfig(), AdaptConfig().batch_size
    generator = torch.Generator().manual_seed(0)
    shape = (num, 3, data.image_size, data.image_size)
    source, target = (
        torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    keypoints = torch.rand((num, NUM_JOINTS, 2), generator=generator) * data.image_size
    visible = torch.rand((num, NUM_JOINTS), generator=generator) < 0.9
    labels = heatmap_targets(keypoints, visible, data.image_size, data.heatmap_size)
    rows, view = torch.zeros(num, dtype=torch.int64), torch.eye(2, 3).repeat(num, 1, 1)
    return SourceBatch(source, *labels, rows, view), TargetBatch(target, rows, view)


def timed_ms(adapter, batches):
    start = time.perf_counter()
    adapter.step(*batches)
    return 1000 * (time.perf_counter() - start)


def parameters(adapter):
    return [*adapter.net.parameters(), *adapter.adversarial_head.parameters()]


@pytest.mark.benchmark
def test_a_shared_forward_pass_against_three():
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            shared, obvious = make(RegDA), make(ThreeForwardRegDA)
        batches = make_batches()
        for adapter in (shared, obvious):
            for _ in range(WARMUP):
                adapter.step(*batches)
        times = np.array(
            [(timed_ms(shared, batches), timed_ms(obvious, batches)) for _ in range(REPEATS)]
        )
    finally:
        torch.set_num_threads(num_threads)
    for ours, theirs in zip(parameters(shared), parameters(obvious), strict=True):
        assert torch.equal(ours, theirs)
    ratios = times[:, 1] / times[:, 0]
    print(
        json.dumps(
            {
                "benchmark": "regda_step",
                "ratio_median": round(float(np.median(ratios)), 2),
                "ratio_iqr": [round(float(q), 2) for q in np.percentile(ratios, [25, 75])],
                "shared_ms": round(float(np.median(times[:, 0])), 1),
                "three_forward_ms": round(float(np.median(times[:, 1])), 1),
                "torch": torch.__version__,
                "threads": 1,
            }
        )
    )
