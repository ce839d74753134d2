"""The stages of a trial through the harness's cache, on tiny domains."""

import dataclasses
import os

import numpy as np
import pytest
import torch

from harness.stage_cache.cache import DiskStageCache
from trainables.config import DataConfig, TrialConfig, VAEConfig
from trainables.data.export import export
from trainables.data.layouts.leeds import write_leeds
from trainables.data.render.rendered import render_domain
from trainables.pose_vae.score import score_poses
from trainables.stages import data_stages
from trainables.stages.data_stages import (
    ImageStage,
    image_stage,
    image_stage_inputs,
    new_pose_vae,
    pose_vae_stage,
    shared_joints,
    train_pose_vae,
    vae_inputs,
)
from trainables.stages.trial_stages import TrialStages

DATA = DataConfig(image_size=32, heatmap_size=16, num_source=80, num_target=60)
TRIAL = TrialConfig(data=DATA)
VAE = VAEConfig(latent_dim=3, hidden_dim=16, epochs=3)

SPLITS = ("source/train", "source/val", "target/val", "target/test")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return DiskStageCache(tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="module")
def source(cache):
    return image_stage(cache, TRIAL, "source", 1)


@pytest.fixture(scope="module")
def target(cache):
    return image_stage(cache, TRIAL, "target", 1)


@pytest.fixture(scope="module")
def leeds_data(tmp_path_factory):
    """Rendered people in the layout of LSPET; joints are missing, in every fourth person most."""
    root = tmp_path_factory.mktemp("data") / "lspet"
    people = next(render_domain("people_wild", 60, 32, 0))
    visible = np.random.default_rng(0).random((60, 16)) < 0.85
    visible[::4, 5:] = False
    visible[1] = True
    write_leeds("lspet", root, people.images, people.keypoints_px, visible)
    return TrialConfig(data=dataclasses.replace(DATA, target="lspet", target_root=str(root)))


@pytest.fixture(scope="module")
def leeds(cache, leeds_data):
    return image_stage(cache, leeds_data, "target", 1)


def test_a_domain_is_rendered_once_and_then_found(cache, source):
    store, entry = source
    again, second = image_stage(cache, TRIAL, "source", 1)
    assert second.outcome == "hit"
    assert second.key == entry.key
    assert again.digest == store.digest
    assert store.images.shape == (80, 32, 32, 3)
    assert {name: len(rows) for name, rows in store.splits.items()} == {"train": 76, "val": 4}


def test_source_and_target_are_different_stages(source, target):
    store, entry = target
    assert entry.key != source.entry.key
    assert store.digest != source.store.digest
    assert {name: len(rows) for name, rows in store.splits.items()} == {
        "train": 38,
        "val": 12,
        "test": 10,
    }


@pytest.mark.parametrize(
    ("change", "is_hit"),
    [
        ({"num_source": 81}, False),
        ({"image_size": 64}, False),
        ({"source": "people_wild"}, False),
        ({"source_root": "unused"}, False),
        ({"heatmap_size": 8}, True),  # the network's, not the images'
        ({"num_target": 99}, True),
        ({"target": "people_wild_hard"}, True),
    ],
)
def test_images_are_made_anew_if_and_only_if_they_would_differ(source, change, is_hit):
    class Recorder:
        def get(self, stage, inputs, compute):
            self.inputs = inputs
            return source.entry

    before, after = Recorder(), Recorder()
    image_stage(before, TRIAL, "source", 1)
    image_stage(after, TrialConfig(data=dataclasses.replace(DATA, **change)), "source", 1)
    assert (before.inputs == after.inputs) is is_hit


def test_another_reading_of_the_same_files_is_another_stage(tmp_path):
    export("surreal", tmp_path, 12, "people_clean", 40)
    fields = {"data.source": "surreal", "data.source_root": str(tmp_path)}
    shipped, native = (
        image_stage_inputs(
            TrialConfig.from_flat(fields | {"data.surreal.joints": joints}), "source"
        )
        for joints in ("surreal_shipped", "smpl_native")
    )
    assert shipped != native


def test_the_number_of_threads_is_no_input_of_a_stage(cache, source):
    assert image_stage(cache, TRIAL, "source", 2).entry.outcome == "hit"


