"""The paper's Tables 1 and 2 with what they lack: seeds, intervals, controls, paired differences.

``seed_scores`` reads a study once; the tables and the figure are made from its rows.
``seed_scores(study.recomputed())`` makes the same rows of what the networks predicted.
"""

from collections.abc import Mapping

import pandas as pd

from analysis.table_text import with_intervals
from analysis.tables import mean_row
from analysis.trial_names import trial_names
from harness.results import Study
from trainables.data.skeleton import BODY16, HAND21
from trainables.metrics.intervals import mean_interval
from trainables.metrics.metric_keys import EVALPOSE_READINGS

COLUMN_NAMES = {"shoulder": "Sld", "elbow": "Elb", "mcp": "MCP", "pip": "PIP", "dip": "DIP"}
"""Joint groups whose column in the paper is not their own name with a capital."""
READING_COLUMNS = {
    "EvalPose" if variant == "printed" else variant: name
    for variant, name in EVALPOSE_READINGS.items()
}
"""Column to reading of EvalPose; ``EvalPose`` is the paper's equation (3) as printed."""
SCORES = {"All": "pck_05", **READING_COLUMNS}
CONTROL_NAMES = {
    "centre": "All joints in the centre",
    "mean_pose": "Mean source pose",
    "mean_target_pose": "Mean target pose (labels)",
    "mirrored": "True pose, mirrored",
    "swapped": "True pose, left and right swapped",
}
"""Predictions that no network made, and what tables call them."""
ADABN = "AdaBN"
SOURCE = "Source"
"""Share of the source that a trial drew from in some epoch, in percent."""
DOMAIN_NAMES = {
    "surreal": "SURREAL", "lsp": "LSP", "human36m": "H3.6M", "rhd": "RHD", "h3d": "H3D",
}  # fmt: skip
"""``data.source`` or ``data.target`` to the paper's name of the data set."""
GAPS = {
    "over source only": ("source_only", "All"),
    "over source only with AdaBN": ("source_only", ADABN),
    "below the oracle": ("oracle", "All"),
}
"""Gap of a trial's All to the method and the column that it is taken to."""

_SAMPLING = ("sampling.", "bins.", "curriculum.", "vae.")
_METHOD_ONLY = ("adapt.regda.", "adapt.udape.", "style.")
_KEYS = ["trial", "method", "strategy", "recipe", "variant", "seed"]
_GAP_COLUMNS = ["mean", "low", "high", "num_positive", "num_seeds", "verdict"]


def seed_scores(study: Study, split: str = "target_val") -> pd.DataFrame:
    """Scores of the last epoch, one row per trial and seed, trials in the paper's order.

    Args:
        study: The study; its complete runs are read.
        split: ``target_val``, or ``target_test`` of a confirmation.

    Returns:
        ``trial`` (readable name), ``method``, ``strategy``, ``recipe`` and ``variant`` (varied
        fields that are not about sampling: of all methods, of this method alone), ``seed``, one
        column of PCK@0.05 per joint group (``Sld`` ...), ``All``, the columns of
        :data:`READING_COLUMNS`, ``AdaBN`` (PCK@0.05 with target batch-norm statistics; NaN where a
        split lacks it) and ``Source`` (NaN for the oracle, which trains on the target).

    Raises:
        ValueError: If no complete run reported the split.
    """
    done = study.runs[study.runs["state"] == "complete"].set_index("number", drop=False)
    metrics = {name: f"{split}/{metric}" for name, metric in _columns(study, split).items()}
    scores = pd.DataFrame({name: study.final(metric) for name, metric in metrics.items()})
    scores[SOURCE] = 100 * _source_shares(study)
    rows = done.join(scores).dropna(subset=["All"])
    if rows.empty:
        raise ValueError(f"no complete run reported {split}/pck_05")
    names = trial_names(rows)
    rows = rows.assign(
        trial=pd.Categorical(rows["trial"].map(names), list(names.values()), ordered=True),
        method=rows["adapt.method"],
        strategy=rows["sampling.strategy"],
        recipe=_varied_fields(rows, leave_out=(*_SAMPLING, *_METHOD_ONLY)),
        variant=_varied_fields(rows, leave_out=_SAMPLING),
    )
    # A seed run twice is one seed.
    rows.loc[rows["method"] == "oracle", SOURCE] = float("nan")
    means = rows.groupby(_KEYS, observed=True, sort=True)[[*metrics, SOURCE]].mean()
    return means.reset_index().astype({"trial": str})


