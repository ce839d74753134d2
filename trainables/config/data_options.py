"""Fields that only one built-in data set reads; their paths are ``data.<name>.<field>``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trainables.config.field_paths import require


@dataclass(frozen=True)
class SurrealOptions:
    """Fields that only SURREAL reads."""

    joints: Literal["surreal_shipped", "smpl_native", "surreal_anatomical"] = "surreal_shipped"
    """Which of the 24 joints become the body's sixteen. surreal_shipped takes the collars for
    shoulders and expects left and right exchanged, as in the published labels;
    surreal_anatomical takes the shoulders; smpl_native expects SMPL's own left and right."""


@dataclass(frozen=True)
class CocoHandOptions:
    """Fields of COCO files with hands."""

    domain = "coco_hand"

    joints: str | None = None
    """Names of the file's joints where they are neither COCO's nor ours, such as
    "left_elbow=l_elb, right_elbow=r_elb": our name = the file's name."""
    hidden_visible: bool = False
    """Whether joints that the file flags as labelled but hidden (1) count as visible."""

    def __post_init__(self) -> None:
        parts = [] if self.joints is None else self.joints.split(",")
        pairs = [[name.strip() for name in part.split("=")] for part in parts]
        require(
            all(len(pair) == 2 and all(pair) for pair in pairs)
            and len({ours for ours, *_ in pairs}) == len(pairs),
            f"data.{self.domain}.joints",
            "null or pairs of different joints such as left_elbow=l_elb, right_elbow=r_elb",
            self.joints,
        )

    @property
    def file_names(self) -> Mapping[str, str]:
        """Our name of a joint to the file's, as ``joints`` gives it."""
        pairs = (part.partition("=") for part in (self.joints or "").split(",") if part)
        return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


@dataclass(frozen=True)
class CocoOptions(CocoHandOptions):
    """Fields of COCO files with people, or with figures of any other skeleton."""

    domain = "coco"

    skeleton: str | None = None
    """The joints to read if not those of people: a YAML file with a skeleton, or the name of a
    registered one."""
