"""All settings of one run: nested dataclasses whose dotted paths are the names in a study's YAML.

Read ``trial_config`` (every field, its default and its range), ``field_paths`` (dotted names and
types), ``reference_recipe`` (the values of ``parity: true``). Imports nothing slow, and nothing
from the other packages.
"""

from trainables.config.trial_config import (
    FIELD_TYPES,
    FOLDER_DOMAINS,
    SCORED_STRATEGIES,
    AdaptConfig,
    CurriculumConfig,
    DataConfig,
    Loss,
    Method,
    Mode,
    NetConfig,
    Order,
    Pacing,
    SamplingConfig,
    Strategy,
    StyleConfig,
    TrialConfig,
    VAEConfig,
    coerce,
    num_reports,
)

__all__ = [
    "FIELD_TYPES",
    "FOLDER_DOMAINS",
    "SCORED_STRATEGIES",
    "AdaptConfig",
    "CurriculumConfig",
    "DataConfig",
    "Loss",
    "Method",
    "Mode",
    "NetConfig",
    "Order",
    "Pacing",
    "SamplingConfig",
    "Strategy",
    "StyleConfig",
    "TrialConfig",
    "VAEConfig",
    "coerce",
    "num_reports",
]
