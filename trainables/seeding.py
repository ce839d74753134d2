"""One seed tree: every random stream of a trial is derived from its ``seed`` by name."""

import zlib

import numpy as np
import torch


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one named stream, e.g. ``derive_seed(0, "adapt", "source")``.

    Streams of different names are independent; adding one does not change the others.
    """
    words = [seed, *(zlib.crc32(str(name).encode()) for name in names)]
    state = np.random.SeedSequence(words).generate_state(2, np.uint64)
    return int(state[0] >> np.uint64(1))


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator for one named stream; callers move its draws to the device."""
    return torch.Generator().manual_seed(derive_seed(seed, *names))
