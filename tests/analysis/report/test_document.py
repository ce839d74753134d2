"""What a report says, read as text; what it looks like is in ``test_browser``."""

import html
import re

import pytest

from analysis.report.__main__ import main
from analysis.report.comparison import Comparison
from analysis.report.document import report, write_report
from analysis.report.search import search_section
from analysis.search_figures import search_history
from harness.results import load_study
from trainables.metrics.metric_keys import control_metric

PCK = "target_val/pck_05"
CONTENT = {
    "name": "small",
    "metrics": [{"name": PCK, "goal": "maximize"}],
    "parameters": {"sampling.strategy": {"values": ["all", "hardest"]}},
}
POSE_VAE = {
    "name": "small",
    "trainable": "pose_vae",
    "metrics": [{"name": "vae/corruption_auc", "goal": "maximize"}],
    "parameters": {"vae.kl_weight": {"values": [0.1, 1.0]}},
}
HOSTILE = "</pre><script>alert(1)</script><img src=http://x.example/a.png onerror=alert(2)>\"'&"


def _text(page):
    """What a reader sees of a page, in one line."""
    body = page.partition("</style>")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


@pytest.fixture
def text_of(write_ledger):
    """The text of the report of some runs."""
    return lambda runs, **options: _text(
        report(Comparison(load_study(write_ledger(runs, **options))))
    )


