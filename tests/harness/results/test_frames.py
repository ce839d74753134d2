import json
from pathlib import Path

import pandas as pd
import pytest

from harness.results import Study, load_study
from harness.results.validators import ALL_METHODS, WITHOUT_ORACLE
from tests.trainables.evaluation.test_predictions import make_predictions
from trainables.evaluation.predictions import PREDICTIONS, write_predictions
from trainables.metrics.metric_keys import CHOICES, VALIDATORS
from trainables.metrics.selection import chosen_metrics


def _study(runs, epochs, folder=Path("small")):
    """Trials as (number, method, seed, state); epochs as {(number, step): metrics}."""
    columns = ["number", "adapt.method", "seed", "state"]
    table = pd.DataFrame(runs, columns=columns)
    table["trial"] = table["name"] = table["adapt.method"]
    rows = [
        (number, step, metric, value)
        for (number, step), metrics in epochs.items()
        for metric, value in metrics.items()
    ]
    return Study(
        "small", "target_val/pck_05", "maximize", table,
        pd.DataFrame(rows, columns=["number", "step", "metric", "value"]), folder,
    )  # fmt: skip


def _epoch(pck, **validators):
    return {"target_val/pck_05": pck} | {f"validator/{k}": v for k, v in validators.items()}


def test_checkpoints_are_those_of_complete_and_pruned_runs():
    states = ["complete", "pruned", "failed", "stopped", "running"]
    runs = [(number, "regda", number, state) for number, state in enumerate(states)]
    study = _study(runs, {(n, 1): _epoch(10.0 + n, bnm=0.5) for n in range(len(states))})
    table = study.checkpoints()
    assert table["number"].tolist() == [0, 1]
    assert table["pck_05"].tolist() == [10.0, 11.0]
    assert table["bnm"].tolist() == [0.5, 0.5]
    assert table["coral"].isna().all()


def test_an_epoch_without_a_target_pck_is_no_checkpoint():
    epochs = {(0, 1): {"validator/bnm": 0.5}, (0, 2): _epoch(20.0, bnm=0.6)}
    assert _study([(0, "regda", 0, "complete")], epochs).checkpoints()["step"].tolist() == [2]


def test_a_validator_is_judged_over_all_runs_of_a_method_together():
    # By confidence: 0.9 (30 %), 0.8 (50 %), 0.2 (10 %), 0.1 (20 %). Ranks 4 3 2 1 against
    # 3 4 1 2: squared differences 1 1 1 1, Spearman 1 - 6 * 4 / (4 * 15) = 0.6.
    epochs = {
        (0, 1): _epoch(20.0, confidence=0.1),
        (0, 2): _epoch(30.0, confidence=0.9),
        (1, 1): _epoch(10.0, confidence=0.2),
        (1, 2): _epoch(50.0, confidence=0.8),
    }
    study = _study([(0, "regda", 0, "complete"), (1, "regda", 1, "pruned")], epochs)
    (row,) = study.validators().to_dict("records")
    assert (row["validator"], row["method"]) == ("confidence", "regda")
    assert row["num_checkpoints"] == 4
    assert row["spearman"] == pytest.approx(0.6)
    assert row["regret_at_1"] == 20.0
    assert row["top5_mean"] == 27.5
    assert row["top5_worst"] == 10.0


def test_the_whole_study_is_judged_with_and_without_the_oracle():
    methods = ["source_only", "oracle", "regda"]
    runs = [(number, method, 0, "complete") for number, method in enumerate(methods)]
    epochs = {(n, s): _epoch(10.0 * n + s, mmd=-n - s) for n in range(3) for s in (1, 2)}
    counts = _study(runs, epochs).validators().set_index("method")["num_checkpoints"]
    assert counts.to_dict() == {
        "oracle": 2, "regda": 2, "source_only": 2, WITHOUT_ORACLE: 4, ALL_METHODS: 6,
    }  # fmt: skip


