"""The part of a batch that one of several equal processes trains on.

All processes of a trial draw the same random numbers for the whole batch and take their part, so
the draws do not depend on the number of processes.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Shard:
    """One part of ``world`` equal parts.

    Attributes:
        rank: Index of the part.
        world: Number of parts; batches are multiples of it.
    """

    rank: int = 0
    world: int = 1

    def take(self, whole: Tensor) -> Tensor:
        """This part of a batch (B, ...): (B / world, ...)."""
        size = len(whole) // self.world
        return whole[self.rank * size : (self.rank + 1) * size]


WHOLE = Shard()
"""The whole batch, for a single process."""
