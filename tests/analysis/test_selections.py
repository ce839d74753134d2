import pandas as pd
import pytest

from analysis.selections import regret_table, selection_table, validator_table


def _choices(rows):
    columns = ["number", "trial", "method", "seed", "way", "epoch", "pck_05", "regret"]
    return pd.DataFrame(rows, columns=columns)


def test_validators_are_rows_in_their_order_and_pools_columns_in_theirs():
    rows = [
        ("coral", "regda", 0.1), ("bnm", "regda", 0.2), ("bnm", "oracle", 0.3), ("bnm", "all", 0.4)
    ]  # fmt: skip
    table = validator_table(
        pd.DataFrame(rows, columns=["validator", "method", "spearman"]), "spearman"
    )
    assert table.index.tolist() == ["bnm", "coral"]
    assert table.columns.tolist() == ["regda", "oracle", "all"]
    assert table.loc["bnm"].tolist() == [0.2, 0.3, 0.4]
    assert pd.isna(table.loc["coral", "oracle"])


def test_regret_is_averaged_over_arms_before_seeds_and_never_the_oracles():
    # Seed 0 has two arms (1 and 3), seed 1 one (5): mean of 2 and 5, not of three runs.
    rows = [
        (n, f"arm{n}", "regda", seed, "last", 8, 50.0, regret)
        for n, (seed, regret) in enumerate(((0, 1.0), (0, 3.0), (1, 5.0)))
    ]
    rows.append((0, "arm0", "regda", 0, "oracle_val", 4, 51.0, 0.0))
    (row,) = regret_table(_choices(rows)).to_dict("records")
    assert (row["way"], row["mean"], row["worst"]) == ("last", 3.5, 5.0)
    assert (row["num_seeds"], row["num_runs"]) == (2, 3)


def test_the_three_selections_stand_apart():
    rows = [
        (seed, "RegDA", "regda", seed, way, 1, pck + seed, 0.0)
        for seed in (0, 1)
        for way, pck in (("default", 50.0), ("last", 40.0), ("oracle_val", 60.0), ("bnm", 0.0))
    ]
    table = selection_table(_choices(rows))
    assert table["selection"].tolist() == [
        "label-free", "last epoch", "oracle on target_val", "label-free - last",
    ]  # fmt: skip
    assert table["mean"].tolist() == [50.5, 40.5, 60.5, 10.0]
    assert table["num_seeds"].tolist() == [2, 2, 2, 2]


def test_a_selection_that_no_run_logged_has_no_row():
    table = selection_table(_choices([(0, "RegDA", "regda", 0, "last", 8, 40.0, float("nan"))]))
    assert table["selection"].tolist() == ["last epoch"]


@pytest.mark.parametrize("table", [regret_table, selection_table])
def test_a_table_of_no_choices_is_refused(table):
    with pytest.raises(ValueError, match="no complete run reported a choice"):
        table(_choices([]))


def test_a_table_of_no_validators_is_refused():
    with pytest.raises(ValueError, match="no checkpoint reported a validator"):
        validator_table(pd.DataFrame(columns=["validator", "method", "spearman"]))
