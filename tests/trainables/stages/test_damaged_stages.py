"""Files of stages that are damaged, or made to run code when they are read."""

import dataclasses
import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch

from harness.stage_cache.cache import DiskStageCache
from trainables.config import DataConfig, TrialConfig, VAEConfig
from trainables.data.image_store import open_image_store
from trainables.stages.data_stages import image_stage, lineage, pose_vae_stage
from trainables.stages.protocol import StageEntry
from trainables.style.style_net import StyleNet, load_style_net, save_style_net, small_plan

TRIAL = TrialConfig(data=DataConfig(image_size=32, heatmap_size=16, num_source=50, num_target=50))
VAE = VAEConfig(latent_dim=2, hidden_dim=16, epochs=1)


class Code:
    """Creates a file when it is unpickled."""

    def __init__(self, trace):
        self._trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self._trace),)


@dataclasses.dataclass
class Found:
    """A cache whose every entry is one folder."""

    path: object
    key = "0" * 16
    outcome, seconds, hit = "hit", 0.0, True

    def get(self, stage, inputs, compute):
        return self


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return DiskStageCache(tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="module")
def domains(cache):
    return [image_stage(cache, TRIAL, role, 1) for role in ("source", "target")]


@pytest.fixture
def store(domains, tmp_path):
    """A copy of the source images."""
    return shutil.copytree(domains[0].entry.path, tmp_path / "store")


@pytest.fixture
def scored(cache, domains, tmp_path):
    """A copy of a Pose VAE's folder, and how to read it."""
    entry = pose_vae_stage(cache, *domains, VAE, 0, ("source/train",)).entry
    folder = shutil.copytree(entry.path, tmp_path / "scored")
    return folder, lambda: pose_vae_stage(Found(folder), *domains, VAE, 0, ("source/train",))


@pytest.mark.parametrize("name", ["images.npy", "keypoints_px.npy", "visible.npy"])
def test_an_array_of_images_that_would_run_code_does_not(store, tmp_path, name):
    np.save(store / name, np.array([Code(tmp_path / "trace")] * 50), allow_pickle=True)
    with pytest.raises(ValueError, match="store is not a readable image store"):
        open_image_store(store)
    (store / name).write_bytes(pickle.dumps(Code(tmp_path / "trace")))
    with pytest.raises(ValueError, match="store is not a readable image store"):
        open_image_store(store)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", ["joints.npy", "information.npy", "source_train.npy"])
def test_an_array_of_a_pose_vae_that_would_run_code_does_not(scored, tmp_path, name):
    folder, read = scored
    np.save(folder / name, np.array([Code(tmp_path / "trace")]), allow_pickle=True)
    with pytest.raises(ValueError, match="scored is not a readable stage of a Pose VAE"):
        read()
    assert not (tmp_path / "trace").exists()


def test_weights_that_would_run_code_do_not(scored, tmp_path):
    folder, read = scored
    torch.save({"encoder.0.weight": Code(tmp_path / "trace")}, folder / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt is not a readable file of weights"):
        read()
    torch.save({"levels": Code(tmp_path / "trace")}, tmp_path / "style_net.pt")
    with pytest.raises(ValueError, match=r"style_net\.pt is not a readable file of weights"):
        load_style_net(tmp_path / "style_net.pt")
    assert not (tmp_path / "trace").exists()


def test_the_code_of_these_tests_would_run_where_nothing_refuses_it(tmp_path):
    pickle.loads(pickle.dumps(Code(tmp_path / "trace")))
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda store: (store / "store.json").unlink(),
        lambda store: (store / "store.json").write_text("{"),
        lambda store: (store / "store.json").write_text("[]"),
        lambda store: (store / "store.json").write_text("{}"),
        lambda store: (store / "visible.npy").unlink(),
        lambda store: (store / "images.npy").write_bytes(b""),
        lambda store: os.truncate(store / "images.npy", 1000),
        lambda store: np.save(store / "visible.npy", np.zeros((49, 16), bool)),
        lambda store: np.save(store / "visible.npy", np.zeros((), bool)),
        lambda store: (store / "store.json").write_text(
            json.dumps(
                json.loads((store / "store.json").read_text()) | {"joints": {"joints": ["cat"]}}
            )
        ),
    ],
)
def test_a_damaged_image_store_is_named(store, damage):
    damage(store)
    with pytest.raises(ValueError, match="store is not a readable image store: "):
        open_image_store(store)


def test_a_damaged_pose_vae_is_named(scored):
    folder, read = scored
    os.truncate(folder / "source_train.npy", 100)
    with pytest.raises(ValueError, match="scored is not a readable stage of a Pose VAE"):
        read()
    torch.save({"some.weight": torch.zeros(2)}, folder / "model.pt")
    with pytest.raises(ValueError, match="scored is not a readable stage of a Pose VAE"):
        read()


def test_a_style_network_of_other_levels_is_named(tmp_path):
    path = tmp_path / "style_net.pt"
    save_style_net(path, StyleNet(small_plan(4)))
    state = torch.load(path, weights_only=True)
    for change in ({"levels": 3}, {"levels": ((8,), (8,))}, {"weights": {}}):
        torch.save(state | change, path)
        with pytest.raises(ValueError, match="does not hold a style network"):
            load_style_net(path)
    torch.save({"leak": 0.2}, path)
    with pytest.raises(ValueError, match="does not hold a style network"):
        load_style_net(path)


def test_damage_of_a_stored_stage_is_repaired_and_the_result_is_the_same(cache, domains):
    store, entry = domains[0]
    digest, expected = store.digest, np.array(store.images)
    content = bytearray((entry.path / "images.npy").read_bytes())
    content[-1] ^= 1
    (entry.path / "images.npy").unlink()  # the other tests' memory map keeps the old file
    (entry.path / "images.npy").write_bytes(content)
    repaired, second = image_stage(cache, TRIAL, "source", 1)
    assert (second.outcome, second.key) == ("repaired", entry.key)
    assert repaired.digest == digest
    np.testing.assert_array_equal(repaired.images, expected)
    np.testing.assert_array_equal(store.images, expected)


def test_the_lineage_has_outcome_key_and_seconds_in_lists(domains):
    entry: StageEntry = domains[0].entry
    assert lineage({"images/source": entry}) == {
        "images/source": [entry.outcome, entry.key, entry.seconds]
    }
