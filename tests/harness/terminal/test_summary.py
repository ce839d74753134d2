"""What the user reads at the end of a study."""

import json
from types import SimpleNamespace

import pytest

from harness.record.ledger import RunRecord
from harness.record.storage import Storage
from harness.record.study_result import StudyResult
from harness.spec import load_spec
from harness.terminal.summary import as_json, as_text
from trainables.config import TrialConfig

FIELDS = TrialConfig().to_flat()
PAGE = "http://127.0.0.1:5000/#/experiments/1/runs"
TRACKER = SimpleNamespace(run_ids={}, page=PAGE)
STUDY = """
name: s
trainable: adaptation
metric: {name: target_val/pck_05, goal: maximize}
parameters: {sampling.strategy: {values: [all, hardest]}}
baselines: {all: {}}
budget: {run_cap: 3}
"""


@pytest.fixture
def lines(tmp_path, write_study):
    """Lines for trials given as (name, is_baseline, value, further metrics)."""

    def make(*trials):
        records = [
            RunRecord(
                number=number, trial=number, trial_name=name, seed=0, name=name,
                is_baseline=is_baseline, params={"sampling.strategy": "all"},
                fields=FIELDS | ({"adapt.method": "oracle"} if name == "oracle" else {}),
                state="complete", metrics={"target_val/pck_05": value, **metrics}, value=value,
            )
            for number, (name, is_baseline, value, metrics) in enumerate(trials)
        ]  # fmt: skip
        result = StudyResult(
            study_name="s", state="complete", reason=None, was_interrupted=False,
            wall_s=90.0, runs=records, optuna_url="sqlite:///o.db", optuna_name="s",
        )  # fmt: skip
        spec = load_spec(write_study(STUDY))
        return list(as_text(spec, Storage(tmp_path), result, TRACKER))

    return make


def test_trials_are_ranked_with_their_gap_to_the_best_baseline(lines):
    text = lines(("all", True, 50.0, {}), ("trial-1", False, 52.5, {}))
    rows = [line.split() for line in text if line.split()[:1] in (["0"], ["1"])]
    assert [row[1] for row in rows] == ["trial-1", "all"]
    assert rows[0][2:4] == ["52.5", "+2.5"]
    assert any("One seed each" in line for line in text)


def test_the_oracle_is_not_what_others_are_compared_with(lines):
    text = lines(("oracle", True, 90.0, {}), ("all", True, 50.0, {}), ("trial-2", False, 52.5, {}))
    rows = {line.split()[1]: line.split() for line in text if line.split()[:1] in (["0"], ["2"])}
    assert rows["trial-2"][3] == "+2.5"
    assert rows["oracle"][4] == "+40"


def test_trials_that_are_not_shown_are_counted(lines):
    text = lines(*((f"trial-{i}", False, float(i), {}) for i in range(9)))
    assert "  and 4 more complete trials below the best 5" in text


def test_the_best_trials_checkpoints_are_told_apart_by_who_chose_them(lines):
    chosen = {
        "chosen_pck_05/last": 52.5, "chosen_epoch/last": 6.0, "chosen_pck_05/default": 53.0,
        "chosen_epoch/default": 5.0, "chosen_pck_05/oracle_val": 54.25,
        "chosen_epoch/oracle_val": 4.0,
    }  # fmt: skip
    text = lines(("all", True, 52.5, chosen))
    start = next(i for i, line in enumerate(text) if "Checkpoints" in line)
    assert " ".join(line.strip() for line in text[start : start + 2]) == (
        "Checkpoints of all, target_val/pck_05: last 52.5 (epoch 6), by label-free validators "
        "53 (epoch 5), by target labels, which is not allowed 54.25 (epoch 4)."
    )


def test_a_study_without_checkpoints_says_nothing_of_them(lines):
    assert not any("Checkpoints" in line for line in lines(("all", True, 52.5, {})))


SEVERAL = """
name: s
metrics:
  - {name: target_val/pck_05, goal: maximize}
  - {name: target_val/evalpose, goal: maximize}
constraints: [{name: target_val/evalpose, min: 90}]
parameters: {sampling.strategy: {values: [all, hardest]}}
seeds: 2
budget: {run_cap: 4}
"""


