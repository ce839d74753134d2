"""Tiny networks, batches and domains for the tests of training."""

import numpy as np
import pytest
import torch

from trainables.adapt.adapter import SourceBatch, TargetBatch
from trainables.data.domain import ImageRequest
from trainables.data.heatmaps import heatmap_targets
from trainables.data.image_store import open_image_store
from trainables.data.store_writer import write_store
from trainables.evaluation.judge import Domains, SplitDifficulty
from trainables.network.pose_net import PoseNet
from trainables.pose_vae.model import PoseVAE
from trainables.pose_vae.pose_scorer import PoseScorer
from trainables.sampling.difficulty_view import DifficultyView
from trainables.torch_threads import torch_threads

IMAGE_SIZE = 32
HEATMAP_SIZE = 16
NUM_JOINTS = 3


@pytest.fixture(autouse=True)
def one_thread():
    """Tensors this small gain nothing from threads, which wait when the machine is busy."""
    with torch_threads(1):
        yield


@pytest.fixture
def make_net():
    """A network of 3 joints from a seed; 32 px images, 16 cells."""

    def make(seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return PoseNet(NUM_JOINTS, 10, 4, IMAGE_SIZE, HEATMAP_SIZE)

    return make


def upright(size):
    """Views that are the stored images themselves."""
    return torch.eye(2, 3).repeat(size, 1, 1)


@pytest.fixture
def make_source():
    """A random labelled batch from a seed; the last joint of the first image does not count."""

    def make(seed=0, size=4):
        generator = torch.Generator().manual_seed(seed)
        images = torch.randn((size, 3, IMAGE_SIZE, IMAGE_SIZE), generator=generator)
        keypoints = torch.rand((size, NUM_JOINTS, 2), generator=generator) * (IMAGE_SIZE - 1)
        visible = torch.ones((size, NUM_JOINTS), dtype=torch.bool)
        visible[0, -1] = False
        maps, weights = heatmap_targets(keypoints, visible, IMAGE_SIZE, HEATMAP_SIZE)
        return SourceBatch(images, maps, weights, torch.arange(size), upright(size))

    return make


@pytest.fixture
def make_target():
    """A random unlabelled batch from a seed."""

    def make(seed=100, size=4):
        generator = torch.Generator().manual_seed(seed)
        shape = (size, 3, IMAGE_SIZE, IMAGE_SIZE)
        quarter_turn = torch.tensor([[0.0, -1.0, IMAGE_SIZE - 1.0], [1.0, 0.0, 0.0]])
        return TargetBatch(
            torch.randn(shape, generator=generator),
            torch.arange(size),
            quarter_turn.repeat(size, 1, 1),
            teacher_images=torch.randn(shape, generator=generator),
            teacher_view=upright(size),
        )

    return make


def in_bins(bins):
    """Difficulty of a split's poses: the bins, and scores that are higher in higher bins."""
    return SplitDifficulty(np.where(bins < 0, np.nan, bins + 0.5), bins)


class Negative:
    """A style transfer one can follow: towards the negative of the image."""

    def restyle(self, images, view, towards, rows, alpha):
        return torch.lerp(images, -images, alpha.view(-1, 1, 1, 1))


@pytest.fixture(scope="session")
def domains(tmp_path_factory):
    """120 rendered images of each domain; the target's validation poses are in three bins."""
    stores = {}
    for role, domain in (("source", "people_clean"), ("target", "people_wild")):
        folder = tmp_path_factory.mktemp(role)
        write_store(folder, domain, ImageRequest(role, 120, IMAGE_SIZE))
        stores[role] = open_image_store(folder)
    num_train = len(stores["source"].splits["train"])
    order = np.random.default_rng(0).permutation(num_train)
    bin_index = np.empty(num_train, dtype=np.int64)
    for index, members in enumerate(np.array_split(order, 4)):
        bin_index[members] = index
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = PoseVAE(16, 4, 8).requires_grad_(False)
    skeleton = stores["source"].skeleton
    return Domains(
        source=stores["source"],
        target=stores["target"],
        difficulty=DifficultyView(num_train, order, bin_index),
        scorer=PoseScorer(model, np.ones(16, dtype=bool), "bbox", skeleton, IMAGE_SIZE),
        target_val=in_bins(np.arange(len(stores["target"].splits["val"])) % 3),
        style=Negative(),
    )
