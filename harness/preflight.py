"""What a study needs of the machine it starts on: data sets, files of weights, cores, GPUs.

Looked at before Ray starts and before the study gets its name, so that a mistake costs a second
and leaves nothing behind.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.spec import SpecError, StudySpec


def check_machine(spec: StudySpec) -> None:
    """All checks below.

    Raises:
        SpecError: If something is missing, damaged or too much; one sentence with its place.
    """
    check_data(spec.fixed)
    check_weights(spec)
    check_resources(spec)


def check_data(values: Mapping[str, Any]) -> None:
    """Look at the folders of the data sets before anything starts.

    Args:
        values: Flat fields of a trial; those left out have their default.

    Raises:
        SpecError: If a folder or a file is missing or damaged.
    """
    from trainables.config import FOLDER_DOMAINS, TrialConfig

    fields = {**TrialConfig().to_flat(), **values}
    for role in ("source", "target"):
        domain, root = fields[f"data.{role}"], fields[f"data.{role}_root"]
        if domain not in FOLDER_DOMAINS or root is None:
            continue
        from trainables.data.leeds import read_leeds

        try:
            read_leeds(domain, Path(root).expanduser().resolve(), fields[f"data.num_{role}"])
        except (OSError, ValueError, RuntimeError) as error:
            raise SpecError(f"fixed.data.{role}_root: {error}") from error


def check_weights(spec: StudySpec) -> None:
    """Read the files of weights that the study names, before anything starts.

    Raises:
        SpecError: If one is missing, damaged or of another network.
    """
    from trainables.config import TrialConfig

    defaults = {**TrialConfig().to_flat(), **spec.fixed}
    named = {f"baselines.{name}": values for name, values in spec.baselines.items()}
    for place, values in {"fixed": spec.fixed, **named}.items():
        for name in ("net.weights", "style.encoder"):
            if values.get(name) is not None:
                path = Path(values[name]).expanduser()
                _check_weights(f"{place}.{name}", path, {**defaults, **values})


def check_resources(spec: StudySpec) -> None:
    """Look whether this machine could hold one trial, before a study gets its name.

    Raises:
        SpecError: If it could not.
    """
    cpus, gpus = len(os.sched_getaffinity(0)), spec.resources.gpus
    if spec.resources.cpus > cpus:
        raise SpecError(
            f"resources.cpus must be at most the {cpus} of this machine, got {spec.resources.cpus}"
        )
    if gpus > 0:
        import torch

        found = torch.cuda.device_count()
        if gpus > found:
            raise SpecError(
                f"resources.gpus must be at most the {found} of this machine, got {gpus:g}"
            )


def _check_weights(place: str, path: Path, fields: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise SpecError(f"{place}: {path} is not a file")
    from trainables.adapt.pose_net import ResNet
    from trainables.adapt.style_net import VGG19_PLAN, Encoder

    try:
        if place.endswith("style.encoder"):
            Encoder(VGG19_PLAN).load_vgg19(path)
        else:
            net = ResNet(fields["net.depth"], fields["net.width"], use_max_pool=True)
            net.load_imagenet(path)
    except ValueError as error:
        raise SpecError(f"{place}: {error}") from error