def _several(*trials, **more):
    """A result of trials given as (pck, evalpose) of each seed."""
    records = [
        RunRecord(
            number=2 * trial + seed, trial=trial, trial_name=f"trial-{trial}", seed=seed,
            name=f"trial-{trial}-seed{seed}", is_baseline=False,
            params={"sampling.strategy": "all"}, fields=FIELDS | {"seed": seed},
            state="complete", value=pck, step=6,
            metrics={"target_val/pck_05": pck, "target_val/evalpose": evalpose},
            stages={"images/source": ["hit", "0123", 4.0]},
        )
        for trial, seeds in enumerate(trials)
        for seed, (pck, evalpose) in enumerate(seeds)
    ]  # fmt: skip
    ended = {"state": "complete", "reason": None, "notes": (), **more}
    return StudyResult(
        study_name="s", was_interrupted=False, wall_s=60.0, runs=records,
        optuna_url="postgresql+psycopg://me:secret@db/s", optuna_name="s", **ended,
    )  # fmt: skip


TRIALS = (
    [(50.0, 95.0), (54.0, 95.0)],
    [(40.0, 99.0), (40.0, 99.0)],
    [(45.0, 94.0), (45.0, 94.0)],
    [(90.0, 80.0), (90.0, 80.0)],
)


def test_seeds_show_their_mean_and_interval_and_the_front_and_what_breaks_a_constraint(
    tmp_path, write_study
):
    spec = load_spec(write_study(SEVERAL))
    arguments = (spec, Storage(tmp_path), _several(*TRIALS), TRACKER)
    text = list(as_text(*arguments))
    rows = {line.split()[1]: line.split() for line in text if line.split()[:1] != ["and"]
            and len(line.split()) > 5 and line.split()[0].isdigit()}  # fmt: skip
    assert [name for name in rows] == ["trial-0", "trial-2", "trial-1", "trial-3"]
    assert rows["trial-0"][2:7] == ["+", "52", "95", "[26.59,", "77.41]"]
    assert rows["trial-1"][2] == "+"
    assert rows["trial-2"][2] == "45", "dominated by trial 0"
    assert rows["trial-3"][2] == "!"
    assert "  ! trial-3 breaks target_val/evalpose >= 90 (it is 80)" in text
    assert any("Means over 2 seeds" in line for line in text)


def test_the_json_ranks_trials_and_masks_the_password(tmp_path, write_study):
    spec = load_spec(write_study(SEVERAL))
    tracker, result = SimpleNamespace(run_ids={0: "run"}, page=None), _several(*TRIALS)
    result.runs[2].params = {"sampling.strategy/quantile": 0.24}
    found = as_json(spec, Storage(tmp_path), result, tracker)
    assert "secret" not in json.dumps(found)
    assert (found["best"], found["pareto"]) == (0, [0, 1])
    first, second, _, fourth = found["trials"]
    assert (first["number"], first["name"], first["baseline"]) == (0, "trial-0", None)
    assert (first["state"], first["reason"], first["retry_of"]) == ("complete", None, None)
    assert first["metrics"] == {"target_val/pck_05": 52.0, "target_val/evalpose": 95.0}
    assert first["interval"] == pytest.approx([26.59, 77.41], abs=0.01)
    assert (first["mlflow_run_id"], first["epochs_run"]) == ("run", 6)
    assert first["stages"] == {"images/source": "hit"}
    assert second["params"] == {"sampling.strategy": "all"}, "what was trained"
    assert [bool(trial["broken_constraints"]) for trial in (first, fourth)] == [False, True]
    assert [(run["number"], run["seed"]) for run in second["runs"]] == [(2, 0), (3, 1)]
    assert [run["metrics"]["target_val/pck_05"] for run in first["runs"]] == [50.0, 54.0]


def test_the_json_tells_why_a_trial_is_not_complete(tmp_path, write_study):
    spec, result = load_spec(write_study(SEVERAL)), _several(*TRIALS)
    failed, _, stopped, *_ = result.runs
    failed.state, failed.reason = "failed", "RuntimeError: x"
    stopped.state, stopped.reason = "stopped", "budget.hours 1 used up"
    result.runs[-1:] = []  # its study ended before the second seed started
    found = as_json(spec, Storage(tmp_path), result, TRACKER)["trials"]
    assert [trial["state"] for trial in found] == ["failed", "stopped", "complete", "stopped"]
    assert [trial["reason"] for trial in found[:2]] == [failed.reason, stopped.reason]
    assert [trial["interval"] is None for trial in found] == [True, True, False, True]
    assert [run["state"] for run in found[0]["runs"]] == ["failed", "complete"]
    assert found[0]["mlflow_run_id"] is None


