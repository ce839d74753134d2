"""Builds networks, augmentations and adapters from a trial's settings.

Only this module reads ``adapt.method`` and ``parity``; what it builds takes plain arguments.
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
from trainables.data.augment import AffineRanges, AugmentRanges
from trainables.data.skeleton import HAND21, Skeleton
from trainables.distributed.shard import Shard
from trainables.network.pose_net import PoseNet
from trainables.seeding import derive_seed, torch_generator


def build_net(config: TrialConfig, num_joints: int) -> PoseNet:
    """A freshly initialised network; the global generator is not changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "net"))
        return PoseNet(
            num_joints,
            config.net.depth,
            config.net.width,
            config.data.image_size,
            config.data.heatmap_size,
            is_reference=config.parity,
        )


def augment_ranges(config: TrialConfig, skeleton: Skeleton) -> AugmentRanges:
    """How far a trial's images are warped and recoloured.

    The references rotate hands by any angle; RegDA blurs, UDAPE shears. The default for every
    method is RegDA's crops of bodies, so that methods differ only in their losses.
    """
    if not config.parity:
        return AugmentRanges()
    half_turn = 180.0 if skeleton is HAND21 else None
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
    """The method of the second phase, from the network and optimiser of the first."""
    adapt, seed = config.adapt, config.seed
    first_step = adapt.pretrain_epochs * adapt.steps_per_epoch
    net = pretrained.net
    if adapt.method == "regda":
        if config.parity:
            recipe, first_step, ramp = regda_adaptation_recipe(), 0, REFERENCE_RAMP_STEPS
        else:
            recipe = pretraining_recipe(config)
            ramp = ramp_steps(adapt.epochs * adapt.steps_per_epoch)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "regda", "adversarial_head"))
            if config.parity:
                net.renew_head()
            return RegDA(
                net, RegDAWeights(**vars(adapt.regda), ramp_steps=ramp), recipe, first_step
            )
    if adapt.method == "udape":
        fields = dict(vars(adapt.udape))
        settings = UDAPESettings(
            loss=adapt.loss,
            image_size=config.data.image_size,
            per_joint=fields["mask"] == "joint",
            **{
                name: fields[name]
                for name in (
                    "labels", "ema_decay", "consistency", "keep", "occlusion",
                    "occlusion_confidence",
                )
            },
        )  # fmt: skip
        udape = UDAPE(
            net,
            settings,
            pretraining_recipe(config),
            restyler,
            torch_generator(seed, "udape", "occlusion"),
            first_step,
            shard,
        )
        if config.parity:  # the reference trains both phases with one Adam
            udape.optimizer.load_state_dict(pretrained.optimizer.state_dict())
        return udape
    return pretrained  # source_only and oracle continue unchanged


def pretraining_recipe(config: TrialConfig) -> Recipe:
    """Recipe of both phases or, for RegDA with ``parity``, of the first phase only."""
    adapt = config.adapt
    total_epochs = adapt.pretrain_epochs + adapt.epochs
    if not config.parity:
        return default_recipe(adapt.lr, total_epochs * adapt.steps_per_epoch)
    if adapt.method == "regda":
        return regda_pretraining_recipe(adapt.steps_per_epoch, adapt.pretrain_epochs)
    if adapt.method == "udape":
        return adam_recipe(1e-4, adapt.steps_per_epoch, total_epochs)
    if adapt.loss == "kl":
        return regda_pretraining_recipe(adapt.steps_per_epoch, total_epochs)
    return adam_recipe(1e-3, adapt.steps_per_epoch, total_epochs)