def test_a_validator_is_judged_where_it_was_logged():
    epochs = {(0, 1): _epoch(10.0, mmd=-1), (0, 2): _epoch(20.0, mmd=-2, agreement=50.0)}
    table = _study([(0, "udape", 0, "complete")], epochs).validators().set_index("validator")
    assert table["num_checkpoints"].to_dict() == {"agreement": 1, "mmd": 2}


def test_choices_are_what_a_run_logged_with_its_regret():
    history = [
        _epoch(30.0, source_pck=50.0, confidence=0.9),
        _epoch(45.0, source_pck=70.0, confidence=0.5),
        _epoch(40.0, source_pck=80.0, confidence=0.7),
    ]
    epochs = {(0, step): metrics for step, metrics in enumerate(history, start=1)}
    epochs[(0, 3)] = history[-1] | chosen_metrics(history)
    table = _study([(0, "regda", 7, "complete")], epochs).choices()
    assert table["way"].tolist() == ["default", "last", "oracle_val", "source_pck", "confidence"]
    found = table.set_index("way")
    assert found["epoch"].to_dict() == {
        "default": 3, "last": 3, "oracle_val": 2, "source_pck": 3, "confidence": 1,
    }  # fmt: skip
    assert found.loc["confidence", ["pck_05", "regret"]].tolist() == [30.0, 15.0]
    assert found.loc["oracle_val", "regret"] == 0.0
    assert set(table["seed"]) == {7}


def test_a_pruned_run_has_chosen_nothing():
    epochs = {(n, 1): {"chosen_epoch/last": 1.0, "chosen_pck_05/last": 9.0} for n in (0, 1)}
    study = _study([(0, "regda", 0, "pruned"), (1, "regda", 0, "complete")], epochs)
    table = study.choices()
    assert table["number"].tolist() == [1]
    assert table["regret"].isna().all()  # no oracle_val to compare with


def test_a_study_without_validators_has_empty_tables_with_all_columns():
    study = _study([(0, "regda", 0, "complete")], {(0, 1): {"target_val/pck_05": 1.0}})
    assert study.validators().empty
    assert study.choices().empty
    assert "weighted_spearman" in study.validators()
    assert "regret" in study.choices()


def test_every_way_of_choosing_that_a_run_logs_has_a_place():
    history = [_epoch(1.0, **dict.fromkeys(VALIDATORS, 0.5))]
    logged = {key.split("/")[1] for key in chosen_metrics(history)}
    assert logged | {"kept"} == set(CHOICES)


def test_a_study_is_read_from_its_folder_or_the_environment(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="POSEBINS_STUDY"):
        load_study()
    event = {"event": "study", "time": 0.0, "study": "s", "objective": "o", "goal": "maximize"}
    text = f"{json.dumps(event)}\n"
    (tmp_path / "events.jsonl").write_text(text)
    assert load_study(tmp_path).name == "s"
    monkeypatch.setenv("POSEBINS_STUDY", str(tmp_path / "events.jsonl"))
    assert load_study().runs.empty


def test_the_predictions_of_a_run_are_read_from_its_folder(tmp_path):
    runs = [(0, "regda", 0, "complete"), (1, "regda", 1, "pruned"), (2, "regda", 2, "complete")]
    study = _study(runs, {}, tmp_path)
    folder = tmp_path / "runs" / "2"
    folder.mkdir(parents=True)
    write_predictions(folder / PREDICTIONS, make_predictions(4))
    assert study.predictions(2).ids.tolist() == make_predictions(4).ids.tolist()
    with pytest.raises(FileNotFoundError, match="run 1 of small .* it is pruned, and only"):
        study.predictions(1)
    with pytest.raises(FileNotFoundError, match="run 0 of small .* the disk was full"):
        study.predictions(0)
    with pytest.raises(KeyError, match="study small has no run 3"):
        study.predictions(3)
    (folder / PREDICTIONS).write_text("")
    with pytest.raises(ValueError, match="no readable file of predictions"):
        study.predictions(2)
