"""All settings of one run: nested dataclasses whose dotted paths are the names in a study's YAML.

Read ``trial_config`` (every field, its default and its range), ``field_paths`` (dotted names and
types), ``reference_recipe`` (the values of ``parity: true``). Lowest package of the trainables;
imports nothing slow.
"""

from trainables.config.trial_config import (
    FIELD_TYPES,
    FOLDER_DOMAINS,
    SCORED_STRATEGIES,
    AdaptConfig,
    BinsConfig,
    CurriculumConfig,
    DataConfig,
    EvaluationConfig,
    Loss,
    Method,
    Mode,
    NetConfig,
    Order,
    Pacing,
    RegDAConfig,
    SamplingConfig,
    Strategy,
    StyleConfig,
    TrialConfig,
    UDAPEConfig,
    VAEConfig,
    coerce,
    num_reports,
)

__all__ = [
    "FIELD_TYPES",
    "FOLDER_DOMAINS",
    "SCORED_STRATEGIES",
    "AdaptConfig",
    "BinsConfig",
    "CurriculumConfig",
    "DataConfig",
    "EvaluationConfig",
    "Loss",
    "Method",
    "Mode",
    "NetConfig",
    "Order",
    "Pacing",
    "RegDAConfig",
    "SamplingConfig",
    "Strategy",
    "StyleConfig",
    "TrialConfig",
    "UDAPEConfig",
    "VAEConfig",
    "coerce",
    "num_reports",
]
