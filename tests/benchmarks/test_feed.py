"""Steps fed by a thread against steps that make their own batches, in turns, on one CPU thread.

Prints one line of JSON at the size of ``search_spaces/bins.yaml`` and one each for a store of the
size of the published data sets whose pages are in memory and whose pages are on the disk. Asserts
that what is compared is equal, and no time.
"""

import json
import os
import statistics
import time

import numpy as np
import pytest
import torch

from tests.benchmarks.test_image_store import Repeated, write
from trainables.adapt.batches import BatchSettings, SourceBatches, TargetBatches
from trainables.adapt.feed import Feed
from trainables.adapt.methods import adaptation_adapter, build_net, pretraining_adapter
from trainables.config import TrialConfig
from trainables.data.domain import ImageRequest
from trainables.data.image_store import open_image_store
from trainables.data.render.rendered import render_domain
from trainables.data.store_writer import write_store
from trainables.distributed.shard import WHOLE

CPU = torch.device("cpu")
TURNS = 11
DEFAULT = {"adapt.method": "regda", "data.heatmap_size": 16}
LARGE = {
    "adapt.method": "source_only", "data.image_size": 256, "data.heatmap_size": 64, "net.width": 4,
}  # fmt: skip
NUM_IMAGES = 20_000


class Steps:
    """Training steps on two stores, with or without a feed, from the same random streams."""

    def __init__(self, config, folders, is_fed):
        self.config, self.folders, self.is_fed = config, folders, is_fed
        self.settings = BatchSettings(config.data.heatmap_size, CPU, seed=0)
        net = build_net(config, 16)
        net.place(CPU)
        pretraining = pretraining_adapter(config, net, None)
        self.adapter = adaptation_adapter(config, pretraining, None, WHOLE)
        self.streams = {}
        self.losses = []

    def read(self, sources, targets, num):
        size = self.config.adapt.batch_size
        for source in sources.read(np.ones(len(sources._rows)), num, size):
            yield source, targets.read(size) if self.adapter.needs_target else None

    def run(self, num):
        """Seconds of wall clock and of CPU for a step, and the share of waiting with a feed.

        The stores are opened anew, as nothing drops pages from memory while a process maps them.
        """
        source, target = map(open_image_store, self.folders)
        sources = SourceBatches(source, self.settings)
        targets = TargetBatches(target.images, target.splits["train"], self.settings)
        if self.streams:
            sources.load_state_dict(self.streams["source"])
            targets.load_state_dict(self.streams["target"])
        start, cpu = time.perf_counter(), time.process_time()
        share = None
        read = self.read(sources, targets, num)
        if self.is_fed:
            with Feed(read, CPU) as feed:
                self.train(feed, sources, targets)
                share = feed.wait_share
        else:
            self.train(read, sources, targets)
        took = (time.perf_counter() - start) / num, (time.process_time() - cpu) / num, share
        self.streams = {"source": sources.state_dict(), "target": targets.state_dict()}
        return took

    def train(self, read, sources, targets):
        for source, target in read:
            labelled = sources.augment(source)
            losses = self.adapter.step(labelled, target and targets.augment(target))
            self.losses.append(losses["source_kl"].item())


def drop_pages(folder):
    """Make the kernel forget what it keeps of a store in memory."""
    with (folder / "images.npy").open() as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def compare(name, fields, folders, num_steps, before=lambda: None, **other):
    config = TrialConfig.from_flat(fields)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ways = {way: Steps(config, folders, way == "feed") for way in ("loop", "feed")}
        found = {way: [] for way in ways}
        for turn in range(1 + TURNS):
            for way in sorted(ways, reverse=turn % 2 == 0):
                before()
                took = ways[way].run(num_steps)
                if turn:  # the first is to warm up
                    found[way].append(took)
    finally:
        torch.set_num_threads(threads)
    assert ways["loop"].losses == ways["feed"].losses
    columns = {way: list(zip(*rows, strict=True)) for way, rows in found.items()}
    ratios = [fed[0] / alone[0] for fed, alone in zip(found["feed"], found["loop"], strict=True)]
    cpu_ratios = [
        fed[1] / alone[1] for fed, alone in zip(found["feed"], found["loop"], strict=True)
    ]
    print(json.dumps({
        "bench": "feed", "case": name, "steps": num_steps, "turns": TURNS,
        **{
            f"{way}_{what}_ms": round(1000 * statistics.median(columns[way][index]), 2)
            for way in ways for index, what in enumerate(("step", "cpu"))
        },
        "feed_to_loop": round(statistics.median(ratios), 3),
        "quartiles": [round(q, 3) for q in statistics.quantiles(ratios, n=4)[::2]],
        "cpu_feed_to_loop": round(statistics.median(cpu_ratios), 3),
        "wait_share": round(statistics.median(columns["feed"][2]), 4),
        "torch": torch.__version__, **other,
    }))  # fmt: skip


@pytest.mark.benchmark
@pytest.mark.timeout(0)
def test_at_the_default_size(tmp_path, capsys):
    folders = []
    for role, domain in (("source", "people_clean"), ("target", "people_wild")):
        folders.append(tmp_path / role)
        folders[-1].mkdir()
        write_store(folders[-1], domain, ImageRequest(role, 300, 64))
    with capsys.disabled():
        compare("default size", DEFAULT, folders, 10, image_size=64)


@pytest.mark.benchmark
@pytest.mark.timeout(0)
def test_at_the_size_of_the_published_data_sets(tmp_path, capsys, monkeypatch):
    people = next(render_domain("people_wild", 100, 256, 0))
    domain = Repeated(people.images, people.keypoints_px, 256)
    folder = write(tmp_path / "store", domain, NUM_IMAGES, 256, monkeypatch)
    for name, before in (
        ("pages in memory", lambda: None),  # they have just been written
        ("pages on the disk", lambda: drop_pages(folder)),
    ):
        with capsys.disabled():
            compare(
                name, LARGE, (folder, folder), 10, before, images=NUM_IMAGES, image_size=256
            )  # fmt: skip
