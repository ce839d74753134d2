"""What a study needs of the machine it starts on: data sets, files of weights, cores, GPUs.

Looked at before Ray starts and before the study gets its name, so that a mistake costs a second
and leaves nothing behind.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.language.draws import draws, named_files
from harness.nodes.trial_slots import fitting_trials, this_machine
from harness.spec import SpecError, StudySpec
from trainables.config import FOLDER_DOMAINS, TrialConfig


def check_machine(spec: StudySpec, *, is_cluster: bool = False) -> None:
    """All checks below.

    Args:
        spec: The study.
        is_cluster: Whether trials run elsewhere, so that this machine need not hold one.

    Raises:
        SpecError: If something is missing, damaged or too much; one sentence with its place.
    """
    sizes = check_data(spec.fixed)
    check_bins(spec, sizes)
    check_weights(spec)
    if not is_cluster:
        fitting_trials(spec.resources, this_machine(spec.resources))


def check_data(values: Mapping[str, Any]) -> dict[str, int]:
    """Look at the folders of the data sets before anything starts.

    Args:
        values: Flat fields of a trial; those left out have their default.

    Returns:
        Number of samples of ``source`` and ``target``.

    Raises:
        SpecError: If a folder or a file is missing or damaged, or holds so few samples that a
            split would be empty.
    """
    fields = {**TrialConfig().to_flat(), **values}
    sizes = {}
    for role in ("source", "target"):
        domain, root = fields[f"data.{role}"], fields[f"data.{role}_root"]
        sizes[role] = fields[f"data.num_{role}"]
        if domain not in FOLDER_DOMAINS or root is None:
            continue
        from trainables.data.leeds import read_leeds

        try:
            found = read_leeds(domain, Path(root).expanduser().resolve(), sizes[role])
        except (OSError, ValueError, RuntimeError) as error:
            raise SpecError(f"fixed.data.{role}_root: {error}") from error
        sizes[role] = len(found.image_paths)
        for split, size in split_sizes(sizes[role], role).items():
            if size == 0:
                raise SpecError(
                    f"fixed.data.{role}_root: {root} has {sizes[role]} samples, which leaves none "
                    f"for {split}"
                )
    return sizes


def split_sizes(num_samples: int, role: str) -> dict[str, int]:
    """Samples of each split of a ``source`` or ``target`` domain."""
    from trainables.data.image_store import split

    parts = split([str(i) for i in range(num_samples)], role)  # the sizes follow from the number
    return {name: len(rows) for name, rows in parts.items()}


def check_bins(spec: StudySpec, sizes: Mapping[str, int]) -> None:
    """Look whether every bin can hold a sample.

    Args:
        spec: The study.
        sizes: Number of samples of ``source`` and ``target``.

    Raises:
        SpecError: If the target validation poses are fewer than the bins of the evaluation, or
            the source training poses fewer than a trial's own bins.
    """
    if spec.trainable != "adaptation":
        return
    trials = [{**TrialConfig().to_flat(), **draw.fields} for draw in draws(spec)]
    for field, role, name in (
        ("evaluation.bin_count", "target", "val"), ("bins.count", "source", "train")
    ):  # fmt: skip
        most = max(trial[field] for trial in trials)
        if sizes[role] >= 10 * most:  # a fifth of the target, nine tenths of the source
            continue
        size = split_sizes(sizes[role], role)[name]
        if most > size:
            raise SpecError(
                f"{field} must be at most {size}, the {role} {name} samples that "
                f"data.num_{role} = {sizes[role]} leaves, got {most}"
            )


def check_weights(spec: StudySpec) -> None:
    """Read the files of weights that the study names, before anything starts.

    Raises:
        SpecError: If one is missing, damaged or of another network.
    """
    for named in named_files(spec):
        _check_weights(named.place, Path(named.path).expanduser(), named.field, named.fields)


def _check_weights(place: str, path: Path, field: str, fields: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise SpecError(f"{place}: {path} is not a file")
    from trainables.adapt.pose_net import ResNet
    from trainables.adapt.style_net import VGG19_PLAN, Encoder

    try:
        if field == "style.encoder":
            Encoder(VGG19_PLAN).load_vgg19(path)
        else:
            net = ResNet(fields["net.depth"], fields["net.width"], use_max_pool=True)
            net.load_imagenet(path)
    except ValueError as error:
        raise SpecError(f"{place}: {error}") from error
