"""Skeletons of one's own: from a YAML file, and by the name that a study gives.

A file holds what :meth:`trainables.data.skeleton.Skeleton.of_names` describes; the skeleton has
the name of its file. One of a dog's head and legs::

    joints:
      [nose, withers, tail, left_ear, right_ear, left_elbow, right_elbow, left_paw, right_paw]
    left_right:
      - [left_ear, right_ear]
      - [left_elbow, right_elbow]
      - [left_paw, right_paw]
    groups:
      ear: [left_ear, right_ear]
      paw: [left_paw, right_paw]
    triplets:
      - [withers, left_elbow, left_paw]
      - [withers, right_elbow, right_paw]
      - [nose, withers, tail]
    torso: [tail, tail, withers, withers]
    limbs:
      - [withers, tail]
"""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from trainables.data.skeleton import KEYS, Skeleton, SkeletonError
from trainables.registry import DOMAINS, SKELETONS, PluginError


def skeleton_of(domain: str, options: Any) -> Skeleton:
    """The skeleton of a data set.

    Args:
        domain: Name of the data set.
        options: Instance of its options class; None if it has none.

    Raises:
        OSError, ValueError: See :func:`find_skeleton`.
    """
    return find_skeleton(DOMAINS[domain].skeleton_name(options))


def find_skeleton(name: str) -> Skeleton:
    """A skeleton by the name under which it is registered, or else from a file.

    Args:
        name: A key of :data:`trainables.registry.SKELETONS` or the path of a YAML file.

    Raises:
        OSError, ValueError: If there is no such skeleton, or it is wrong.
    """
    if name not in SKELETONS:
        path = Path(name).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"{name} is neither a file nor a registered skeleton ({', '.join(SKELETONS)})"
            )
        return read_skeleton(path)
    entry = SKELETONS[name]
    try:
        skeleton = entry.load()
    except PluginError as error:
        raise ValueError(f"a plugin {error}") from error
    if not isinstance(skeleton, Skeleton):
        raise ValueError(f"{entry.code} must be a Skeleton, got {type(skeleton).__name__}")
    return skeleton


def read_skeleton(path: Path) -> Skeleton:
    """Read a skeleton from a YAML file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is wrong; names the file and the line.
    """
    try:
        content = YAML(pure=True).load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ValueError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, CommentedMap):
        raise ValueError(f"{path}: must be a mapping of {', '.join(KEYS)}")
    try:
        return Skeleton.of_names(path.stem, content)
    except SkeletonError as error:
        raise ValueError(f"{path}:{_line(content, error.path)}: {error}") from None


def _line(content: Any, path: tuple[str | int, ...]) -> int:
    """Line, from 1, of an entry of the file; that of its beginning for a key that is missing."""
    line = 0
    for step in path:
        if isinstance(content, CommentedMap) and step not in content:
            break
        places = content.lc
        line, _ = places.key(step) if isinstance(content, CommentedMap) else places.item(step)
        content = content[step]
    return line + 1