def test_a_study_that_stopped_says_why_and_how_it_goes_on(tmp_path, write_study):
    spec = load_spec(write_study(SEVERAL))
    result = _several(*TRIALS, state="stopped", reason="budget.hours 1 used up", notes=("so",))
    text = list(as_text(spec, Storage(tmp_path), result, TRACKER))
    assert "  budget.hours 1 used up; the same command continues from here" in text
    assert "  so" in text


def test_how_many_runs_reuse_earlier_results_is_said(tmp_path, write_study):
    spec, result = load_spec(write_study(SEVERAL)), _several(*TRIALS)
    arguments = (spec, Storage(tmp_path), result, TRACKER)
    words = "of the runs equal earlier ones"
    assert not any(words in line for line in as_text(*arguments))
    for record in result.runs[:3]:
        record.stages = {"training": ["hit", "0123", 40.0]}
    result.runs[3].stages = {"training": ["miss", "0123", 40.0]}
    assert any(line.startswith(f"  3 {words}") for line in as_text(*arguments))


def test_that_no_searched_trial_ran_to_its_end_is_said(tmp_path, write_study):
    spec, result = load_spec(write_study(SEVERAL)), _several(*TRIALS)
    arguments = (spec, Storage(tmp_path), result, TRACKER)
    words = "no searched trial ran to its end"
    assert not any(words in line for line in as_text(*arguments))
    for record in result.runs:
        record.state, record.value = "pruned", None
    assert any(words in line for line in as_text(*arguments))


def test_where_mlflow_has_no_page_yet_no_address_is_announced(tmp_path, write_study):
    spec, result = load_spec(write_study(SEVERAL)), _several(*TRIALS)
    with_page, without = (
        list(as_text(spec, Storage(tmp_path), result, tracker))
        for tracker in (TRACKER, SimpleNamespace(run_ids={}, page=None))
    )
    at = with_page.index("      starts MLflow's pages, to compare the runs; open")
    assert with_page[at + 1].strip() == PAGE
    assert without[at] == "      starts MLflow's pages, to compare the runs"
    assert "jupyter" in without[at + 1]


def test_what_the_metrics_give_to_no_network_stands_below_the_trials(lines):
    controls = {
        "target_val/control/pck_05/centre": 3.25,
        "target_val/control/pck_05/mean_pose": 6.75,
        "target_val/control/evalpose/mean_pose": 93.0,  # is not a column of this study
    }
    text = lines(("all", True, 52.5, controls))
    rows = [line.split() for line in text if line.endswith("no network")]
    assert [row[:3] for row in rows] == [["-", "centre", "3.25"], ["-", "mean_pose", "6.75"]]
    assert any("beats the mean source pose" in line for line in text)
    without = lines(("all", True, 52.5, {}))
    assert not any("no network" in line or "mean source pose" in line for line in without)


def test_a_trial_that_does_not_beat_the_mean_source_pose_is_marked(lines):
    constant = {"target_val/control/pck_05/mean_pose": 6.75}
    text = lines(("all", True, 6.5, constant), ("trial-1", False, 8.0, constant))
    rows = {line.split()[1]: line.split() for line in text if line.split()[:1] in (["0"], ["1"])}
    assert rows["all"][2] == "*~"
    assert rows["trial-1"][2] == "8"
    assert any(line.startswith("  ~ no better than the mean source pose") for line in text)


BINS = """
name: s
metrics:
  - {name: target_val/pck_05, goal: maximize}
  - {name: target_val/evalpose_unit_signed, goal: maximize, role: report}
  - {name: source_val/pck_05, goal: maximize, role: report}
parameters:
  sampling.strategy: {value: bins}
  bins.count: {value: 6}
  bins.subset: {choose: {from: bins.count, min: 1, max: 5}}
  vae.kl_weight: {values: [0.0001, 0.001]}
baselines:
  all: {sampling.strategy: all}
  source_only: {sampling.strategy: all, adapt.method: source_only}
budget: {run_cap: 30}
"""


