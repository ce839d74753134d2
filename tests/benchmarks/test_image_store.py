"""Image stores at the size of the published data sets: batches, memory, a million samples.

Prints one line of JSON for each; asserts that what is compared is equal, and no time.
"""

import json
import resource
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import numpy as np
import psutil
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from tests.reference.synthetic_poses import body_poses
from trainables.config import VAEConfig
from trainables.data.domain import Domain, ImageRequest, LabelledImages
from trainables.data.image_store import open_image_store
from trainables.data.render.rendered import render_domain
from trainables.data.skeleton import BODY16
from trainables.data.store_writer import write_store
from trainables.pose_vae.pose_scorer import PoseScorer
from trainables.registry import DOMAINS
from trainables.sampling.bins import assign_bins, difficulty_order
from trainables.stages.data_stages import new_pose_vae

NUM_IMAGES, SIZE, BATCH = 20_000, 256, 64
NUM_BATCHES = 60
MILLION = 1_000_000


class Repeated(Domain):
    """Given images and poses again and again, to any number of samples."""

    def __init__(self, images, keypoints_px, chunk):
        self.images_, self.keypoints_px, self.chunk = images, keypoints_px, chunk

    def images(self, request):
        for first in range(0, request.num, self.chunk):
            rows = np.arange(first, min(first + self.chunk, request.num))
            picked = rows % len(self.images_)
            yield LabelledImages(
                tuple(f"repeated/{row:07d}" for row in rows),
                self.images_[picked],
                self.keypoints_px[rows % len(self.keypoints_px)],
                np.ones((len(rows), 16), np.bool_),
            )


class Files(Dataset):
    """JPEG files, decoded when they are asked for."""

    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, row):
        return torch.from_numpy(cv2.imread(str(self.paths[row]))[..., ::-1].copy())


def write(folder, domain, num, size, monkeypatch):
    entry = replace(DOMAINS["people_clean"], code="tests.absent:NAME")
    monkeypatch.setitem(DOMAINS, "people_clean", entry)
    monkeypatch.setattr(type(entry), "load", lambda self: domain)
    folder.mkdir()
    write_store(folder, "people_clean", ImageRequest("source", num, size))
    return folder


READER = """
import sys
from pathlib import Path
from trainables.data.image_store import open_image_store
images = open_image_store(Path(sys.argv[1])).images
for first in range(0, len(images), 1000):  # every page once
    images[first : first + 1000].max()
print("read", flush=True)
sys.stdin.readline()
"""


def resident(folder, num_readers):
    """Proportional memory of some processes that have read the whole store, in bytes."""
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(num_readers)
    ]  # fmt: skip
    assert [reader.stdout.readline() for reader in readers] == ["read\n"] * num_readers
    used = sum(psutil.Process(reader.pid).memory_full_info().pss for reader in readers)
    for reader in readers:
        reader.communicate("end\n")
    return used


@pytest.mark.benchmark
@pytest.mark.timeout(0)
def test_random_batches_against_decoding_jpegs(tmp_path, capsys, monkeypatch):
    people = next(render_domain("people_wild", 200, SIZE, 0))
    paths = []
    (tmp_path / "jpeg").mkdir()
    encoded = [cv2.imencode(".jpg", image[..., ::-1])[1].tobytes() for image in people.images]
    for row in range(NUM_IMAGES):
        paths.append(tmp_path / "jpeg" / f"{row:05d}.jpg")
        paths[-1].write_bytes(encoded[row % len(encoded)])
    domain = Repeated(people.images, people.keypoints_px, 256)
    folder = write(tmp_path / "store", domain, NUM_IMAGES, SIZE, monkeypatch)
    # Before this process maps the store, too, and takes a share of its pages.
    one, four = resident(folder, 1), resident(folder, 4)
    store = open_image_store(folder)
    rows = np.random.default_rng(0).integers(0, NUM_IMAGES, (NUM_BATCHES, BATCH))

    def by_store():
        return [torch.from_numpy(store.images[batch]) for batch in rows]

    def by_loader():
        loader = DataLoader(
            Files(paths), batch_sampler=[batch.tolist() for batch in rows], num_workers=2
        )
        return list(loader)

    by_store()  # the pages of a store that has just been written are in memory, as are the files'
    seconds = {}
    for name, make in (("store", by_store), ("loader", by_loader)):
        before = time.perf_counter()
        batches = make()
        seconds[name] = time.perf_counter() - before
        assert len(batches) == NUM_BATCHES
        assert batches[0].shape == (BATCH, SIZE, SIZE, 3)
    with capsys.disabled():
        print(json.dumps({
            "bench": "random batches", "images": NUM_IMAGES, "size": SIZE,
            "times_faster_than_two_workers": round(seconds["loader"] / seconds["store"], 1),
            "images_per_s": round(rows.size / seconds["store"]),
            "memory_of_four_readers": round(four / one, 3),
        }))  # fmt: skip


@pytest.mark.benchmark
@pytest.mark.timeout(0)
def test_a_million_samples(tmp_path, capsys, monkeypatch):
    keypoints = body_poses(20_000)[0]
    keypoints = np.asarray(keypoints, np.float32)
    images = np.random.default_rng(0).integers(0, 255, (500, 32, 32, 3), dtype=np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    folder = write(tmp_path / "store", Repeated(images, keypoints, 2000), MILLION, 32, monkeypatch)
    written_s = time.perf_counter() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    started = time.perf_counter()
    store = open_image_store(folder)
    opened_s = time.perf_counter() - started
    assert len(store.images) == MILLION
    assert sum(map(len, store.splits.values())) == MILLION

    torch.set_num_threads(2)
    joints = np.ones(16, np.bool_)
    scorer = PoseScorer(new_pose_vae(16, VAEConfig(), 0).eval(), joints, "bbox", BODY16, 32)
    started = time.perf_counter()
    scores = scorer.calibrated(
        torch.from_numpy(np.array(store.keypoints_px)), torch.from_numpy(np.array(store.visible))
    )
    scored_s = time.perf_counter() - started
    values, ids = scores.double().numpy(), store.ids
    order, bins = difficulty_order(values, ids), assign_bins(values, ids, 25)
    both_s = time.perf_counter() - started
    assert len(order) == MILLION
    assert np.bincount(bins).tolist() == [MILLION // 25] * 25
    with capsys.disabled():
        print(json.dumps({
            "bench": "a million samples", "written_s": round(written_s, 1),
            "writer_grew_by_gib": round(grown, 2), "opened_s": round(opened_s, 3),
            "scored_s": round(scored_s, 1), "scored_and_binned_s": round(both_s, 1),
        }))  # fmt: skip
