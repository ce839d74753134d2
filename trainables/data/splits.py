"""Which samples of a domain belong to which split.

Free of torch, which takes seconds to import: splits are checked before a study starts.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SPLITS: dict[str, dict[str, float]] = {
    "source": {"train": 0.9, "val": 0.1},
    "target": {"train": 0.6, "val": 0.2, "test": 0.2},
}
"""Share of each split; a sample's split follows from its id alone."""


def split(ids: Sequence[str], role: str) -> dict[str, NDArray[np.int64]]:
    """Indices of each split of a ``source`` or ``target`` domain.

    Samples are ordered by the SHA-256 of their id and cut at the cumulative shares of
    :data:`SPLITS`, so splits depend on neither file order nor seed, and never overlap. Samples
    whose ids agree up to a ``#``, such as several people of one image, stay together: a cut moves
    behind the last of them.

    Returns:
        Split name to sorted indices.
    """
    groups = [name.partition("#")[0] for name in ids]
    keys = [hashlib.sha256(group.encode()).digest() for group in groups]
    order = sorted(range(len(ids)), key=lambda i: (keys[i], ids[i]))
    sizes = split_sizes(len(ids), role)
    cuts = []
    for wanted in np.cumsum(list(sizes.values()))[:-1].tolist():
        cut = wanted
        while 0 < cut < len(ids) and groups[order[cut]] == groups[order[cut - 1]]:
            cut += 1
        cuts.append(cut)
    parts = np.split(np.array(order, dtype=np.int64), cuts)
    return {name: np.sort(part) for name, part in zip(sizes, parts, strict=True)}


def split_sizes(num_samples: int, role: str) -> dict[str, int]:
    """Samples of each split of a ``source`` or ``target`` domain."""
    shares = SPLITS[role]
    edges = np.round(np.cumsum(list(shares.values())) * num_samples).astype(int)
    return dict(zip(shares, np.diff(edges, prepend=0).tolist(), strict=True))
