"""Which checkpoint to keep: validators and ways of choosing, in tables.

Three selections stand apart everywhere: without target labels (``default``), by target labels
(``oracle_val``, an upper bound and no method), and none at all (``last``).
"""

import pandas as pd

from analysis.tables import mean_row
from trainables.metrics.metric_keys import CHOICES, VALIDATORS

SELECTIONS = {"default": "label-free", "last": "last epoch", "oracle_val": "oracle on target_val"}
"""Way of choosing to its name in :func:`selection_table`."""
GAIN = "label-free - last"
_HONEST_WAYS = tuple(way for way in CHOICES if way != "oracle_val")


def validator_table(validators: pd.DataFrame, measure: str = "weighted_spearman") -> pd.DataFrame:
    """One measure of every validator (rows) in every pool of checkpoints (columns).

    Args:
        validators: ``Study.validators()``.
        measure: A column of it.

    Returns:
        Index ``validator``, one column per method and pool; NaN where it was never logged.

    Raises:
        ValueError: If there is no validator.
    """
    if validators.empty:
        raise ValueError("no checkpoint reported a validator")
    wide = validators.pivot(index="validator", columns="method", values=measure)
    known = [name for name in VALIDATORS if name in wide.index]
    pools = validators["method"].unique()
    return wide.reindex(index=known, columns=list(pools)).rename_axis(columns=None)


def regret_table(choices: pd.DataFrame) -> pd.DataFrame:
    """What each way of choosing an epoch costs in a run, in points of target PCK.

    A regret is never negative and mostly near 0, so its spread is told by the worst run and not
    by a t interval, which would reach below 0.

    Args:
        choices: ``Study.choices()``.

    Returns:
        ``way``, ``method``, ``mean`` regret over seeds, each seed the mean of its trials,
        ``worst`` regret of a single run, ``num_seeds``, ``num_runs``. ``oracle_val`` is left
        out: its regret is 0 by definition.

    Raises:
        ValueError: If no run has chosen.
    """
    _require_choices(choices)
    rows = []
    honest = choices[choices["way"].isin(_HONEST_WAYS)].dropna(subset=["regret"])
    honest = honest.sort_values("way", key=lambda way: way.map(_HONEST_WAYS.index), kind="stable")
    for (way, method), group in honest.groupby(["way", "method"], sort=False):
        seeds = group.groupby("seed")["regret"].mean()
        rows.append(
            {
                "way": way,
                "method": method,
                "mean": seeds.mean(),
                "worst": group["regret"].max(),
                "num_seeds": len(seeds),
                "num_runs": len(group),
            }
        )
    columns = ["way", "method", "mean", "worst", "num_seeds", "num_runs"]
    return pd.DataFrame(rows, columns=columns)


def selection_table(choices: pd.DataFrame) -> pd.DataFrame:
    """Target PCK of every trial under the three selections, and what label-free choice gains.

    Args:
        choices: ``Study.choices()``, its ``trial`` replaced by readable names
            (:func:`analysis.trial_names.named`) if they are to be read.

    Returns:
        One row per trial and selection, in the order of ``choices``: ``trial``,
        ``selection`` (a value of :data:`SELECTIONS`, or :data:`GAIN`), ``mean`` PCK@0.05 over
        seeds in percent (of the gain in points, seed by seed), ``low`` and ``high`` of its 95 %
        t interval (NaN for one seed), ``num_seeds``.

    Raises:
        ValueError: If no run has chosen.
    """
    _require_choices(choices)
    rows = []
    for trial, runs in choices.groupby("trial", sort=False):
        by_seed = runs.pivot_table("pck_05", "seed", "way")
        by_seed = by_seed.reindex(columns=list(SELECTIONS)).rename(columns=SELECTIONS)
        by_seed[GAIN] = by_seed["label-free"] - by_seed["last epoch"]
        for selection, values in by_seed.items():
            seeds = values.dropna()
            if len(seeds):
                rows.append({"trial": trial, "selection": selection, **mean_row(seeds)})
    columns = ["trial", "selection", "mean", "low", "high", "num_seeds"]
    return pd.DataFrame(rows, columns=columns)


def _require_choices(choices: pd.DataFrame) -> None:
    if choices.empty:
        raise ValueError("no complete run reported a choice of its epochs")
