"""The confirmation of a study: whom it trains, how it goes on, what it says."""

import pytest

from harness.confirm import main
from harness.confirmation.confirmation_study import plan_confirmation, resumed
from harness.record.ledger import Ledger, RunRecord, read_runs, trial_of
from harness.results.verdict import (
    as_json,
    as_lines,
    headline,
    judge,
    looks_caution,
    num_looks,
    recorded_verdict,
)
from harness.spec import SpecError, load_spec
from tests.simulation import Simulation
from trainables.config import TrialConfig
from trainables.data.layouts.leeds import write_leeds
from trainables.data.render.rendered import render_domain

PCK = "target_val/pck_05"
TEST = "target_test/pck_05"
STUDY = f"""
name: s
metric: {{name: {PCK}, goal: maximize}}
method: grid
parameters:
  vae.kl_weight: {{values: [0.1, 0.2, 0.4]}}
baselines:
  all: {{sampling.strategy: all, vae.kl_weight: 0.001}}
  oracle: {{adapt.method: oracle, vae.kl_weight: 0.002}}
"""


def _curve(fields, step):
    """Better with a larger weight; the oracle is best."""
    bonus = {"oracle": 100.0}.get(fields["adapt.method"], 0.0)
    return {PCK: 10 * fields["vae.kl_weight"] + bonus + fields["seed"] / 100}


@pytest.fixture
def searched(write_study, tmp_path):
    """Run a search and return its ledger."""

    def run(text=STUDY, curve=_curve):
        simulation = Simulation(load_spec(write_study(text)), tmp_path)
        simulation.run(curve, num_steps=1)
        simulation.close()
        return tmp_path / "studies" / simulation.spec.name / "events.jsonl"

    return run


def _names(plan):
    baselines = plan.spec.baselines.items()
    return list(dict.fromkeys(trial_of(name, fields["seed"]) for name, fields in baselines))


def test_the_best_trials_and_all_baselines_are_trained_with_fresh_seeds(searched):
    plan = plan_confirmation(searched(), 2, 2, [])
    best, second = "trial-4_kl-weight-0-4", "trial-3_kl-weight-0-2"
    assert list(plan.spec.baselines) == [
        f"{name}-seed{seed}" for seed in (1000, 1001) for name in (best, second, "oracle", "all")
    ]
    assert plan.spec.baselines[f"{best}-seed1001"]["seed"] == 1001
    assert plan.spec.baselines[f"{best}-seed1001"]["vae.kl_weight"] == 0.4
    assert plan.spec.name == "s-confirm"
    assert plan.spec.max_trials == 8


def test_the_reference_is_the_searchs_best_baseline_that_saw_no_target_label(searched):
    text = STUDY + "  hard: {sampling.strategy: hardest, vae.kl_weight: 0.003}\n"
    assert plan_confirmation(searched(text), 1, 1, []).selection.compared == {
        "baselines": ["oracle", "hard", "all"],
        "references": ["hard", "all"],
    }


def test_seeds_that_the_search_drew_are_one_finalist_as_good_as_their_mean(searched):
    text = STUDY.replace("[0.1, 0.2, 0.4]", "[0.1, 0.2]").replace(
        "baselines:", "  seed: {values: [0, 1]}\nbaselines:"
    )
    values = {(0.1, 0): 40.0, (0.1, 1): 60.0, (0.2, 0): 50.0, (0.2, 1): 52.0}  # means 50, 51

    def curve(fields, step):
        return {PCK: values.get((fields["vae.kl_weight"], fields["seed"]), 1.0)}

    finalists = plan_confirmation(searched(text, curve), 3, 1, []).selection.finalists
    assert [finalist.fields["vae.kl_weight"] for finalist in finalists] == [0.2, 0.1]


def test_trials_of_several_seeds_are_ranked_by_their_mean(searched):
    values = {(0.1, 0): 90.0, (0.1, 1): 0.0, (0.2, 0): 50.0, (0.2, 1): 50.0}

    def curve(fields, step):
        return {PCK: values.get((fields["vae.kl_weight"], fields["seed"]), 1.0)}

    text = STUDY + "seeds: 2\n"
    finalists = plan_confirmation(searched(text, curve), 2, 1, []).selection.finalists
    assert [finalist.fields["vae.kl_weight"] for finalist in finalists] == [0.2, 0.1]


