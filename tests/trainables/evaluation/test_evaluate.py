"""Evaluation of a network stub whose predictions are known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from trainables.data.augment import IMAGENET_MEAN, IMAGENET_STD, normalise
from trainables.data.image_store import ImageStore
from trainables.data.skeleton import BODY16
from trainables.evaluation.evaluate import (
    Evaluation,
    control_metrics,
    evaluate,
    predict,
    with_target_statistics,
)
from trainables.metrics.evalpose import EvalPoseResult
from trainables.metrics.pck import PckResult
from trainables.network.pose_net import PoseNet

IMAGE_SIZE, HEATMAP_SIZE = 64, 32
JOINTS = np.arange(16)


def make_store(cells, visible=None):
    """A store whose labels lie at the centres of heatmap cells; pixels hold the sample's index."""
    num = len(cells)
    images = np.zeros((num, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    images[:] = np.arange(num)[:, None, None, None]
    return ImageStore(
        images=images,
        keypoints_px=(2 * cells + 0.5).astype(np.float32),  # (x + 1/2) * 2 - 1/2
        visible=np.ones((num, 16), dtype=bool) if visible is None else visible,
        encoded_ids=np.arange(num).astype(np.bytes_),
        splits={"val": np.arange(num)},
        skeleton=BODY16,
        digest="",
    )


def random_cells(num, seed=0):
    """Different cells for the joints of each pose, so that every limb has a length."""
    rng = np.random.default_rng(seed)
    flat = np.stack([rng.permutation(HEATMAP_SIZE**2)[:16] for _ in range(num)])
    return np.stack([flat % HEATMAP_SIZE, flat // HEATMAP_SIZE], axis=-1)


class Oracle(nn.Module):
    """Peaks at the given cells (N, 16, 2) of the sample whose index the pixels hold."""

    is_reference = False

    def __init__(self, cells):
        super().__init__()
        self.anything = nn.Parameter(torch.zeros(1))
        self.cells = cells
        self.modes = []

    def forward(self, images):
        self.modes.append((self.training, torch.is_grad_enabled()))
        red = images[:, 0, 0, 0] * IMAGENET_STD[0] + IMAGENET_MEAN[0]
        index = (red * 255).round().long().numpy()
        logits = torch.full((len(index), 16, HEATMAP_SIZE, HEATMAP_SIZE), -9.0)
        for b, i in enumerate(index):
            x, y = self.cells[i].T
            logits[b, JOINTS, y, x] = -3.0
        return logits


def test_peaks_at_the_labels_score_a_hundred():
    cells = random_cells(130)
    rows = np.random.default_rng(1).permutation(130)[:120]  # more than one batch
    store = make_store(cells)
    result = evaluate(Oracle(cells), store, rows, HEATMAP_SIZE)
    assert result.pck.all == 100
    assert len(result.evalpose) == 4
    for reading in result.evalpose.values():
        assert reading.mean == pytest.approx(100, abs=1e-4)
    predicted = predict(Oracle(cells), store, rows)
    assert torch.equal(predicted, torch.from_numpy(store.keypoints_px[rows]))


def test_bins_average_the_poses_of_each_bin():
    cells = random_cells(5)
    predicted = cells.copy()
    predicted[1, [0, 10, 12]] = (cells[1, [0, 10, 12]] + 16) % 32  # 3 of 16 joints wrong
    predicted[2, :6] = (cells[2, :6] + 16) % 32  # 6 of 16
    predicted[3] = (cells[3] + 16) % 32  # all wrong, but in no bin
    predicted[4, 6:10] = (cells[4, 6:10] + 16) % 32  # trunk and head count, too
    store = make_store(cells)
    rows, bins = np.array([0, 1, 2, 3, 4]), np.array([0, 0, 2, -1, 3])
    result = evaluate(Oracle(predicted), store, rows, HEATMAP_SIZE)
    expected = [(100 + 81.25) / 2, np.nan, 62.5, 75.0, np.nan]
    np.testing.assert_allclose(result.pck_bins(bins, 5), expected, rtol=1e-6)
    # The bins go with the rows, not with the store.
    swapped = evaluate(Oracle(predicted), store, rows[::-1].copy(), HEATMAP_SIZE)
    np.testing.assert_allclose(swapped.pck_bins(bins[::-1].copy(), 5), expected, rtol=1e-6)


def test_metrics_are_named_by_split_and_leave_out_what_could_not_be_measured():
    cells = random_cells(4)
    predicted = cells.copy()
    predicted[0, 0] = (cells[0, 0] + 16) % 32  # one of four right ankles
    visible = np.ones((4, 16), dtype=bool)
    visible[:, [10, 15]] = False  # no wrist anywhere
    store = make_store(cells, visible)
    result = evaluate(Oracle(predicted), store, np.arange(4), HEATMAP_SIZE)
    metrics = result.metrics("target_val")
    assert metrics["target_val/pck_05"] == pytest.approx(97.5)  # mean of 75 and nine times 100
    groups = {"shoulder": 100, "elbow": 100, "hip": 100, "knee": 100, "ankle": 87.5, "head": 100}
    for name, value in groups.items():
        assert metrics.pop(f"target_val/pck_05_{name}") == pytest.approx(value)
    assert set(metrics) == {
        "target_val/pck_05",
        "target_val/evalpose",
        "target_val/evalpose_coverage",
        "target_val/evalpose_degenerate",
        "target_val/evalpose_cosines",
        "target_val/evalpose_within_20",
        "target_val/evalpose_unit_signed",
    }
    assert metrics["target_val/evalpose_coverage"] == 12 / 14  # an elbow needs its wrist
    assert metrics["target_val/evalpose_unit_signed"] < 100


def test_each_metric_has_its_own_name():
    pck = PckResult(torch.zeros(16), {"hip": 4.0}, 1.0, torch.zeros(1), 16)
    names = ("printed", "cosines", "within_20", "unit_signed")
    readings = {
        name: EvalPoseResult(2.0 + i, torch.zeros(1), 1, 0, 0.5, 4) for i, name in enumerate(names)
    }
    assert Evaluation(pck, readings).metrics("s") == {
        "s/pck_05": 1.0,
        "s/evalpose": 2.0,
        "s/evalpose_coverage": 0.5,
        "s/evalpose_degenerate": 4.0,
        "s/evalpose_cosines": 3.0,
        "s/evalpose_within_20": 4.0,
        "s/evalpose_unit_signed": 5.0,
        "s/pck_05_hip": 4.0,
    }


def test_a_mirrored_prediction_loses_in_the_signed_variant_alone():
    cells = random_cells(3)
    mirrored = cells.copy()
    mirrored[..., 0] = HEATMAP_SIZE - 1 - cells[..., 0]
    result = evaluate(Oracle(mirrored), make_store(cells), np.arange(3), HEATMAP_SIZE)
    assert result.evalpose["printed"].mean == pytest.approx(100, abs=1e-3)
    assert result.evalpose["unit_signed"].mean < 70


def test_limbs_shorter_than_a_cell_have_no_angle():
    # All limbs are 1.5 px or shorter: cells of 1 px can tell their angles, cells of 2 px cannot.
    store = make_store(random_cells(2))
    turn = np.arange(16) * 2.4
    circle = np.stack([np.cos(turn), np.sin(turn)], -1) * 0.75 + 30
    store.keypoints_px[:] = circle
    rows = np.arange(2)
    oracle = Oracle(random_cells(2))
    assert evaluate(oracle, store, rows, heatmap_size=64).evalpose["printed"].mean > 0
    with pytest.raises(ValueError, match="EvalPose"):
        evaluate(oracle, store, rows, heatmap_size=32)


def test_a_network_is_judged_in_evaluation_mode_and_not_changed(make_net):
    cells = random_cells(3)
    oracle = Oracle(cells).train()
    evaluate(oracle, make_store(cells), np.arange(3), HEATMAP_SIZE)
    assert oracle.modes == [(False, False)]  # neither training nor recording gradients

    net = make_net().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    predict(net, make_store(cells), np.arange(3))
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_adabn_reads_images_from_all_over_the_rows():
    net = PoseNet(16, 10, 4, IMAGE_SIZE, HEATMAP_SIZE)
    images = np.repeat(np.array([0, 255], np.uint8), 500)[:, None, None, None]
    images = np.broadcast_to(images, (1000, IMAGE_SIZE, IMAGE_SIZE, 3))
    adapted = with_target_statistics(net, images, np.arange(1000))
    half = normalise(torch.from_numpy(np.ascontiguousarray(images[[0, 999]])))
    mean = net.backbone.conv1(half).mean((0, 2, 3))
    torch.testing.assert_close(adapted.backbone.bn1.running_mean, mean, atol=1e-4, rtol=1e-3)


def test_adabn_gives_batch_norms_the_statistics_of_the_images_and_leaves_the_network_alone():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = PoseNet(16, 10, 4, IMAGE_SIZE, HEATMAP_SIZE)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    images = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    rows = np.array([0, 2, 3, 5] * 50)  # 200 images, so that every batch has several
    adapted = with_target_statistics(net, images, rows)
    seen = net.backbone.conv1(normalise(torch.from_numpy(images[[0, 2, 3, 5]])))
    mean = seen.mean((0, 2, 3))
    torch.testing.assert_close(adapted.backbone.bn1.running_mean, mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        adapted.backbone.bn1.running_var, seen.var((0, 2, 3)), atol=1e-4, rtol=1e-3
    )
    assert not adapted.training
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def make_target(visible=None):
    store = make_store(random_cells(3), visible)
    return replace(store, splits={"val": np.arange(3), "train": np.arange(3)})


def test_a_control_without_enough_angles_is_left_out():
    one_side = np.tile(~np.char.startswith(BODY16.joint_names, "left_"), (3, 1))
    found = control_metrics(make_target(), make_target(one_side), "val", HEATMAP_SIZE)
    assert "pck_05/mean_pose" in found
    assert "pck_05/swapped" not in found
    assert "pck_05/swapped" in control_metrics(make_target(), make_target(), "val", HEATMAP_SIZE)


def test_another_error_in_a_control_is_not_hidden():
    with pytest.raises(ValueError, match="min_limb_px must be > 0"):
        control_metrics(make_target(), make_target(), "val", math.inf)
