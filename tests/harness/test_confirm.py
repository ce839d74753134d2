import pandas as pd
import pytest

from harness.confirm import main, verdict
from harness.ledger import Ledger
from harness.results import load_study
from trainables.config import TrialConfig


def _confirmation(path, values):
    """A ledger of one run for each (setting, seed) with its test PCK."""
    with Ledger(path) as ledger:
        ledger.append("study", study="s", objective="m", goal="maximize", trainable="adaptation")
        for number, ((setting, seed), pck) in enumerate(values.items()):
            fields = {**TrialConfig().to_flat(), "seed": seed}
            name = f"{setting}-seed{seed}"
            ledger.append(
                "trial", number=number, name=name, is_baseline=True, params={}, fields=fields
            )
            metrics = {"m": 0.0, "target_test/pck_05": pck}
            ledger.append(
                "epoch",
                number=number,
                step=1,
                num_steps=1,
                metrics=metrics,
                stages={},
                digests={},
                tags={},
            )
            ledger.append("finished", number=number, state="complete", reason=None, value=0.0)
    return load_study(path)


def test_a_clear_and_an_unclear_difference_are_told_apart(tmp_path):
    # Paired gaps to "all": better 10, 11, 12 (t interval 11 +- 4.303 * 1 / sqrt(3) = 2.48);
    # noisy 5, -6, 4.
    study = _confirmation(
        tmp_path / "events.jsonl",
        {
            ("all", 1000): 50.0, ("all", 1001): 40.0, ("all", 1002): 60.0,
            ("better", 1000): 60.0, ("better", 1001): 51.0, ("better", 1002): 72.0,
            ("noisy", 1000): 55.0, ("noisy", 1001): 34.0, ("noisy", 1002): 64.0,
        },
    )  # fmt: skip
    lines = verdict(study, ["all"])
    better = next(line for line in lines if "better" in line)
    noisy = next(line for line in lines if "noisy" in line)
    assert "+11.00 [8.52, 13.48] against all" in better
    assert "no difference shown" not in better
    assert "no difference shown" in noisy
    assert "3 seeds" in lines[0]


def test_a_single_seed_shows_no_difference(tmp_path):
    study = _confirmation(tmp_path / "events.jsonl", {("all", 1): 50.0, ("x", 1): 90.0})
    line = next(line for line in verdict(study, ["all"]) if line.strip().startswith("x"))
    assert "[one seed]" in line
    assert "no difference shown" in line


def test_an_unknown_study_is_one_sentence_and_exit_code_2(tmp_path, capsys):
    assert main(["nothing", "--storage", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "nothing" in error


def test_a_study_without_complete_trials_has_nothing_to_confirm(tmp_path, capsys):
    path = tmp_path / "studies" / "s" / "events.jsonl"
    path.parent.mkdir(parents=True)
    with Ledger(path) as ledger:
        ledger.append("study", study="s", objective="m", goal="maximize", trainable="adaptation")
    assert main(["s", "--storage", str(tmp_path)]) == 2
    assert "no complete trial" in capsys.readouterr().err


def test_settings_of_a_confirmation_are_named_without_their_seed(tmp_path):
    study = _confirmation(tmp_path / "events.jsonl", {("vae_hm", 1): 1.0, ("vae_hm", 2): 2.0})
    assert set(study.trials["config"]) == {"vae_hm"}
    assert isinstance(study.final("target_test/pck_05"), pd.Series)
    assert study.final("target_test/pck_05").to_dict() == {0: 1.0, 1: pytest.approx(2.0)}


def test_a_failed_seed_is_counted_and_does_not_hide_the_others(tmp_path):
    values = {("all", s): 50.0 + s for s in range(3)} | {("x", s): 60.0 + s for s in range(2)}
    study = _confirmation(tmp_path / "events.jsonl", values)
    line = next(line for line in verdict(study, ["all"]) if line.strip().startswith("x"))
    assert "from 2 seeds" in line
    assert "60.50 [54.15, 66.85]" in line  # 60.5 -+ 12.7062 * 0.7071 / sqrt(2)


def test_names_that_merely_look_like_seeds_stay_apart(tmp_path):
    study = _confirmation(tmp_path / "events.jsonl", {("all", 1): 1.0, ("all-seeds", 1): 2.0})
    assert set(study.trials["config"]) == {"all", "all-seeds"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["s-confirm"], "is itself a confirmation"),
        (["s", "--seeds", "0"], "--seeds >= 1"),
        (["s", "--set", "adapt.epochs=[1"], "is not a YAML value"),
        (["s", "--set", "data.num_target=3000"], "keeps the study's data"),
        (["s", "--set", "nonsense"], "write FIELD=VALUE"),
        (["s", "--set", "seed=3"], "draws fresh seeds"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments, words, tmp_path, capsys):
    path = tmp_path / "studies" / "s" / "events.jsonl"
    path.parent.mkdir(parents=True)
    _confirmation(path, {("all", 1): 50.0})
    assert main([*arguments, "--storage", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_trials_that_differ_in_their_seed_are_one_finalist(tmp_path, monkeypatch):
    path = tmp_path / "studies" / "s" / "events.jsonl"
    path.parent.mkdir(parents=True)
    # Means of the methods: regda 50, udape 51, source_only 30; the best single trial is regda's.
    values = [("regda", 0, 40.0), ("regda", 1, 60.0), ("udape", 0, 50.0), ("udape", 1, 52.0)]
    values += [("source_only", 0, 30.0)]
    with Ledger(path) as ledger:
        ledger.append("study", study="s", objective="m", goal="maximize", trainable="adaptation")
        for number, (method, seed, value) in enumerate(values):
            params = {"adapt.method": method, "seed": seed}
            ledger.append(
                "trial", number=number, name=f"trial-{number}", is_baseline=False, params=params,
                fields={**TrialConfig().to_flat(), **params},
            )  # fmt: skip
            ledger.append("finished", number=number, state="complete", reason=None, value=value)
    seen = {}

    def follow(spec, storage, out, *, read_test):
        seen.update(spec.baselines)
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.study.follow_study", follow)
    assert main(["s", "--top", "2", "--seeds", "2", "--storage", str(tmp_path)]) == 130
    assert list(seen) == [
        "trial-2_method-udape-seed1000",
        "trial-0_method-regda-seed1000",
        "trial-2_method-udape-seed1001",
        "trial-0_method-regda-seed1001",
    ]
    assert seen["trial-2_method-udape-seed1001"]["seed"] == 1001
