"""Checks that a study on disk is the one that its file describes, before it is resumed.

What decides a trial's result is compared: the sections of the file that say which trials there
are and how they are judged, the skeleton, and the code that trains them. Budget, failures and
resources may change from one start to the next.
"""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from harness.record.ledger import Event, RunRecord
from harness.space.suggester import Choice, RandomSuggester
from harness.spec import SpecError, StudySpec
from trainables.config import TrialConfig
from trainables.data.skeleton_file import find_skeleton
from trainables.fingerprint import code_digest

NUM_DRAWS = 64
"""Random configurations that are drawn to see what Optuna would be asked."""
DECISIVE = (
    "trainable", "metrics", "method", "parameters", "fixed", "baselines", "early_terminate",
    "constraints", "seeds",
)  # fmt: skip
"""Sections of a study file that decide its trials."""
MAX_SHOWN = 5
"""Differences that a message lists."""


def identity(spec: StudySpec) -> dict[str, Any]:
    """What must be the same to resume a study: ``space`` (sections) and ``code`` (digest)."""
    # Through JSON, as the ledger holds it: tuples become lists.
    dumped = json.loads(spec.model_dump_json(by_alias=True))
    space = {name: dumped[name] for name in DECISIVE} | {"skeleton": _skeleton(spec)}
    return {"space": space, "code": code_digest()}


def _skeleton(spec: StudySpec) -> dict[str, Any]:
    """The definition of the joints, which may be in a file that the code does not hold."""
    of_data = {name: value for name, value in spec.fixed.items() if name.startswith("data.")}
    return find_skeleton(TrialConfig.from_flat(of_data).skeleton_name("source")).definition()


def check_identity(description: Event, spec: StudySpec) -> None:
    """Compare a study's ledger with its file and with the code.

    Raises:
        SpecError: If they differ; names the differences and the choices.
    """
    now, found = identity(spec), []
    if description["code"] != now["code"]:
        found.append("by another version of the code (trainables/, plugins, torch or numpy)")
    if differences := list(_differences(description["space"], now["space"])):
        more = "; ..." if len(differences) > MAX_SHOWN else ""
        found.append(f"from another file ({'; '.join(differences[:MAX_SHOWN])}{more})")
    if found:
        raise SpecError(
            f"study {description['study']} was started {' and '.join(found)}: undo that to resume "
            "it, start another study with --new, or let its later trials differ from the earlier "
            "ones with --accept-change"
        )


def check_distributions(study: optuna.Study, spec: StudySpec) -> None:
    """Check that Optuna accepts a changed space within a study.

    Raises:
        SpecError: If a parameter has other categories or another type than before.
    """
    known: dict[str, BaseDistribution] = {}
    for trial in study.get_trials(deepcopy=False):
        known.update(trial.distributions)
    space, recorder = spec.space, _Recorder(random.Random(0))
    for _ in range(NUM_DRAWS):
        space.suggest(recorder)
    for name, distribution in recorder.found.items():
        if name in known:
            try:
                optuna.distributions.check_distribution_compatibility(known[name], distribution)
            except ValueError as error:
                raise SpecError(
                    f"parameters.{name} cannot change within a study ({error}); --new starts "
                    "another one"
                ) from error


def check_meaning(runs: Iterable[RunRecord], spec: StudySpec) -> None:
    """Check that a changed space gives the trials of a study the values that they trained.

    Optuna stores some values encoded: a quantile where it lacks the distribution, one boolean per
    item for a subset. With another distribution or another size of the subset the same code means
    another value, and the sampler would learn from values that were never trained.

    Raises:
        SpecError: If the code of a trial now means another value than the one it trained.
    """
    space = spec.space
    for record in runs:
        for name, value in space.read(record.params, record.fields).items():
            trained = record.fields[name]
            if value != trained:
                raise SpecError(
                    f"parameters.{name} cannot change like this within a study: trial "
                    f"{record.trial} trained {json.dumps(trained)}, which Optuna would now read "
                    f"as {json.dumps(value)}; --new starts another study"
                )


class _Recorder(RandomSuggester):
    """Draws, and keeps the distributions that it was asked to draw from."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.found: dict[str, BaseDistribution] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Choice]) -> Choice:
        self.found[name] = CategoricalDistribution(list(choices))
        return super().suggest_categorical(name, choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        self.found[name] = IntDistribution(low, high, step=step)
        return super().suggest_int(name, low, high, step=step)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.found[name] = FloatDistribution(low, high, log=log, step=step)
        return super().suggest_float(name, low, high, step=step, log=log)


def _differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Places where two structures differ, in words."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*before, *now)):
            yield from _differences(
                before.get(key), now.get(key), f"{path}.{key}" if path else str(key)
            )
    elif before != now:
        yield f"{path} was {json.dumps(before)}, is {json.dumps(now)}"
