"""What two equal runs report alike: everything but times."""

from harness.spec.metric_names import unrepeatable_metrics
from trainables.config import TrialConfig

TIMES = unrepeatable_metrics("adaptation", TrialConfig().to_flat())


def repeatable(metrics):
    """A report without its times."""
    return {name: value for name, value in metrics.items() if name not in TIMES}
