import matplotlib as mpl
import pandas as pd
import pytest

from analysis.figures import per_bin_gain, per_bin_pck, trial_intervals
from analysis.palette import METHOD_COLOURS
from analysis.tables import bin_differences, bin_summary, overall_summary
from analysis.trial_names import METHODS
from analysis.validator_figures import validator_correlations, validator_scatter
from trainables.metrics.intervals import mean_interval
from trainables.metrics.metric_keys import VALIDATORS

mpl.use("Agg")


def _bins():
    rows = [
        (trial, seed, index, base + index + seed)
        for trial, base in (("all", 50.0), ("vae_hm", 40.0))
        for seed in ((0, 1, 2) if trial == "all" else (0,))
        for index in range(4)
    ]
    return pd.DataFrame(rows, columns=["trial", "seed", "bin", "pck"])


def test_the_interval_of_three_seeds_is_students():
    # mean 2, sd 1, t(0.975, 2) = 4.302653, half width 4.302653 / sqrt(3) = 2.484138
    low, high = mean_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-5)
    assert all(map(pd.isna, mean_interval([1.0])))


def test_a_bin_summary_averages_seeds_and_has_no_interval_for_one():
    table = bin_summary(_bins()).set_index(["trial", "bin"])
    assert table.loc[("all", 2), "mean"] == 53.0
    assert table.loc[("all", 2), "low"] == pytest.approx(53 - 2.484138, abs=1e-5)
    assert table.loc[("all", 2), "num_seeds"] == 3
    assert pd.isna(table.loc[("vae_hm", 2), "low"])


def test_bins_are_compared_over_the_seeds_that_both_trials_have():
    bins = _bins()
    lower = bins[bins["trial"] == "all"].assign(trial="all2", pck=lambda rows: rows["pck"] - 1)
    bins = pd.concat([bins, lower])
    table = bin_differences(bins, [("all", "vae_hm"), ("all", "all2"), ("all", "nobody")])
    assert table["against"].tolist() == ["vae_hm"] * 4 + ["all2"] * 4
    assert table["bin"].tolist() == [0, 1, 2, 3] * 2
    assert table["num_seeds"].tolist() == [1] * 4 + [3] * 4
    assert table["mean"].tolist()[4:] == [1.0] * 4
    assert table.loc[0, ["mean", "num_seeds"]].tolist() == [10.0, 1]
    assert pd.isna(table.loc[0, "low"])


def test_a_summary_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no complete run"):
        bin_summary(_bins().iloc[:0])


def test_the_overall_summary_leaves_out_what_did_not_complete():
    trials = pd.DataFrame(
        {
            "number": [0, 1, 2],
            "trial": ["a", "a", "b"],
            "seed": [0, 1, 0],
            "state": ["complete", "complete", "pruned"],
        }
    )
    table = overall_summary(trials, pd.Series({0: 10.0, 1: 20.0, 2: 99.0}))
    assert table["trial"].tolist() == ["a"]
    assert table.loc[0, "mean"] == 15.0


def test_every_method_has_a_bar_of_its_mean_in_every_bin():
    figure = per_bin_pck(bin_summary(_bins()), ["vae_hm", "all"], title="t")
    axes = figure.axes[0]
    heights = [
        [bar.get_height() for bar in container]
        for container in axes.containers
        if hasattr(container, "patches")
    ]
    assert heights == [[40.0, 41.0, 42.0, 43.0], [51.0, 52.0, 53.0, 54.0]]
    assert axes.get_ylim() == (0.0, 100.0)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["vae_hm (1 seed)", "all (3 seeds)"]


def test_bars_of_one_bin_stand_beside_each_other():
    axes = per_bin_pck(bin_summary(_bins()), ["vae_hm", "all"]).axes[0]
    first, second = (c for c in axes.containers if hasattr(c, "patches"))
    for left, right in zip(first, second, strict=True):
        assert left.get_x() + left.get_width() <= right.get_x() + 1e-9


