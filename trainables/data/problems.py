"""Problems of a data set, reported together.

Whoever repairs a data set needs the whole list at once, not the next problem after each attempt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_CASES = 10
"""Cases listed for each problem; further ones are only counted."""


@dataclass(frozen=True)
class Problem:
    """One kind of problem.

    Attributes:
        sentence: The file, what is wrong, how often, and what is allowed.
        cases: Each occurrence, such as ``im00012.jpg: 0 bytes``.
    """

    sentence: str
    cases: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The sentence, and below it up to :data:`MAX_CASES` of the cases."""
        lines = [self.sentence, *(f"    {case}" for case in self.cases[:MAX_CASES])]
        if len(self.cases) > MAX_CASES:
            lines.append(f"    and {len(self.cases) - MAX_CASES:,} more")
        return "\n".join(lines)


class DatasetError(ValueError):
    """A data set cannot be used.

    Args:
        problems: At least one.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(tuple(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        """All problems, a paragraph each."""
        return "\n".join(map(str, self.problems))
