import pandas as pd

from analysis.table_text import to_latex, to_markdown, with_intervals

NAN = float("nan")


def test_an_interval_stands_beside_its_mean():
    table = pd.DataFrame(
        {"All": [59.94, 40.0, NAN], "low": [56.0, NAN, NAN], "high": [63.9, NAN, NAN]}
    )
    assert with_intervals(table, "All")["All"].tolist() == ["59.9 [56.0, 63.9]", "40.0", "-"]


def test_a_difference_shows_its_sign():
    table = pd.DataFrame({"mean": [1.25, -2.0], "low": [-1.0, NAN], "high": [3.5, NAN]})
    texts = with_intervals(table, signed=True)["mean"].tolist()
    assert texts == ["+1.2 [-1.0, 3.5]", "-2.0"]


def test_markdown_rounds_numbers_and_leaves_counts():
    table = pd.DataFrame({"trial": ["a"], "All": [1.26], "num_seeds": [3], "AdaBN": [NAN]})
    assert to_markdown(table).splitlines() == [
        "| trial | All | num_seeds | AdaBN |",
        "| --- | --- | --- | --- |",
        "| a | 1.3 | 3 | - |",
    ]


def test_a_named_index_is_the_first_column():
    table = pd.DataFrame({"regda": [0.123]}, index=pd.Index(["bnm"], name="validator"))
    assert to_markdown(table, 2).splitlines()[-1] == "| bnm | 0.12 |"


def test_latex_has_rules_and_no_sign_that_latex_would_read():
    table = pd.DataFrame({"trial": ["a_b & 5 %"], "All": [1.26], "seeds": [3]})
    assert to_latex(table).splitlines() == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"trial & All & seeds \\",
        r"\midrule",
        r"a\_b \& 5 \% & 1.3 & 3 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