def test_a_broken_data_set_leaves_no_stage(tmp_path):
    cache = DiskStageCache(tmp_path / "stages")
    data = dataclasses.replace(DATA, target="lsp", target_root=str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        image_stage(cache, TrialConfig(data=data), "target", 1)
    assert not [path for path in cache.root.rglob("*") if path.suffix == ".npy"]


def test_rendered_domains_share_all_joints(source, target):
    assert shared_joints(source.store, target.store).tolist() == [True] * 16


def test_a_leeds_target_shares_neither_pelvis_nor_thorax(source, leeds):
    expected = [True] * 16
    expected[6] = expected[7] = False
    assert shared_joints(source.store, leeds.store).tolist() == expected
    assert shared_joints(leeds.store, source.store).tolist() == expected


def test_inputs_of_the_vae_are_the_shared_joints_of_the_rows(source, leeds):
    joints = shared_joints(source.store, leeds.store)
    rows = np.array([5, 1])
    poses, mask = vae_inputs(leeds.store, rows, joints, "raw")
    kept = np.flatnonzero(joints)
    visible = leeds.store.visible[np.ix_(rows, kept)]
    np.testing.assert_array_equal(mask.numpy(), visible.astype(np.float32))
    expected = leeds.store.keypoints_px[np.ix_(rows, kept)] / 32 * visible[..., None]
    np.testing.assert_allclose(poses.numpy(), expected, rtol=1e-6)


def test_joints_that_are_not_shared_do_not_move_the_box(source):
    store = source.store
    rows = np.arange(20)
    without_head = np.ones(16, dtype=bool)
    without_head[9] = False
    all_poses, _ = vae_inputs(store, rows, np.ones(16, dtype=bool), "bbox")
    poses, _ = vae_inputs(store, rows, without_head, "bbox")
    side = poses.amax(1) - poses.amin(1)
    torch.testing.assert_close(side.amax(1), torch.ones(20))
    # With the head, the others do not fill the box of an upright pose.
    others = all_poses[:, without_head]
    assert (others.amax(1) - others.amin(1)).amax(1).min() < 0.95


def test_root_poses_need_their_torso(leeds):
    store = leeds.store
    joints = np.ones(16, dtype=bool)
    rows = np.arange(60)
    _, mask = vae_inputs(store, rows, joints, "root")
    has_torso = store.visible[:, [2, 3, 12, 13]].all(1)
    assert 0 < has_torso.sum() < 60
    assert not mask[~has_torso].any()
    np.testing.assert_array_equal(mask[has_torso].numpy(), store.visible[has_torso])
    _, bbox_mask = vae_inputs(store, rows, joints, "bbox")
    np.testing.assert_array_equal(bbox_mask.numpy(), store.visible)


@pytest.mark.parametrize("norm", ["bbox", "raw", "root"])
def test_the_store_is_not_changed_by_reading_poses(source, norm):
    store = source.store
    before = store.visible.copy(), store.keypoints_px.copy()
    vae_inputs(store, np.arange(10), np.arange(16) != 2, norm)
    np.testing.assert_array_equal(store.visible, before[0])
    np.testing.assert_array_equal(store.keypoints_px, before[1])


def test_a_pose_vae_is_fitted_once_and_then_found(cache, source, target):
    scores, entry = pose_vae_stage(cache, source, target, VAE, seed=0, splits=SPLITS)
    again, second = pose_vae_stage(cache, source, target, VAE, seed=0, splits=SPLITS)
    assert entry.outcome != "hit"
    assert second.outcome == "hit"
    assert second.key == entry.key
    assert again.information == scores.information
    for name in SPLITS:
        np.testing.assert_array_equal(again.scores[name], scores.scores[name])
    sizes = [len(scores.scores[name]) for name in SPLITS]
    assert sizes == [76, 4, 12, 10]
    assert scores.scores["source/train"].dtype == np.float64
    assert (scores.scores["source/train"] > 0).all()
    assert 0 <= scores.information.active_units <= 3
    assert scores.information.kl_nats > 0


@pytest.mark.parametrize("target_name", ["target", "leeds"])
def test_the_fitted_pose_vae_comes_with_its_scores(cache, source, target_name, request):
    target = request.getfixturevalue(target_name)
    fitted, _ = pose_vae_stage(cache, source, target, VAE, seed=5, splits=SPLITS)
    before = torch.random.get_rng_state()
    found, entry = pose_vae_stage(cache, source, target, VAE, seed=5, splits=SPLITS)
    assert entry.outcome == "hit"
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(fitted.joints, shared_joints(source.store, target.store))
    np.testing.assert_array_equal(found.joints, fitted.joints)
    for scored in (fitted, found):
        poses, mask = vae_inputs(target.store, target.store.splits["val"], scored.joints, VAE.norm)
        again = score_poses(scored.model, poses, mask).double().numpy()
        np.testing.assert_array_equal(again, scored.scores["target/val"])
        assert not any(parameter.requires_grad for parameter in scored.model.parameters())
        assert not scored.model.training


def test_a_pose_vae_fitted_elsewhere_gives_the_same_scores(cache, source, target, tmp_path):
    scores, entry = pose_vae_stage(cache, source, target, VAE, seed=0, splits=SPLITS)
    elsewhere = DiskStageCache(tmp_path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)  # the global generator has no say
        again, second = pose_vae_stage(elsewhere, source, target, VAE, seed=0, splits=SPLITS)
    assert second.outcome != "hit"
    assert second.key == entry.key
    np.testing.assert_array_equal(again.scores["source/train"], scores.scores["source/train"])
    np.testing.assert_array_equal(again.scores["target/test"], scores.scores["target/test"])


@pytest.mark.parametrize(
    ("change", "seed"),
    [
        ({"kl_weight": 0.5}, 0),
        ({"latent_dim": 2}, 0),
        ({"hidden_dim": 8}, 0),
        ({"norm": "raw"}, 0),
        ({"epochs": 2}, 0),
        ({}, 1),
    ],
)
def test_another_vae_or_seed_is_another_stage(cache, source, target, change, seed):
    scores, entry = pose_vae_stage(cache, source, target, VAE, seed=0, splits=SPLITS)
    other, second = pose_vae_stage(
        cache,
        source,
        target,
        dataclasses.replace(VAE, **change),
        seed=seed,
        splits=SPLITS,
    )
    assert second.key != entry.key
    assert not np.array_equal(other.scores["source/train"], scores.scores["source/train"])


def test_another_target_is_another_stage(cache, source, target, leeds):
    _, entry = pose_vae_stage(cache, source, target, VAE, seed=0, splits=SPLITS)
    scores, second = pose_vae_stage(cache, source, leeds, VAE, seed=0, splits=SPLITS)
    assert second.key != entry.key
    assert scores.scores["source/train"].shape == (76,)


def test_target_poses_with_few_visible_joints_are_unscored(cache, source, leeds):
    scores, _ = pose_vae_stage(cache, source, leeds, VAE, seed=0, splits=SPLITS)
    store = leeds.store
    for name in ("val", "test"):
        too_few = store.visible[store.splits[name]].sum(1) < 8
        assert 0 < too_few.sum() < len(too_few)
        np.testing.assert_array_equal(np.isnan(scores.scores[f"target/{name}"]), too_few)
    assert np.isfinite(scores.scores["source/train"]).all()


def test_target_labels_do_not_reach_the_fitted_weights(source, target):
    # The target decides which joints are shared and nothing else.
    joints = shared_joints(source.store, target.store)
    model, history = train_pose_vae(source.store, joints, VAE, seed=0)
    again, _ = train_pose_vae(source.store, np.ones(16, dtype=bool), VAE, seed=0)
    assert [epoch.epoch for epoch in history] == [1, 2, 3]
    for first, second in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("split", "which", "is_fitted"),
    [("val", slice(None), False), ("train", slice(0, 1), True), ("train", slice(-1, None), True)],
)
def test_all_training_poses_and_no_others_are_fitted(source, split, which, is_fitted):
    store = source.store
    keypoints = store.keypoints_px.copy()
    keypoints[store.splits[split][which]] = keypoints[..., ::-1][store.splits[split][which]]
    changed = dataclasses.replace(store, keypoints_px=keypoints)
    joints = np.ones(16, dtype=bool)
    model, _ = train_pose_vae(store, joints, VAE, seed=0)
    again, _ = train_pose_vae(changed, joints, VAE, seed=0)
    assert torch.equal(model.encoder[0].weight, again.encoder[0].weight) is not is_fitted


