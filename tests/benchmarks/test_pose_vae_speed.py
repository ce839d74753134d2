"""Speed of ``fit_pose_vae`` against the loop one would write first, with a DataLoader.

The obvious data set normalises a pose when it is asked for one, as data sets of images do; ours
normalises all poses at once and keeps them as one tensor.

Both train the same model for the same number of optimiser steps on the same poses in the same
run, in turns, on one thread as in a trial. Prints one line of JSON per model width; asserts
that both have learnt the same and no time. The wider the model, the larger the share of both
that is matrix products, which neither can avoid.
"""

import json
import math
import time

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from tests.reference.synthetic_poses import body_poses
from trainables.data.skeleton import BODY16
from trainables.pose_vae.fit import BATCH_SIZE, JOINT_DROP, LEARNING_RATE, fit_pose_vae
from trainables.pose_vae.model import PoseVAE, pack
from trainables.pose_vae.normalise import normalise_poses

NUM_POSES = 3600
EPOCHS = 4
REPEATS = 9
KL_WEIGHT = 1e-4
IMAGE_SIZE = 64


class PoseDataset(Dataset):
    """Single poses in pixels, normalised by their box, with their masks."""

    def __init__(self, keypoints_px, visible):
        self.keypoints_px, self.visible = keypoints_px, visible

    def __len__(self):
        return len(self.keypoints_px)

    def __getitem__(self, index):
        keypoints, visible = self.keypoints_px[index], self.visible[index]
        low = keypoints[visible].min(0).values
        high = keypoints[visible].max(0).values
        pose = (keypoints - (low + high) / 2) / (high - low).max()
        return pose * visible.unsqueeze(-1), visible.float()


def loader_fit(model, keypoints_px, visible, generator):
    """Equation (1) with stock parts; returns the mean loss of each epoch."""
    loader = DataLoader(
        PoseDataset(keypoints_px, visible),
        BATCH_SIZE,
        shuffle=True,
        num_workers=0,
        generator=generator,
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(loader))
    means = []
    for _ in range(EPOCHS):
        total = 0.0
        for batch, seen in loader:
            keep = (torch.rand(seen.shape, generator=generator) >= JOINT_DROP).float()
            noise = torch.randn((len(batch), model.latent_dim), generator=generator)
            decoded, mu, logvar = model(pack(batch, seen * keep), noise)
            error = ((batch - decoded) ** 2).sum(-1) * seen
            reconstruction = (error.sum(1) * seen.shape[1] / seen.sum(1)).mean()
            kl = (0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)).mean()
            loss = reconstruction + KL_WEIGHT * kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        means.append(total / len(keypoints_px))
    return means


def ours_fit(model, keypoints_px, visible, generator):
    poses = normalise_poses(keypoints_px, visible, "bbox", IMAGE_SIZE, BODY16.torso)
    mask = visible.float()
    epochs = fit_pose_vae(model, poses, mask, KL_WEIGHT, EPOCHS, generator)
    return [epoch.loss for epoch in epochs]


def timed(fit, hidden_dim, keypoints_px, visible):
    """Train a new model of eight latent units; returns seconds and the last epoch's loss."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = PoseVAE(keypoints_px.shape[1], 8, hidden_dim)
    generator = torch.Generator().manual_seed(0)
    start = time.perf_counter()
    losses = fit(model, keypoints_px, visible, generator)
    return time.perf_counter() - start, losses[-1]


@pytest.fixture
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.benchmark
@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("hidden_dim", [64, 256])
def test_fitting_against_a_data_loader(hidden_dim):
    poses, mask = body_poses(NUM_POSES)
    keypoints_px, visible = (poses + 0.5) * IMAGE_SIZE, mask > 0
    # Warm-up and comparison: the same training but for the order of the random draws.
    _, ours_loss = timed(ours_fit, hidden_dim, keypoints_px, visible)
    _, loader_loss = timed(loader_fit, hidden_dim, keypoints_px, visible)
    assert math.isclose(ours_loss, loader_loss, rel_tol=0.2)

    times = np.array(
        [
            [timed(fit, hidden_dim, keypoints_px, visible)[0] for fit in (ours_fit, loader_fit)]
            for _ in range(REPEATS)
        ]
    )
    ratios = times[:, 1] / times[:, 0]
    rates = NUM_POSES * EPOCHS / np.median(times, axis=0)
    print(
        json.dumps(
            {
                "benchmark": "pose_vae_fit",
                "ratio_median": round(float(np.median(ratios)), 2),
                "ratio_iqr": [round(float(q), 2) for q in np.percentile(ratios, [25, 75])],
                "ours_poses_per_s": round(float(rates[0])),
                "dataloader_poses_per_s": round(float(rates[1])),
                "hidden_dim": hidden_dim,
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
            }
        )
    )