def test_only_methods_with_seeds_have_an_interval():
    axes = per_bin_pck(bin_summary(_bins())).axes[0]
    bounds = [c for c in axes.containers if hasattr(c, "has_yerr")]
    assert len(bounds) == 1


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="no trial named 'x'; known are all, vae_hm"):
        per_bin_pck(bin_summary(_bins()), ["x"])


def test_a_gain_has_a_point_per_bin_with_the_interval_of_its_pairs():
    bins = _bins()
    worse = bins[bins["trial"] == "all"].assign(trial="worse", pck=lambda r: r["pck"] * 0.9)
    gains = bin_differences(pd.concat([bins, worse]), [("all", "worse"), ("all", "vae_hm")])
    several, single = per_bin_gain(gains).axes[0].containers
    assert several.get_label() == "all over worse"
    # Seeds 50, 51, 52 less their tenth: gains of 5.0, 5.1 and 5.2.
    assert several.lines[0].get_ydata()[0] == pytest.approx(5.1)
    segment = several.lines[2][0].get_segments()[0]
    assert segment[:, 1] == pytest.approx(mean_interval([5.0, 5.1, 5.2]))
    assert single.lines[0].get_markerfacecolor() == "white"  # the same trial again
    with pytest.raises(ValueError, match="no two trials"):
        per_bin_gain(gains.iloc[:0])


def _scores():
    rows = [("Source only", 0, 30.0), *(("RegDA", seed, 50.0 + seed) for seed in range(3))]
    return pd.DataFrame(rows, columns=["trial", "seed", "All"])


def test_every_trial_has_its_seeds_its_mean_and_from_two_seeds_an_interval():
    axes = trial_intervals(_scores()).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Source only", "RegDA"]
    drawn = [list(line.get_xdata()) for line in axes.lines]
    low, high = mean_interval([50.0, 51.0, 52.0])
    assert drawn == [[30.0], [30.0], [low, high], [50.0, 51.0, 52.0], [51.0]]
    assert axes.yaxis_inverted()


def test_rows_of_table_1_and_methods_have_colours_of_their_own():
    arms = ("", " VAE-CL", " VAE-HM", " random third", " easy third")
    rows = ["Source only", "Oracle", *(m + arm for m in ("RegDA", "UDAPE") for arm in arms)]
    assert len({METHOD_COLOURS[row] for row in rows}) == len(rows)
    assert len({METHOD_COLOURS[name] for name in METHODS.values()}) == len(METHODS)


def test_every_validator_has_a_row_and_every_method_a_point_in_it():
    rows = [
        ("bnm", "regda", 0.5),
        ("mmd", "regda", -0.2),
        ("bnm", "oracle", 0.9),
        ("bnm", "all", 0),
    ]
    table = pd.DataFrame(rows, columns=["validator", "method", "spearman"])
    axes = validator_correlations(table).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bnm", "mmd"]
    points = {line.get_label(): line.get_xdata().tolist() for line in axes.lines[:2]}
    assert points["RegDA"] == [0.5, -0.2]
    assert points["Oracle"][0] == 0.9


def test_a_scatter_has_one_panel_for_each_validator_that_was_logged():
    table = pd.DataFrame({"method": ["regda", "udape"], "pck_05": [40.0, 50.0]})
    table = table.reindex(columns=["method", "pck_05", *VALIDATORS])
    table[["bnm", "coral", "mmd", "infomax"]] = 0.5
    figure = validator_scatter(table)
    shown = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert shown == ["infomax", "bnm", "mmd", "coral"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["RegDA", "UDAPE"]
    (regda, udape) = figure.axes[0].collections
    assert regda.get_offsets().tolist() == [[0.5, 40.0]]


def test_figures_of_no_validator_are_refused():
    with pytest.raises(ValueError, match="no checkpoint reported a validator"):
        validator_correlations(pd.DataFrame(columns=["validator", "method", "spearman"]))
