"""Poses of a run read back: only those that it used."""

import pytest

from harness.stage_cache.cache import DiskStageCache
from trainables.config import TrialConfig
from trainables.data import prepare
from trainables.data.export import export
from trainables.stages.binned_poses import binned_poses
from trainables.stages.trial_stages import TrialStages


def test_a_prepared_store_that_was_made_again_is_refused(tmp_path):
    def prepared(num):
        export("lspet", tmp_path / f"data{num}", num, "people_wild", 32)
        arguments = ["--root", str(tmp_path / f"data{num}"), "--size", "32"]
        assert prepare.main(["lspet", *arguments, "--out", str(tmp_path / f"store{num}")]) == 0

    prepared(60)
    trial = TrialConfig.from_flat({
        "data.num_source": 60, "data.image_size": 32, "data.heatmap_size": 16,
        "data.target": "lspet", "data.target_root": str(tmp_path / "store60"),
        "vae.epochs": 2, "adapt.method": "source_only",
    })  # fmt: skip
    root = tmp_path / "stages"
    lineage = TrialStages(trial, DiskStageCache(root), 1, read_test=False).lineage
    keys = {name: key for name, (_, key, _) in lineage.items()}
    assert len(binned_poses(root, trial, keys, "target").rows) > 0
    prepared(70)
    (tmp_path / "store60").rename(tmp_path / "old")
    (tmp_path / "store70").rename(tmp_path / "store60")
    with pytest.raises(ValueError, match="store60 holds other images than the run used"):
        binned_poses(root, trial, keys, "target")
