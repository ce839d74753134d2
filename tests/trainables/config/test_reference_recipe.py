"""The values of the reference code that ``parity: true`` stands for."""

import pytest

from trainables.config import TrialConfig, coerce
from trainables.config.method_options import RegDAOptions
from trainables.config.reference_recipe import reference_fields
from trainables.registry import METHODS

# What the references' scripts and READMEs say, where it differs from the defaults of a trial.
REFERENCE = {
    "source_only": {"pretrain_epochs": 70, "epochs": 0, "loss": "mse"},
    "oracle": {"pretrain_epochs": 70, "epochs": 0, "loss": "mse"},
    "regda": {"pretrain_epochs": 70, "epochs": 30, "regda.gradient_scale": 0.1,
              "precision": "float32"},
    "udape": {
        "pretrain_epochs": 40, "epochs": 30, "loss": "mse", "udape.ema_decay": 0.999,
        "udape.occlusion_confidence": 0.9, "udape.labels": "warp",
    },
}  # fmt: skip


def test_every_method_has_a_reference_recipe():
    assert set(REFERENCE) == set(METHODS)


@pytest.mark.parametrize("method", REFERENCE)
def test_parity_fills_what_is_left_out_with_the_reference(method):
    recipe = {f"adapt.{name}": value for name, value in REFERENCE[method].items()}
    recipe |= {"adapt.steps_per_epoch": 500}
    plain = TrialConfig.from_flat({"adapt.method": method}).to_flat()
    parity = TrialConfig.from_flat({"adapt.method": method, "parity": True}).to_flat()
    assert parity == plain | recipe | {"parity": True}


def test_parity_without_a_method_is_that_of_the_default_method():
    explicit = TrialConfig.from_flat({"parity": True, "adapt.method": "regda"})
    assert TrialConfig.from_flat({"parity": True}) == explicit


def test_fields_that_are_given_stay_with_parity():
    values = {"parity": True, "adapt.epochs": 3, "adapt.regda.gradient_scale": 1.0}
    trial = TrialConfig.from_flat(values)
    assert (trial.adapt.epochs, trial.options(RegDAOptions).gradient_scale) == (3, 1.0)
    assert trial.adapt.pretrain_epochs == 70


def test_parity_that_is_false_changes_nothing():
    assert TrialConfig.from_flat({"parity": False}) == TrialConfig()


@pytest.mark.parametrize("method", REFERENCE)
def test_a_trial_with_parity_survives_the_round_trip(method):
    trial = TrialConfig.from_flat({"parity": True, "adapt.method": method, "seed": 3})
    assert TrialConfig.from_flat(trial.to_flat()) == trial


def test_every_field_of_a_reference_recipe_is_a_field_of_a_trial():
    for method in REFERENCE:
        for path, value in reference_fields(method).items():
            assert coerce(path, value) == value
