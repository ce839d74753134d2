"""What a study needs of the machine it starts on: data sets, files of weights, cores, GPUs.

Looked at before Ray starts and before the study gets its name, so that a mistake costs seconds
and leaves nothing behind.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.nodes.run_slots import fitting_runs, this_machine
from harness.spec import SpecError, StudySpec
from harness.spec.named_files import NamedFile, named_files
from trainables.config import TrialConfig, absolute_paths
from trainables.registry import DOMAINS, PluginError, check_plugins


def check_machine(spec: StudySpec, *, is_cluster: bool = False) -> None:
    """All checks below.

    Args:
        spec: The study.
        is_cluster: Whether runs are elsewhere, so that this machine need not hold one.

    Raises:
        SpecError: If something is missing, damaged or too much; one sentence with its place, of
            data sets all that is wrong with them.
    """
    try:
        check_plugins(spec.plugins)
    except PluginError as error:
        raise SpecError(f"plugins: {error}") from error
    check_bins(spec, check_data(spec.fixed))
    check_weights(spec)
    if not is_cluster:
        fitting_runs(spec.resources, this_machine(spec.resources))


def check_data(values: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Read labels and images of the data sets before anything starts.

    Args:
        values: Flat fields of a configuration; those left out have their default.

    Returns:
        ``source`` and ``target`` to the name of each split and its number of poses that have
        enough visible joints to be put into a bin; nothing for a domain of a plugin that knows
        these numbers only when it makes its images.

    Raises:
        SpecError: If labels or images of either domain cannot be used; tells everything that
            is wrong with both.
    """
    from trainables.data.domain import image_request
    from trainables.data.prepared import prepared_counts, prepared_store
    from trainables.data.problems import DatasetError

    of_data = {name: value for name, value in values.items() if name.startswith("data.")}
    trial = TrialConfig.from_flat(absolute_paths(of_data))
    poses, problems = {}, []
    for role in ("source", "target"):
        entry, request = DOMAINS[trial.data.of(role)[0]], image_request(trial, role, 1)
        place = f"fixed.data.{role}" + ("_root" if entry.reads_folder else "")
        try:
            prepared = prepared_store(entry.name, request)
            poses[role] = (
                entry.load().check(request) if prepared is None else prepared_counts(prepared)
            )
        except DatasetError as error:
            problems += [f"{place}: {problem}" for problem in error.problems]
        except (OSError, ValueError, RuntimeError) as error:
            problems.append(f"{place}: {error}")
    if problems:
        raise SpecError("\n".join(problems))
    return poses


def check_bins(spec: StudySpec, poses: Mapping[str, Mapping[str, int]]) -> None:
    """Look whether every bin can hold a pose.

    Args:
        spec: The study.
        poses: See :func:`check_data`.

    Raises:
        SpecError: If the target validation poses are fewer than the bins of the evaluation, or
            the source training poses fewer than a configuration's own bins.
    """
    if spec.trainable != "adaptation":
        return
    configs = [{**TrialConfig().to_flat(), **probe.fields} for probe in spec.space.probes]
    for field, role, name in (
        ("evaluation.bin_count", "target", "val"), ("bins.count", "source", "train")
    ):  # fmt: skip
        most = max(config[field] for config in configs)
        if name in poses[role] and most > poses[role][name]:
            raise SpecError(
                f"{field} must be at most {poses[role][name]}, the {role} {name} poses among the "
                f"samples of data.num_{role} that can be put into a bin, got {most}"
            )


def check_weights(spec: StudySpec) -> None:
    """Read the files of weights that the study names, before anything starts.

    Raises:
        SpecError: If one is missing, damaged or of another network, or if a package that holds
            one is not installed.
    """
    for named in named_files(spec):
        if named.path is not None and not Path(named.path).expanduser().is_file():
            raise SpecError(f"{named.place}: {Path(named.path).expanduser()} is not a file")
        try:
            _read_weights(named)
        except ValueError as error:
            raise SpecError(f"{named.place}: {error}") from error


def _read_weights(named: NamedFile) -> None:
    from trainables.network.efficientnet_lite import EfficientNetLite0
    from trainables.network.pose_net import ResNet
    from trainables.network.weight_file import backbone_file
    from trainables.style.style_net import VGG19_PLAN, Encoder

    fields = named.fields
    if named.field == "style.encoder":
        Encoder(VGG19_PLAN).load_vgg19(Path(fields["style.encoder"]).expanduser())
        return
    path = backbone_file(fields["net.backbone"], named.path)
    assert path is not None  # else the file would not be named
    if fields["net.backbone"] == "resnet":
        net = ResNet(fields["net.depth"], fields["net.width"], use_max_pool=True)
        net.load_imagenet(path)
    else:
        EfficientNetLite0().load_imagenet(path)