def test_a_new_vae_depends_on_its_seed_alone():
    before = torch.random.get_rng_state()
    first, second = new_pose_vae(14, VAE, 3), new_pose_vae(14, VAE, 3)
    assert torch.equal(torch.random.get_rng_state(), before)
    other = new_pose_vae(14, VAE, 4)
    assert torch.equal(first.encoder[0].weight, second.encoder[0].weight)
    assert not torch.equal(first.encoder[0].weight, other.encoder[0].weight)
    assert (first.num_joints, first.latent_dim) == (14, 3)
    assert first.encoder[0].out_features == 16


def test_labels_of_splits_that_are_not_scored_are_never_read(cache, source, target):
    store, entry = target
    hidden = store.splits["test"]
    poisoned = store.keypoints_px.copy()
    poisoned[hidden] = np.nan
    visible = store.visible.copy()
    visible[hidden] = False
    blind = dataclasses.replace(store, keypoints_px=poisoned, visible=visible)
    splits = ("source/train", "target/val")
    seen, _ = pose_vae_stage(cache, source, target, VAE, seed=3, splits=splits)

    class Fresh:
        def get(self, stage, inputs, compute):
            return DiskStageCache(cache.root / "fresh").get(stage, inputs, compute)

    unseen, _ = pose_vae_stage(
        Fresh(), source, ImageStage(blind, entry), VAE, seed=3, splits=splits
    )
    for name in splits:
        np.testing.assert_array_equal(unseen.scores[name], seen.scores[name])


def test_the_images_of_a_trial_are_made_on_the_cores_that_it_may_use(tmp_path, monkeypatch):
    requests = {}

    def write(folder, domain, request):
        requests[request.role] = request.num_threads
        write_store(folder, domain, request)

    write_store = data_stages.write_store
    monkeypatch.setattr(data_stages, "write_store", write)
    stages = TrialStages(TRIAL, DiskStageCache(tmp_path), 1, False, image_threads=10**6)
    assert stages.digests
    assert requests == dict.fromkeys(("source", "target"), len(os.sched_getaffinity(0)))
