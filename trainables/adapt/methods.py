"""Builds networks, augmentations and adapters from a trial's settings.

Of the built-in methods, only this module reads ``parity`` and the options; what it builds takes
plain arguments.
"""

import torch

from trainables.adapt.adapter import Adapter
from trainables.adapt.optimisers import (
    Recipe,
    adam_recipe,
    default_recipe,
    regda_adaptation_recipe,
    regda_pretraining_recipe,
)
from trainables.adapt.regda import REFERENCE_RAMP_STEPS, RegDA, RegDAWeights, ramp_steps
from trainables.adapt.restyle import Restyler
from trainables.adapt.source_only import SourceOnly
from trainables.adapt.udape import UDAPE, UDAPESettings
from trainables.config import TrialConfig
from trainables.config.method_options import RegDAOptions, UDAPEOptions
from trainables.data.augment import AffineRanges, AugmentRanges
from trainables.data.skeleton import Skeleton
from trainables.distributed.shard import Shard
from trainables.network.efficientnet_lite import EfficientNetLite0
from trainables.network.pose_net import PoseNet
from trainables.registry import METHODS
from trainables.seeding import derive_seed, torch_generator


def build_net(config: TrialConfig, num_joints: int) -> PoseNet:
    """A freshly initialised network; the global generator is not changed."""
    net = config.net
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "net"))
        return PoseNet(
            num_joints,
            net.depth,
            net.width,
            config.data.image_size,
            config.data.heatmap_size,
            is_reference=config.parity,
            backbone=None if net.backbone == "resnet" else EfficientNetLite0(net.frozen_blocks),
        )


def augment_ranges(config: TrialConfig, skeleton: Skeleton) -> AugmentRanges:
    """How far a trial's images are warped and recoloured.

    The references rotate hands by any angle; RegDA blurs, UDAPE shears. The default for every
    method is RegDA's crops of bodies, so that methods differ only in their losses.
    """
    if not config.parity:
        return AugmentRanges(flip=config.adapt.flip)
    half_turn = None if skeleton.is_upright else 180.0
    if config.adapt.method == "udape":
        return AugmentRanges(rotation_deg=0.0, affine=AffineRanges(half_turn or 60.0))
    return AugmentRanges(half_turn or 30.0, blur_px=0.8 * config.data.image_size / 256)


def pretraining_adapter(
    config: TrialConfig, net: PoseNet, restyler: Restyler | None
) -> SourceOnly:
    """Supervised training; for UDAPE with source images restyled as the target."""
    restyle = restyler.source if restyler is not None else None
    return SourceOnly(net, config.adapt.loss, pretraining_recipe(config), restyle)


def adaptation_adapter(
    config: TrialConfig, pretrained: SourceOnly, restyler: Restyler | None, shard: Shard
) -> Adapter:
    """The method of the second phase, from the network and optimiser of the first.

    The functions below build the built-in methods; those of plugins take the same arguments.

    Args:
        config: Settings of the trial; ``config.options(MyOptions)`` are the method's own.
        pretrained: What pre-training leaves: the network and its optimiser.
        restyler: Style transfer; None unless the method's options ask for it.
        shard: Part of each batch that this process trains on.
    """
    adapter: Adapter = METHODS[config.adapt.method].load()(config, pretrained, restyler, shard)
    return adapter


def keep_training(
    config: TrialConfig, pretrained: SourceOnly, restyler: Restyler | None, shard: Shard
) -> SourceOnly:
    """Source only, and the oracle: pre-training continues unchanged."""
    return pretrained


def build_regda(
    config: TrialConfig, pretrained: SourceOnly, restyler: Restyler | None, shard: Shard
) -> RegDA:
    """RegDA; with ``parity`` both heads start anew, with the optimiser of the reference."""
    adapt, net = config.adapt, pretrained.net
    first_step = first_adaptation_step(config)
    if config.parity:
        recipe, first_step, ramp = regda_adaptation_recipe(), 0, REFERENCE_RAMP_STEPS
    else:
        recipe = pretraining_recipe(config)
        ramp = ramp_steps(adapt.epochs * adapt.steps_per_epoch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "regda", "adversarial_head"))
        if config.parity:
            net.renew_head()
        weights = RegDAWeights(**vars(config.options(RegDAOptions)), ramp_steps=ramp)
        return RegDA(net, weights, recipe, first_step)


def build_udape(
    config: TrialConfig, pretrained: SourceOnly, restyler: Restyler | None, shard: Shard
) -> UDAPE:
    """UDAPE; with ``parity`` both phases share one Adam, as in the reference."""
    options = config.options(UDAPEOptions)
    settings = UDAPESettings(
        loss=config.adapt.loss,
        image_size=config.data.image_size,
        per_joint=options.mask == "joint",
        labels=options.labels,
        ema_decay=options.ema_decay,
        consistency=options.consistency,
        keep=options.keep,
        occlusion=options.occlusion,
        occlusion_confidence=options.occlusion_confidence,
    )
    udape = UDAPE(
        pretrained.net,
        settings,
        pretraining_recipe(config),
        restyler,
        torch_generator(config.seed, "udape", "occlusion"),
        first_adaptation_step(config),
        shard,
    )
    if config.parity:
        udape.optimizer.load_state_dict(pretrained.optimizer.state_dict())
    return udape


def first_adaptation_step(config: TrialConfig) -> int:
    """Index of the first step of adaptation in the schedule of both phases."""
    return config.adapt.pretrain_epochs * config.adapt.steps_per_epoch


def pretraining_recipe(config: TrialConfig) -> Recipe:
    """Recipe of both phases or, for RegDA with ``parity``, of the first phase only."""
    adapt = config.adapt
    total_epochs = adapt.pretrain_epochs + adapt.epochs
    if not config.parity:
        total_steps = total_epochs * adapt.steps_per_epoch
        return default_recipe(adapt.lr, total_steps, config.net.backbone_lr_factor)
    if adapt.method == "regda":
        return regda_pretraining_recipe(adapt.steps_per_epoch, adapt.pretrain_epochs)
    if adapt.method == "udape":
        return adam_recipe(1e-4, adapt.steps_per_epoch, total_epochs)
    if adapt.loss == "kl":
        return regda_pretraining_recipe(adapt.steps_per_epoch, total_epochs)
    return adam_recipe(1e-3, adapt.steps_per_epoch, total_epochs)
