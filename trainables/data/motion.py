"""Turns motion capture (BVH files) into poses for the drawn people in sports.

python -m trainables.data.motion run.bvh jump.bvh --out poses.npy

A BVH file holds a tree of joints with the lengths between them, then a line of angles for each
frame. A study reads the poses from ``data.people_sport.poses``.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from trainables.data.render.material import check_poses
from trainables.data.skeleton import BODY16

Array = NDArray[np.float64]

EVERY_S = 0.5
"""Default time between two poses that are taken from a motion."""
_LARGEST = 1e9
_CHANNELS = [f"{axis}{kind}" for kind in ("position", "rotation") for axis in "xyz"]
_UP = {"y": ((0, 1), (1, -1), (2, -1)), "z": ((0, 1), (2, -1), (1, 1))}
"""Which of the file's axes, with which sign, point right, down and away, by the one that is up."""


def _plain(name: str) -> str:
    """A name without what differs between programs: a prefix, case, spaces, ``_``, ``.``."""
    return re.sub(r"^bip\d+|[^a-z0-9]", "", name.rpartition(":")[2].lower())


_SIDES = ("left", "right")
_LIMB_NAMES = {
    "hip": ("up_leg", "upper_leg", "thigh", "hip"),
    "knee": ("knee", "lower_leg", "low_leg", "leg", "shin", "calf"),
    "ankle": ("ankle", "foot"),
    "shoulder": ("upper_arm", "up_arm", "arm", "shoulder"),
    "elbow": ("elbow", "fore_arm", "lower_arm", "low_arm"),
    "wrist": ("wrist", "hand"),
}
"""What files call the joints of limbs, without the side; the preferred name first. LeftShoulder is
mostly the collarbone, so it is the shoulder only where nothing else is."""
_MIDDLES = {"pelvis": "hip", "thorax": "shoulder"}
_FILE_NAMES = {
    "neck": ("neck1", "neck01", "neck"),
    "head": ("headtopend", "headend", "head"),
    **{
        f"{side}_{joint}": tuple(
            _plain(name)
            for word in words
            for name in (f"{side}{word}", f"{side[0]}{word}", f"{word}{side[0]}")
        )
        for side in _SIDES
        for joint, words in _LIMB_NAMES.items()
    },
}
"""For each of our joints the names to look for, as :func:`_plain` writes them, the preferred one
first."""


@dataclass
class _Node:
    """A joint of a BVH file, or the end of a chain."""

    name: str
    parent: int
    offset: Array
    channels: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Motion:
    """Where the joints of a motion are.

    Attributes:
        names: Of the J joints; the end of a chain is its joint's name with ``_end``.
        positions: (T, J, 3) in the file's unit and axes.
        frame_s: Seconds between two frames.
    """

    names: tuple[str, ...]
    positions: Array
    frame_s: float


def read_bvh(path: Path) -> Motion:
    """Read a BVH file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no BVH file of one person, or has less or more than its frames;
            names the line.
    """
    try:
        words = _Words(path, path.read_text(encoding="utf-8-sig").splitlines())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be a BVH file, which is text: {error}") from error
    words.expect("hierarchy")
    words.expect("root")
    nodes = _read_tree(words)
    words.expect("motion")
    words.expect("frames:")
    num_frames = words.whole()
    num_values = sum(len(node.channels) for node in nodes)
    if num_frames < 1 or num_values == 0:
        words.fail("at least one frame of at least one channel")
    words.expect("frame")
    words.expect("time:")
    frame_s = float(words.numbers(1)[0])
    if frame_s <= 0:
        words.fail("a positive time")
    values = words.numbers(num_frames * num_values).reshape(num_frames, num_values)
    words.expect_end(f"the end after {num_frames} frames of {num_values} numbers")
    return Motion(tuple(node.name for node in nodes), _positions(nodes, values), frame_s)


