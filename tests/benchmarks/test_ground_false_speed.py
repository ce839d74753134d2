"""Speed of separable ground-truth and ground-false maps against a look-up table.

All make the maps of one batch of logits, in turns: 32 images, 16 joints, 64 x 64 cells as in
RegDA and 32 x 32 as by default here, on one thread, or on a GPU where there is one. The table
is built outside the clock. There are two table versions: ``matrix`` sums the other joints' maps
by a matrix product in numpy, as RegDA's authors do; ``loop`` adds them up one by one, which is
plainer and turns out faster. On a CPU, maps of 64 x 64 cells are bound by fresh memory, so
their times depend on the allocator. Prints one line of JSON for each size; asserts that the
maps agree and no time.
"""

import json
import time

import numpy as np
import pytest
import torch

from tests.reference.ground_false_loops import (
    gaussian_table,
    ground_false_by_joint,
    ground_false_by_matrix,
    ground_truth_from_table,
)
from trainables.adapt.losses import ground_false_maps, ground_truth_maps
from trainables.data.heatmaps import default_sigma

REPEATS = 25
BATCH, NUM_JOINTS = 32, 16


def separable(logits, _table):
    truth = ground_truth_maps(logits)
    return truth, ground_false_maps(truth)


def table_and_loop(logits, table):
    truth = ground_truth_from_table(logits, table)
    return truth, ground_false_by_joint(truth)


def table_and_matrix(logits, table):
    truth = ground_truth_from_table(logits, table)
    return truth, ground_false_by_matrix(truth)


def timed_ms(function, case):
    function(*case)  # the way before has left other memory behind
    start = time.perf_counter()
    function(*case)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start)


@pytest.mark.benchmark
@pytest.mark.parametrize("size", [64, 32])
def test_separable_maps_against_a_table(size):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((BATCH, NUM_JOINTS, size, size), generator=generator).to(device)
    case = logits, gaussian_table(size, default_sigma(size))
    ways = separable, table_and_loop, table_and_matrix
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # The comparison of results is the warm-up of all.
        ours, *others = [way(*case) for way in ways]
        for theirs in others:
            for a, b in zip(ours, theirs, strict=True):
                torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
        times = np.array([[timed_ms(way, case) for way in ways] for _ in range(REPEATS)])
    finally:
        torch.set_num_threads(num_threads)

    loop, matrix = times[:, 1] / times[:, 0], times[:, 2] / times[:, 0]
    separable_ms, loop_ms, matrix_ms = (round(float(t), 2) for t in np.median(times, axis=0))
    print(
        json.dumps(
            {
                "benchmark": "ground_false_maps",
                "heatmap_size": size,
                "ratio_median": round(float(np.median(matrix)), 1),
                "ratio_iqr": [round(float(q), 1) for q in np.percentile(matrix, [25, 75])],
                "ratio_loop_median": round(float(np.median(loop)), 1),
                "ratio_loop_iqr": [round(float(q), 1) for q in np.percentile(loop, [25, 75])],
                "separable_ms": separable_ms,
                "table_matrix_ms": matrix_ms,
                "table_loop_ms": loop_ms,
                "torch": torch.__version__,
                "threads": 1,
                "device": device,
            }
        )
    )
