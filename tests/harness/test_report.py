"""What the person at the terminal reads at the end of a study."""

from types import SimpleNamespace

import pytest

from harness.engine import StudyResult
from harness.ledger import TrialRecord
from harness.report import as_text
from harness.spec import load_study
from harness.storage import Storage
from trainables.config import TrialConfig

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
            TrialRecord(
                number, number, name, is_baseline, {"sampling.strategy": "all"},
                TrialConfig().to_flat() | ({"adapt.method": "oracle"} if name == "oracle" else {}),
                state="complete", metrics={"target_val/pck_05": value, **metrics}, value=value,
            )
            for number, (name, is_baseline, value, metrics) in enumerate(trials)
        ]  # fmt: skip
        result = StudyResult(
            "s", "maximize", "complete", None, False, 90.0, records, "sqlite:///o.db", "s"
        )
        spec = load_study(write_study(STUDY))
        return list(as_text(spec, Storage(tmp_path), result, SimpleNamespace(run_ids={})))

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
    assert "  and 4 more complete settings below the best 5" in text


def test_the_best_trials_checkpoints_are_told_apart_by_who_chose_them(lines):
    chosen = {
        "chosen_pck_05/last": 52.5, "chosen_epoch/last": 6.0, "chosen_pck_05/default": 53.0,
        "chosen_epoch/default": 5.0, "chosen_pck_05/oracle_val": 54.25,
        "chosen_epoch/oracle_val": 4.0,
    }  # fmt: skip
    (line,) = (text for text in lines(("all", True, 52.5, chosen)) if "Checkpoints" in text)
    assert line.strip() == (
        "Checkpoints of all, target_val/pck_05: last 52.5 (epoch 6), by label-free validators "
        "53 (epoch 5), by target labels, which is not allowed 54.25 (epoch 4)."
    )


def test_a_study_without_checkpoints_says_nothing_of_them(lines):
    assert not any("Checkpoints" in line for line in lines(("all", True, 52.5, {})))