@pytest.fixture
def of_bins(tmp_path, write_study):
    """Result, lines and JSON of a study in which the hardest sixth is worth 3 points."""
    spec = load_spec(write_study(BINS))
    fields = {name: dict(values) for name, values in spec.baselines.items()}
    subsets = [[i, (i + gap) % 6] for i in range(6) for gap in (1, 2, 3)] + [[0, 1, 2, 3, 4]]
    for index, subset in enumerate(subsets):
        fields[f"trial-{index + 2}"] = {"sampling.strategy": "bins", "bins.subset": subset}
    runs = []
    for number, (name, own) in enumerate(fields.items()):
        flat = TrialConfig().to_flat() | {"bins.count": 6, "vae.kl_weight": 1e-4} | own
        share = {"all": 1 / 6}.get(name, (5 in own.get("bins.subset", ())) / 2)
        value = 20.0 if name == "source_only" else 40 + 18 * share + number % 2 * 0.01
        metrics = {"target_val/pck_05": value, "target_val/pck_05_adabn": 33.25}
        metrics |= {f"target_val/control/pck_05/{c}": 11.0 for c in ("centre", "mean_pose")}
        searched = {"bins.subset/b00": True, "vae.kl_weight": 1e-4}
        runs.append(
            RunRecord(
                number=number, trial=number, trial_name=name, seed=0, name=name,
                is_baseline=number < 2,
                params={} if number < 2 else searched, fields=flat,
                state="complete", value=value, metrics=metrics,
            )
        )  # fmt: skip
    runs[-1].state = "pruned"
    result = StudyResult(
        study_name="s", state="complete", reason=None, was_interrupted=False,
        wall_s=60.0, runs=runs, optuna_url="sqlite:///o.db", optuna_name="s",
    )  # fmt: skip
    arguments = (spec, Storage(tmp_path), result, TRACKER)
    return list(as_text(*arguments)), as_json(*arguments)


def test_the_effect_of_each_range_of_difficulty_is_shown_with_its_interval(of_bins):
    text, found = of_bins
    effects = found["difficulty_effects"]
    assert [(round(e["from"], 3), round(e["to"], 3)) for e in effects] == [
        (0.0, 0.167), (0.167, 0.333), (0.333, 0.5), (0.5, 0.667), (0.667, 0.833), (0.833, 1.0),
    ]  # fmt: skip
    # All: 40 + 18 / 6 = 43; without the hardest 40; without another 40 + 18 / 5 = 43.6.
    assert [round(e["effect"], 1) for e in effects] == [-0.6, -0.6, -0.6, -0.6, -0.6, 3.0]
    assert all(e["low"] <= e["effect"] <= e["high"] for e in effects)
    assert {e["runs"] for e in effects} == {20}, "complete ones"
    rows = [line for line in text if line.endswith(("helps", "hurts", "nothing is shown"))]
    assert len(rows) == 6
    assert rows[-1].split()[:5] == ["83", "%", "to", "100", "%"]
    assert "hardest" in rows[-1]
    assert rows[-1].endswith("helps")
    assert any("1 pruned run" in line for line in text)


def test_the_summary_fits_a_terminal_and_shows_only_what_differs(of_bins):
    text, _ = of_bins
    commands = ("http:", "POSEBINS_STUDY", "python")
    assert all(len(line) <= 100 for line in text if not line.strip().startswith(commands))
    rows = {line.split()[1]: line for line in text if line.strip()[:1].isdigit()}
    assert rows["source_only"].endswith("method=source_only")
    assert rows["trial-10"].endswith("subset=2+5")
    assert "kl_weight" not in "".join(text)
    (adabn,) = (line.split() for line in text if line.split()[:2] == ["-", "adabn"])
    assert adabn[2] == "33.25"


def test_the_end_names_the_command_and_the_address_that_compare_the_runs(lines):
    text = [line.strip() for line in lines(("all", True, 50.0, {}))]
    command = next(line for line in text if line.startswith("python -m harness.ui s --storage "))
    assert text[text.index(command) + 2] == PAGE


def test_too_few_trials_tell_nothing_of_difficulty(lines):
    text = lines(("all", True, 50.0, {}), ("trial-1", False, 52.5, {}))
    assert any("difficulty does is unknown" in line for line in text)


def test_a_collapsed_pose_vae_behind_a_choice_of_samples_is_warned_of(tmp_path, write_study):
    spec, result = load_spec(write_study(SEVERAL)), _several(*TRIALS)
    arguments = (spec, Storage(tmp_path), result, TRACKER)
    for record in result.runs[:3]:
        record.metrics["vae/is_collapsed"] = 1.0
    lines = list(as_text(*arguments))
    assert not any("collapsed Pose VAE" in line for line in lines), "strategy all has no use"
    for record in result.runs[2:]:
        record.fields["sampling.strategy"] = "hardest"
    lines = list(as_text(*arguments))
    start = next(i for i, line in enumerate(lines) if "1 of the runs (trial-1-seed0)" in line)
    warning = " ".join(line.strip() for line in lines[start : start + 2])
    assert warning.startswith("warning: ")
    assert warning.endswith("lower vae.kl_weight")