def test_of_several_objectives_the_pareto_optimal_trials_come_first(searched):
    text = STUDY.replace(
        f"metric: {{name: {PCK}, goal: maximize}}",
        f"metrics:\n  - {{name: {PCK}, goal: maximize}}\n"
        "  - {name: target_val/evalpose, goal: maximize}",
    )
    points = {0.1: (1.0, 9.0), 0.2: (2.0, 1.0), 0.4: (3.0, 5.0)}  # 0.2 is dominated by 0.4

    def curve(fields, step):
        pck, evalpose = points.get(fields["vae.kl_weight"], (0.0, 0.0))
        return {PCK: pck, "target_val/evalpose": evalpose}

    plan = plan_confirmation(searched(text, curve), 3, 1, [])
    weights = [finalist.fields["vae.kl_weight"] for finalist in plan.selection.finalists]
    assert weights == [0.4, 0.1, 0.2]
    assert [metric.name for metric in plan.spec.objectives] == [PCK, "target_val/evalpose"]


def test_a_trial_that_breaks_a_constraint_is_no_finalist(searched):
    text = STUDY + "constraints: [{name: target_val/pck_05, max: 3}]\n"
    plan = plan_confirmation(searched(text), 3, 1, [])
    assert [f.fields["vae.kl_weight"] for f in plan.selection.finalists] == [0.2, 0.1]
    assert any("2 trials to choose from, not 3" in note for note in plan.notes)


def test_what_a_baseline_is_already_is_no_finalist(searched):
    text = f"""
name: s
metric: {{name: {PCK}, goal: maximize}}
method: grid
parameters:
  bins.count: {{values: [3, 6]}}
  bins.subset: {{choose: {{from: bins.count, min: 3, max: 3}}}}
fixed: {{sampling.strategy: bins}}
baselines:
  all: {{sampling.strategy: all}}
"""

    def curve(fields, step):
        share = 3 / fields["bins.count"] if fields["sampling.strategy"] == "bins" else 1
        return {PCK: 50 * share + sum(fields["bins.subset"] or ()) * (share < 1)}

    plan = plan_confirmation(searched(text, curve), 30, 1, [])
    finalists = plan.selection.finalists
    assert {f.fields["bins.count"] for f in finalists} == {6}  # bins 0, 1 and 2 of 3 are all
    assert len(finalists) == 20
    assert any("20 trials to choose from, not 30: they are" in note for note in plan.notes)


@pytest.mark.parametrize("change", ["adapt.epochs=6", "fixed.adapt.epochs=6", "adapt={epochs: 6}"])
def test_a_field_is_changed_in_all_trials(searched, change):
    plan = plan_confirmation(searched(), 1, 1, [change, "resources.parallel=1"])
    assert {fields["adapt.epochs"] for fields in plan.spec.baselines.values()} == {6}
    assert plan.spec.resources.parallel == 1


