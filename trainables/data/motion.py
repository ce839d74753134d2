"""Turns motion files (BVH) into poses for the drawn people in sports.

python -m trainables.data.motion run.bvh jump.bvh --out poses.npy

Motion capture is shared as BVH: a tree of joints with its lengths, then one line of angles for
each frame. A study reads the poses from ``data.people_sport.poses``.
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

from trainables.data.skeleton import BODY16

Array = NDArray[np.float64]

EVERY_S = 0.5
"""Default time between two poses that are taken from a motion."""
_SIDES = ("left", "right")
_JOINTS: dict[str, tuple[str, ...]] = {
    "hip": ("UpLeg", "thigh", "hip"),
    "knee": ("Leg", "shin", "knee"),
    "ankle": ("Foot", "ankle"),
    "shoulder": ("Arm", "upper_arm", "shoulder"),
    "elbow": ("ForeArm", "elbow"),
    "wrist": ("Hand", "wrist"),
}
"""A limb's joint to the names that files give it beside the side, the usual one first: in most
files the shoulder joint is LeftArm, as LeftShoulder is the collarbone."""
_BETWEEN = {"pelvis": "hip", "thorax": "shoulder"}
_FILE_NAMES: dict[str, tuple[str, ...]] = {
    "neck": ("neck1", "neck"),
    "head": ("headtopend", "headend", "head"),
    **{
        f"{side}_{joint}": tuple(
            name.lower().replace("_", "")
            for word in words
            for name in (f"{side}{word}", f"{side[0]}{word}", f"{word}{side[0]}")
        )
        for side in _SIDES
        for joint, words in _JOINTS.items()
    },
}
"""Our joint to what :func:`_plain` makes of the names that files give it, the best first."""
_CHANNELS = [f"{axis}{kind}" for kind in ("position", "rotation") for axis in "XYZ"]


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
        positions: (T, J, 3) in the file's unit; x, y up, z towards the viewer.
        frame_s: Seconds between two frames.
    """

    names: tuple[str, ...]
    positions: Array
    frame_s: float


def read_bvh(path: Path) -> Motion:
    """Read a BVH file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no BVH file or is cut off; names the line.
    """
    try:
        words = _Words(path, path.read_text(encoding="utf-8-sig").splitlines())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be a BVH file, which is text: {error}") from error
    words.expect("HIERARCHY")
    words.expect("ROOT")
    nodes = _read_tree(words)
    words.expect("MOTION")
    words.expect("Frames:")
    num_frames = words.whole()
    if num_frames < 1:
        words.fail("at least one frame")
    words.expect("Frame")
    words.expect("Time:")
    frame_s = float(words.numbers(1)[0])
    if frame_s <= 0:
        words.fail("a positive time")
    num_values = sum(len(node.channels) for node in nodes)
    values = words.numbers(num_frames * num_values).reshape(num_frames, num_values)
    return Motion(tuple(node.name for node in nodes), _positions(nodes, values), frame_s)


class _Words:
    """The words of a file with their lines, read one after the other."""

    def __init__(self, path: Path, lines: Iterable[str]) -> None:
        self._path = path
        self._words = [(word, n) for n, line in enumerate(lines, 1) for word in line.split()]
        self._next = 0

    def fail(self, rule: str) -> NoReturn:
        """Refuse the word that was read last."""
        word, line = self._words[self._next - 1] if self._words else ("nothing", 1)
        raise ValueError(f"{self._path}, line {line}: expected {rule}, got {word!r}")

    def take(self, rule: str) -> str:
        """The next word."""
        if self._next == len(self._words):
            raise ValueError(f"{self._path} ends where {rule} is expected")
        self._next += 1
        return self._words[self._next - 1][0]

    def expect(self, word: str) -> None:
        """Read a given word."""
        if self.take(word) != word:
            self.fail(word)

    def name(self) -> str:
        """Read the name of a joint, which may hold spaces, up to the opening brace."""
        found: list[str] = []
        while (word := self.take("{")) != "{":
            found.append(word)
        return " ".join(found)

    def channel(self) -> str:
        """Read the name of a channel."""
        rule = f"one of {', '.join(_CHANNELS)}"
        word = self.take(rule)
        if word not in _CHANNELS:
            self.fail(rule)
        return word

    def whole(self) -> int:
        """Read a whole number, at least 0."""
        word = self.take("a whole number")
        if not word.isascii() or not word.isdecimal():
            self.fail("a whole number")
        return int(word)

    def numbers(self, num: int) -> Array:
        """Read ``num`` finite numbers."""
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
            if not np.isfinite(found[index]):
                self.fail("a finite number")
        return found