def table1(scores: pd.DataFrame) -> pd.DataFrame:
    """PCK@0.05 per group of joints, mean over seeds of every trial, in the paper's order.

    Args:
        scores: From :func:`seed_scores`.

    Returns:
        ``trial``, the groups of joints and ``All`` in percent, ``low`` and ``high``, the 95 % t
        interval of All over seeds (NaN for one seed), ``AdaBN``, ``Source`` and ``num_seeds``.
    """
    columns = [name for name in scores.columns if name not in (*_KEYS, *READING_COLUMNS)]
    rows = []
    for trial, group in scores.groupby("trial", sort=False):
        row = {"trial": trial, **group[columns].mean()}
        row["low"], row["high"] = mean_interval(group["All"])
        rows.append(row | {"num_seeds": len(group)})
    after = columns.index("All") + 1
    order = ["trial", *columns[:after], "low", "high", *columns[after:], "num_seeds"]
    return pd.DataFrame(rows, columns=order)


def table2(scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """PCK@0.05 and the readings of EvalPose of every trial of several tasks.

    Args:
        scores: Name of a task, such as :func:`task_name` gives, to its :func:`seed_scores`.

    Returns:
        One row per trial, task and score, in the order of the first study that has the trial:
        ``trial``, ``task``, ``score`` (a key of :data:`SCORES`), ``mean`` in percent, ``low`` and
        ``high`` of its 95 % t interval over seeds (NaN for one seed), ``num_seeds``.
    """
    rows = []
    for trial in dict.fromkeys(t for table in scores.values() for t in table["trial"]):
        for task, table in scores.items():
            group = table[table["trial"] == trial]
            for score in SCORES if len(group) else ():
                named = {"trial": trial, "task": task, "score": score}
                rows.append({**named, **mean_row(group[score].dropna())})
    columns = ["trial", "task", "score", "mean", "low", "high", "num_seeds"]
    return pd.DataFrame(rows, columns=columns)


def table2_text(table: pd.DataFrame) -> pd.DataFrame:
    """Table 2 as it is read: a row per trial, two or more columns per task.

    Args:
        table: From :func:`table2`, or the paper's from
            :func:`analysis.published.published_table2`.

    Returns:
        ``trial`` and texts in one column for each task and score; ``-`` where there is none.
    """
    ends = {end: float("nan") for end in ("low", "high") if end not in table}
    texts = with_intervals(table.assign(**ends))
    texts["column"] = texts["task"] + ", " + texts["score"].replace("All", "PCK")
    wide = texts.pivot(index="trial", columns="column", values="mean").fillna("-")
    wide = wide.reindex(texts["trial"].unique())[texts["column"].unique()]
    return wide.rename_axis(columns=None).reset_index()


def beside_paper(table: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """A table with the paper's row of a trial below ours.

    Args:
        table: One row per ``trial``, for example from :func:`table1` or :func:`table2_text`.
        published: The paper's rows with the same or fewer columns; those of trials that the study
            lacks stand at the end.

    Returns:
        The columns of ``table`` and, after ``trial``, ``from``: ``ours`` or ``paper``.
    """
    order = [*table["trial"], *(t for t in published["trial"] if t not in set(table["trial"]))]
    both = pd.concat(
        [table.assign(**{"from": "ours"}), published.assign(**{"from": "paper"})],
        ignore_index=True,
    )
    both = both.sort_values(
        "trial", key=lambda names: names.map(order.index), kind="stable", ignore_index=True
    )
    # A column of counts stays one, although the paper has no count.
    counts = table.select_dtypes("integer").columns
    both = both.astype(dict.fromkeys(counts, "Int64"))
    others = [name for name in table.columns if name != "trial"]
    return both[["trial", "from", *others]]


def task_name(study: Study) -> str:
    """The task of a study in the paper's words, such as ``SURREAL to LSP``."""
    first = study.runs.iloc[0]
    source, target = (
        DOMAIN_NAMES.get(first[field], first[field]) for field in ("data.source", "data.target")
    )
    return f"{source} to {target}"


def control_scores(study: Study, split: str = "target_val") -> pd.DataFrame:
    """What the metrics give to predictions that no network made.

    Args:
        study: The study.
        split: See :func:`seed_scores`.

    Returns:
        ``trial`` and a column for each of :data:`SCORES`, in percent. No rows for a study that
        did not report them.
    """
    rows = []
    for control, name in CONTROL_NAMES.items():
        finals = {
            column: study.final(f"{split}/control/{metric}/{control}")
            for column, metric in SCORES.items()
        }
        if not finals["All"].empty:
            means = {column: values.mean() for column, values in finals.items()}
            rows.append({"trial": name, **means})
    return pd.DataFrame(rows, columns=["trial", *SCORES])


def sampling_differences(scores: pd.DataFrame, column: str = "All") -> pd.DataFrame:
    """What each way of sampling gains over all of the source, and over a random share of it.

    Differences are taken seed by seed, which share data and initial weights, between trials
    that differ in the sampling alone. Of many rows at 95 %, one in twenty has an interval
    without 0 by chance.

    Args:
        scores: From :func:`seed_scores`.
        column: Score to compare.

    Returns:
        ``trial``, ``against``, ``mean`` difference in points, ``low`` and ``high`` of its
        95 % t interval over seeds (NaN for one seed), ``num_positive`` of ``num_seeds`` seeds
        with a gain, ``verdict``: higher, lower, no difference shown or one seed.
    """
    references = scores[scores["strategy"].isin(["all", "random"])]
    references = references.drop_duplicates(["method", "variant", "strategy", "seed"])
    pairs = scores.merge(references, on=["method", "variant", "seed"], suffixes=("", "_against"))
    # Random against all and not the reverse, which says the same.
    compared = (pairs["strategy"] != "all") & (pairs["strategy"] != pairs["strategy_against"])
    rows = [
        {"trial": trial, "against": against} | _gap(group[column] - group[f"{column}_against"])
        for (trial, against), group in pairs[compared].groupby(
            ["trial", "trial_against"], sort=False
        )
    ]
    return pd.DataFrame(rows, columns=["trial", "against", *_GAP_COLUMNS])


def anchor_gaps(scores: pd.DataFrame) -> pd.DataFrame:
    """Does source only < adapted < oracle hold, and does adapting beat AdaBN alone?

    The order is what a benchmark is expected to show; the rows say whether this one does. AdaBN
    trains nothing: it is source-only training judged with the batch-norm statistics of target
    images, so what a method gains over it is what its training gains.

    Args:
        scores: From :func:`seed_scores`.

    Returns:
        One row per adapted trial and key of :data:`GAPS` with the same columns as
        :func:`sampling_differences`, ``gap`` in place of ``against``; positive gaps are in the
        expected order. Gaps to an anchor that the study lacks are left out.
    """
    rows = []
    adapted = scores[~scores["method"].isin(["source_only", "oracle"])]
    for gap, (method, anchor_column) in GAPS.items():
        anchor = scores[(scores["method"] == method) & (scores["strategy"] == "all")]
        # Of several trials that could be the anchor, the first: each seed counts once.
        anchor = anchor.drop_duplicates(["recipe", "seed"])
        pairs = adapted.merge(
            anchor[["recipe", "seed", anchor_column]].rename(columns={anchor_column: "anchor"}),
            on=["recipe", "seed"],
            validate="many_to_one",
        ).dropna(subset=["anchor"])
        sign = -1 if method == "oracle" else 1
        for trial, group in pairs.groupby("trial", sort=False):
            gaps = sign * (group["All"] - group["anchor"])
            rows.append({"trial": trial, "gap": gap, **_gap(gaps)})
    table = pd.DataFrame(rows, columns=["trial", "gap", *_GAP_COLUMNS])
    order = list(scores["trial"].unique())
    return table.sort_values(
        "trial", key=lambda names: names.map(order.index), kind="stable", ignore_index=True
    )


def verdict(low: float, high: float) -> str:
    """What the 95 % interval of a difference says: it holds 0, does not, or is NaN (one seed)."""
    if pd.isna(low):
        return "one seed"
    if low > 0:
        return "higher"
    return "lower" if high < 0 else "no difference shown"


def _gap(differences: pd.Series) -> dict[str, object]:
    """Summary of the differences of two trials, one per seed."""
    low, high = mean_interval(differences)
    return {
        "mean": differences.mean(),
        "low": low,
        "high": high,
        "num_positive": int((differences > 0).sum()),
        "num_seeds": len(differences),
        "verdict": verdict(low, high),
    }


def _source_shares(study: Study) -> pd.Series:
    """The largest share of the source that was active in an epoch, by run number."""
    rows = study.epochs[study.epochs["metric"] == "sampling/active_fraction"]
    return rows.groupby("number")["value"].max()


def _columns(study: Study, split: str) -> dict[str, str]:
    """Column name to metric: the joint groups that the study has, then scores.

    Of a built-in skeleton these are the groups behind All, of another one all its groups.
    """
    prefix = f"{split}/pck_05_"
    reported = [
        metric.removeprefix(prefix)
        for metric in dict.fromkeys(study.epochs["metric"])
        if metric.startswith(prefix) and metric != f"{prefix}adabn"
    ]
    groups = reported
    for skeleton in (BODY16, HAND21):
        if set(reported) <= set(skeleton.groups):
            groups = [
                group
                for group, joints in skeleton.groups.items()
                if group in reported and set(joints) <= set(skeleton.all_joints)
            ]
    columns = {COLUMN_NAMES.get(g, g.capitalize()): f"pck_05_{g}" for g in groups}
    return columns | SCORES | {ADABN: "pck_05_adabn"}


def _varied_fields(rows: pd.DataFrame, leave_out: tuple[str, ...]) -> pd.Series:
    """Values of the fields that vary, as text; never the seed, the method or ``leave_out``."""
    varied = [
        name
        for name in rows.columns
        if ("." in name or name == "parity")
        and name != "adapt.method"
        and not name.startswith(leave_out)
        and rows[name].astype(str).nunique() > 1
    ]
    texts = [", ".join(map(str, values)) for values in rows[varied].to_numpy()]
    return pd.Series(texts, index=rows.index, dtype=str)
