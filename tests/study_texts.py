"""Studies as short texts: files that are read or refused, spaces, Optuna's trials of them."""

from collections.abc import Callable, Sequence

import optuna
import pytest
from ruamel.yaml import YAML

from harness.space.space import Space
from harness.spec import SpecError, StudySpec

HEAD = """\
name: test
trainable: adaptation
metrics: [{name: target_val/pck_05, goal: maximize}]
budget: {run_cap: 10}
"""
"""Four lines, so line 5 is the first of what follows."""


def message_of(load: Callable[..., StudySpec], text: str, overrides: Sequence[str] = ()) -> str:
    """The single line with which a study is refused; ``load`` is the fixture of that name."""
    with pytest.raises(SpecError) as caught:
        load(text, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def space_of(text: str) -> Space:
    """Space of a study that has no more sections than :data:`HEAD` and these."""
    return StudySpec.model_validate(YAML(typ="safe", pure=True).load(HEAD + text)).space


def optuna_trial(params: dict | None = None, seed: int = 0) -> optuna.Trial:
    """A trial that draws at random, or these values."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    if params is not None:
        study.enqueue_trial(params)
    return study.ask()