def _read_tree(words: _Words) -> list[_Node]:
    """Read the root and all below it, after the word ROOT; parents come before their children."""
    nodes = [_Node(words.name(), -1, np.zeros(3))]
    unfinished = [0]
    while unfinished:
        index = unfinished[-1]
        node = nodes[index]
        word = words.take("}")
        if word == "OFFSET":
            node.offset = words.numbers(3)
        elif word == "CHANNELS":
            node.channels = [words.channel() for _ in range(words.whole())]
        elif word == "JOINT":
            unfinished.append(len(nodes))
            nodes.append(_Node(words.name(), index, np.zeros(3)))
        elif word == "End":  # End Site {
            words.name()
            words.expect("OFFSET")
            offset = words.numbers(3)
            words.expect("}")
            if offset.any():  # else it is the joint itself
                nodes.append(_Node(f"{node.name}_end", index, offset))
        elif word == "}":
            unfinished.pop()
        else:
            words.fail("OFFSET, CHANNELS, JOINT, End Site or }")
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
            axis, column = "XYZ".index(channel[0]), values[:, first]
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


def body_poses(motion: Motion, given: Mapping[str, str], every_s: float) -> Array:
    """Poses of a motion at equal distances in time.

    Args:
        motion: The motion.
        given: Names of joints in :data:`trainables.data.skeleton.BODY16` to those of the file, for
            names that are not found otherwise.
        every_s: Seconds between two poses, at least those between two frames.

    Returns:
        (N, 16, 3) in the file's unit; x right, y down, z away from the viewer.

    Raises:
        ValueError: If the file has no joint for one of ours; names all of them.
    """
    step = max(1, round(every_s / motion.frame_s))
    positions = motion.positions[::step] * (1.0, -1.0, -1.0)
    place = {_plain(name): index for index, name in enumerate(motion.names)}
    wanted = _FILE_NAMES | {joint: (_plain(name),) for joint, name in given.items()}
    found = {
        joint: positions[:, next(place[name] for name in names if name in place)]
        for joint, names in wanted.items()
        if not place.keys().isdisjoint(names)
    }
    for middle, joint in _BETWEEN.items():
        ends = [found[f"{side}_{joint}"] for side in _SIDES if f"{side}_{joint}" in found]
        if middle not in found and len(ends) == 2:
            found[middle] = (ends[0] + ends[1]) / 2
    missing = [name for name in BODY16.joint_names if name not in found]
    if missing:
        raise ValueError(
            f"has no joint that is known as {', '.join(missing)}; say which they are, such as "
            f"--joint {missing[0]}=NAME: it has {', '.join(motion.names)}"
        )
    return np.stack([found[name] for name in BODY16.joint_names], axis=1)


def _plain(name: str) -> str:
    """A name without what differs between programs: a prefix, case, spaces, ``_``, ``.``."""
    return re.sub(r"[^a-z0-9]", "", name.rpartition(":")[2].lower())


def main(arguments: list[str] | None = None) -> int:
    """Write the poses of motion files.

    Returns:
        0, or 2 if a file cannot be read or the poses not be written.
    """
    parser = argparse.ArgumentParser(
        prog="python -m trainables.data.motion",
        description="Turn BVH files into poses for data.people_sport.poses.",
    )
    parser.add_argument("files", type=Path, nargs="+", help="BVH files of people")
    parser.add_argument("--out", type=Path, required=True, help=".npy file to write")
    parser.add_argument(
        "--every", type=float, default=EVERY_S, metavar="S",
        help="seconds between two poses (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--joint", type=_pair, action="append", default=[], metavar="OURS=NAME",
        help="the files' name of a joint that is not found by itself, such as left_wrist=hand.L; "
        "may be repeated",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        if options.out.suffix != ".npy" or not options.every > 0:
            raise ValueError("--out must end in .npy, and --every be positive")
        poses = [_poses_of(path, dict(options.joint), options.every) for path in options.files]
        np.save(options.out, np.concatenate(poses).astype(np.float32))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    num = sum(map(len, poses))
    sys.stdout.write(f"{options.out}: {num:,} poses of {len(poses)} files\n")
    return 0


def _poses_of(path: Path, given: Mapping[str, str], every_s: float) -> Array:
    try:
        return body_poses(read_bvh(path), given, every_s)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(path)) else f"{path} {text}") from error


def _pair(text: str) -> tuple[str, str]:
    ours, _, theirs = text.partition("=")
    if ours not in BODY16.joint_names or not theirs:
        names = ", ".join(BODY16.joint_names)
        raise argparse.ArgumentTypeError(f"must be OURS=NAME, OURS one of {names}, got {text!r}")
    return ours, theirs


if __name__ == "__main__":
    sys.exit(main())
