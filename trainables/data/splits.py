"""Which samples of a domain are used, and which split each belongs to.

A sample's split follows from its id and from nothing else: it stays what it is when more or fewer
images are asked for, when some cannot be used, and in any order. Sizes are therefore near the
shares of :data:`SPLITS`, not equal to them. Of n images that are split one by one, a share p has a
standard deviation of sqrt(p (1 - p) / n): 20 % of 100 images are 20 with 4 more or fewer, of 2,000
they are 400 with 18. Ranking the ids would give exact sizes, but a cut between ranks moves with
every image that is added.

Free of torch, which takes seconds to import: splits are checked before a study starts.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

SPLITS: dict[str, dict[str, float]] = {
    "source": {"train": 0.9, "val": 0.1},
    "target": {"train": 0.6, "val": 0.2, "test": 0.2},
}
"""Share of each split."""

_OF_PUBLISHED: dict[str, dict[str, tuple[str, ...]]] = {
    "source": {"train": ("train",), "val": ("val",), "test": ("val",)},
    "target": {"train": ("train", "val"), "val": ("val",), "test": ("test",)},
}
"""For each role: a publisher's split to those of ours among which a hash divides it."""


def membership(
    ids: Sequence[str], role: str, published: Sequence[str] | None = None
) -> NDArray[np.int8]:
    """The split of each sample of a ``source`` or ``target`` domain.

    The first 64 bits of the SHA-256 of an id, read as a number from 0 to 1, fall into one of the
    intervals that the shares of :data:`SPLITS` cut. Only the part of the id before a ``#``
    counts, so that people of one image or frames of one video stay together.

    Args:
        ids: N sample ids.
        role: ``source`` or ``target``.
        published: For each sample its publisher's split, ``train``, ``val`` or ``test``, to follow
            that: of a source, train is our train, and val and test are our val; of a target,
            train is divided into our train and val (3 to 1, by the same hash), val is our val and
            test our test. None to divide all samples by the hash.

    Returns:
        (N,) indices into the names of ``SPLITS[role]``.

    Raises:
        ValueError: If a publisher's split has another name.
    """
    names = list(SPLITS[role])
    numbers = np.array([_number(id) for id in ids])
    if published is None:
        return _divided(numbers, role, names)
    if unknown := sorted(set(published) - set(_OF_PUBLISHED[role])):
        raise ValueError(f"a publisher's split must be train, val or test, got {unknown[0]!r}")
    found = np.zeros(len(ids), np.int8)
    for part, among in _OF_PUBLISHED[role].items():
        rows = np.flatnonzero(np.array(published) == part)
        found[rows] = _divided(numbers[rows], role, among)
    return found


def split(
    ids: Sequence[str], role: str, published: Sequence[str] | None = None
) -> dict[str, NDArray[np.int64]]:
    """Name of each split to the sorted indices of its samples; see :func:`membership`."""
    found = membership(ids, role, published)
    return {name: np.flatnonzero(found == index) for index, name in enumerate(SPLITS[role])}


def spread_rows(num_samples: int, num: int) -> NDArray[np.int64]:
    """At most ``num`` sorted rows from all over a data set, always the same ones.

    Neighbours in a data set are often frames of one video. More rows include fewer.
    """
    return np.sort(np.random.default_rng(0).permutation(num_samples)[:num])


def evenly_spaced(rows: NDArray[np.int64], num: int) -> NDArray[np.int64]:
    """At most ``num`` evenly spaced rows; all if there are fewer."""
    kept = min(num, len(rows))
    return rows[np.arange(kept) * len(rows) // kept]


def expected_sizes(num_samples: int, role: str) -> Mapping[str, int]:
    """Samples of each split, if sizes were equal to their shares; for estimates."""
    return {name: round(share * num_samples) for name, share in SPLITS[role].items()}


def _number(id: str) -> float:
    """From 0 to 1, the same for the ids of a group."""
    group = id.partition("#")[0]
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64


def _divided(numbers: NDArray[np.float64], role: str, among: Sequence[str]) -> NDArray[np.int8]:
    """Divide samples among some of a role's splits in proportion to their shares."""
    edges = np.cumsum([SPLITS[role][name] for name in among])
    places = np.searchsorted(edges[:-1] / edges[-1], numbers, side="right")
    return np.array([list(SPLITS[role]).index(name) for name in among], np.int8)[places]
