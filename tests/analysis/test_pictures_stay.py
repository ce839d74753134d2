"""The main figures look as the stored pictures do, which were looked at.

After an intended change, look at the new picture that the failure names and copy it over the
stored one.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.testing.compare import compare_images

from analysis.figures import per_bin_gain, per_bin_pck, trial_intervals
from analysis.pictures import kinematic_tree
from analysis.pose_similarity import bin_similarity, similarity_heatmap
from analysis.sampling_figures import effect_intervals, score_histogram
from analysis.search_figures import search_history
from analysis.tables import bin_differences, bin_summary
from trainables.data.render.body_prior import sample_body_poses
from trainables.data.skeleton import BODY16

STORED = Path(__file__).parent / "pictures"
TOLERANCE = 5
"""Root mean square difference of pixels, of 255. Another version of a font stays below, another
colour or bar does not."""
TRIALS = {"RegDA": 60, "RegDA VAE-HM": 62, "UDAPE": 68, "UDAPE VAE-HM": 71}


def _bins(num_bins, gain=0.0):
    rng = np.random.default_rng(0)
    rows = [
        (trial, seed, index, base - 40 * index / num_bins + gain + rng.normal(0, 1.5))
        for trial, base in TRIALS.items()
        for seed in range(3)
        for index in range(num_bins)
    ]
    return pd.DataFrame(rows, columns=["trial", "seed", "bin", "pck"])


def _gain():
    pairs = [("RegDA VAE-HM", "RegDA"), ("UDAPE VAE-HM", "UDAPE")]
    return per_bin_gain(bin_differences(_bins(6), pairs))


def _intervals():
    scores = [(trial, seed, pck + seed) for trial, pck in TRIALS.items() for seed in range(3)]
    return trial_intervals(pd.DataFrame(scores, columns=["trial", "seed", "All"]))


def _body_poses(num):
    poses = sample_body_poses(np.random.default_rng(0), np.linspace(0, 1, num), np.ones(num))
    return 30 * poses[..., :2].astype(np.float32), np.ones((num, 16), bool)


def _heatmap():
    poses, visible = _body_poses(300)
    bins = np.arange(300) // 50
    return similarity_heatmap(bin_similarity(poses, visible, bins, BODY16, 0.1, "unit_signed"))


def _tree():
    poses, visible = _body_poses(2)
    return kinematic_tree(poses[0], visible[0], BODY16)


def _effects():
    rows = [
        (0, 1 / 3, 1.5, 0.2, 2.8, 9),
        (1 / 3, 2 / 3, 0.2, -1, 1.4, 9),
        (2 / 3, 1, -2, -3, -1, 9),
    ]
    columns = ["start", "end", "effect", "low", "high", "runs"]
    return effect_intervals(pd.DataFrame(rows, columns=columns), "target_val/pck_05")


def _histogram():
    scores = np.sort(np.random.default_rng(0).lognormal(-4, 1, 1200))
    return score_histogram(scores, np.arange(1200) // 200)


def _history():
    values = [30.0, 28.0, 31.0, 29.0, 33.0, 32.0, 35.0]
    trials = pd.DataFrame(
        {"number": range(7), "pck": values, "is_feasible": True, "is_result": True}
    )
    trials = trials.assign(is_baseline=trials["number"] < 2, low=trials["pck"] - 1)
    return search_history(trials.assign(high=trials["pck"] + 1), "pck")


FIGURES = {
    "per_bin_6": lambda: per_bin_pck(bin_summary(_bins(6)), list(TRIALS)),
    "per_bin_25": lambda: per_bin_pck(bin_summary(_bins(25)), list(TRIALS)),
    "gain": _gain,
    "intervals": _intervals,
    "heatmap": _heatmap,
    "tree": _tree,
    "effects": _effects,
    "histogram": _histogram,
    "history": _history,
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_looks_as_its_stored_picture(name, tmp_path):
    drawn = tmp_path / f"{name}.png"
    FIGURES[name]().savefig(drawn, dpi=50)
    stored = tmp_path / f"{name}-stored.png"  # compare_images writes beside it
    stored.write_bytes((STORED / f"{name}.png").read_bytes())
    assert compare_images(stored, drawn, TOLERANCE) is None


def test_other_bars_are_noticed(tmp_path):
    drawn = tmp_path / "per_bin_6.png"
    per_bin_pck(bin_summary(_bins(6, gain=4)), list(TRIALS)).savefig(drawn, dpi=50)
    stored = tmp_path / "stored.png"
    stored.write_bytes((STORED / "per_bin_6.png").read_bytes())
    assert compare_images(stored, drawn, TOLERANCE) is not None
