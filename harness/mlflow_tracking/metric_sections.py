"""Under which names MLflow gets the metrics, so that its charts come in the order of interest.

MLflow makes a section of charts of all metrics that are equal before their last ``/``, and sorts
the sections by name. A digit before the name therefore orders them: ``4 target_val/pck_05`` is
the metric ``target_val/pck_05`` of the ledger. Digits below :data:`_FIRST_OF_LEDGER` mark charts
that are made from metrics of the ledger for the eye alone.
"""

import re
from collections.abc import Iterator, Mapping

from trainables.metrics.metric_keys import (
    BIN_PREFIX,
    FINAL_BIN_PREFIX,
    TEST_BIN_PREFIX,
    bin_keys,
)

_FIRST_OF_LEDGER = 3
_DIGITS = {
    FINAL_BIN_PREFIX: 3,
    TEST_BIN_PREFIX: 3,
    "target_test": 4,
    "target_val": 4,
    BIN_PREFIX: 5,
    "train": 6,
    "source_val": 7,
}
"""Section of the ledger's names to its digit; 8 for others but :data:`_BOOKKEEPING`."""
_BOOKKEEPING = re.compile(r"(chosen_\w+|validator|stages|vae|sampling)/|.*/control/")
_ONCE = ("final/", "chosen_pck_05/", "chosen_epoch/", "target_test/", "stages/")
"""Metrics that a run has once, at its end."""


def shown_metric(metric: str) -> str:
    """Name in MLflow of a metric of the ledger."""
    section = metric.rpartition("/")[0]
    digit = 9 if _BOOKKEEPING.match(metric) else _DIGITS.get(section, 8)
    return f"{digit} {metric}"


def ledger_metric(shown: str) -> str | None:
    """Name in the ledger of a metric in MLflow; None if the ledger has no such metric."""
    found = re.fullmatch(r"(\d) (.+)", shown)
    return found[2] if found and int(found[1]) >= _FIRST_OF_LEDGER else None


def is_once(metric: str) -> bool:
    """Whether a run has a metric of the ledger only once, at its end."""
    return metric.startswith(_ONCE)


def step_of(metric: str, step: int) -> int:
    """Step to log a metric at; one whose only step is 0 is drawn as a bar, others as a curve."""
    return 0 if is_once(metric) else step


def comparing_charts(
    objectives: list[str], metrics: Mapping[str, float]
) -> Iterator[tuple[str, int, float]]:
    """What compares runs that trained to their end: a bar for each objective, a curve over bins.

    Args:
        objectives: Metrics of the ledger.
        metrics: Those of a run's last epoch.

    Yields:
        Name in MLflow, step and value.
    """
    for objective in objectives:
        if objective in metrics:
            yield f"1 objective/{objective.replace('/', ' ')}", 0, metrics[objective]
    for prefix in (FINAL_BIN_PREFIX, TEST_BIN_PREFIX):
        name = f"2 bins/{prefix.replace('/', ' ')} - step is the bin - 0 is the easiest"
        for step, key in enumerate(bin_keys(metrics, prefix)):
            yield name, step, metrics[key]
