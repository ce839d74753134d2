"""Where a training step's time goes: making the batches, style transfer, the method itself.

Without a feed: batches are made and used in turns, so that both times are known. One line of JSON
for each method on one thread of the CPU at the default size, and for options
that claim to be faster. On a GPU the same at 256 pixels with a ResNet-50 in bfloat16, with images
per second. Asserts no time.
"""

import datetime
import json
import statistics
import time

import numpy as np
import pytest
import torch

from trainables.adapt.batches import BatchSettings, SourceBatches, TargetBatches
from trainables.adapt.methods import adaptation_adapter, build_net, pretraining_adapter
from trainables.config import TrialConfig
from trainables.data.domain import ImageRequest
from trainables.data.image_store import open_image_store
from trainables.data.store_writer import write_store
from trainables.distributed.shard import WHOLE

WARMUP, STEPS = 5, 20
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Source and target at the default size, small enough to be drawn in seconds."""
    opened = {}
    for role, domain in (("source", "people_clean"), ("target", "people_wild")):
        folder = tmp_path_factory.mktemp(role)
        write_store(folder, domain, ImageRequest(role, 300, 64))
        opened[role] = open_image_store(folder)
    return opened


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def shares(config, source, target, device):
    """Median seconds of making the batches of a step and of the step, in turns."""
    settings = BatchSettings(config.data.heatmap_size, device, seed=0)
    net = build_net(config, 16)
    net.place(device)
    use_bfloat16 = config.adapt.precision == "bfloat16"
    net.accelerate(use_bfloat16, config.net.compile)
    adapter = pretraining_adapter(config, net, None)
    adapter = adaptation_adapter(config, adapter, None, WHOLE)
    batch_size = config.adapt.batch_size
    weights = np.ones(len(source.splits["train"]))
    sources = SourceBatches(source, settings)
    images = sources.read(weights, WARMUP + STEPS, batch_size)
    targets = TargetBatches(target.images, target.splits["train"], settings)
    times = []
    for _ in range(WARMUP + STEPS):
        start = time.perf_counter()
        source_batch = sources.augment(next(images))
        target_batch = None
        if adapter.needs_target:
            read = targets.read(batch_size, adapter.needs_teacher_view)
            target_batch = targets.augment(read)
        wait(device)
        made = time.perf_counter()
        adapter.step(source_batch, target_batch)
        wait(device)
        times.append((made - start, time.perf_counter() - made))
    data, step = (statistics.median(column) for column in zip(*times[WARMUP:], strict=True))
    return data, step


def report(name, config, data, step, **other):
    print(
        json.dumps(
            {
                "benchmark": name,
                "method": config.adapt.method,
                "data_ms": round(1000 * data, 2),
                "step_ms": round(1000 * step, 2),
                "data_share": round(data / (data + step), 3),
                "images_per_s": round(config.adapt.batch_size / (data + step), 1),
                "torch": torch.__version__,
                **other,
            }
        )
    )


def on_one_thread(measure):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return measure()
    finally:
        torch.set_num_threads(before)


@pytest.mark.benchmark
@pytest.mark.parametrize("method", ["source_only", "regda", "udape"])
def test_the_share_of_data_and_augmentation_on_the_cpu(stores, method):
    config = TrialConfig.from_flat({"adapt.method": method})
    data, step = on_one_thread(lambda: shares(config, stores["source"], stores["target"], CPU))
    report("data_share", config, data, step, device="cpu", image_size=64, threads=1)


@pytest.mark.benchmark
@pytest.mark.filterwarnings("ignore::")  # PyTorch's own, while compiling
@pytest.mark.parametrize("option", ["plain", "compile", "bfloat16"])
def test_options_that_claim_to_be_faster_on_the_cpu(stores, option):
    fields = {"plain": {}, "compile": {"net.compile": True}}
    fields["bfloat16"] = {"adapt.precision": "bfloat16"}
    config = TrialConfig.from_flat({"adapt.method": "regda", **fields[option]})

    def measure():
        start = time.perf_counter()
        return *shares(config, stores["source"], stores["target"], CPU), start

    data, step, start = on_one_thread(measure)
    total = time.perf_counter() - start
    report(
        "options", config, data, step, device="cpu", option=option, threads=1,
        all_steps_with_start_s=round(total, 1),
    )  # fmt: skip


@pytest.mark.gpu
@pytest.mark.benchmark
@pytest.mark.parametrize("method", ["regda", "udape"])
def test_the_share_of_data_and_augmentation_on_a_gpu(tmp_path, method):
    device = torch.device("cuda")
    opened = {}
    for role, domain in (("source", "people_clean"), ("target", "people_wild")):
        (tmp_path / role).mkdir()
        write_store(tmp_path / role, domain, ImageRequest(role, 200, 256))
        opened[role] = open_image_store(tmp_path / role)
    config = TrialConfig.from_flat(
        {
            "adapt.method": method, "data.image_size": 256, "data.heatmap_size": 64,
            "net.depth": 50, "net.width": 64, "adapt.precision": "bfloat16",
        }
    )  # fmt: skip
    data, step = shares(config, opened["source"], opened["target"], device)
    report(
        "data_share", config, data, step, device=torch.cuda.get_device_name(device),
        image_size=256, date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        peak_memory_gib=round(torch.cuda.max_memory_allocated(device) / 2**30, 2),
    )  # fmt: skip
