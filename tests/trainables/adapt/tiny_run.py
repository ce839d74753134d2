"""A small trial on the tiny domains, shared by the tests of a run."""

import dataclasses

import torch

from tests.repeatable_metrics import repeatable
from trainables.adapt.adaptation_run import AdaptationRun
from trainables.adapt.methods import build_net
from trainables.config import TrialConfig
from trainables.distributed.shard import WHOLE

CPU = torch.device("cpu")
METHODS = ["source_only", "regda", "udape"]
PARITY = {"parity": True, "adapt.pretrain_epochs": 2, "adapt.epochs": 2, "net.width": 4}
LITE = {
    "net.backbone": "efficientnet_lite0",
    "data.heatmap_size": 8,
    "net.frozen_blocks": 3,
    "net.backbone_lr_factor": 0.3,
}
RECIPES = {
    "source_only": {"adapt.method": "source_only"},
    "source_only_mse": {"adapt.method": "source_only", "adapt.loss": "mse"},
    "source_only_parity": {"adapt.method": "source_only", **PARITY},
    "regda": {"adapt.method": "regda"},
    "regda_parity": {"adapt.method": "regda", **PARITY},
    "udape": {"adapt.method": "udape"},
    "udape_plain": {"adapt.method": "udape", "adapt.udape.style_alpha": 0.0},
    "udape_warp": {"adapt.method": "udape", "adapt.loss": "mse", "adapt.udape.labels": "warp"},
    "udape_parity": {"adapt.method": "udape", **PARITY},
    "oracle": {"adapt.method": "oracle"},
}
FIELDS = {
    "data.image_size": 32,
    "data.heatmap_size": 16,
    "net.width": 4,
    "adapt.pretrain_epochs": 2,
    "adapt.epochs": 2,
    "adapt.steps_per_epoch": 3,
    "adapt.batch_size": 4,
    "adapt.lr": 0.01,
    "evaluation.bin_count": 3,
    "bins.count": 4,
}


def make_config(**fields):
    """A small trial; a field is named by its path, or with ``__`` for the dot."""
    named = {name.replace("__", "."): value for name, value in fields.items()}
    return TrialConfig.from_flat(FIELDS | named)


def make_run(config, domains, net_seed=None, shard=WHOLE):
    net_config = config if net_seed is None else dataclasses.replace(config, seed=net_seed)
    return AdaptationRun(config, domains, build_net(net_config, 16), CPU, shard)


def reports(run):
    """Metrics of the remaining epochs."""
    metrics = []
    while not run.is_done:
        metrics.append(run.run_epoch())
    return metrics


def finish(run):
    """Metrics of the remaining epochs that an equal run repeats."""
    return [repeatable(metrics) for metrics in reports(run)]


def trained(config, domains):
    """Metrics and parameters of a whole run."""
    run = make_run(config, domains)
    return finish(run), torch.cat([p.detach().flatten() for p in run.net.parameters()])
