"""Which searched parameters decide whether a trial is among the best: importances per parameter.

Optuna's PED-ANOVA compares how the best tenth of the complete trials spread over the values of a
parameter with how all of them do (Watanabe, Bansal and Hutter, PED-ANOVA, IJCAI 2023). Optuna's
other evaluators leave out a parameter that is inactive in some trial, so in a space with ``when``
they would be silent about most of it. This one takes each parameter over the trials in which it
is active and weights it by how many these are, so conditional parameters count.

The study of Optuna is rebuilt in memory from the ledger: the user's database is neither needed
nor read. An importance has no sign and no interval, and of few trials it is mostly noise.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FixedTrial, FrozenTrial

from harness.results.ranking import RankedTrial
from harness.spec import StudySpec

MIN_TRIALS = 8
"""Fewest complete trials: with fewer, the best tenth is one of hardly any."""
TOP = 0.1
"""Share of the trials that counts as the best."""


def parameter_importances(spec: StudySpec, trials: Sequence[RankedTrial]) -> dict[str, float]:
    """Importance of each searched parameter for the first objective, the largest first.

    Args:
        spec: The study.
        trials: Its complete trials, baselines among them.

    Returns:
        Name of Optuna's parameter, for example ``bins.subset/b03``, to its share of all
        importance, from 0 to 1; empty if there are fewer than :data:`MIN_TRIALS` trials or no
        parameter varies. The oracle is left out, as what it does better is due to target labels,
        and so are trials that repeat another.
    """
    trials = [trial for trial in trials if trial.is_evidence]
    if len(trials) < MIN_TRIALS:
        return {}
    sign = 1 if spec.objective.goal == "minimize" else -1
    study = _in_memory()
    for trial in trials:
        value = sign * trial.means[spec.objective.name]
        study.add_trial(_frozen(spec, trial.runs[0].params, trial.runs[0].fields, value))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=TOP)
    with warnings.catch_warnings():
        # Of values that one or two trials have, whose weight is small; and of equal importances.
        warnings.simplefilter("ignore", UserWarning)
        found = evaluator.evaluate(study)
    total = sum(found.values())
    return {name: value / total for name, value in found.items()} if total > 0 else {}


def _in_memory() -> optuna.Study:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study()
    finally:
        optuna.logging.set_verbosity(level)


def _frozen(
    spec: StudySpec, params: Mapping[str, Any], fields: Mapping[str, Any], value: float
) -> FrozenTrial:
    """A complete trial with the distributions that the space asks its parameters from."""
    recorded = FixedTrial(dict(params))
    own = {name.partition("/")[0] for name in params}
    # What a baseline sets outside the space, and what was inactive, was not asked for.
    others = {name: fields[name] for name in spec.parameters if name not in own}
    spec.space.suggest(recorded, others)
    return optuna.trial.create_trial(
        params=recorded.params, distributions=recorded.distributions, value=value
    )
