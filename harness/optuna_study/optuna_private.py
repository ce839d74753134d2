"""Everything that the harness uses of Optuna beyond its public interface.

:data:`PRIVATE_NAMES` lists what it rests on; ``tests/harness/optuna_study/test_optuna_private.py``
fails if a new version of Optuna lacks one of them, and says which.
"""

import importlib
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import CmaEsSampler
from optuna.trial import FrozenTrial, TrialState

PRIVATE_NAMES = (
    ("optuna._transform", "_SearchSpaceTransform"),
    ("optuna.samplers", "CmaEsSampler._get_trials"),
    ("optuna.samplers", "CmaEsSampler._restore_optimizer"),
    ("optuna.samplers", "CmaEsSampler._init_optimizer"),
    ("optuna.samplers", "CmaEsSampler._get_solution_trials"),
)
"""Module and attribute of each private name of a module or a class."""

PRIVATE_ATTRIBUTES = {
    "study": ("_storage",),
    "trial": ("_trial_id", "_fixed_params"),
    "frozen trial": ("_trial_id",),
}
"""Private attributes of Optuna's objects."""


def private(module: str, name: str) -> Any:
    """Look up a private name of Optuna.

    Raises:
        AttributeError: If this version of Optuna does not have it.
    """
    try:
        found: Any = importlib.import_module(module)
        for word in name.split("."):
            found = getattr(found, word)
    except (ImportError, AttributeError):
        raise AttributeError(
            f"Optuna {optuna.__version__} has no {module}.{name}, which "
            "harness/optuna_study/optuna_private.py needs: adapt that file, or install the "
            "version of Optuna in constraints.txt"
        ) from None
    return found


def trial_id(trial: optuna.Trial | FrozenTrial) -> int:
    """Id of a trial in its storage, which is not its number in the study."""
    return int(trial._trial_id)


def live_trial(study: optuna.Study, frozen: FrozenTrial) -> optuna.Trial:
    """The trial that a record of it belongs to, to report to and to tell."""
    return optuna.Trial(study, frozen._trial_id)


def requeue(study: optuna.Study, trial: optuna.Trial) -> None:
    """Let a trial wait to be asked for, as if it had been queued."""
    study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)


def queued_params(trial: optuna.Trial) -> dict[str, Any]:
    """Optuna's parameters that a trial was queued with; empty if it was not queued."""
    return dict(trial._fixed_params)


class ReplayedCmaEs(CmaEsSampler):
    """CMA-ES whose state is rebuilt from the trials' values, and never pickled.

    Optuna's class keeps its optimiser as a pickle in the attributes of a trial and unpickles what
    it finds there. Whoever can write to the study's database could run code in the driver with
    that, and nothing read from a storage is unpickled here without a digest that this study made
    itself. A digest cannot help: its key would lie beside what it protects. So nothing is stored
    but the generation of a trial, a number; the state follows from the values of all complete
    generations, which cost less than a millisecond each to tell again.

    Trials of a generation count in the order in which they ended, so that one that ends late does
    not change what was learned from those before it.
    """

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Parameters from the distribution that the complete generations lead to."""
        self._replay = (study, search_space)
        return super().sample_relative(study, trial, search_space)

    def _get_trials(self, study: optuna.Study) -> list[FrozenTrial]:
        trials: list[FrozenTrial] = super()._get_trials(study)
        return sorted(trials, key=lambda t: (t.datetime_complete, t.number))

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        study, search_space = self._replay
        # As the base class maps parameters to numbers.
        transform = private("optuna._transform", "_SearchSpaceTransform")
        space = transform(search_space, transform_step=True, transform_0_1=True)
        sign = 1 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1
        optimizer = self._init_optimizer(space, study.direction)
        while True:
            told = self._get_solution_trials(completed_trials, optimizer.generation)
            told = [trial for trial in told if search_space.keys() <= trial.params.keys()]
            if len(told) < optimizer.population_size:
                return optimizer
            optimizer.tell(
                [
                    (space.transform(trial.params), sign * trial.values[0])
                    for trial in told[: optimizer.population_size]
                ]
            )
