"""MLflow's charts come in the order of interest, and a metric's own name can be read off."""

import pytest

from harness.mlflow_tracking.metric_sections import (
    comparing_charts,
    ledger_metric,
    shown_metric,
    step_of,
)

IN_ORDER = [
    "final/pck_bin/00", "target_val/pck_05", "pck_bin/00", "train/source_kl", "source_val/pck_05",
    "m", "chosen_epoch/last", "target_val/control/pck_05/centre", "validator/bnm", "vae/kl",
]  # fmt: skip


def test_charts_of_interest_come_first_and_bookkeeping_last():
    shown = [shown_metric(name) for name in IN_ORDER]
    digits = [name.partition(" ")[0] for name in shown]
    assert digits == ["3", "4", "5", "6", "7", "8", "9", "9", "9", "9"]


@pytest.mark.parametrize("name", IN_ORDER)
def test_the_ledgers_name_is_read_off_the_shown_one(name):
    assert ledger_metric(shown_metric(name)) == name


def test_charts_that_only_compare_are_no_metrics_of_the_ledger():
    metrics = {"target_val/pck_05": 50.0, "final/pck_bin/01": 2.0, "final/pck_bin/00": 1.0}
    found = list(comparing_charts(["target_val/pck_05", "other"], metrics))
    assert [(step, value) for _, step, value in found] == [(0, 50.0), (0, 1.0), (1, 2.0)]
    names = [name for name, _, _ in found]
    assert names[0] == "1 objective/target_val pck_05"
    assert [ledger_metric(name) for name in names] == [None] * 3
    assert names == sorted(names)


def test_what_a_run_has_once_is_a_bar():
    assert step_of("final/pck_bin/00", 7) == step_of("target_test/pck_05", 7) == 0
    assert step_of("target_val/pck_05", 7) == 7
