import pandas as pd
import pytest

from analysis.trial_names import named, named_baselines, sampling_pairs, trial_names
from trainables.config import TrialConfig


def _trials(*trials):
    rows = [{**TrialConfig().to_flat(), **fields, "trial": trial} for trial, fields in trials]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"adapt.method": "source_only"}, "Source only"),
        ({"adapt.method": "oracle"}, "Oracle"),
        ({}, "RegDA"),
        ({"adapt.method": "udape"}, "UDAPE"),
        ({"sampling.strategy": "hardest"}, "RegDA VAE-HM"),
        ({"sampling.strategy": "hardest", "sampling.keep": 0.2}, "RegDA VAE-HM 20 %"),
        ({"sampling.strategy": "random"}, "RegDA random third"),
        ({"sampling.strategy": "random", "sampling.keep": 0.5}, "RegDA random 50 %"),
        ({"sampling.strategy": "easiest"}, "RegDA easy third"),
        ({"sampling.strategy": "curriculum"}, "RegDA VAE-CL"),
        ({"sampling.strategy": "curriculum", "curriculum.pacing": "log"}, "RegDA curriculum"),
        ({"sampling.strategy": "bins", "bins.subset": [0, 2]}, "RegDA bins 0, 2 of 6"),
        ({"adapt.method": "mine", "sampling.strategy": "by_colour"}, "mine by_colour"),
    ],
)
def test_a_trial_is_named_for_its_method_and_sampling(fields, name):
    assert trial_names(_trials(("x", fields))) == {"x": name}


def test_trials_of_plugins_stand_last():
    own, other = {"adapt.method": "mine"}, {"adapt.method": "udape"}
    assert list(trial_names(_trials(("a", own), ("b", other), ("c", {})))) == ["c", "b", "a"]


def test_trials_stand_in_the_papers_order_whatever_the_studys():
    trials = _trials(
        ("a", {"sampling.strategy": "random"}),
        ("b", {"adapt.method": "udape"}),
        ("c", {"sampling.strategy": "hardest"}),
        ("d", {"sampling.strategy": "curriculum"}),
        ("e", {}),
        ("f", {"adapt.method": "oracle"}),
        ("g", {"adapt.method": "source_only"}),
    )
    assert list(trial_names(trials)) == ["g", "f", "e", "d", "c", "a", "b"]


def test_trials_of_one_name_are_told_apart():
    trials = _trials(("lr=1", {}), ("lr=2", {"adapt.lr": 2}), ("hm", {"sampling.keep": 1}))
    assert list(trial_names(trials.iloc[:2]).values()) == ["RegDA (lr=1)", "RegDA (lr=2)"]
    assert trial_names(trials.iloc[:0]) == {}


def test_rows_get_readable_names_in_table_order_and_keep_their_own():
    trials = _trials(("a", {"sampling.strategy": "hardest"}), ("b", {}))
    rows = pd.DataFrame({"trial": ["a", "b", "a"], "bin": [0, 0, 1]})
    table = named(rows, trials)
    assert table["trial"].tolist() == ["RegDA", "RegDA VAE-HM", "RegDA VAE-HM"]
    assert table["bin"].tolist() == [0, 0, 1]


def test_baselines_are_those_that_the_file_names_or_all():
    trials = _trials(("a", {"sampling.strategy": "hardest"}), ("b", {}))
    trials = trials.assign(state="complete", is_baseline=[True, False])
    assert named_baselines(trials) == ["RegDA VAE-HM"]
    assert named_baselines(trials.assign(is_baseline=False)) == ["RegDA", "RegDA VAE-HM"]


def test_a_trial_that_samples_is_paired_with_its_method():
    names = ["Source only", "RegDA", "RegDA VAE-HM", "UDAPE VAE-HM", "UDAPE", "RegDA random third"]
    assert sampling_pairs(names) == [
        ("RegDA VAE-HM", "RegDA"),
        ("RegDA random third", "RegDA"),
        ("UDAPE VAE-HM", "UDAPE"),
    ]
