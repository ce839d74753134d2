"""The Optuna sampler and pruner of a study.

A sampler is built anew for every ask, with a seed that follows from the study's and the trial's
number, so that what a resumed study proposes does not depend on when it was interrupted. That
asks of a sampler that everything it has learned be in the study's storage:

=======  =======================================================================================
method   what it reads there, and how it takes the seed
=======  =======================================================================================
tpe      finished, pruned and running trials; a new seed for each ask
gp       complete and running trials; a new seed for each ask. Its kernels are fitted from the
         same start each time, where a kept sampler would start from the last fit
cmaes    complete trials and their generations, see :class:`ReplayedCmaEs`; a new seed
nsga2    complete trials, their generations and each generation's parents; a new seed
qmc      how many points of the sequence are taken; **the same seed for every ask**, as the seed
         chooses the sequence
random   nothing; a new seed for each ask
grid     nothing: all of it is queued, and its sampler is never asked
=======  =======================================================================================

With the same seed for every ask, all but qmc would propose the same over and over. Constraints
are read from ``Trial.set_constraint`` by tpe, gp and nsga2; gp needs them of every complete trial.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial

from harness.optuna_study.pruners import Brackets, RungPruner, hyperband
from harness.spec.sections import EarlyTerminate
from harness.spec.study_spec import Method, StudySpec
from trainables.config import TrialConfig

POPULATION = 20
"""Settings of a generation of nsga2, of which the first is random. Optuna's 50 would leave most
studies of one machine without a second one."""
STARTUP_TRIALS = 4
"""Fewest random settings before tpe learns, if there are fewer baselines."""
GP_STARTUP_TRIALS = 8
"""Complete settings before gp has something to fit."""
POSE_VAE_REPORTS = 5
"""Most reports of a ``pose_vae`` trial."""


def needs_constant_seed(method: Method) -> bool:
    """Whether :func:`sampler_for` must get the study's seed for every ask, not one per ask."""
    return method == "qmc"


def sampler_for(spec: StudySpec, seed: int) -> BaseSampler:
    """A new sampler for one ask.

    Args:
        spec: The study.
        seed: Seed of this ask, from 0 to 2**32 - 1; see :func:`needs_constant_seed`.
    """
    match spec.method:
        case "tpe":
            return _tpe(spec, seed)
        case "gp":
            return GPSampler(
                seed=seed,
                n_startup_trials=max(GP_STARTUP_TRIALS, len(spec.baselines)),
                warn_independent_sampling=False,
            )
        case "cmaes":
            return ReplayedCmaEs(seed=seed, warn_independent_sampling=False)
        case "nsga2":
            return NSGAIISampler(seed=seed, population_size=POPULATION)
        case "qmc":
            # Scrambled: the plain sequence starts in a corner, at the low end of every range.
            with _without_experimental_warning():
                return QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
        case _:
            return RandomSampler(seed=seed)


def _tpe(spec: StudySpec, seed: int) -> TPESampler:
    space = spec.space()
    # A baseline beyond a range is a trial that lacks the parameter, as with a condition. Without
    # group, TPE draws what some trial lacks by itself alone, whatever it knows of the others.
    is_ragged = bool(space.conditional()) or any(
        name in baseline.overrides for baseline in space.baselines() for name in spec.parameters
    )
    with _without_experimental_warning():
        return TPESampler(
            seed=seed,
            n_startup_trials=max(STARTUP_TRIALS, len(spec.baselines)),
            multivariate=True,
            group=is_ragged,
            constant_liar=True,  # running trials count as bad, so the next is tried elsewhere
        )


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
        from optuna._transform import _SearchSpaceTransform

        study, search_space = self._replay
        # As the base class maps parameters to numbers.
        space = _SearchSpaceTransform(search_space, transform_step=True, transform_0_1=True)
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


def brackets_for(spec: StudySpec, study_name: str) -> Brackets:
    """The pruners of a study, see :func:`pruner_for`.

    Args:
        spec: The study.
        study_name: Name of the stored study.
    """
    rule, longest = spec.early_terminate, _longest(spec)
    if rule.type == "hyperband_brackets" and longest is not None:
        return hyperband(rule.min_iter, longest, int(rule.eta), study_name)
    return Brackets([pruner_for(spec)], study_name=study_name)


def pruner_for(spec: StudySpec) -> optuna.pruners.BasePruner:
    """The pruner of a study; its state is in the trials' attributes.

    Steps count from 1. For ``wilcoxon`` a step is what is paired, so the same number must mean the
    same seed (over seeds) or the same bin of the same epoch (over bins) in every trial, and the
    value told for a trial must be the mean of what was reported.

    With several objectives Optuna takes no reports: the pruner then needs a study of its own with
    :attr:`StudySpec.pruning_metric` as its only objective.
    """
    rule = spec.early_terminate
    match rule.type:
        case "hyperband":
            return RungPruner(rule)
        case "hyperband_brackets":
            return optuna.pruners.HyperbandPruner(
                min_resource=rule.min_iter,
                max_resource=_longest(spec) or "auto",
                reduction_factor=int(rule.eta),
            )
        case "successive_halving":
            return optuna.pruners.SuccessiveHalvingPruner(
                min_resource=rule.min_iter, reduction_factor=int(rule.eta)
            )
        case "median":
            return optuna.pruners.MedianPruner(
                n_startup_trials=rule.startup_trials, n_warmup_steps=rule.min_iter
            )
        case "wilcoxon":
            return _wilcoxon(rule)
        case _:
            return optuna.pruners.NopPruner()


def _wilcoxon(rule: EarlyTerminate) -> optuna.pruners.BasePruner:
    fewest = rule.min_iter if rule.over == "seeds" else 1
    with _without_experimental_warning():
        return optuna.pruners.WilcoxonPruner(
            p_threshold=rule.p_threshold, n_startup_steps=max(2, fewest)
        )


def _longest(spec: StudySpec) -> int | None:
    return spec.early_terminate.max_iter or _full_length(spec)


def _full_length(spec: StudySpec) -> int | None:
    """Reports of a full trial, if it is the same for all.

    Optuna's own way, to wait for the first complete trial, would let a resumed study count other
    brackets than the one that was interrupted.
    """
    deciding = ("adapt.pretrain_epochs", "adapt.epochs", "vae.epochs", "parity")
    varied = {*spec.parameters, *(name for fields in spec.baselines.values() for name in fields)}
    if varied & set(deciding) or spec.fixed.get("parity"):
        return None
    fields = {**TrialConfig().to_flat(), **spec.fixed}
    if spec.trainable == "pose_vae":
        return min(POSE_VAE_REPORTS, int(fields["vae.epochs"]))
    return int(fields["adapt.pretrain_epochs"]) + int(fields["adapt.epochs"])


@contextmanager
def _without_experimental_warning() -> Iterator[None]:
    """What may change in a later Optuna is known; constraints.txt says which was tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
