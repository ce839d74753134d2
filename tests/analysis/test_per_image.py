"""Scores of single images and what they say per bin, worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from analysis.examples import compared_images, comparison_grid, pck_against_evalpose
from analysis.per_image import (
    image_scores,
    pck_evalpose_correlations,
    study_predictions,
    trial_image_scores,
)
from analysis.tables import pose_bin_differences
from harness.results import load_study
from trainables.data.skeleton import BODY16
from trainables.evaluation.predictions import Predictions

T_1 = 12.7062
"""Student's t, 97.5 %, one degree of freedom."""


def _predictions(num_wrong, bins):
    """Poses of 16 visible joints, of which the first few of each are predicted 20 px away."""
    num = len(num_wrong)
    truth = np.random.default_rng(0).uniform(0, 63, (num, 16, 2)).astype(np.float32)
    predicted = truth.copy()
    for row, wrong in enumerate(num_wrong):
        predicted[row, :wrong] += 20
    return Predictions(
        split=np.full(num, "target_val"),
        ids=np.array([f"id{row}" for row in range(num)]),
        keypoints_px=predicted,
        confidence=np.ones((num, 16), np.float32),
        truth_px=truth,
        visible=np.ones((num, 16), bool),
        scores=np.arange(num, dtype=np.float32),
        bins=np.array(bins, np.int16),
        skeleton=BODY16,
        image_size=64,
        heatmap_size=64,
    )


def test_an_image_has_the_share_of_its_correct_joints():
    table = image_scores(_predictions([0, 4, 16], [0, 0, 1]))
    assert table["pck"].tolist() == [100.0, 75.0, 0.0]
    assert table["bin"].tolist() == [0, 0, 1]
    assert table.loc[0, ["evalpose", "evalpose_unit_signed"]].tolist() == pytest.approx([100, 100])
    assert table.loc[1, "evalpose_unit_signed"] < 100


def test_a_trial_of_several_seeds_has_the_mean_of_each_image():
    seeds = [_predictions([0, 4], [0, 1]), _predictions([8, 4], [0, 1])]
    table = trial_image_scores({"a": seeds, "b": seeds[:1]})
    assert table["trial"].tolist() == ["a", "a", "b", "b"]
    assert table["pck"].tolist() == [75.0, 75.0, 100.0, 75.0]
    assert table["num_seeds"].tolist() == [2, 2, 1, 1]


def test_trials_are_compared_image_by_image():
    ours, theirs = _predictions([0, 0], [0, 0]), _predictions([4, 8], [0, 0])
    images = trial_image_scores({"ours": [ours], "theirs": [theirs]})
    (row,) = pose_bin_differences(images, [("ours", "theirs")]).to_dict("records")
    # 25 and 50 points
    assert (row["mean"], row["num_poses"]) == (37.5, 2)
    assert row["high"] == pytest.approx(37.5 + T_1 * 12.5, rel=1e-4)


def test_correlations_are_spearmans():
    images = pd.DataFrame({"trial": "a", "pck": [1.0, 2.0, 3.0], "evalpose": [10.0, 30.0, 20.0]})
    # Ranks 1 3 2 against 1 2 3: 1 - 6 * 2 / (3 * 8)
    assert pck_evalpose_correlations(images).loc["a", "evalpose"] == pytest.approx(0.5)
    images["evalpose"] = 5.0
    assert pd.isna(pck_evalpose_correlations(images).loc["a", "evalpose"])


def _images(**pck):
    rows = [
        (trial, f"id{row}", value) for trial, values in pck.items()
        for row, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["trial", "id", "pck"])


def test_examples_are_the_largest_gains_and_losses_of_equal_ones_the_first():
    images = _images(ours=[50, 90, 40, 60, 10], base=[50, 50, 50, 20, 50])
    # Differences 0, 40, -10, 40, -40
    chosen = compared_images(images, "ours", "base", num=2)
    assert chosen["id"].tolist() == ["id1", "id3", "id4", "id2"]
    assert chosen["kind"].tolist() == ["gain", "gain", "loss", "loss"]
    assert chosen["difference"].tolist() == [40, 40, -40, -10]


def test_no_image_is_a_gain_and_a_loss():
    chosen = compared_images(_images(ours=[1, 2, 3], base=[0, 0, 0]), "ours", "base", num=2)
    assert chosen["id"].tolist() == ["id2", "id1", "id0"]


def test_trials_without_a_common_image_cannot_be_compared():
    images = _images(ours=[1], base=[])
    with pytest.raises(ValueError, match="ours and base have no image in common"):
        compared_images(images, "ours", "base")


def test_the_grid_shows_the_truth_and_each_prediction_with_its_scores(stored_study):
    study = load_study(stored_study)
    found = {trial: runs[0] for trial, runs in study_predictions(study).items()}
    both = {trial: found[trial] for trial in ("RegDA", "RegDA VAE-HM")}
    images = trial_image_scores({trial: [run] for trial, run in both.items()})
    chosen = compared_images(images, "RegDA VAE-HM", "RegDA", num=2)
    figure = comparison_grid(chosen, both, study.poses("target").store)
    assert len(figure.axes) == 4 * 3
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["ground truth", "RegDA", "RegDA VAE-HM"] * 2
    scores = images.set_index(["trial", "id"]).loc[("RegDA", chosen["id"][0])]
    wanted = f"PCK {scores['pck']:.0f}, EvalPose {scores['evalpose_unit_signed']:.0f}"
    assert figure.axes[1].get_xlabel() == wanted


def test_each_reading_has_a_panel_with_its_rank_correlation():
    images = pd.DataFrame({"pck": [1.0, 2.0, 3.0], "evalpose": [1.0, 2.0, 9.0]})
    images["evalpose_unit_signed"] = -images["evalpose"]
    figure = pck_against_evalpose(images, ["evalpose", "evalpose_unit_signed"])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["printed\nSpearman 1.00", "unit signed\nSpearman -1.00"]