class _Words:
    """The words of a file with their lines, read one after the other, whatever their case."""

    def __init__(self, path: Path, lines: Iterable[str]) -> None:
        self._path = path
        self._words = [(word, n) for n, line in enumerate(lines, 1) for word in line.split()]
        self._next = 0

    def fail(self, rule: str) -> NoReturn:
        """Refuse the word that was read last."""
        word, line = self._words[self._next - 1]
        raise ValueError(f"{self._path}, line {line}: expected {rule}, got {word!r}")

    def take(self, rule: str) -> str:
        """Read a word."""
        if self._next == len(self._words):
            raise ValueError(f"{self._path} ends where {rule} is expected")
        self._next += 1
        return self._words[self._next - 1][0]

    def one_of(self, options: Sequence[str]) -> str:
        """Read one of some words, given and returned in lower case."""
        rule = " or ".join(options)
        word = self.take(rule).lower()
        if word not in options:
            self.fail(rule)
        return word

    def expect(self, word: str) -> None:
        """Read a given word."""
        self.one_of([word])

    def expect_end(self, rule: str) -> None:
        """Refuse a further word."""
        if self._next < len(self._words):
            self._next += 1
            self.fail(rule)

    def name(self) -> str:
        """Read the name of a joint, which may hold spaces, up to the opening brace."""
        found: list[str] = []
        while (word := self.take("{")) != "{":
            found.append(word)
        return " ".join(found)

    def whole(self) -> int:
        """Read a whole number, at least 0."""
        word = self.take("a whole number")
        if not (word.isascii() and word.isdecimal()) or len(word) > 9:
            self.fail("a whole number below a billion")
        return int(word)

    def numbers(self, num: int) -> Array:
        """Read ``num`` numbers."""
        taken = self._words[self._next : self._next + num]
        if len(taken) < num:
            raise ValueError(f"{self._path} ends after {len(taken)} of {num} numbers")
        found = np.empty(num)
        for index, (word, _) in enumerate(taken):
            self._next += 1
            try:
                found[index] = float(word)
            except ValueError:
                self.fail("a number")
            if not abs(found[index]) < _LARGEST:
                self.fail("a number below a billion")
        return found


def _read_tree(words: _Words) -> list[_Node]:
    """Read the root and all below it, after the word ROOT; parents come before their children."""
    nodes = [_Node(words.name(), -1, np.zeros(3))]
    unfinished = [0]
    while unfinished:
        index = unfinished[-1]
        node = nodes[index]
        word = words.one_of(["offset", "channels", "joint", "end", "}"])
        if word == "offset":
            node.offset = words.numbers(3)
        elif word == "channels":
            node.channels = [words.one_of(_CHANNELS) for _ in range(words.whole())]
        elif word == "joint":
            unfinished.append(len(nodes))
            nodes.append(_Node(words.name(), index, np.zeros(3)))
        elif word == "end":  # End Site {
            words.name()
            words.expect("offset")
            offset = words.numbers(3)
            words.expect("}")
            if offset.any():  # else it is the joint itself
                nodes.append(_Node(f"{node.name}_end", index, offset))
        else:
            unfinished.pop()
    return nodes


def _positions(nodes: Sequence[_Node], values: Array) -> Array:
    """Positions (T, J, 3) of all joints from the values (T, C) of all channels."""
    num_frames, first = len(values), 0
    positions = np.empty((num_frames, len(nodes), 3))
    turns = np.empty((num_frames, len(nodes), 3, 3))
    for index, node in enumerate(nodes):
        shift = np.tile(node.offset, (num_frames, 1))
        turn = np.tile(np.eye(3), (num_frames, 1, 1))
        for channel in node.channels:
            axis, column = "xyz".index(channel[0]), values[:, first]
            if channel.endswith("position"):  # in place of the offset
                shift[:, axis] = column
            else:
                turn = turn @ _about(axis, np.radians(column))
            first += 1
        if node.parent >= 0:
            above = turns[:, node.parent]
            shift = positions[:, node.parent] + (above @ shift[..., None])[..., 0]
            turn = above @ turn
        positions[:, index], turns[:, index] = shift, turn
    return positions


def _about(axis: int, angle: Array) -> Array:
    """Rotations (T, 3, 3) about a coordinate axis by angles (T,) in radians."""
    turn = np.tile(np.eye(3), (len(angle), 1, 1))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    turn[:, i, i] = turn[:, j, j] = np.cos(angle)
    turn[:, j, i] = np.sin(angle)
    turn[:, i, j] = -turn[:, j, i]
    return turn


