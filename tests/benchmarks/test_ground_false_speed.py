"""Speed of separable ground-truth and ground-false maps against a look-up table.

All make the maps of one batch of logits, in turns: 32 images, 16 joints, 64 x 64 cells as in
RegDA and 32 x 32 as by default here, on one thread, or on a GPU where there is one. The table
is built outside the clock. The versions with a table differ in how numpy adds up the other
joints' maps: ``dot`` along a strided axis as RegDA's authors do, ``joint`` one by one, and
``matmul``, the fastest we could write. On a CPU, maps of 64 x 64 cells are bound by fresh
memory, so their times depend on the allocator. Prints one line of JSON for each size, its
``ratio_median`` against ``dot``; asserts that the maps agree and no time.
"""

import json
import time

import numpy as np
import pytest
import torch

from tests.reference.ground_false_loops import (
    gaussian_table,
    ground_false_by_dot,
    ground_false_by_joint,
    ground_false_by_matmul,
    ground_truth_from_table,
)
from trainables.adapt.losses import ground_false_maps, ground_truth_maps
from trainables.data.heatmaps import default_sigma

REPEATS = 25
BATCH, NUM_JOINTS = 32, 16
BASELINES = {
    "dot": ground_false_by_dot,
    "joint": ground_false_by_joint,
    "matmul": ground_false_by_matmul,
}


def timed_ms(function):
    function()  # the way before has left other memory behind
    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start)


@pytest.mark.benchmark
@pytest.mark.parametrize("size", [64, 32])
def test_separable_maps_against_a_table(size):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((BATCH, NUM_JOINTS, size, size), generator=generator).to(device)
    table = gaussian_table(size, default_sigma(size))

    def separable():
        truth = ground_truth_maps(logits)
        return truth, ground_false_maps(truth)

    def tabulated(ground_false):
        truth = ground_truth_from_table(logits, table)
        return truth, ground_false(truth)

    ways = [separable, *(lambda way=way: tabulated(way) for way in BASELINES.values())]
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # The comparison of results is the warm-up of all.
        ours, *others = [way() for way in ways]
        for theirs in others:
            for a, b in zip(ours, theirs, strict=True):
                torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
        times = np.array([[timed_ms(way) for way in ways] for _ in range(REPEATS)])
    finally:
        torch.set_num_threads(num_threads)

    report = {"benchmark": "ground_false_maps", "heatmap_size": size}
    for column, name in enumerate(BASELINES, start=1):
        ratios = times[:, column] / times[:, 0]
        suffix = "" if name == "dot" else f"_{name}"
        report[f"ratio_median{suffix}"] = round(float(np.median(ratios)), 1)
        quartiles = np.percentile(ratios, [25, 75])
        report[f"ratio_iqr{suffix}"] = [round(float(q), 1) for q in quartiles]
    for column, name in enumerate(["separable", *BASELINES]):
        report[f"{name}_ms"] = round(float(np.median(times[:, column])), 2)
    print(json.dumps(report | {"torch": torch.__version__, "threads": 1, "device": device}))
