"""A study is told when its early termination can act before its method has trained."""

import re

import optuna
import pytest

from harness.optuna_study.samplers import pruner_for
from harness.spec import load_spec
from harness.spec.early_terminate import EarlyTerminate

HEAD = "metric: {name: target_val/pck_05, goal: maximize}\n"
SEARCH = "parameters: {vae.kl_weight: {min: 0.1, max: 1.0}}\n"
PHASES = "fixed: {adapt: {pretrain_epochs: 4, epochs: 6}}\n"
STOPS_EARLY = "early_terminate: {type: median, min_iter: 2}\n"


@pytest.fixture
def warning(tmp_path):
    """The warning of a study's text, without its place; None if there is none."""

    def load(text):
        path = tmp_path / "s.yaml"
        path.write_text(HEAD + text)
        found = [notice for notice in load_spec(path).notices if ": warning: " in notice]
        assert len(found) <= 1
        if not found:
            return None
        line = path.read_text().splitlines().index(re.search("early_t.*", text)[0]) + 1
        assert found[0].startswith(f"{path}:{line}:")
        return found[0].partition(": warning: ")[2]

    return load


TOO_EARLY = [  # rule, the epoch it can act after, and what to write for 4 + 6 epochs
    ("type: median, min_iter: 3", 3, "min_iter: 7,"),
    ("type: median", 1, "min_iter: 7,"),
    ("type: successive_halving, min_iter: 4", 4, "min_iter: 7,"),
    ("type: hyperband_brackets, min_iter: 2, eta: 2", 2, "min_iter: 7,"),
    ("type: hyperband_brackets, min_iter: 2, max_iter: 6", 2, "min_iter: 7 and max_iter: 7,"),
    ("type: hyperband, min_iter: 3", 3, "min_iter: 7,"),
    ("type: hyperband, max_iter: 9, s: 2", 1, "min_iter: 7 in place of max_iter and s,"),
    ("type: hyperband, max_iter: 9, s: 1", 3, "min_iter: 7 in place of max_iter and s,"),
    ("type: wilcoxon, over: bins, min_iter: 9", 1, "min_iter: 7 with another type,"),
]


@pytest.mark.parametrize(("rule", "epoch", "change"), TOO_EARLY)
def test_a_rule_that_can_act_in_pre_training_is_warned_of(warning, rule, epoch, change):
    sentence = warning(f"{SEARCH}{PHASES}early_terminate: {{{rule}}}\n")
    assert f"after epoch {epoch}, " in sentence
    assert "(adapt.pretrain_epochs is 4)" in sentence
    assert f"early_terminate.{change}" in sentence
    assert "early_terminate.type: none" in sentence


LATE_ENOUGH = [
    "type: none",
    "type: median, min_iter: 5",
    "type: successive_halving, min_iter: 5",
    "type: hyperband_brackets, min_iter: 5",
    "type: hyperband, min_iter: 5",
    "type: hyperband, max_iter: 15, s: 1",
]


@pytest.mark.parametrize("rule", LATE_ENOUGH)
def test_a_rule_that_waits_for_the_method_is_not_warned_of(warning, rule):
    assert warning(f"{SEARCH}{PHASES}early_terminate: {{{rule}}}\n") is None


def test_seeds_are_compared_after_they_have_trained(warning):
    rule = "early_terminate: {type: wilcoxon, over: seeds}\n"
    assert warning(f"{SEARCH}{PHASES}{rule}seeds: 6\n") is None


def test_what_the_warning_says_to_write_is_not_warned_of(warning):
    advice = warning(SEARCH + PHASES + STOPS_EARLY)
    told = re.search(r"early_terminate\.(min_iter: \d+)", advice)[1]
    assert warning(SEARCH + PHASES + STOPS_EARLY.replace("min_iter: 2", told)) is None


def test_the_longest_pre_training_that_is_searched_counts(warning):
    text = (
        "parameters: {adapt.pretrain_epochs: {values: [0, 2, 5]}}\nfixed: {adapt.epochs: 3}\n"
        "early_terminate: {type: median, min_iter: %s}\n"
    )
    sentence = warning(text % 3)
    assert "after epoch 3, " in sentence
    assert "(adapt.pretrain_epochs is from 0 to 5)" in sentence
    assert "min_iter: 7," in sentence  # 5 + 3 / 2, rounded up
    assert warning(text % 6) is None


def test_epochs_of_the_reference_recipe_count(warning):
    text = "early_terminate: {type: median, min_iter: 60}\nfixed: {parity: true}\n"
    assert "(adapt.pretrain_epochs is 70)" in warning(SEARCH + text)


@pytest.mark.parametrize(
    "text",
    [
        SEARCH + PHASES,
        SEARCH + "fixed: {adapt: {method: source_only}}\n" + STOPS_EARLY,
        SEARCH + "fixed: {adapt: {method: oracle}}\n" + STOPS_EARLY,
        SEARCH + "fixed: {adapt: {epochs: 0}}\n" + STOPS_EARLY,
        SEARCH + "fixed: {adapt: {pretrain_epochs: 0}}\n" + STOPS_EARLY,
        "baselines: {a: {}}\n" + STOPS_EARLY,  # which are never stopped
    ],
    ids=["no rule", "source only", "oracle", "no adaptation", "no pre-training", "baselines"],
)
def test_a_study_whose_trials_cannot_be_stopped_too_early_is_not_warned_of(warning, text):
    assert warning(text) is None


def test_pose_vae_trials_have_no_phases(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("trainable: pose_vae\nmetric: {name: vae/kl}\n" + SEARCH + STOPS_EARLY)
    assert load_spec(path).notices == ()


def test_a_study_that_does_not_ask_for_it_stops_no_trial(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(HEAD + SEARCH)
    spec = load_spec(path)
    assert spec.early_terminate.type == "none"
    assert spec.early_terminate.first_stop is None
    assert isinstance(pruner_for(spec), optuna.pruners.NopPruner)


def test_a_min_iter_that_is_not_used_is_named(tmp_path):
    path = tmp_path / "s.yaml"
    rule = "early_terminate: {type: wilcoxon, over: bins, min_iter: 3}\n"
    path.write_text(HEAD + SEARCH + rule)
    assert load_spec(path).notices[-1] == "not used here: early_terminate.min_iter"


@pytest.mark.parametrize("eta", [2, 3])
@pytest.mark.parametrize("longest", [1, 2, 8, 9, 27, 30])
def test_brackets_are_as_many_as_optunas(eta, longest):
    rule = EarlyTerminate(type="hyperband_brackets", eta=eta)
    study = optuna.create_study(pruner=optuna.pruners.HyperbandPruner(1, longest, eta))
    trial = study.ask()
    trial.report(1.0, 1)
    trial.should_prune()
    assert len(rule.bracket_shares(longest)) == study.pruner._n_brackets
