"""The trials that a plan counts: which cost the same, and what the storage has of them."""

import pytest

from harness.forecast.trials import Trial, study_trials
from harness.spec import load_spec
from harness.stage_cache.cache import DiskStageCache
from harness.stage_cache.manifest import stage_key
from trainables.config import TrialConfig
from trainables.data import prepare
from trainables.data.export import export
from trainables.stages.cached_run import CachedRun
from trainables.stages.data_stages import image_stage_key
from trainables.stages.trial_stages import TrialStages, stage_keys, start_run

STUDY = """
name: s
metric: {name: target_val/pck_05, goal: maximize}
parameters: {vae.kl_weight: {min: 1e-3, max: 1e-2}}
baselines:
  all: {sampling.strategy: all}
  random: {sampling.strategy: random}
fixed:
  data: {num_source: 60, num_target: 60, image_size: 32, heatmap_size: 16}
  net.width: 4
  vae.epochs: 2
  adapt: {method: source_only, pretrain_epochs: 1, epochs: 1, steps_per_epoch: 1, batch_size: 4}
budget: {run_cap: 4}
seeds: 2
"""


@pytest.mark.parametrize(
    ("change", "is_equal"),
    [
        ({"vae.kl_weight": 0.5}, True),
        ({"sampling.strategy": "hardest"}, True),
        ({"adapt.epochs": 9}, True),  # a number of what was measured
        ({"adapt.regda.margin": 2.0}, True),
        ({"style.steps": 5}, True),
        ({"adapt.method": "source_only"}, False),
        ({"adapt.batch_size": 8}, False),
        ({"net.width": 8}, False),
        ({"vae.hidden_dim": 256}, False),
    ],
)
def test_which_fields_make_another_kind_of_trial(change, is_equal):
    kinds = [Trial(TrialConfig.from_flat(fields), {}).kind for fields in ({}, change)]
    assert (kinds[0] == kinds[1]) == is_equal


@pytest.mark.parametrize(
    ("change", "is_equal"),
    [
        ({"adapt.udape.ema_decay": 0.5}, True),
        ({"adapt.udape.style_alpha": 0.0}, False),
        ({"adapt.udape.labels": "warp"}, False),
        ({"style.steps": 5}, False),
    ],
)
def test_kinds_of_udape_differ_in_labels_and_style(change, is_equal):
    udape = {"adapt.method": "udape"}
    kinds = [Trial(TrialConfig.from_flat(f), {}).kind for f in (udape, {**udape, **change})]
    assert (kinds[0] == kinds[1]) == is_equal


@pytest.mark.parametrize("is_prepared", [False, True])
@pytest.mark.parametrize("method", ["source_only", "udape"])
def test_the_keys_of_stages_are_those_of_a_real_trial(tmp_path, method, is_prepared):
    given = {}
    if is_prepared:
        export("lspet", tmp_path / "data", 60, "people_wild", 32)
        arguments = ["--root", str(tmp_path / "data"), "--out", str(tmp_path / "store")]
        assert prepare.main(["lspet", *arguments, "--size", "32"]) == 0
        given = {"data.target": "lspet", "data.target_root": str(tmp_path / "store")}
    fields = given | {
        "data.num_source": 60, "data.num_target": 60, "data.image_size": 32,
        "data.heatmap_size": 16, "vae.epochs": 2, "adapt.method": method, "style.width": 4,
        "style.encoder_steps": 1, "style.steps": 1,
    }  # fmt: skip
    config = TrialConfig.from_flat(fields)
    stages = TrialStages(config, DiskStageCache(tmp_path), 1, read_test=False)
    images = {role: image_stage_key(config, role, stage_key) for role in ("source", "target")}
    found = stage_keys(config, images, stage_key)
    assert found == {name: key for name, (_, key, _) in stages.lineage.items()}
    assert ("style" in found) == (method == "udape")


def test_every_seed_of_the_baselines_and_some_draws(write_study, tmp_path):
    given, searched = study_trials(load_spec(write_study(STUDY)), tmp_path / "none")
    named = [(trial.config.sampling.strategy, trial.config.seed) for trial in given]
    assert named == [("all", 0), ("all", 1), ("random", 0), ("random", 1)]
    assert len({trial.config.vae.kl_weight for trial in searched}) > 10
    assert len({trial.missing["pose_vae"] for trial in given}) == 2  # one for each seed
    assert all(not trial.stored and len(trial.missing) == 4 for trial in given)
    assert not (tmp_path / "none").exists()


def test_nothing_is_drawn_where_baselines_use_up_the_budget(write_study, tmp_path):
    spec = load_spec(write_study(STUDY), ["budget.run_cap=2"])
    assert study_trials(spec, tmp_path)[1] == []


def test_what_a_trial_has_stored_is_found(write_study, tmp_path):
    spec = load_spec(write_study(STUDY))
    config = study_trials(spec, tmp_path)[0][0].config
    cache = DiskStageCache(tmp_path)
    stages = TrialStages(config, cache, 1, read_test=False)
    run = CachedRun(start_run(stages, 1, 1), cache, stages.spans(1))
    while not run.is_done:
        run.run_epoch()
    given, searched = study_trials(spec, tmp_path)
    assert [trial.is_reused for trial in given] == [True, False, False, False]
    assert [set(trial.missing) for trial in given] == [set(), {"pose_vae"}] * 2
    assert {"images/source", "images/target", "pose_vae/reference"} == searched[0].stored
