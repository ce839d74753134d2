"""Fields that only one built-in data set reads; their paths are ``data.<name>.<field>``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trainables.config.field_paths import FilePath, require

Split = Literal["hashed", "reference"]


@dataclass(frozen=True)
class SportOptions:
    """What people in sports are drawn with."""

    backgrounds: FilePath | None = None
    """Folder of photographs whose edges become the backgrounds; None draws them. Photographs of
    the target data set show what a trial is tested on, so leave out those of its val and test."""
    target_backgrounds: bool = False
    """Whether the edges of the target's unlabelled training photographs become backgrounds, too;
    those of its val and test are left out."""
    poses: FilePath | None = None
    """.npy file (N, 16, 3) of 3D joints in any unit, x right, y down, z away from the camera, in
    the order of trainables/data/skeleton.py's BODY16; python -m trainables.data.motion writes one
    from motion capture. Poses are taken from it at random; None draws them from the built-in
    prior."""


@dataclass(frozen=True)
class SurrealOptions:
    """Fields that only SURREAL reads."""

    joints: Literal["surreal_shipped", "smpl_native", "surreal_anatomical"] = "surreal_shipped"
    """Which of the 24 joints become the body's sixteen. surreal_shipped takes the collars for
    shoulders and expects left and right exchanged, as in the published labels;
    surreal_anatomical takes the shoulders; smpl_native expects SMPL's own left and right."""
    split: Split = "hashed"
    """hashed divides the recorded movements of all folders by a hash of their names, 9 to 1 as a
    source and 6 to 2 to 2 as a target. reference takes the publisher's folders: as a source, train
    is train, and val and test are val; as a target, train is divided 3 to 1 into train and val by
    the hash, val is val and test is test."""


@dataclass(frozen=True)
class Human36mOptions:
    """Fields that only Human3.6M reads."""

    split: Split = "hashed"
    """hashed divides the sequences of all subjects by a hash of their names, 9 to 1 as a source
    and 6 to 2 to 2 as a target. reference takes the usual subjects: S1, S5, S6, S7 and S8 are
    train as a source and, divided 3 to 1 by the hash, train and val as a target; S9 and S11 are
    val as a source and test as a target."""


@dataclass(frozen=True)
class LspOptions:
    """Fields that only LSP reads."""

    split: Split = "hashed"
    """hashed divides all images by a hash of their names, 9 to 1 as a source and 6 to 2 to 2 as a
    target. reference takes the publisher's halves: the first 1,000 images are train as a source
    and, divided 3 to 1 by the hash, train and val as a target; the others are val as a source and
    test as a target."""


@dataclass(frozen=True)
class RhdOptions:
    """Fields that only RHD reads."""

    split: Split = "hashed"
    """hashed divides the images of both folders by a hash of their names, 9 to 1 as a source and 6
    to 2 to 2 as a target. reference takes the publisher's folders: training is train as a source
    and, divided 3 to 1 by the hash, train and val as a target; evaluation is val as a source and
    test as a target."""


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