def body_poses(
    motion: Motion, given: Mapping[str, str], every_s: float, up: str | None = None
) -> Array:
    """Poses of a motion at equal distances in time.

    Args:
        motion: The motion.
        given: Joints of :data:`trainables.data.skeleton.BODY16` to their names in the file, for
            those that are not found by :data:`_FILE_NAMES`.
        every_s: Seconds between two poses, positive; every frame if it is shorter than a frame.
        up: The file's axis that points up: ``y``, with z towards the camera, or ``z``, with y
            away from it. None for the one along which heads are higher above ankles on average.

    Returns:
        (N, 16, 3) in the file's unit; x right, y down, z away from the camera.

    Raises:
        ValueError: If the file lacks joints; the message continues a sentence that begins with
            the file's name.
    """
    step = max(1, round(min(every_s / motion.frame_s, len(motion.positions))))
    positions = motion.positions[::step]
    place = {_plain(name): index for index, name in enumerate(motion.names)}
    has = f"the file's joints are {', '.join(motion.names)}"
    for ours, name in given.items():
        if _plain(name) not in place:
            raise ValueError(f"has no joint {name} (--joint {ours}={name}); {has}")
    wanted = _FILE_NAMES | {ours: (_plain(name),) for ours, name in given.items()}
    found = {
        ours: positions[:, next(place[name] for name in names if name in place)]
        for ours, names in wanted.items()
        if not place.keys().isdisjoint(names)
    }
    for middle, joint in _MIDDLES.items():
        ends = [found[f"{side}_{joint}"] for side in _SIDES if f"{side}_{joint}" in found]
        if middle not in found and len(ends) == 2:
            found[middle] = (ends[0] + ends[1]) / 2
    missing = [name for name in BODY16.joint_names if name not in found]
    if missing:
        raise ValueError(
            f"has no joint that is known as {', '.join(missing)}; say which they are, such as "
            f'--joint "{missing[0]}=NAME"; {has}'
        )
    if up is None:
        ankles = (found["left_ankle"] + found["right_ankle"]) / 2
        height = (found["head"] - ankles).mean(0)
        up = max("yz", key=lambda axis: height["xyz".index(axis)])
    axes, signs = zip(*_UP[up], strict=True)
    return np.stack([found[name][:, axes] for name in BODY16.joint_names], axis=1) * signs


def main(arguments: list[str] | None = None) -> int:
    """Write the poses of motion files.

    Returns:
        0; 2 if reading or writing failed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m trainables.data.motion",
        description="Turn motion capture (BVH files) into poses for data.people_sport.poses. "
        "People are seen from where the file's axes have the camera.",
    )
    parser.add_argument("files", type=Path, nargs="+", help="BVH files, one person in each")
    parser.add_argument("--out", type=Path, required=True, help=".npy file to write")
    parser.add_argument(
        "--every", type=float, default=EVERY_S, metavar="S",
        help="seconds between two poses (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--up", choices=tuple(_UP),
        help="the files' axis that points up (default: where heads are above feet on average)",
    )  # fmt: skip
    parser.add_argument(
        "--joint", type=_pair, action="append", default=[], metavar="OURS=NAME",
        help="the files' name of a joint that is not found by itself, such as left_wrist=Palm.L; "
        "may be repeated",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        if options.out.suffix != ".npy" or not options.every > 0:
            raise ValueError("--out must end in .npy, and --every be positive")
        found = []
        for path in options.files:
            motion = read_bvh(path)
            try:
                found.append(body_poses(motion, dict(options.joint), options.every, options.up))
            except ValueError as error:
                raise ValueError(f"{path} {error}") from error
            check_poses(path, found[-1])
        np.save(options.out, np.concatenate(found).astype(np.float32))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    poses, files = sum(map(len, found)), len(found)
    sys.stdout.write(
        f"{options.out}: {poses:,} pose{'s' * (poses != 1)} of {files} file{'s' * (files != 1)}\n"
    )
    return 0


def _pair(text: str) -> tuple[str, str]:
    ours, _, theirs = text.partition("=")
    if ours not in BODY16.joint_names or not theirs:
        names = ", ".join(BODY16.joint_names)
        raise argparse.ArgumentTypeError(f"must be OURS=NAME, OURS one of {names}, got {text!r}")
    return ours, theirs


if __name__ == "__main__":
    sys.exit(main())
