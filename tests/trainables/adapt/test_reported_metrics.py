"""The names that a study's file may use are those that trials report."""

import ast
import inspect

import pytest

import trainables.pose_vae_trainable
from harness.spec.metric_names import known_metrics, unknown_metric
from tests.trainables.adapt.tiny_run import RECIPES, make_config, make_run, reports
from trainables.config import TrialConfig
from trainables.pose_vae.score import Information, information_metrics

FIELDS = TrialConfig().to_flat() | {"evaluation.bin_count": 4}


@pytest.mark.parametrize("recipe", ["source_only_mse", "regda", "udape_plain", "udape_warp"])
def test_every_metric_of_a_run_is_known_and_so_is_when_it_is_reported(recipe, domains):
    config = make_config(**RECIPES[recipe])
    known = known_metrics("adaptation", config.to_flat())
    epochs = reports(make_run(config, domains))
    assert set().union(*epochs) <= set(known)
    for name, facts in known.items():
        num_reports = sum(name in metrics for metrics in epochs)
        if 0 < num_reports < len(epochs):
            assert not facts.is_reported_throughout, name


def test_pose_vae_metrics_are_those_that_its_trainable_writes():
    tree = ast.parse(inspect.getsource(trainables.pose_vae_trainable))
    written = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    written = {text for text in written if text.startswith("vae/") and " " not in text}
    written |= set(information_metrics(Information(1, 1.0, 0.5)))
    assert written == set(known_metrics("pose_vae", FIELDS))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("target_val/pck05", "(did you mean target_val/pck_05?)"),
        ("target_val/pck", "(did you mean target_val/pck_05?)"),
        ("pck_05_elbow", "(did you mean "),
        ("validator/info_max", "(did you mean validator/infomax?)"),
        ("target_test/pck_bin/00", "must not be of the test split, which no search reads"),
        ("final/pck_bin/04", "must be one of the bins 00 to 03"),
        ("vae/corruption_auc", "must be a metric of adaptation trials, got vae/corruption_auc"),
    ],
)
def test_a_wrong_name_is_explained(name, sentence):
    assert sentence in unknown_metric(name, "adaptation", FIELDS)


@pytest.mark.parametrize(
    "name", ["pck_bin/03", "chosen_pck_05/oracle_val", "train/consistency", "vae/active_units"]
)
def test_a_right_name_needs_no_explanation(name):
    assert unknown_metric(name, "adaptation", FIELDS) is None
