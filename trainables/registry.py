"""The names that a study can give its data sets, skeletons, methods, strategies and trainables.

:mod:`trainables.builtins` registers the built-in ones, the modules under ``plugins`` in a study's
file register a user's own; both call the functions here. An entry names its code as
``module:object``. The code is imported when a run needs it, so that checking a study's file does
not import torch. ``CONTRIBUTING.md`` has a recipe for each kind.
"""

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

Better = Literal["maximize", "minimize"]


class PluginError(Exception):
    """A plugin cannot be used; the text says why, in one sentence without the plugin's name."""


@dataclass(frozen=True)
class MetricFacts:
    """What the checks of a study must know about a metric."""

    better: Better | None = None
    """Which direction is better; None if neither is."""
    is_reported_throughout: bool = True
    """Whether every report has it, not only the last or those of one phase."""
    is_repeatable: bool = True
    """Whether a run that is trained again should report the same value; a time is another."""


@dataclass(frozen=True)
class Entry:
    """A registered name.

    Attributes:
        name: As a study's file writes it.
        code: ``module:object`` behind the name.
        options: Frozen dataclass of the fields that only this name reads; None if it has none.
    """

    name: str
    code: str
    options: type[Any] | None

    def load(self) -> Any:
        """Import the object behind the name.

        Raises:
            PluginError: If there is no such module or object.
        """
        module, _, name = self.code.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise PluginError(f"registers {self.name} as {self.code}: {error}") from error

    @property
    def is_builtin(self) -> bool:
        """Whether the code belongs to this project."""
        return self.code.startswith("trainables.")


@dataclass(frozen=True)
class DomainEntry(Entry):
    """A data set for ``data.source`` and ``data.target``; its code is a ``Domain``."""

    skeleton: str
    """Its joint order: a key of :data:`SKELETONS`."""
    reads_folder: bool
    """Whether it needs ``data.source_root`` or ``data.target_root``."""

    @property
    def skeleton_field(self) -> str:
        """The field of a trial that gives another joint order, if the options have one."""
        return f"data.{self.name}.skeleton"

    def skeleton_name(self, options: Any) -> str:
        """The skeleton with these options: a field ``skeleton`` that is not None comes first.

        Such a field holds a key of :data:`SKELETONS` or the path of a file;
        :func:`trainables.data.skeleton_file.find_skeleton` finds either.
        """
        given: str | None = getattr(options, "skeleton", None)
        return self.skeleton if given is None else given


@dataclass(frozen=True)
class MethodEntry(Entry):
    """A value of ``adapt.method``; its code builds an ``Adapter``."""

    losses: Mapping[str, Better | None]
    """Names of what its steps return, reported as ``train/<name>``, and which way is better."""


@dataclass(frozen=True)
class StrategyEntry(Entry):
    """A value of ``sampling.strategy``; its code weighs the source samples of an epoch."""

    reads_scores: bool
    """Whether the weights depend on the scores of the Pose VAE."""


@dataclass(frozen=True)
class TrainableEntry(Entry):
    """A value of ``trainable``; its code is a class of Ray Tune."""

    num_reports: Callable[[Mapping[str, Any]], int]
    """From the flat fields of a trial to the number of its reports."""
    metrics: Callable[[Mapping[str, Any]], Mapping[str, MetricFacts]]
    """From the flat fields of a trial to the metrics that its runs report."""


E = TypeVar("E", bound=Entry)

SKELETONS: dict[str, Entry] = {}
DOMAINS: dict[str, DomainEntry] = {}
METHODS: dict[str, MethodEntry] = {}
STRATEGIES: dict[str, StrategyEntry] = {}
TRAINABLES: dict[str, TrainableEntry] = {}

SECTIONS: dict[str, type[Any]] = {}
"""Prefix of the fields of a registered options class, such as ``adapt.regda``, to the class."""

_PLUGINS: list[str] = []


def register_skeleton(name: str, code: str) -> None:
    """Add a joint order that data sets can have.

    A study can also name a YAML file, see :mod:`trainables.data.skeleton_file`.

    Args:
        name: Name of the skeleton; a to z, 0 to 9 and _.
        code: ``module:object`` of a :class:`trainables.data.skeleton.Skeleton`.

    Raises:
        ValueError: If the name is taken or an argument is not as described.
    """
    _add(SKELETONS, "", Entry(name, code, None))


def register_domain(
    name: str,
    code: str,
    *,
    skeleton: str = "body16",
    reads_folder: bool = False,
    options: type[Any] | None = None,
) -> None:
    """Add a data set for ``data.source`` and ``data.target``.

    Args:
        name: Of the data set; a to z, 0 to 9 and _.
        code: ``module:object`` of a :class:`trainables.data.domain.Domain`.
        skeleton: Name of its joint order, which is registered before.
        reads_folder: Whether it is read from the folder ``data.source_root`` (or
            ``data.target_root``).
        options: Frozen dataclass whose fields become ``data.<name>.<field>``. With a field
            ``skeleton``, a study can give another joint order.

    Raises:
        ValueError: If the name is taken or an argument is not as described.
    """
    if skeleton not in SKELETONS:
        raise ValueError(
            f"the skeleton of {name} must be one of {', '.join(SKELETONS)}, got {skeleton!r}"
        )
    _add(DOMAINS, "data", DomainEntry(name, code, options, skeleton, reads_folder))