def test_trials_that_a_change_makes_equal_are_trained_once(searched):
    plan = plan_confirmation(searched(), 2, 1, ["vae.kl_weight=0.5"])
    assert _names(plan) == ["oracle", "all"]  # a baseline stays: the others are compared with it
    assert any("trial-3_kl-weight-0-2 is the same as all" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["adapt.epochs=[1"], "--set"),
        (["data.num_target=3000"], "keeps the study's data"),
        (["nonsense"], "must look like path=value"),
        (["adap.epochs=3"], "did you mean adapt.epochs"),
        (["seed=3"], "--seeds says how many"),
        (["vae.kl_weight=-1"], "vae.kl_weight"),
    ],
)
def test_changes_that_cannot_be_are_one_sentence(searched, changes, words, tmp_path, capsys):
    searched()
    arguments = [word for change in changes for word in ("--set", change)]
    assert main(["s", "--storage", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert error.count("\n") == 1


def test_a_study_that_is_not_there_is_one_sentence_that_names_those_that_are(
    searched, tmp_path, capsys
):
    searched()
    assert main(["nothing", "--storage", str(tmp_path)]) == 2
    assert "no study named nothing" in (error := capsys.readouterr().err)
    assert error.endswith("known: s\n")
    assert main(["s", "--storage", str(tmp_path), "--seeds", "0"]) == 2
    assert main(["s", "--storage", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "none").exists()


def test_labels_and_images_are_checked_before_anything_starts(searched, tmp_path, capsys):
    chunk = next(render_domain("people_wild", 30, 32, 0))
    write_leeds("lspet", tmp_path / "d", chunk.images, chunk.keypoints_px, chunk.visible)
    searched(STUDY + f"fixed: {{data: {{target: lspet, target_root: {tmp_path / 'd'}}}}}\n")
    (tmp_path / "d" / "images" / "im00007.jpg").write_bytes(b"")
    assert main(["s", "--storage", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: fixed.data.target_root: {tmp_path / 'd' / 'images'}: 1 of 30")
    assert error.endswith("\n    im00007.jpg: 0 bytes\n")
    assert not (tmp_path / "studies" / "s-confirm").exists()


def _confirmed(plan, tmp_path, options=None):
    """Run a confirmation to its end; returns its ledger."""
    simulation = Simulation(plan.spec, tmp_path, **{"kind": "confirmation", **(options or {})})
    simulation.run(_curve, num_steps=1)
    simulation.close()
    return simulation.ledger.path


def test_more_seeds_go_on_with_the_same_confirmation(searched, tmp_path):
    search = searched()
    first = plan_confirmation(search, 1, 2, [])
    ledger = _confirmed(first, tmp_path)
    assert resumed(ledger, first.spec, accept_change=False) == (first.spec, False)
    more = plan_confirmation(search, 1, 3, [])
    spec, accepts_change = resumed(ledger, more.spec, accept_change=False)
    assert accepts_change
    _confirmed(more, tmp_path, {"accept_change": True})
    runs = read_runs(ledger)[1]
    assert [run.name for run in runs.values()] == list(more.spec.baselines)
    assert {run.state for run in runs.values()} == {"complete"}
    assert num_looks(ledger) == 2
    *before, _ = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(before))
    assert num_looks(ledger) == 2, "the report is written before the last event"
    ledger.write_text("".join(before[:-1]))
    assert num_looks(ledger) == 1, "the last run has not finished"
    assert "added once after the test split" in looks_caution(2)


@pytest.mark.parametrize(
    ("top", "seeds", "changes", "words"),
    [
        (2, 2, [], "has no trial trial-3_kl-weight-0-2, which --top"),
        (0, 2, [], "has the trials trial-4_kl-weight-0-4"),
        (1, 1, [], "has 2 seeds, more than --seeds 1"),
        (1, 2, ["adapt.epochs=6"], "not 6; give the same --set"),
    ],
)
def test_another_confirmation_of_the_name_is_refused_with_how_it_differs(
    searched, tmp_path, top, seeds, changes, words
):
    search = searched()
    ledger = _confirmed(plan_confirmation(search, 1, 2, []), tmp_path)
    other = plan_confirmation(search, top, seeds, changes)
    with pytest.raises(SpecError, match="--new") as caught:
        resumed(ledger, other.spec, accept_change=False)
    assert words in str(caught.value)


def test_an_accepted_change_adds_trials_and_keeps_those_that_are_there(searched, tmp_path):
    search = searched()
    first = plan_confirmation(search, 1, 1, [])
    ledger = _confirmed(first, tmp_path)
    other = plan_confirmation(search, 0, 2, [])
    spec, accepts_change = resumed(ledger, other.spec, accept_change=True)
    assert accepts_change
    assert set(spec.baselines) == {*first.spec.baselines, *other.spec.baselines}


def test_a_confirmation_is_neither_confirmed_nor_mistaken_for_a_search(searched, tmp_path):
    search = searched()
    plan = plan_confirmation(search, 1, 1, [])
    ledger = _confirmed(plan, tmp_path)
    with pytest.raises(SpecError, match="is itself a confirmation"):
        plan_confirmation(ledger, 1, 1, [])
    replay = _confirmed(plan, tmp_path / "replayed", {"kind": "replay"})
    with pytest.raises(SpecError, match="is itself a replay; name the study that it belongs to"):
        plan_confirmation(replay, 1, 1, [])
    with pytest.raises(SpecError, match="is not a confirmation"):
        resumed(search, plan.spec, accept_change=False)


def test_a_study_without_complete_trials_has_nothing_to_confirm(tmp_path):
    path = tmp_path / "events.jsonl"
    with Ledger(path) as ledger:
        ledger.append("study", study="s", trainable="adaptation", objectives=[], kind="trial")
    with pytest.raises(SpecError, match="no complete trial"):
        plan_confirmation(path, 1, 1, [])


# The verdict

FIELDS = TrialConfig().to_flat()


def _runs_of(values):
    """Complete runs of ``(trial, seed)`` with their test PCK."""
    return [
        RunRecord(
            number=number, trial=number, trial_name=trial, seed=seed, name=f"{trial}-seed{seed}",
            is_baseline=True, params={}, fields={**FIELDS, "seed": seed}, state="complete",
            metrics={PCK: 0.0, TEST: pck},
        )
        for number, ((trial, seed), pck) in enumerate(values.items())
    ]  # fmt: skip


def _judged(runs, *baselines):
    """The verdict; the baselines are given best of the search first."""
    return judge(runs, baselines, baselines)


def _runs(rows):
    """Runs of trials, given by their values over seeds 1000, 1001, ..."""
    return _runs_of(
        {(name, 1000 + i): pck for name, row in rows.items() for i, pck in enumerate(row)}
    )


def _line_of(verdict, name):
    """The line with a trial's difference."""
    lines = as_lines(verdict)
    start = next(i for i, line in enumerate(lines) if line.startswith("paired differences"))
    return next(line for line in lines[start:] if line.strip().startswith(name))


def test_a_clear_and_an_unclear_difference_are_told_apart():
    # Paired gaps to "all": better 10, 11, 12 (t interval 11 -+ 4.303 / sqrt(3) = 2.48), t = 19.05,
    # p = 0.00274, times two finalists 0.0055; noisy 5, -6, 4.
    rows = {"all": [50, 40, 60], "better": [60, 51, 72], "noisy": [55, 34, 64]}
    verdict = _judged(_runs(rows), "all")
    better, noisy = _line_of(verdict, "better"), _line_of(verdict, "noisy")
    assert "+11.00 [8.52, 13.48]" in better
    assert "adjusted p 0.005" in better
    assert "3 of 3 seeds agree" in better
    assert "no difference shown" not in better
    assert "no difference shown" in noisy
    lines = as_lines(verdict)
    assert lines[0] == headline(verdict)
    assert headline(verdict).endswith("better than all, the best baseline of the search: better.")
    assert "over 3 seeds" in lines[1]


def test_what_no_network_scores_stands_below_the_means():
    runs = _runs({"all": [50, 40], "x": [60, 51]})
    for record in runs:
        record.metrics |= {
            "target_test/evalpose_unit_signed": 70.0,
            "target_test/control/evalpose_unit_signed/mirrored": 5.5,
            "target_test/control/pck_05/mirrored": 9.5,
        }
    lines = as_lines(_judged(runs, "all"))
    (row,) = (line.split() for line in lines if line.split()[:1] == ["mirrored"])
    assert row == ["mirrored", "-", "5.50"]
    assert lines[-1].endswith("predictions that no network made")


@pytest.mark.parametrize(("constant", "poor"), [(9.0, []), (45.0, ["all"]), (60.0, ["x", "all"])])
def test_which_trials_are_no_better_than_the_mean_source_pose_is_said(constant, poor):
    runs = _runs({"all": [50, 40], "x": [60, 51]})
    for record in runs:
        record.metrics["target_test/control/pck_05/mean_pose"] = constant
    (line,) = (li for li in as_lines(_judged(runs, "all")) if "mean source pose" in li)
    assert f"{constant:.2f}" in line
    assert line.endswith(", ".join(poor)) if poor else line.startswith("all beat")


def test_a_difference_that_several_finalists_make_unsure_is_not_shown():
    # Gaps 1, 2, 3, 4, 1: t = 2.2 / 0.583 = 3.77, p = 0.0196 alone; of three finalists 0.0587.
    rows = {"all": [0] * 5, "x": [1, 2, 3, 4, 1]}
    alone = _judged(_runs(rows), "all").trials[0].difference
    assert alone.is_shown
    assert alone.p_adjusted == pytest.approx(0.0196, abs=1e-4)
    crowd = rows | {"y": [1, -1, 2, -2, 0], "z": [-1, 1, -2, 2, 1]}
    verdict = _judged(_runs(crowd), "all")
    among = next(s for s in verdict.trials if s.name == "x").difference
    assert among.p_adjusted == pytest.approx(3 * alone.p_value)
    assert not among.is_shown
    assert among.interval == alone.interval
    assert any("(Holm)" in line for line in as_lines(verdict))


def test_the_reference_is_the_searchs_best_whatever_the_test_split_says():
    rows = {"first": [10, 11], "second": [50, 51], "x": [60, 60]}
    assert _judged(_runs(rows), "first", "second").reference == "first"


def test_baselines_do_not_count_in_the_family_of_finalists():
    rows = {"all": [0, 0, 0], "other": [1, 2, 3], "x": [1, 2, 4]}
    verdict = _judged(_runs(rows), "all", "other")
    assert verdict.num_finalists == 1
    found = next(s for s in verdict.trials if s.name == "x").difference
    assert found.p_adjusted == found.p_value


def test_the_same_difference_in_every_seed_is_no_evidence():
    line = _line_of(_judged(_runs({"all": [50, 60], "x": [53, 63]}), "all"), "x")
    assert "2 of 2 seeds agree, the same in every seed" in line
    assert line.endswith("no difference shown")


def test_a_single_seed_shows_no_difference():
    line = _line_of(_judged(_runs({"all": [50], "x": [90]}), "all"), "x")
    assert "[one seed]" in line
    assert line.endswith("no difference shown")


def test_a_failed_seed_is_counted_and_does_not_hide_the_others():
    rows = {"all": [50, 51, 52], "x": [60, 61]}
    lines = as_lines(_judged(_runs(rows), "all"))
    line = next(line for line in lines if line.strip().startswith("x"))
    assert "60.50 [54.15, 66.85] from 2 seeds" in line  # 60.5 -+ 12.7062 * 0.7071 / sqrt(2)


def test_a_run_that_did_not_end_counts_for_nothing():
    runs = _runs({"all": [50, 51], "x": [60, 61]})
    runs[-1].state = "failed"
    (first, _) = _judged(runs, "all").trials
    assert first.name == "x"
    assert first.estimates[TEST].num_seeds == 1


def test_names_that_merely_look_like_seeds_stay_apart():
    rows = {"all": [1, 2], "all-seeds": [2, 3]}
    assert {s.name for s in _judged(_runs(rows), "all").trials} == set(rows)


def test_without_any_baseline_there_are_means_alone():
    verdict = _judged(_runs({"x": [1, 2]}))
    assert verdict.reference is None
    assert "no baseline" in as_lines(verdict)[0]
    assert as_lines(_judged([])) == ["No run reported the test split."]


def test_the_ledger_of_a_confirmation_has_its_verdict(searched, tmp_path):
    plan = plan_confirmation(searched(), 1, 2, [])
    simulation = Simulation(
        plan.spec, tmp_path, kind="confirmation", compared=plan.selection.compared
    )
    simulation.run(lambda fields, step: _curve(fields, step) | {TEST: 60.0}, num_steps=1)
    simulation.close()
    verdict = recorded_verdict(*_content(simulation.ledger.path))
    assert verdict.reference == "all"
    assert headline(verdict).startswith("On the test split no finalist is shown to be better")
    assert recorded_verdict(*_content(tmp_path / "studies" / "s" / "events.jsonl")) is None


def _content(ledger):
    description, runs = read_runs(ledger)
    return description, runs.values()


def test_the_json_has_means_intervals_and_differences_of_every_trial():
    rows = {"all": [50, 40, 60, 50], "x": [60, 51, 72, 63]}
    found = as_json(_judged(_runs(rows), "all"))
    (first, second) = found["trials"]
    assert (first["name"], first["role"], second["role"]) == ("x", "finalist", "baseline")
    assert first["metrics"][TEST]["mean"] == 61.5
    assert first["difference"]["mean"] == 11.5  # of 10, 11, 12, 13
    assert first["difference"]["bootstrap"] is not None
    assert second["difference"] is None
    assert found["reference"] == "all"
