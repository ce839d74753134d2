"""Measuring a trial: what is measured is what a real trial does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.stage_cache.cache import DiskStageCache
from harness.stage_cache.manifest import stage_key
from trainables.checkpoint import save_states
from trainables.config import TrialConfig
from trainables.cost.measure import Job, Workload
from trainables.network.pose_net import PoseNet
from trainables.stages.cached_run import CachedRun
from trainables.stages.data_stages import image_stage
from trainables.stages.trial_stages import TrialStages, start_run

SMALL = {
    "data.num_source": 300, "data.num_target": 150, "data.image_size": 32,
    "data.heatmap_size": 16, "net.width": 8, "vae.epochs": 3, "adapt.pretrain_epochs": 1,
    "adapt.epochs": 1, "adapt.steps_per_epoch": 2, "adapt.batch_size": 8, "style.width": 4,
}  # fmt: skip


def job(**values):
    fields = {"trainable": "adaptation", "fields": SMALL, "vaes": [], "num_threads": 1}
    return Job(**{**fields, **values})


def nothing_stored(stage, inputs):
    return stage_key(stage, inputs), False


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "samples"
    place.mkdir()
    return place


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name in ("TRAINING_S", "EVALUATION_S"):
        monkeypatch.setattr(f"trainables.cost.measure.{name}", 0.02)


def lineage_of_a_real_trial(root):
    stages = TrialStages(TrialConfig.from_flat(SMALL), DiskStageCache(root), 1, False)
    return stages, stages.lineage


def test_everything_a_trial_does_is_measured(folder):
    measured = Workload(job(), nothing_stored, folder).measure()
    for name in ("pretrain_step_s", "adapt_step_s", "evaluation_s"):
        assert getattr(measured, name)
        assert min(getattr(measured, name)) > 0
    for name in ("vae_epoch_s", "reference_vae_epoch_s", "setup_s", "final_s", "checkpoint_s"):
        assert getattr(measured, name) > 0
    assert measured.images_s.keys() == {"source", "target"}
    assert measured.device == "cpu"
    assert measured.peak_bytes > 50 * 2**20
    assert not any(measured.stages.values())
    assert "style" not in measured.stages


def test_sizes_are_those_of_a_real_trial(folder, tmp_path):
    measured = Workload(job(), nothing_stored, folder).measure()
    stages, _ = lineage_of_a_real_trial(tmp_path / "stages")
    run = stages(torch.device("cpu"), stages_shard())
    while not run.is_done:
        run.run_epoch()
    place = tmp_path / "checkpoint"
    place.mkdir()
    save_states(place, {"last": run.state_dict(), "best": run.best})
    assert measured.checkpoint_bytes == pytest.approx(size(place), rel=0.02)
    for role in ("source", "target"):
        _, entry = image_stage(DiskStageCache(tmp_path / "stages"), stages.trial.data, role, 1)
        assert measured.images_bytes[role] == pytest.approx(size(entry.path), rel=0.05)


def stages_shard():
    from trainables.distributed.shard import WHOLE

    return WHOLE


def size(path: Path):
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def test_stages_are_looked_for_under_the_keys_of_a_real_trial(folder, tmp_path):
    _, lineage = lineage_of_a_real_trial(tmp_path / "stages")
    stored = {key for _, key, _ in lineage.values()}

    def look(stage, inputs):
        key = stage_key(stage, inputs)
        return key, key in stored

    other = {**SMALL, "vae.kl_weight": 0.5}
    measured = Workload(job(vaes=[SMALL, other]), look, folder).measure()
    assert measured.stages == {
        "images/source": True, "images/target": True, "pose_vae/reference": True,
    }  # fmt: skip
    assert measured.stored_vaes == [True, False]


def test_whole_trainings_are_looked_for_under_the_keys_of_real_trials(folder, tmp_path):
    cache = DiskStageCache(tmp_path / "stages")
    stages = TrialStages(TrialConfig.from_flat(SMALL), cache, 1, False)
    run = CachedRun(start_run(stages, 1, 1), cache, stages.spans(1))
    while not run.is_done:
        run.run_epoch()

    def look(stage, inputs):
        key = stage_key(stage, inputs)
        return key, (cache.root / stage / key).is_dir()

    given = [SMALL, {**SMALL, "seed": 1}, {**SMALL, "adapt.epochs": 0}]
    measured = Workload(job(given=given), look, folder).measure()
    assert measured.stored_trainings == [True, False, False]


def test_a_style_network_is_measured_where_images_are_restyled(folder):
    fields = {**SMALL, "adapt.method": "udape"}
    measured = Workload(job(fields=fields), nothing_stored, folder).measure()
    assert measured.stages["style"] is False
    assert measured.style_fixed_s > 0
    assert measured.style_bytes > 1000


def test_a_pose_vae_trial_has_no_network_to_measure(folder):
    measured = Workload(job(trainable="pose_vae"), nothing_stored, folder).measure()
    assert measured.vae_epoch_s > 0
    assert measured.evaluation_s[0] > 0
    assert measured.checkpoint_bytes == 0
    assert measured.stages == {"images/source": False, "images/target": False}


def test_images_scale_with_their_number(folder):
    # 250 images are made of either: 2500 take ten times the disk of 250
    sizes = []
    for num in (250, 2500):
        place = folder / str(num)
        place.mkdir()
        fields = {**SMALL, "data.num_source": num}
        workload = Workload(job(trainable="pose_vae", fields=fields), nothing_stored, place)
        sizes.append(workload.measure().images_bytes["source"])
    assert sizes[1] == 10 * sizes[0]


@pytest.mark.parametrize(("gpus", "part"), [(0.0, 14), (0.5, 14), (2.0, 7)])
def test_a_trial_over_two_gpus_is_measured_on_its_part_of_a_batch(folder, monkeypatch, gpus, part):
    sizes, features = set(), PoseNet.features

    def counted(net, images):
        if net.training:
            sizes.add(len(images))
        return features(net, images)

    monkeypatch.setattr(PoseNet, "features", counted)
    fields = {**SMALL, "adapt.batch_size": 14}
    measured = Workload(job(fields=fields, gpus=gpus), nothing_stored, folder).measure()
    assert sizes & {7, 14} == {part}  # besides them, batches of AdaBN's statistics
    is_gpu = gpus > 0 and torch.cuda.is_available()
    assert measured.device == (torch.cuda.get_device_name() if is_gpu else "cpu")


def test_load_goes_on_after_the_measurement(folder):
    workload = Workload(job(), nothing_stored, folder)
    workload.measure()
    workload.go_on()
    workload.go_on()


def test_a_missing_folder_is_one_sentence(folder):
    fields = {**SMALL, "data.target": "lspet", "data.target_root": "/nowhere/lspet"}
    workload = Workload(job(fields=fields), nothing_stored, folder)
    with pytest.raises(FileNotFoundError, match="/nowhere/lspet is not a folder"):
        workload.measure()


def test_no_network_is_too_slow_to_be_measured_on_part_of_its_images(folder, monkeypatch):
    monkeypatch.setattr("trainables.cost.measure.EVALUATION_S", 1e-9)
    measured = Workload(replace(job()), nothing_stored, folder).measure()
    assert min(measured.evaluation_s) > 0
