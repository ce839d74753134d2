"""Nothing that feeds a step copies to the device in a way that waits for it.

Shown without a GPU on PyTorch's ``meta`` device: a copy there is dispatched like any other.
"""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from trainables.adapt.batches import BatchSettings, SourceBatches, TargetBatches
from trainables.adapt.methods import augment_ranges
from trainables.adapt.occlusion import occlude_confident_joints
from trainables.adapt.pseudo_labels import PseudoLabels
from trainables.adapt.restyle import Restyler
from trainables.config import Restyling, TrialConfig

META = torch.device("meta")


class NoWaiting(TorchDispatchMode):
    """Raises on a copy to the device that blocks, and on a value that is read back."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.__name__
        if name.startswith("_to_copy") and kwargs.get("device") == META:
            assert args[0].device == META or kwargs.get("non_blocking"), f"{name} waits"
        if name.startswith("_local_scalar_dense"):
            assert args[0].device != META, "a value is read from the device"
        return func(*args, **kwargs)


class Untouched:
    def restyle(self, images, view, towards, rows, alpha):
        assert rows.device == alpha.device == META
        return images


@pytest.mark.parametrize("recipe", ["default", "regda", "udape"])
def test_batches_style_and_occlusion_do_not_wait(domains, recipe):
    config = TrialConfig.from_flat(
        {"parity": True, "adapt.method": recipe} if recipe != "default" else {}
    )
    settings = BatchSettings(
        16, META, 0, augment_ranges(config, domains.source.skeleton), is_quantised=config.parity
    )
    rows = {name: getattr(domains, name).splits["train"] for name in ("source", "target")}
    weights = np.ones(len(domains.source.splits["train"]))
    source = SourceBatches(domains.source, settings)
    labelled_images = source.read(weights, 2, 4)
    target = TargetBatches(domains.target.images, rows["target"], settings)
    generator = torch.Generator().manual_seed(0)
    restyler = Restyler(Untouched(), rows, Restyling(1.0, 1.0, 1.0), generator)
    # Constants are kept on the device after their first use, which may wait.
    source.augment(next(labelled_images))
    with NoWaiting():
        labelled = source.augment(next(labelled_images))
        unlabelled = target.augment(target.read(4, with_teacher_view=True))
        restyler.source(labelled)
        restyler.teacher(unlabelled)
        flat, maps = torch.empty((4, 16), device=META), torch.empty((4, 16, 16, 16), device=META)
        labels = PseudoLabels(torch.empty((4, 16, 2), device=META), maps, flat, flat)
        occlude_confident_joints(unlabelled.images, labels, 0.5, 0.9, generator)


def test_a_copy_that_waits_is_noticed():
    with NoWaiting(), pytest.raises(AssertionError, match="waits"):
        torch.ones(2).to(META)