def register_method(
    name: str,
    code: str,
    *,
    losses: Mapping[str, Better | None],
    options: type[Any] | None = None,
) -> None:
    """Add an adaptation method.

    Args:
        name: Value of ``adapt.method``; a to z, 0 to 9 and _.
        code: ``module:function`` from a trial's settings, the pre-trained network, the style
            transfer and the shard to an :class:`trainables.adapt.adapter.Adapter`; see
            :func:`trainables.adapt.methods.adaptation_adapter`.
        losses: Names of what a step returns, and which way is better (None: neither).
        options: Frozen dataclass whose fields become ``adapt.<name>.<field>``; a
            :class:`trainables.config.method_options.MethodOptions` can also check other fields
            and ask for style transfer.

    Raises:
        ValueError: If the name is taken or an argument is not as described.
    """
    _add(METHODS, "adapt", MethodEntry(name, code, options, dict(losses)))


def register_strategy(
    name: str,
    code: str,
    *,
    reads_scores: bool = True,
    options: type[Any] | None = None,
) -> None:
    """Add a way of choosing source samples.

    Args:
        name: Value of ``sampling.strategy``; a to z, 0 to 9 and _.
        code: ``module:function`` from what is known of the samples, a trial's settings and the
            epoch to the weight of each sample; see :mod:`trainables.sampling.strategies`.
        reads_scores: Whether the weights depend on the scores of the Pose VAE.
        options: Frozen dataclass whose fields become ``sampling.<name>.<field>``.

    Raises:
        ValueError: If the name is taken or an argument is not as described.
    """
    _add(STRATEGIES, "sampling", StrategyEntry(name, code, options, reads_scores))


def register_trainable(
    name: str,
    code: str,
    *,
    num_reports: Callable[[Mapping[str, Any]], int],
    metrics: Callable[[Mapping[str, Any]], Mapping[str, MetricFacts]],
    options: type[Any] | None = None,
) -> None:
    """Add something that a trial can train.

    Args:
        name: Value of a study's ``trainable``; a to z, 0 to 9 and _.
        code: ``module:class`` of a ``ray.tune.Trainable``;
            :class:`trainables.pose_vae_trainable.PoseVAETrainable` is a short example.
        num_reports: From the flat fields of a trial to the number of its reports.
        metrics: From the flat fields of a trial to the metrics that its runs report; of a study
            these are the fields that do not vary, the others have their defaults.
        options: Frozen dataclass whose fields become ``<name>.<field>``.

    Raises:
        ValueError: If the name is taken or an argument is not as described.
    """
    _add(TRAINABLES, "", TrainableEntry(name, code, options, num_reports, metrics))


def _add(registry: dict[str, E], group: str, entry: E) -> None:
    if not re.fullmatch("[a-z][a-z0-9_]*", entry.name):
        raise ValueError(
            f"a name must be of a-z, 0-9 and _ and begin with a letter, got {entry.name!r}"
        )
    if not re.fullmatch(r"[\w.]+:\w+", entry.code):
        raise ValueError(f"the code of {entry.name} must be module:object, got {entry.code!r}")
    known = registry.get(entry.name)
    if known is not None and known.code != entry.code:
        raise ValueError(f"{entry.name} is already the name of {known.code}, got {entry.code}")
    if entry.options is not None:
        if not is_dataclass(entry.options):
            raise ValueError(f"the options of {entry.name} must be a dataclass")
        SECTIONS[f"{group}.{entry.name}" if group else entry.name] = entry.options
    registry[entry.name] = entry


def load_plugins(modules: Sequence[str]) -> None:
    """Import modules, which register what they add; each once, in order.

    Raises:
        PluginError: If one cannot be imported or registers something wrong; starts with its name.
    """
    for module in modules:
        if module in _PLUGINS:
            continue
        try:
            importlib.import_module(module)
        except Exception as error:  # a plugin's code may raise anything
            raise PluginError(f"{module} cannot be imported: {_reason(error)}") from error
        _PLUGINS.append(module)


def check_plugins(modules: Sequence[str]) -> None:
    """Load plugins and import the code behind every name that they registered.

    Raises:
        PluginError: If something cannot be imported; starts with the plugin's name.
    """
    load_plugins(modules)
    packages = {module.partition(".")[0]: module for module in modules}
    for registry in (SKELETONS, DOMAINS, METHODS, STRATEGIES, TRAINABLES):
        for entry in registry.values():
            plugin = packages.get(entry.code.partition(":")[0].partition(".")[0])
            if plugin is not None:
                try:
                    entry.load()
                except PluginError as error:
                    raise PluginError(f"{plugin} {error}") from error


def plugin_sources() -> Iterator[tuple[str, Path]]:
    """Name and path of every source file of the loaded plugins, in a fixed order.

    Of a module in a package these are all files of the outermost package, as the module may use
    any of them.
    """
    for top in sorted({module.partition(".")[0] for module in _PLUGINS}):
        yield from _sources(top)


def source_digest(entry: Entry) -> str:
    """16 hex digits that change with the source files of the package behind a name."""
    digest = hashlib.sha256()
    for name, path in _sources(entry.code.partition(":")[0].partition(".")[0]):
        digest.update(name.encode() + b"\n" + path.read_bytes())
    return digest.hexdigest()[:16]


def _sources(top: str) -> Iterator[tuple[str, Path]]:
    spec = sys.modules[top].__spec__ if top in sys.modules else importlib.util.find_spec(top)
    if spec is None:
        return
    folders = [Path(place) for place in spec.submodule_search_locations or ()]
    for folder in folders:
        for path in sorted(folder.rglob("*.py"), key=lambda path: path.as_posix()):
            yield f"{top}/{path.relative_to(folder).as_posix()}", path
    if not folders and spec.origin is not None:
        yield f"{top}.py", Path(spec.origin)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
