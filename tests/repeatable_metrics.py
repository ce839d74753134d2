"""What two equal runs report alike: everything but times."""

from harness.spec.metric_names import unrepeatable_metrics

TIMES = unrepeatable_metrics("adaptation", 0)


def repeatable(metrics):
    """A report without its times."""
    return {name: value for name, value in metrics.items() if name not in TIMES}
