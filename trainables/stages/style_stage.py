"""The stage that trains the style network of two domains, once for all of their trials."""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from trainables.config import StyleConfig
from trainables.seeding import torch_generator
from trainables.stages.data_stages import ImageStage
from trainables.stages.digests import file_digest
from trainables.stages.protocol import StageCache, StageEntry
from trainables.style.style_fit import UnlabelledImages, train_style_net
from trainables.style.style_net import StyleNet, load_style_net, save_style_net
from trainables.torch_threads import torch_threads

STYLE_VERSION = 1
"""Part of the stage key: raised when changed code of the stage changes its results."""
_FILE = "style_net.pt"


class StyleStage(NamedTuple):
    """A style network on the CPU, frozen, and its cache entry."""

    net: StyleNet
    entry: StageEntry


def style_stage(
    cache: StageCache,
    source: ImageStage,
    target: ImageStage,
    style: StyleConfig,
    num_threads: int,
    device: torch.device | str = "cpu",
) -> StyleStage:
    """Get the style network of two domains from the cache, or train it.

    Like the domains it is the same for every seed of a study. The key contains a digest of the
    encoder file's content: a moved file is the same encoder, an overwritten one is not.

    Args:
        cache: The stage cache.
        source: Source images; the training split is read, without labels.
        target: Target images, likewise.
        style: Settings.
        num_threads: Threads of the training on the CPU; not part of the key.
        device: Where to train; not part of the key.

    Raises:
        ValueError: If the file of the encoder cannot be read or is not VGG-19, or the images are
            too small.
        FloatingPointError: If a loss is not finite.
    """
    domains = (
        UnlabelledImages.training_split(source.store),
        UnlabelledImages.training_split(target.store),
    )

    def compute(folder: Path) -> None:
        with torch_threads(num_threads):
            net = train_style_net(
                domains, style, torch_generator(0, "style"), torch.device(device)
            )
        save_style_net(folder / _FILE, net)

    inputs = style_stage_inputs(source.entry.key, target.entry.key, style)
    entry = cache.get("style", inputs, compute)
    return StyleStage(load_style_net(entry.path / _FILE), entry)


def style_stage_inputs(source_key: str, target_key: str, style: StyleConfig) -> dict[str, Any]:
    """What the stage of :func:`style_stage` depends on.

    Args:
        source_key: Stage key of the source images.
        target_key: Stage key of the target images.
        style: Settings.

    Raises:
        ValueError: If the file of the encoder cannot be read.
    """
    return {
        "version": STYLE_VERSION,
        "source": source_key,
        "target": target_key,
        **{name: getattr(style, name) for name in StyleConfig.__dataclass_fields__},
        "encoder": None if style.encoder is None else _encoder_digest(Path(style.encoder)),
    }


def _encoder_digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise ValueError(f"{path} is not a readable file of weights: {error}") from error
