"""All settings of one run: nested dataclasses whose dotted paths are the names in a study's YAML.

Read ``trial_config`` (every field, its default and its range), ``method_options`` and
``data_options`` (fields of one method or data set), ``field_paths`` (dotted names and types),
``reference_recipe`` (the values of ``parity: true``), ``absolute_paths`` (before a run leaves the
user's folder). Imports nothing slow, and of the other packages nothing but the registry of names.
"""

from trainables.config.absolute_paths import absolute_paths
from trainables.config.trial_config import (
    MAX_IMAGES,
    AdaptConfig,
    CurriculumConfig,
    DataConfig,
    Loss,
    Method,
    MethodOptions,
    Mode,
    NetConfig,
    Order,
    Pacing,
    Restyling,
    SamplingConfig,
    Strategy,
    StyleConfig,
    TrialConfig,
    VAEConfig,
    coerce,
    trial_fields,
)

__all__ = [
    "MAX_IMAGES",
    "AdaptConfig",
    "CurriculumConfig",
    "DataConfig",
    "Loss",
    "Method",
    "MethodOptions",
    "Mode",
    "NetConfig",
    "Order",
    "Pacing",
    "Restyling",
    "SamplingConfig",
    "Strategy",
    "StyleConfig",
    "TrialConfig",
    "VAEConfig",
    "absolute_paths",
    "coerce",
    "trial_fields",
]