@pytest.fixture(scope="module")
def stored_page(stored_study, tmp_path_factory):
    """The report of a whole study, and the folder that it is in."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    write_report(load_study(stored_study), file)
    return file


def _runs(**trials):
    """One run of an epoch for each value of each trial, which is one of its seeds."""
    return [
        (f"{name.replace('_', '-')}-seed{seed}", {"seed": seed}, [{PCK: value}])
        for name, values in trials.items()
        for seed, value in enumerate(values)
    ]


def test_a_difference_whose_interval_leaves_out_zero_is_an_answer(text_of):
    # Differences 5 and 5.2: mean 5.1, standard error 0.1, t of one degree of freedom 12.706.
    text = text_of(_runs(all=[50.0, 52.0], trial_1=[55.0, 57.2]))
    assert "A trial is better than the best baseline." in text
    assert "best searched trial is trial-1 (56.1), the best baseline all (51.0), by" in text
    assert "is +5.1 points: 95 % interval [3.8, 6.4], paired over 2 seeds: better" in text


def test_nothing_is_shown_where_the_interval_includes_zero(text_of):
    # Differences 1 and 5: mean 3, standard error 2.
    text = text_of(_runs(all=[50.0, 50.0], trial_1=[51.0, 55.0]))
    assert "Nothing is shown: no trial is known to be better than the best baseline." in text
    assert "+3.0 points: 95 % interval [-22.4, 28.4], paired over 2 seeds: it includes 0" in text


def test_one_seed_shows_nothing(text_of):
    text = text_of(_runs(all=[50.0], trial_1=[80.0]))
    assert "Nothing is shown" in text
    assert "+30.0 points: one seed each, so there is no interval" in text


def test_trials_of_different_seeds_are_not_paired(text_of):
    runs = [("all-seed0", {"seed": 0}, [{PCK: 50.0}]), ("trial-1", {"seed": 7}, [{PCK: 60.0}])]
    assert "+10.0 points: the two have no seed in common, so nothing is shown" in text_of(runs)


def test_a_searched_trial_that_is_worse_is_said_to_be(text_of):
    text = text_of(_runs(all=[60.0, 62.0], trial_1=[50.0, 52.2]))
    assert "No trial is better than the best baseline." in text
    assert "-9.9 points" in text


def test_the_oracle_wins_nothing(text_of):
    runs = [
        *_runs(all=[50.0], trial_1=[55.0]),
        ("oracle", {"adapt.method": "oracle"}, [{PCK: 90}]),
    ]
    text = text_of(runs)
    assert "best searched trial is trial-1 (55.0), the best baseline all (50.0)" in text
    assert "oracle *, trained on target labels" in text


def test_a_trial_that_is_what_a_baseline_is_is_not_the_answer(text_of):
    runs = [
        ("all", {"sampling.strategy": "all"}, [{PCK: 60.0}]),
        (
            "trial-1",
            {"sampling.strategy": "bins", "bins.count": 3, "bins.subset": [0, 1, 2]},
            [{PCK: 60.0}],
        ),
        (
            "trial-2",
            {"sampling.strategy": "bins", "bins.count": 3, "bins.subset": [1]},
            [{PCK: 55.0}],
        ),
    ]
    text = text_of(runs)
    assert "best searched trial is trial-2 (55.0), the best baseline all (60.0)" in text
    assert "trial-1 , the same as all" in text
    text = text_of([*runs[:2], ("hardest", {"sampling.strategy": "hardest"}, [{PCK: 50.0}])])
    assert "No searched trial is a result of its own" in text


def test_a_metric_to_minimize_is_better_when_smaller(text_of):
    content = {
        **POSE_VAE, "metrics": [{"name": "vae/reconstruction", "goal": "minimize"}],
    }  # fmt: skip
    runs = [
        (f"{name}-seed{seed}", {"seed": seed}, [{"vae/reconstruction": value - seed / 1000}])
        for name, value in (("all", 0.5), ("trial-1", 0.25))
        for seed in (0, 1)
    ]
    text = text_of(runs, content=content)
    # The same difference in both seeds: an interval of no width.
    assert "best searched trial is trial-1 (0.2495), the best baseline all (0.4995)" in text
    assert "is -0.25: 95 % interval [-0.25, -0.25], paired over 2 seeds: better" in text


def test_a_study_without_a_complete_run_says_why(text_of):
    text = text_of([("all", {}, [], "failed"), ("trial-1", {}, [{PCK: 5.0}], "stopped")])
    assert "No trial ran to its end" in text
    assert "so there is nothing to compare." in text
    assert "1 failed, 1 stopped" in text
    for absent in ("Difficulty of target poses", "Curricula", "Images", "What a bin holds"):
        assert absent not in text


def test_trials_no_better_than_the_mean_pose_are_named(text_of):
    control = control_metric(PCK, "mean_pose")
    runs = [
        (name, {}, [{PCK: value, control: 12.0}])
        for name, value in (("all", 9.0), ("trial-1", 30))
    ]
    text = text_of(runs)
    assert "Not better than the mean source pose (12.0)" in text
    assert "nothing useful was learned: all ." in text


def test_several_objectives_have_a_front_and_no_winner(text_of):
    other = "source_val/pck_05"
    content = {**CONTENT, "metrics": [{"name": n, "goal": "maximize"} for n in (PCK, other)]}
    values = {"all": (50.0, 90.0), "trial-1": (60.0, 80.0), "trial-2": (55.0, 70.0)}
    runs = [(name, {}, [{PCK: a, other: b}]) for name, (a, b) in values.items()]
    text = text_of(runs, content=content)
    assert "2 trials of 3 are Pareto-optimal" in text
    assert "They are trial-1 and all ." in text


def test_a_second_objective_has_no_bars_of_the_first(monkeypatch, write_ledger):
    other, bars = "source_val/pck_05", {}
    monkeypatch.setattr(
        "analysis.report.search.search_history",
        lambda trials, metric, goal: (
            bars.update({metric: trials["low"].isna().all()})
            or search_history(trials, metric, goal)
        ),
    )
    content = {**CONTENT, "metrics": [{"name": n, "goal": "maximize"} for n in (PCK, other)]}
    runs = [
        (f"all-seed{seed}", {"seed": seed}, [{PCK: 50.0 + seed, other: 90.0}]) for seed in (0, 1)
    ]
    study = load_study(write_ledger(runs, content={**content, "seeds": 2}))
    search_section(Comparison(study))
    assert bars == {PCK: False, other: True}


def test_several_objectives_without_a_result_have_no_front(text_of):
    other = "source_val/pck_05"
    content = {**CONTENT, "metrics": [{"name": n, "goal": "maximize"} for n in (PCK, other)]}
    runs = [("oracle", {"adapt.method": "oracle"}, [{PCK: 50.0, other: 1.0}])]
    text = text_of(runs, content=content)
    assert "No trial is a result" in text
    assert "Pareto-optimal" not in text


def test_a_study_of_pose_vaes_has_no_bins_and_no_test_split(text_of):
    runs = [
        (name, {}, [{"vae/corruption_auc": value}])
        for name, value in (("all", 0.7), ("trial-1", 1))
    ]
    text = text_of(runs, content=POSE_VAE)
    assert "Take the best settings into a study of adaptation" in text
    assert "harness.confirm" not in text


def test_a_confirmation_is_judged_by_the_test_split(text_of):
    test = "target_test/pck_05"
    runs = [
        (f"{name}-seed{seed}", {"seed": seed}, [{PCK: 10.0, test: value + seed}])
        for name, value in (("all", 50.0), ("trial-3_bins-0", 60.0))
        for seed in (1000, 1001)
    ]
    compared = {"baselines": ["all"], "references": ["all"]}
    text = text_of(runs, kind="confirmation", compared=compared)
    # Both seeds differ by 10, which leaves the spread of the differences unknown.
    assert "no finalist is shown to be better than all, the best baseline of the search" in text
    assert "trial-3_bins-0 +10.0 [10.0, 10.0] [10.0, 10.0] 2 of 2 - nothing is shown" in text
    assert "adjusted p-values" in text


def test_a_confirmation_compares_with_what_was_best_in_the_search(text_of):
    values = {"first": (50, 51, 52), "second": (70, 71, 72), "trial-3_bins-0": (60, 61.5, 62)}
    runs = [
        (f"{name}-seed{seed}", {"seed": seed}, [{PCK: 10.0, "target_test/pck_05": pck}])
        for name, row in values.items()
        for seed, pck in enumerate(row, start=1000)
    ]
    compared = {"baselines": ["first", "second"], "references": ["first", "second"]}
    text = text_of(runs, kind="confirmation", compared=compared)
    assert "better than first, the best baseline of the search: trial-3_bins-0." in text
    assert "trial-3_bins-0 +10.2 [9.4, 10.9]" in text
    assert "second * +20.0 [20.0, 20.0]" in text


def test_long_studies_are_cut_and_counted(text_of):
    runs = [(f"trial-{i}", {}, [{PCK: float(i)}]) for i in range(20)] + _runs(all=[0.5])
    text = text_of(runs)
    assert "And 5 more complete trials below the best 15." in text
    assert "all *" in text


def test_what_a_user_wrote_is_no_markup(write_ledger):
    content = {**CONTENT, "title": HOSTILE}
    runs = [(HOSTILE, {"sampling.strategy": "all"}, [{PCK: 50.0}], "complete")]
    page = report(Comparison(load_study(write_ledger(runs, content=content, study=HOSTILE))))
    assert "<script" not in page
    assert "<img src=http" not in page
    assert page.count(html.escape(HOSTILE)) >= 2  # the title and its heading


def test_a_whole_study_has_all_sections_and_alternative_texts(stored_page):
    page = stored_page.read_text()
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Contents", "Trials", "Difficulty of target poses", "Which difficulty to train on",
        "Controls and EvalPose", "Images", "What a bin holds", "The search", "Curricula",
        "Choosing a checkpoint", "Cost", "How to reproduce",
    ]  # fmt: skip
    anchors = re.findall(r'<a href="#(\w+)">', page)
    assert anchors == re.findall(r'<section id="(\w+)">', page)
    images = re.findall(r"<img [^>]*>", page)
    assert len(images) >= 9
    assert all(re.search(r'alt="[^"]{10,}"', image) for image in images)
    assert all('src="data:image/' in image for image in images)
    assert stored_page.with_name("per_bin.png").read_bytes().startswith(b"\x89PNG")
    assert not list(stored_page.parent.glob(".partial*"))


def test_a_report_is_the_same_the_second_time(stored_study):
    study = load_study(stored_study)
    again = load_study(stored_study)
    assert report(Comparison(study)) == report(Comparison(again))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "nowhere", "is no study"),
        (lambda folder: folder, "is no study"),
        (lambda folder: _file(folder, ""), "holds no study"),
        (lambda folder: _file(folder, "{]\n"), "events.jsonl:1: damaged event"),
    ],
)
def test_a_wrong_path_is_one_sentence(tmp_path, capsys, make, words):
    assert main([str(make(tmp_path)), "--out", str(tmp_path / "out" / "report.html")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error
    assert not (tmp_path / "out").exists()


def _file(folder, text):
    (folder / "events.jsonl").write_text(text)
    return folder


def test_a_file_that_cannot_be_written_is_one_sentence(write_ledger, tmp_path, capsys):
    ledger = write_ledger(_runs(all=[50.0]))
    assert main([str(ledger), "--out", str(ledger / "report.html")]) == 2
    assert "events.jsonl" in capsys.readouterr().err


def test_the_report_stands_in_the_studys_folder_unless_told_otherwise(write_ledger, capsys):
    ledger = write_ledger(_runs(all=[50.0]))
    assert main([str(ledger.parent)]) == 0
    file = ledger.parent / "summary" / "report.html"
    assert capsys.readouterr().out == f"{file}\n"
    assert file.read_text().startswith("<!DOCTYPE html>")
