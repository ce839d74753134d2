"""The Optuna sampler and pruner of a study.

A new sampler is built for every ask, with a seed that follows from the trial's number, so that
what a resumed study suggests does not depend on when it was interrupted.
This works for samplers that read all that they have learned from the study's storage:

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

With the same seed for every ask, all but qmc would suggest the same over and over. Constraints
are read from ``Trial.set_constraint`` by tpe, gp and nsga2; gp needs them of every complete trial.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from harness.optuna_study.optuna_private import ReplayedCmaEs
from harness.optuna_study.pruners import Brackets, RungPruner, hyperband
from harness.spec.early_terminate import EarlyTerminate
from harness.spec.study_spec import Method, StudySpec
from trainables.config import TrialConfig
from trainables.registry import TRAINABLES

POPULATION = 20
"""Trials of a generation of nsga2, of which the first is random. Optuna's 50 would leave most
studies of one machine without a second one."""
STARTUP_TRIALS = 4
"""Fewest random trials before tpe learns, if there are fewer baselines."""
GP_STARTUP_TRIALS = 8
"""Complete trials before gp has something to fit."""


def needs_constant_seed(method: Method) -> bool:
    """Whether :func:`sampler_for` must get the same seed for every ask."""
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
    space = spec.space
    # A baseline outside a range lacks the parameter, as trials do under a condition. Without
    # ``group``, TPE draws a parameter that some trial lacks independently of all others.
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


def brackets_for(spec: StudySpec, study_name: str) -> Brackets:
    """The pruners of a study, see :func:`pruner_for`.

    Args:
        spec: The study.
        study_name: Name of the stored study.
    """
    rule, longest = spec.early_terminate, _longest(spec)
    if rule.type == "hyperband_brackets" and longest is not None:
        return hyperband(rule, longest, study_name)
    return Brackets([pruner_for(spec)], study_name=study_name)


def pruner_for(spec: StudySpec) -> optuna.pruners.BasePruner:
    """The pruner of a study.

    Steps count from 1. For ``wilcoxon`` a step is what is paired, so the same number must mean the
    same seed (over seeds) or the same bin of the same epoch (over bins) in every trial, and the
    value of a trial must be its mean over the seeds, or over the bins of the last epoch.

    :class:`~harness.optuna_study.pruners.Pruning` asks it in a study in memory with
    :attr:`StudySpec.pruning_metric` as the only objective, since Optuna takes no reports of trials
    with several.
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
    """Reports of a full run, if it is the same for all.

    Optuna would wait for the first complete trial instead, so that a resumed study could have
    other brackets than before its interruption.
    """
    deciding = ("adapt.pretrain_epochs", "adapt.epochs", "vae.epochs", "parity")
    varied = {*spec.parameters, *(name for fields in spec.baselines.values() for name in fields)}
    if varied & set(deciding) or spec.fixed.get("parity"):
        return None
    return TRAINABLES[spec.trainable].num_reports({**TrialConfig().to_flat(), **spec.fixed})


@contextmanager
def _without_experimental_warning() -> Iterator[None]:
    """Without the warning that Optuna may change; constraints.txt names the tested version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
