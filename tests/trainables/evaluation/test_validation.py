"""Label-free validation of a run on tiny domains."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from trainables.data.augment import IMAGENET_MEAN, IMAGENET_STD, normalise
from trainables.data.domain import ImageRequest
from trainables.data.image_store import ImageStore, open_image_store
from trainables.data.skeleton import BODY16, HAND21
from trainables.data.splits import evenly_spaced
from trainables.data.store_writer import write_store
from trainables.evaluation.validation import LabelFreeValidation
from trainables.metrics.discrepancies import coral, feature_mmd
from trainables.metrics.validators import (
    batch_nuclear_norm,
    confidence,
    information_maximisation,
    map_probabilities,
)
from trainables.network.pose_net import PoseNet
from trainables.pose_vae.model import PoseVAE
from trainables.pose_vae.pose_scorer import PoseScorer
from trainables.torch_threads import torch_threads

IMAGE_SIZE, HEATMAP_SIZE = 32, 16
WITHOUT_TRUNK = np.isin(np.arange(16), [6, 7], invert=True)
NAMES = {
    f"validator/{name}"
    for name in (
        "source_pck",
        "confidence",
        "infomax",
        "bnm",
        "equivariance",
        "plausibility",
        "mmd",
        "coral",
    )  # fmt: skip
}


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """120 rendered images of each domain."""
    opened = []
    for role, domain in (("source", "people_clean"), ("target", "people_wild")):
        folder = tmp_path_factory.mktemp(role)
        write_store(folder, domain, ImageRequest(role, 120, IMAGE_SIZE))
        opened.append(open_image_store(folder))
    return opened


def make_net(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = PoseNet(16, 10, 4, IMAGE_SIZE, HEATMAP_SIZE)
        for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.running_mean.normal_(0, 0.1)  # so that evaluation mode shows
    return net


def make_scorer(joints=WITHOUT_TRUNK, norm="bbox", size=IMAGE_SIZE, skeleton=BODY16):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PoseScorer(PoseVAE(int(joints.sum()), 3, 16), joints, norm, skeleton, size)


def make_validation(stores, scorer=None):
    source, target = stores
    return LabelFreeValidation(
        source, target.images, target.splits["train"], scorer or make_scorer(), HEATMAP_SIZE
    )


def none(images):
    return None


def test_every_validator_is_the_function_of_its_name_on_the_networks_outputs(stores):
    source, target = stores
    net = make_net()
    metrics = make_validation(stores).metrics(net, none, "kl", 12.5)
    assert set(metrics) == NAMES
    assert all(math.isfinite(value) for value in metrics.values())

    net.eval()
    with torch.no_grad():
        images = normalise(torch.from_numpy(target.images[target.splits["train"]]))
        maps, target_features = net(images), net.features(images).mean((2, 3))
        images = normalise(torch.from_numpy(source.images[source.splits["val"]]))
        source_features = net.features(images).mean((2, 3))
    p = map_probabilities(maps, "kl")
    expected = {
        "source_pck": 12.5,
        "confidence": confidence(maps, "kl"),
        "infomax": information_maximisation(p),
        "bnm": batch_nuclear_norm(p),
        "mmd": feature_mmd(source_features, target_features),
        "coral": coral(source_features, target_features),
    }
    for name, value in expected.items():
        assert metrics[f"validator/{name}"] == pytest.approx(value, rel=1e-3), name


def test_the_loss_decides_how_maps_are_read(stores):
    net = make_net()
    with torch.no_grad():
        net.head[-1].bias.fill_(0.5)  # a peak of about a half everywhere
    validation = make_validation(stores)
    kl, mse = (validation.metrics(net, none, loss, 0.0) for loss in ("kl", "mse"))
    assert kl["validator/confidence"] < 0.1
    assert mse["validator/confidence"] == pytest.approx(0.5, abs=0.1)
    assert kl["validator/infomax"] != mse["validator/infomax"]
    assert kl["validator/equivariance"] == mse["validator/equivariance"]


def test_metrics_are_the_same_every_time_and_for_every_instance(stores):
    first = make_validation(stores)
    torch.manual_seed(123)  # the global generator has no say
    second = make_validation(stores)
    metrics = first.metrics(make_net(), none, "kl", 1.0)
    torch.rand(3)
    assert first.metrics(make_net(), none, "kl", 1.0) == metrics
    assert second.metrics(make_net(), none, "kl", 1.0) == metrics
    assert first.metrics(make_net(1), none, "kl", 1.0) != metrics


def test_validation_leaves_the_run_as_it_was(stores):
    net = make_net().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    generator = torch.random.get_rng_state()
    make_validation(stores).metrics(net, none, "kl", 0.0)
    assert torch.equal(torch.random.get_rng_state(), generator)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in net.parameters())


def test_target_labels_and_source_training_labels_are_not_read(stores):
    source, target = stores
    poisoned = source.keypoints_px.copy()
    poisoned[source.splits["train"]] = np.nan
    blind = dataclasses.replace(source, keypoints_px=poisoned)
    # Of the target there is nothing to read but images: the arguments are images and rows.
    seen = make_validation((source, target)).metrics(make_net(), none, "kl", 0.0)
    unseen = make_validation((blind, target)).metrics(make_net(), none, "kl", 0.0)
    assert unseen == seen


def test_agreement_is_reported_if_there_are_auxiliary_logits(stores):
    net, other = make_net(), make_net(1).eval()
    validation = make_validation(stores)
    metrics = validation.metrics(net, net, "kl", 0.0)
    assert set(metrics) == NAMES | {"validator/agreement"}
    assert metrics["validator/agreement"] == 100
    metrics = validation.metrics(net, other, "kl", 0.0)
    assert metrics["validator/agreement"] < 50


def test_the_auxiliary_logits_are_of_the_images_that_are_not_warped(stores):
    target = stores[1]
    seen = []

    def listen(images):
        seen.append(images)

    make_validation(stores).metrics(make_net(), listen, "kl", 0.0)
    rows = evenly_spaced(target.splits["train"], 200)
    expected = normalise(torch.from_numpy(target.images[rows]))
    torch.testing.assert_close(torch.cat(seen), expected)


def test_maps_that_are_not_finite_are_refused(stores):
    net = make_net()
    with torch.no_grad():
        net.head[-1].bias[3] = math.nan
    with pytest.raises(ValueError, match="maps must be finite"):
        make_validation(stores).metrics(net, none, "kl", 0.0)


class BlobFinder(nn.Module):
    """Takes the red and the green blob of an image for the right and the left side.

    Names sides ``by_place``, whichever blob is further left being the right side, as of a person
    who faces the camera, or by colour. A mirror image of such a person shows the other side in
    the same place.
    """

    def __init__(self, skeleton, by_place):
        super().__init__()
        self.anything = nn.Parameter(torch.zeros(1))
        self._is_left = [name.startswith("left") for name in skeleton.joint_names]
        self._by_place = by_place

    def features(self, images):
        return images

    def head(self, images):
        columns = images[:, :2].amax(2).argmax(-1)  # (B, 2)
        is_exchanged = (columns[:, 0] > columns[:, 1]) & self._by_place
        first = torch.where(is_exchanged, 1, 0)
        rows = torch.arange(len(images))
        sides = images[rows, first], images[rows, 1 - first]
        return torch.stack([sides[is_left] for is_left in self._is_left], dim=1)

    def forward(self, images):
        return self.head(self.features(images))


def blob_store(num, skeleton):
    """Images of 64 px with a red blob to the left and a green one to the right of the centre."""
    rng = np.random.default_rng(0)
    grid = np.arange(64)
    images = np.zeros((num, 64, 64, 3), dtype=np.uint8)
    for image in images:
        for channel, x in enumerate((25, 38)):
            column, row = rng.uniform(x - 1, x + 1), rng.uniform(29, 34)
            squared = (grid - column) ** 2 + (grid[:, None] - row) ** 2
            image[..., channel] = 255 * np.exp(-squared / 18)
    return ImageStore(
        images=images,
        keypoints_px=rng.uniform(10, 50, (num, skeleton.num_joints, 2)).astype(np.float32),
        visible=np.ones((num, skeleton.num_joints), dtype=bool),
        encoded_ids=np.arange(num).astype(np.bytes_),
        splits={"val": np.arange(num), "train": np.arange(num)},
        skeleton=skeleton,
        digest="",
    )


@pytest.mark.parametrize(
    ("skeleton", "by_place", "expected"),
    [
        (BODY16, True, 100),
        (BODY16, False, 50),  # wrong in the mirrored half
        (HAND21, False, 100),  # hands are not mirrored
    ],
)
def test_equivariance_asks_for_the_same_pose_in_warped_and_mirrored_images(
    skeleton, by_place, expected
):
    store = blob_store(40, skeleton)
    scorer = make_scorer(np.ones(skeleton.num_joints, dtype=bool), "bbox", 64, skeleton)
    validation = LabelFreeValidation(store, store.images, store.splits["train"], scorer, 32)
    metrics = validation.metrics(BlobFinder(skeleton, by_place), none, "mse", 0.0)
    assert metrics["validator/equivariance"] == expected


class Echo(nn.Module):
    """Peaks at the given cells (N, 16, 2) of the image whose index the pixels hold."""

    def __init__(self, cells):
        super().__init__()
        self.anything = nn.Parameter(torch.zeros(1))
        self._cells = cells

    def features(self, images):
        return images

    def head(self, images):
        red = images[:, 0, 16, 16] * IMAGENET_STD[0] + IMAGENET_MEAN[0]
        index = (red * 255).round().long()
        maps = torch.zeros(len(images), 16, HEATMAP_SIZE, HEATMAP_SIZE)
        for b, i in enumerate(index.tolist()):
            maps[b, torch.arange(16), self._cells[i, :, 1], self._cells[i, :, 0]] = 1
        return maps

    def forward(self, images):
        return self.head(self.features(images))


def test_predictions_at_source_poses_are_as_plausible_as_can_be():
    # Labels lie between the cells that a perfect network can name.
    rng = np.random.default_rng(0)
    cells = rng.integers(0, HEATMAP_SIZE, (20, 16, 2))
    keypoints = 2 * cells + 0.5 + rng.uniform(-0.9, 0.9, cells.shape)
    images = np.zeros((20, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    images[:] = np.arange(20)[:, None, None, None]
    store = dataclasses.replace(
        blob_store(20, BODY16), images=images, keypoints_px=keypoints.astype(np.float32)
    )
    validation = make_validation((store, store))
    perfect = validation.metrics(Echo(torch.from_numpy(cells)), none, "mse", 0.0)
    assert perfect["validator/plausibility"] == pytest.approx(0, abs=1e-6)
    collapsed = validation.metrics(Echo(torch.full((20, 16, 2), 8)), none, "mse", 0.0)
    assert collapsed["validator/plausibility"] < -0.1


def test_without_a_scored_source_pose_there_is_no_plausibility(stores):
    joints = np.arange(16) < 7  # fewer than a pose needs to be scored
    metrics = make_validation(stores, make_scorer(joints)).metrics(make_net(), none, "kl", 0.0)
    assert set(metrics) == NAMES - {"validator/plausibility"}


@pytest.mark.parametrize(
    ("num_rows", "num", "expected"),
    [
        (10, 5, [0, 2, 4, 6, 8]),
        (7, 3, [0, 2, 4]),
        (4, 4, [0, 1, 2, 3]),
        (3, 5, [0, 1, 2]),
    ],
)
def test_rows_are_evenly_spaced_and_never_twice(num_rows, num, expected):
    rows = np.arange(num_rows) + 100
    np.testing.assert_array_equal(evenly_spaced(rows, num), 100 + np.array(expected))
