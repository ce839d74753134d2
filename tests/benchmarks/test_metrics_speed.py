"""Speed of the batched PCK and EvalPose against loops over poses and joints.

Both compute the same thing in the same run, in turns: PCK, EvalPose ``printed`` and EvalPose
``unit_signed`` of 1000 poses. Prints one line of JSON; asserts that the results agree and no
time.
"""

import json
import time

import numpy as np
import pytest
import torch

from tests.reference.evalpose_loops import evalpose_loops
from tests.reference.pck_loops import pck_loops
from trainables.data.skeleton import BODY16
from trainables.metrics.evalpose import evalpose_readings
from trainables.metrics.pck import pck_pooled

NUM_POSES = 1000
REPEATS = 9
IMAGE_SIZE = 64
CELL_PX = 2.0
VARIANTS = ("printed", "unit_signed")


def batched(predicted, keypoints, visible):
    pck = pck_pooled(predicted, keypoints, visible, BODY16, IMAGE_SIZE)
    scores = [  # one by one, as the loops compute them
        evalpose_readings(predicted, keypoints, visible, BODY16, (name,), min_limb_px=CELL_PX)
        for name in VARIANTS
    ]
    return pck.all, pck.per_pose.numpy(), *(s.per_pose.numpy() for d in scores for s in d.values())


def looped(predicted, keypoints, visible):
    pck = pck_loops(predicted, keypoints, visible, BODY16, IMAGE_SIZE)
    scores = [
        evalpose_loops(predicted, keypoints, visible, BODY16, variant, CELL_PX)
        for variant in VARIANTS
    ]
    return pck["all"], pck["per_pose"], *(score["per_pose"] for score in scores)


def timed_ms(function, case):
    start = time.perf_counter()
    function(*case)
    return 1000 * (time.perf_counter() - start)


@pytest.mark.benchmark
def test_batched_metrics_against_loops():
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, IMAGE_SIZE, (NUM_POSES, 16, 2))
    predicted = keypoints + rng.normal(0, 3, keypoints.shape)
    visible = rng.random((NUM_POSES, 16)) < 0.9
    arrays = (predicted, keypoints, visible)
    case = tuple(torch.from_numpy(array) for array in arrays)

    # The comparison of results is the warm-up of both.
    for ours, theirs in zip(batched(*case), looped(*arrays), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)

    times = np.array([(timed_ms(batched, case), timed_ms(looped, arrays)) for _ in range(REPEATS)])
    ratios = times[:, 1] / times[:, 0]
    print(
        json.dumps(
            {
                "benchmark": "pck_evalpose",
                "ratio_median": round(float(np.median(ratios)), 1),
                "ratio_iqr": [round(float(q), 1) for q in np.percentile(ratios, [25, 75])],
                "batched_ms": round(float(np.median(times[:, 0])), 2),
                "loops_ms": round(float(np.median(times[:, 1])), 1),
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
            }
        )
    )
