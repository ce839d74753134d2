"""The metrics that a study may name, and what is wrong with other names."""

from collections.abc import Mapping
from typing import Any

from harness.yaml.validation import did_you_mean
from trainables.metrics.metric_keys import BIN_PREFIX, FINAL_BIN_PREFIX, bin_keys
from trainables.registry import TRAINABLES, MetricFacts

TEST_SPLIT = "target_test"


def known_metrics(trainable: str, fields: Mapping[str, Any]) -> Mapping[str, MetricFacts]:
    """Every metric that runs of a search can report.

    Args:
        trainable: What a trial trains.
        fields: Flat fields of the study's runs; those that vary have any of their values.

    Raises:
        OSError, ValueError: If the fields name a skeleton that cannot be used.
    """
    return TRAINABLES[trainable].metrics(fields)


def unrepeatable_metrics(trainable: str, fields: Mapping[str, Any]) -> frozenset[str]:
    """Metrics of runs that differ although nothing else does, such as times."""
    known = known_metrics(trainable, fields)
    return frozenset(name for name, facts in known.items() if not facts.is_repeatable)


def unknown_metric(name: str, trainable: str, fields: Mapping[str, Any]) -> str | None:
    """Why trials of a search cannot report a metric, as a predicate; None if they can."""
    known = known_metrics(trainable, fields)
    if name in known:
        return None
    if name.startswith(f"{TEST_SPLIT}/"):
        return (
            f"must not be of the test split, which no search reads, got {name}; "
            f"harness.confirm reports it"
        )
    for other in TRAINABLES:
        if other != trainable and name in known_metrics(other, fields):
            return f"must be a metric of {trainable} trials, got {name}, one of {other} trials"
    bin_count = fields["evaluation.bin_count"]
    if bin_keys([name], BIN_PREFIX) or bin_keys([name], FINAL_BIN_PREFIX):
        return (
            f"must be one of the bins 00 to {bin_count - 1:02d} (evaluation.bin_count is "
            f"{bin_count}), got {name}"
        )
    hint = did_you_mean(name, known) or did_you_mean(name.replace("/", "/pck_"), known)
    groups = dict.fromkeys(metric.rpartition("/")[0] + "/" for metric in known)
    return (
        f"must be a metric that {trainable} trials report, got {name}{hint}; "
        f"metrics start with {', '.join(groups)}"
    )
