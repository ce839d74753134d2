"""The stored Optuna study behind a spec: its sampler, its pruner, its first trials."""

import json

import optuna

from harness.sections import EarlyTerminate
from harness.spec import StudySpec


def create_study(spec: StudySpec, study_name: str, storage_url: str, seed: int) -> optuna.Study:
    """A new Optuna study with the sampler and pruner of the spec, and its first trials queued.

    Args:
        spec: The study.
        study_name: Name in the storage.
        storage_url: SQLAlchemy URL.
        seed: Seed of the sampler.

    Raises:
        optuna.exceptions.DuplicatedStudyError: If the storage has a study of this name.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler: optuna.samplers.BaseSampler
    if spec.method == "tpe":
        num_baselines = len(spec.baselines)
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, n_startup_trials=max(4, num_baselines)
        )
    else:  # a grid is queued whole; its sampler is never asked
        sampler = optuna.samplers.RandomSampler(seed=seed)
    study = optuna.create_study(
        study_name=study_name,
        storage=storage_url,
        direction=spec.objective.goal,
        sampler=sampler,
        pruner=_pruner(spec.early_terminate),
    )
    space = spec.space()
    for baseline in space.baselines():
        attributes = {"baseline": baseline.name, "overrides": json.dumps(baseline.overrides)}
        study.enqueue_trial(baseline.enqueue, user_attrs=attributes)
    if spec.method == "grid":
        for params in space.grid():
            study.enqueue_trial(params)
    return study


def stored_studies(storage_url: str) -> list[str]:
    """Names of the studies in a storage."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.get_all_study_names(storage_url)


def num_trials(spec: StudySpec) -> int:
    """Trials the study will run: the budget, or the whole grid and the baselines."""
    if spec.method == "grid":
        total = len(spec.space().grid()) + len(spec.baselines)
        return min(total, spec.budget.run_cap or total)
    if spec.budget.run_cap is None:
        raise ValueError(f"budget.run_cap must be given for method {spec.method}")
    return spec.budget.run_cap


def _pruner(rule: EarlyTerminate) -> optuna.pruners.BasePruner:
    if rule.type == "hyperband" and rule.s == 1:
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=rule.min_iter, reduction_factor=rule.eta
        )
    if rule.type == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=rule.min_iter,
            max_resource="auto" if rule.max_iter is None else rule.max_iter,
            reduction_factor=rule.eta,
        )
    if rule.type == "median":
        return optuna.pruners.MedianPruner(
            n_startup_trials=rule.startup_trials, n_warmup_steps=rule.min_iter
        )
    return optuna.pruners.NopPruner()
