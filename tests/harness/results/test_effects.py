"""What including a range of difficulty does: planted truths come back, ignorance is admitted."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from harness.record.ledger import RunRecord
from harness.results.effects import difficulty_effects, fitted_effects
from harness.results.ranking import RankedTrial
from trainables.config import TrialConfig
from trainables.sampling.exposure import difficulty_exposure

SUBSETS = [
    (3, [0]), (3, [1]), (3, [2]), (3, [0, 1]), (3, [0, 2]), (3, [1, 2]),
    (6, [0]), (6, [5]), (6, [0, 5]), (6, [1, 2]), (6, [2, 3, 4]), (6, [0, 3, 5]),
]  # fmt: skip
OTHERS = [{}, {"sampling.strategy": "hardest"}, {"sampling.strategy": "curriculum"}]


def _exposure():
    fields = [
        {"sampling.strategy": "bins", "bins.count": count, "bins.subset": subset}
        for count, subset in SUBSETS
    ]
    return np.array([difficulty_exposure(TrialConfig.from_flat(f)) for f in [*OTHERS, *fields]])


def _thirds(exposure):
    return exposure.reshape(len(exposure), 3, -1).sum(axis=2)


def _entropy(exposure):
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(exposure > 0, exposure * np.log(exposure * exposure.shape[1]), 0)
    return -terms.sum(axis=1)


@pytest.mark.parametrize("variety", [0.0, 3.0])
def test_the_effect_is_that_of_all_ranges_minus_that_of_the_others(variety):
    exposure = _exposure()
    values = _thirds(exposure) @ [50, 56, 44] + variety * _entropy(exposure)
    effects = fitted_effects(exposure, ["regda"] * len(values), values, 3, len(values))
    # All thirds give 50; without the easiest (56 + 44) / 2 = 50, and so on. Leaving a third
    # out costs the variety of log(3 / 2).
    expected = np.array([0, 3, -3]) + variety * np.log(1.5)
    assert [e.effect for e in effects] == pytest.approx(expected)
    assert [(round(e.start, 3), round(e.end, 3)) for e in effects] == [
        (0, 0.333), (0.333, 0.667), (0.667, 1),
    ]  # fmt: skip
    assert {e.runs for e in effects} == {len(values)}


def test_another_method_has_a_level_of_its_own():
    exposure = np.vstack([_exposure(), _exposure()[:1]])
    values = _thirds(exposure) @ [50, 56, 44]
    values[-1] = 20  # of all of the source, without adaptation
    methods = ["regda"] * (len(values) - 1) + ["source_only"]
    effects = fitted_effects(exposure, methods, values, 3, len(values))
    assert [e.effect for e in effects] == pytest.approx([0, 3, -3])


def test_intervals_hold_the_truth_as_often_as_they_say():
    exposure, rng = _exposure(), np.random.default_rng(1)
    truth = _thirds(exposure) @ [50, 56, 44]
    held = []
    for _ in range(400):
        values = truth + rng.normal(0, 2, len(truth))
        effects = fitted_effects(exposure, ["regda"] * len(values), values, 3, len(values))
        held += [e.low <= t <= e.high for e, t in zip(effects, (0, 3, -3), strict=True)]
    assert 0.93 < np.mean(held) < 0.97  # 1,200 intervals of 95 %


@pytest.mark.parametrize("rows", [slice(0, 5), [0] * 20, [0, 1] * 10])
def test_too_few_or_too_similar_trials_tell_nothing(rows):
    exposure = _exposure()[rows]
    values = np.linspace(40, 50, len(exposure))
    assert fitted_effects(exposure, ["regda"] * len(values), values, 3, len(values)) == []


def test_trials_that_are_the_same_training_are_one_observation():
    spec = SimpleNamespace(trainable="adaptation", objective=SimpleNamespace(name="pck"))

    def trial(value, **fields):
        flat = TrialConfig.from_flat({name.replace("__", "."): v for name, v in fields.items()})
        run = RunRecord(
            number=0, trial=0, trial_name="t", seed=0, name="t", is_baseline=False, params={},
            fields=flat.to_flat(),
        )  # fmt: skip
        return RankedTrial(
            number=0, name="t", is_baseline=False, runs=(run,), means={"pck": value},
            interval=(0.0, 0.0), broken=(), is_pareto=False, repeats=None,
        )  # fmt: skip

    def bins(value, count, subset):
        chosen = {"sampling__strategy": "bins", "bins__count": count, "bins__subset": subset}
        return trial(value, **chosen)

    values = np.random.default_rng(0).normal(50, 1, len(SUBSETS))
    trials = [bins(v, *subset) for v, subset in zip(values, SUBSETS, strict=True)]
    trials.append(trial(49.0, sampling__strategy="all"))
    expected = difficulty_effects(spec, trials)
    assert expected[0].runs == len(SUBSETS) + 1
    hardest = trial(values[2], sampling__strategy="hardest")  # bin 2 of 3
    repeated = replace(hardest, repeats=2)
    assert difficulty_effects(spec, [*trials, repeated]) == expected
    # Another seed of the same draws says something new.
    another = trial(values[2] + 1, sampling__strategy="hardest")
    assert difficulty_effects(spec, [*trials, another])[0].runs == len(SUBSETS) + 2
