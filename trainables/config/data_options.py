"""Fields that only one built-in data set reads; their paths are ``data.<name>.<field>``."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SurrealOptions:
    """Fields that only SURREAL reads."""

    joints: Literal["surreal_shipped", "smpl_native", "surreal_anatomical"] = "surreal_shipped"
    """Which of the 24 joints become the body's sixteen. surreal_shipped takes the collars for
    shoulders and expects left and right exchanged, as in the published labels;
    surreal_anatomical takes the shoulders; smpl_native expects SMPL's own left and right."""
