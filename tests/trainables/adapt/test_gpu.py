"""Training on a GPU: the same losses as on the CPU, and no step that waits for the device."""

import numpy as np
import pytest
import torch

from tests.trainables.conftest import Negative
from trainables.adapt.batches import BatchSettings, SourceBatches, TargetBatches
from trainables.adapt.feed import Feed
from trainables.adapt.methods import adaptation_adapter, build_net, pretraining_adapter
from trainables.adapt.restyle import Restyler
from trainables.config import Restyling, TrialConfig
from trainables.distributed.shard import WHOLE

METHODS = ["source_only", "regda", "udape"]
BATCH = 8


def train(domains, method, device, steps, sync_mode="default"):
    """Losses of a few steps; the first three may wait for the device, as they set it up."""
    config = TrialConfig.from_flat(
        {
            "adapt.method": method, "data.image_size": 32, "data.heatmap_size": 16,
            "net.width": 4, "adapt.batch_size": BATCH,
        }
    )  # fmt: skip
    rows = {name: getattr(domains, name).splits["train"] for name in ("source", "target")}
    generator = torch.Generator().manual_seed(0)
    restyler = Restyler(Negative(), rows, Restyling(0.5, 0.5, 1.0), generator)
    settings = BatchSettings(16, device, seed=0)
    net = build_net(config, 16)
    net.place(device)
    adapter = adaptation_adapter(config, pretraining_adapter(config, net, None), restyler, WHOLE)
    sources = SourceBatches(domains.source, settings)
    targets = TargetBatches(domains.target.images, rows["target"], settings)
    weights = np.ones(len(rows["source"]))
    read = (
        (source, targets.read(BATCH, with_teacher_view=True))
        for source in sources.read(weights, steps, BATCH)
    )
    losses = []
    try:
        with Feed(read, device) as feed:
            for step, (source, target) in enumerate(feed):
                if step == 3:
                    torch.cuda.set_sync_debug_mode(sync_mode)
                losses.append(adapter.step(sources.augment(source), targets.augment(target)))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return [{name: float(loss) for name, loss in step.items()} for step in losses]


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("method", METHODS)
def test_a_step_does_not_wait_for_the_device(domains, method):
    train(domains, method, torch.device("cuda"), steps=6, sync_mode="error")


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_the_first_losses_are_those_of_the_cpu(domains, method, monkeypatch):
    # TensorFloat-32 has three digits, and a map's highest cell may be another one with it.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    on_gpu, on_cpu = (
        train(domains, method, torch.device(kind), steps=2) for kind in ("cuda", "cpu")
    )
    for gpu, cpu in zip(on_gpu, on_cpu, strict=True):
        assert gpu == pytest.approx(cpu, rel=1e-2)
