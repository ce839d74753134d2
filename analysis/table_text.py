"""Tables as text: intervals beside their means, GitHub's Markdown, LaTeX."""

from typing import Any

import pandas as pd


def with_intervals(table: pd.DataFrame, mean: str = "mean", signed: bool = False) -> pd.DataFrame:
    """Put the interval of a column beside its values, in one text.

    Args:
        table: Has the columns ``mean``, ``low`` and ``high``.
        mean: Name of the column the interval is of.
        signed: Whether the mean is a difference and shows its sign.

    Returns:
        The table without ``low`` and ``high``, values such as ``59.9 [56.0, 63.9]`` in
        ``mean``; the mean alone where there is no interval, ``-`` where there is no mean.
    """
    sign = "+" if signed else ""
    texts = [
        _text(value, low, high, sign)
        for value, low, high in table[[mean, "low", "high"]].itertuples(index=False)
    ]
    return table.drop(columns=["low", "high"]).assign(**{mean: texts})


def to_latex(table: pd.DataFrame, decimals: int = 1) -> str:
    """A table for a paper: a ``tabular`` with the rules of the package booktabs.

    Args:
        table: See :func:`to_markdown`.
        decimals: Digits of real numbers after the point.
    """
    head, *body = _rows(table, decimals)
    # Numbers to the right, words to the left.
    shape = "l" + "r" * (len(head) - 1)
    lines = [" & ".join(map(_escaped, row)) + r" \\" for row in (head, *body)]
    return "\n".join([
        rf"\begin{{tabular}}{{{shape}}}", r"\toprule", lines[0], r"\midrule", *lines[1:],
        r"\bottomrule", r"\end{tabular}",
    ])  # fmt: skip


def to_markdown(table: pd.DataFrame, decimals: int = 1) -> str:
    """A table for a README: numbers with one decimal, counts as they are, ``-`` for NaN.

    Args:
        table: Its index is written as the first column if it has a name.
        decimals: Digits of real numbers after the point.
    """
    head, *body = _rows(table, decimals)
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rows(table: pd.DataFrame, decimals: int) -> list[list[str]]:
    """The head and the cells as texts."""
    rows = table.reset_index() if table.index.name else table
    cells = [[_cell(v, decimals) for v in values] for values in rows.itertuples(index=False)]
    return [list(map(str, rows.columns)), *cells]


def _escaped(text: str) -> str:
    for sign in "&%#_":
        text = text.replace(sign, f"\\{sign}")
    return text


def _text(value: float, low: float, high: float, sign: str) -> str:
    if pd.isna(value):
        return "-"
    mean = f"{value:{sign}.1f}"
    return mean if pd.isna(low) else f"{mean} [{low:.1f}, {high:.1f}]"


def _cell(value: Any, decimals: int) -> str:
    if pd.isna(value):
        return "-"
    return f"{value:.{decimals}f}" if isinstance(value, float) else str(value)
