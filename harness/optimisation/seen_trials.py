"""What a sampler looks at of a long study: its best trials and its newest.

TPE reads every trial for every proposal, which takes a third of a second at five thousand. It
needs far fewer. It fits one density to the good trials, of which it takes 25 at most whatever
the length of the study, and one to the others. With the 25 best always in sight the first is
the one it would fit to all of them; the second is fitted to the newest, to which TPE gives most
of its weight anyway.
"""

import bisect
import math
from collections.abc import Container
from typing import Any

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

NUM_BEST = 25
"""Most trials that TPE counts as good, ``optuna.samplers._tpe.sampler.default_gamma``."""
NUM_NEWEST = 275
"""With the best, enough that TPE counts 25 as good: a tenth of what it sees."""

_Rank = tuple[float, float, float]


class SeenTrials:
    """Picks the trials that a sampler sees; a function of the study's trials alone.

    Args:
        direction: Of the only objective.
        num_best: How many of the older trials are kept for their values.
        num_newest: How many are always seen.
    """

    def __init__(
        self,
        direction: StudyDirection,
        num_best: int = NUM_BEST,
        num_newest: int = NUM_NEWEST,
    ) -> None:
        self._sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
        self._num_best = num_best
        self._num_newest = num_newest
        # A trial that has ended never changes: the older ones are looked at once.
        self._num_older = 0
        self._unfinished: list[int] = []
        self._best: list[tuple[_Rank, int]] = []

    def pick(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Of all trials, by number, the best and the newest, by number."""
        num_older = max(0, len(trials) - self._num_newest)
        pending = [*self._unfinished, *range(self._num_older, num_older)]
        self._num_older = num_older
        self._unfinished = [n for n in pending if not trials[n].state.is_finished()]
        for number in pending:
            if trials[number].state in (TrialState.COMPLETE, TrialState.PRUNED):
                bisect.insort(self._best, (self._rank(trials[number]), number))
        del self._best[self._num_best :]
        older = sorted([*(number for _, number in self._best), *self._unfinished])
        return [*(trials[number] for number in older), *trials[num_older:]]

    def _rank(self, trial: FrozenTrial) -> _Rank:
        """Smaller is better, in the order in which TPE counts trials as good."""
        violation = sum(excess for excess in trial.constraints.values() if excess > 0)
        if violation > 0:
            return 2.0, violation, 0.0
        if trial.state == TrialState.COMPLETE:
            return 0.0, self._sign * trial.values[0], 0.0
        if not trial.intermediate_values:
            return 1.0, 1.0, 0.0
        step, value = max(trial.intermediate_values.items())
        return 1.0, -step, math.inf if math.isnan(value) else self._sign * value


class SeenStudy(Study):
    """A study that holds the given trials only, for a sampler to read.

    Args:
        study: The whole.
        trials: What is seen of it, by number.
    """

    def __init__(self, study: Study, trials: list[FrozenTrial]) -> None:
        # Not of the base class, which would ask the database for the study's name and id.
        self.__dict__.update(study.__dict__)
        self._seen = trials

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """See :meth:`optuna.study.Study.get_trials`; samplers only read, so nothing is copied."""
        return [trial for trial in self._seen if states is None or trial.state in states]

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        return self.get_trials(deepcopy, states)

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a view of a study is for one proposal")
