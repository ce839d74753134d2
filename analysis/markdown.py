"""Tables as text: intervals beside their means, GitHub's Markdown."""

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


def to_markdown(table: pd.DataFrame, decimals: int = 1) -> str:
    """A table for a README: numbers with one decimal, counts as they are, ``-`` for NaN.

    Args:
        table: Its index is written as the first column if it has a name.
        decimals: Digits of real numbers after the point.
    """
    rows = table.reset_index() if table.index.name else table
    lines = [list(map(str, rows.columns)), ["---"] * len(rows.columns)]
    for values in rows.itertuples(index=False):
        lines.append([_cell(value, decimals) for value in values])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: float, low: float, high: float, sign: str) -> str:
    if pd.isna(value):
        return "-"
    mean = f"{value:{sign}.1f}"
    return mean if pd.isna(low) else f"{mean} [{low:.1f}, {high:.1f}]"


def _cell(value: object, decimals: int) -> str:
    if isinstance(value, float):
        return "-" if pd.isna(value) else f"{value:.{decimals}f}"
    return str(value)
