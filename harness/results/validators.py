"""Label-free validators and ways of choosing a checkpoint, judged by target labels.

Part of :mod:`harness.results`: what it has read of a study goes in, data frames come out. Target
PCK enters here for judgement only, after the choices were made and logged by the runs.
"""

import pandas as pd

from trainables.metrics.metric_keys import CHOICES, VALIDATORS
from trainables.metrics.selection import TARGET_PCK, meta_evaluation

ALL_METHODS = "all"
WITHOUT_ORACLE = "all but oracle"
"""Pools of checkpoints beside those of the single methods."""

_CHECKPOINT_COLUMNS = ("number", "method", "seed", "step", "pck_05", *VALIDATORS)
_VALIDATOR_COLUMNS = (
    "validator", "method", "num_checkpoints",
    "spearman", "weighted_spearman", "regret_at_1", "top5_mean", "top5_worst",
)  # fmt: skip
_CHOICE_COLUMNS = ("number", "trial", "method", "seed", "way", "epoch", "pck_05", "regret")


def checkpoints(runs: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Every logged checkpoint with its validators and its target PCK.

    Args:
        runs: ``Study.runs``.
        epochs: ``Study.epochs``.

    Returns:
        One row per epoch of the complete and pruned runs that has a target PCK: ``number``,
        ``method`` (``adapt.method``), ``seed``, ``step`` (epoch from 1), ``pck_05``
        (``target_val``, percent) and one column per validator, NaN where it was not logged.
    """
    ended = runs.loc[
        runs["state"].isin(["complete", "pruned"]), ["number", "adapt.method", "seed"]
    ]
    keys = {f"validator/{name}": name for name in VALIDATORS} | {TARGET_PCK: "pck_05"}
    rows = epochs[epochs["metric"].isin(keys)].merge(ended, on="number")
    index = ["number", "adapt.method", "seed", "step"]
    wide = rows.pivot_table("value", index, "metric", aggfunc="last", observed=True)
    wide = wide.reset_index().rename(columns={"adapt.method": "method", **keys})
    wide = wide.reindex(columns=list(_CHECKPOINT_COLUMNS)).rename_axis(columns=None)
    return wide.dropna(subset=["pck_05"]).reset_index(drop=True)


def validators(rows: pd.DataFrame) -> pd.DataFrame:
    """Meta-evaluation of each validator over all logged checkpoints.

    A pool mixes the epochs, seeds and trials of a method, so a correlation says how well
    the validator orders all of these together, which matters for a choice among the checkpoints of
    a whole study. How well it finds the best epoch of one run is in :func:`choices`: a validator
    that merely grows with training scores well here. Epochs of a run resemble each other and
    trials may share their pre-training, so the number of checkpoints is not a number of
    independent observations and no interval is given. Pools of several methods also compare
    values across losses, where a validator may mean something else.

    Args:
        rows: From :func:`checkpoints`.

    Returns:
        ``validator``, ``method`` (each method, then :data:`ALL_METHODS` and, if the oracle is
        among several, :data:`WITHOUT_ORACLE`: its checkpoints know the target's labels, so that
        in practice none could be chosen), ``num_checkpoints`` that have the validator, and the
        measures of :class:`trainables.metrics.selection.MetaEvaluation` over these:
        ``spearman``, ``weighted_spearman`` (-1 to 1, NaN of constants), ``regret_at_1``
        (points), ``top5_mean``, ``top5_worst`` (percent). A validator that a pool never logged
        has no row.
    """
    pools = dict(list(rows.groupby("method")))
    if len(pools) > 1:
        if "oracle" in pools:
            pools[WITHOUT_ORACLE] = rows[rows["method"] != "oracle"]
        pools[ALL_METHODS] = rows
    found = []
    for method, pool in pools.items():
        for name in VALIDATORS:
            known = pool.dropna(subset=[name])
            if len(known):
                judged = meta_evaluation(known[name], known["pck_05"])
                found.append(
                    {
                        "validator": name,
                        "method": method,
                        "num_checkpoints": len(known),
                        **vars(judged),
                    }
                )
    return pd.DataFrame(found, columns=list(_VALIDATOR_COLUMNS))


def choices(runs: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """What each way of choosing an epoch picked in each complete run.

    Args:
        runs: ``Study.runs``.
        epochs: ``Study.epochs``.

    Returns:
        ``number``, ``trial``, ``method``, ``seed``, ``way`` (in the order of :data:`CHOICES`),
        ``epoch`` from 1, ``pck_05`` of that epoch on ``target_val`` in percent, and ``regret``,
        the points by which it lies below the choice of ``oracle_val``, >= 0. NaN where a
        run did not log one of them.
    """
    known = runs.loc[
        runs["state"] == "complete", ["number", "trial", "adapt.method", "seed"]
    ].rename(columns={"adapt.method": "method"})
    chosen = epochs[epochs["metric"].str.startswith("chosen_")]
    parts = chosen["metric"].str.extract(r"^chosen_(?P<what>epoch|pck_05)/(?P<way>[^/]+)$")
    logged = chosen.assign(**parts).dropna(subset=["way"]).merge(known, on="number")
    logged["way"] = pd.Categorical(logged["way"], CHOICES, ordered=True)
    wide = logged.pivot_table(
        "value", ["number", "trial", "method", "seed", "way"], "what",
        aggfunc="last", observed=True,
    ).reset_index()  # fmt: skip
    wide = wide.reindex(columns=[*_CHOICE_COLUMNS[:-1]]).rename_axis(columns=None)
    best = wide[wide["way"] == "oracle_val"].set_index("number")["pck_05"]
    wide["way"] = wide["way"].astype(str)
    return wide.assign(regret=wide["number"].map(best) - wide["pck_05"])
