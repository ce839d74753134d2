"""Figures of a search and of what it trains on: what they draw of hand-made frames."""

import numpy as np
import pandas as pd
import pytest

from analysis.sampling_figures import (
    bin_edges,
    curriculum_schedules,
    effect_intervals,
    effects_table,
    score_histogram,
)
from analysis.search_figures import (
    parameter_importances,
    pareto_front,
    search_history,
    time_saved,
    time_saved_bars,
)

NAN = float("nan")


def _trials(values, feasible=None, oracle=None):
    feasible = feasible or [True] * len(values)
    return pd.DataFrame(
        {
            "number": range(len(values)),
            "trial": [f"t{number}" for number in range(len(values))],
            "is_baseline": [True] + [False] * (len(values) - 1),
            "pck": values,
            "low": NAN,
            "high": NAN,
            "is_feasible": feasible,
            "is_result": [ok and number != oracle for number, ok in enumerate(feasible)],
        }
    )


def test_the_best_so_far_never_falls_and_passes_over_what_breaks_a_bound():
    trials = _trials([10.0, 30.0, 20.0, 25.0], [True, False, True, True])
    axes = search_history(trials, "pck").axes[0]
    assert axes.lines[0].get_ydata().tolist() == [10.0, 10.0, 20.0, 25.0]
    lower = search_history(_trials([3.0, 1.0, 2.0]), "pck", "minimize").axes[0]
    assert lower.lines[0].get_ydata().tolist() == [3.0, 1.0, 1.0]


def test_the_oracle_is_shown_and_is_never_the_best_so_far():
    axes = search_history(_trials([10.0, 70.0, 20.0], oracle=1), "pck").axes[0]
    assert axes.lines[0].get_ydata().tolist() == [10.0, 10.0, 20.0]
    (oracle,) = (c for c in axes.containers if c.get_label() == "trained on target labels")
    assert oracle.lines[0].get_xydata().tolist() == [[1.0, 70.0]]


def test_a_study_without_a_complete_trial_has_no_history():
    with pytest.raises(ValueError, match="no complete trial"):
        search_history(_trials([1.0]).iloc[:0], "pck")


def test_the_front_is_drawn_from_left_to_right_with_names():
    trials = _trials([3.0, 1.0, 2.0]).assign(
        coverage=[1.0, 3.0, 0.5], is_pareto=[True, True, False]
    )
    axes = pareto_front(trials, "pck", "coverage").axes[0]
    assert axes.lines[1].get_xdata().tolist() == [1.0, 3.0]
    assert [text.get_text() for text in axes.texts] == ["t1", "t0"]
    with pytest.raises(ValueError, match="speed is no objective"):
        pareto_front(trials, "pck", "speed")


def test_importances_are_bars_in_their_order():
    axes = parameter_importances(pd.Series({"a": 0.75, "b": 0.25})).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [75.0, 25.0]
    with pytest.raises(ValueError, match="too few complete trials"):
        parameter_importances(pd.Series(dtype=float))


def _runs():
    return pd.DataFrame(
        {
            "number": [0, 1, 2],
            "state": ["complete", "complete", "pruned"],
            "epochs_run": [4, 4, 1],
            "num_epochs": [4, 4, 4],
            "busy_s": [100.0, 60.0, 20.0],
        }
    )


def test_time_is_saved_by_stages_that_were_found_and_by_epochs_that_were_not_trained():
    stages = pd.DataFrame(
        [
            (0, "images/source", "miss", "k", 50.0),
            (1, "images/source", "hit", "k", 50.0),
            (2, "images/source", "hit", "k", 50.0),
            (2, "pretrain", "hit", "p", 15.0),
            (1, "training", "hit", "t", 40.0),
            (1, "pretrain", "hit", "p", 15.0),  # within the training of run 1
            (0, "pose_vae", "miss", "v", 9.0),
            (0, "pose_vae/reference", "hit", "v", 9.0),  # the one that this run has fitted
            (1, "pose_vae", "hit", "v", 9.0),
            (1, "pose_vae/reference", "hit", "v", 9.0),
        ],
        columns=["number", "stage", "outcome", "key", "seconds"],
    )
    table = time_saved(_runs(), stages).set_index("what")
    assert table["seconds"].to_dict() == {
        "spent by workers": 180.0,
        "saved by sharing images/source": 100.0,
        "saved by sharing pretrain": 15.0,
        "saved by sharing training": 40.0,
        "saved by sharing pose_vae": 9.0,
        "saved by pruning (estimate)": 60.0,  # 3 epochs of 180 s / 9
    }
    assert table["num_runs"].tolist() == [3, 2, 1, 1, 1, 1]
    bars = time_saved_bars(table.reset_index()).axes[0].patches
    assert [bar.get_width() for bar in bars][:2] == pytest.approx([3.0, 100 / 60])


def test_bins_are_cut_between_their_neighbouring_poses():
    scores = np.array([1.0, 4.0, 2.0, 8.0, np.nan, 16.0])
    bins = np.array([0, 1, 0, 1, -1, 2])
    assert bin_edges(scores, bins).tolist() == [3.0, 12.0]
    axes = score_histogram(scores, bins).axes[0]
    assert [line.get_xdata()[0] for line in axes.lines] == [3.0, 12.0]
    assert [text.get_text() for text in axes.texts] == ["0", "1", "2"]
    assert sum(bar.get_height() for bar in axes.patches) == 5


EFFECTS = pd.DataFrame(
    [(0, 0.5, 1.0, 0.5, 1.5, 8), (0.5, 1, -0.2, -1.0, 0.6, 8)],
    columns=["start", "end", "effect", "low", "high", "runs"],
)


def test_effects_are_named_by_their_range():
    table = effects_table(EFFECTS)
    assert table["range"].tolist() == ["0 to 50 % (easiest)", "50 to 100 % (hardest)"]
    assert table["verdict"].tolist() == ["higher", "no difference shown"]
    axes = effect_intervals(EFFECTS, "pck").axes[0]
    filled = [c.lines[0].get_markerfacecolor() != "white" for c in axes.containers]
    assert filled == [True, False]


def test_no_effect_is_refused():
    with pytest.raises(ValueError, match="too few complete trials"):
        effects_table(EFFECTS.iloc[:0])


def test_a_schedule_has_a_line_per_trial_and_says_what_was_active(study_of):
    def epochs(*shares):
        return [{"target_val/pck_05": 1.0, "sampling/active_fraction": s} for s in shares]

    study = study_of(
        [
            ("all-seed0", {}, epochs(1.0, 1.0, 1.0)),
            ("cl-seed0", {"sampling.strategy": "curriculum"}, epochs(0.25, 0.5, 1.0)),
            ("cl-seed1", {"sampling.strategy": "curriculum", "seed": 1}, epochs(0.1, 0.1, 0.1)),
        ]
    )
    axes = curriculum_schedules(study.epochs, study.runs).axes[0]
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
    assert drawn == {"RegDA": [100.0, 100.0, 100.0], "RegDA VAE-CL": [25.0, 50.0, 100.0]}
    with pytest.raises(ValueError, match="no run reported"):
        curriculum_schedules(study.epochs.iloc[:0], study.runs)
