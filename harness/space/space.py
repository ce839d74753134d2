"""The search space of a study: configurations of trials, drawn, enumerated or given.

Define-by-run: :meth:`Space.suggest` asks an Optuna trial for one parameter after the other,
parents before children, and leaves out inactive ones. Random draws and baselines are made by the
same method from another source of values. Nothing here imports Optuna.
"""

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from harness.space.conditions import conditions_of, parents_first, requirements_of
from harness.space.distributions import Drawn, Weighted
from harness.space.domains import Categorical, CountedSubset, Domain
from harness.space.fields import domain_of
from harness.space.number_domains import Continuous, Rounded, Steps
from harness.space.parameters import MAX_ITEMS, Parameter
from harness.space.suggester import (
    Choice,
    RandomSuggester,
    RecordedSuggester,
    Suggester,
)
from harness.yaml.text import described
from harness.yaml.validation import below, problem
from trainables.config import TrialConfig, coerce
from trainables.config.reference_recipe import reference_fields

MAX_GRID = 10_000
"""Most configurations of a grid."""
NUM_PROBES = 64
"""Fewest random configurations that a study is checked with."""
MAX_PROBES = 256
"""Most random configurations that a study is checked with to visit every value."""


@dataclass(frozen=True)
class Baseline:
    """A configuration to try before the search; its two parts together decide it."""

    name: str
    """Name in the study file."""
    enqueue: dict[str, Choice]
    """Optuna parameters for ``Study.enqueue_trial``, all inside their distributions."""
    overrides: dict[str, Any]
    """Fields that are not searched, or have a value outside their range, for :meth:`suggest`."""


@dataclass(frozen=True)
class Probe:
    """A trial that a study can run, for checks before the study starts."""

    baseline: str | None
    """Name of the baseline; None for a random draw."""
    fields: dict[str, Any]
    """Dotted field name to value; fields left out have their default."""


class Space:
    """The fields of a trial that a study varies, and those that it fixes.

    Args:
        parameters: Dotted field name to what it can be.
        fixed: Dotted field name to its value in every trial, of the type of the field.
        baselines: Name to field values that differ from ``fixed``.
        is_grid: Whether the parameters are enumerated, not drawn.

    Raises:
        pydantic.ValidationError: If the parameters do not fit the fields or each other, see
            :mod:`harness.yaml.validation`; the path starts with ``parameters``.
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        fixed: Mapping[str, Any],
        baselines: Mapping[str, Mapping[str, Any]],
        is_grid: bool = False,
    ) -> None:
        self._fixed = dict(fixed)
        self._baselines = baselines
        self._domains: dict[str, Domain | CountedSubset] = {}
        for name, parameter in parameters.items():
            with below("parameters", name):
                self._domains[name] = domain_of(name, parameter, is_grid)
        with below("parameters"):
            self._conditions = conditions_of(parameters, self._domains)
            self._order = parents_first(self._domains, self._conditions)
            self._requirements = requirements_of(self._order, self._conditions)
        for name, domain in self._domains.items():
            if isinstance(domain, CountedSubset):
                self._check_count(name, domain)

    def suggest(
        self, trial: Suggester, overrides: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Configuration of a trial: its fixed fields, and its active parameters as suggested.

        Args:
            trial: An Optuna trial, or another source of values.
            overrides: Field values that replace fixed and suggested ones.

        Returns:
            Dotted field name to value, lists for list fields. Inactive parameters are left out,
            so that they have the default of :class:`TrialConfig`.
        """
        overrides = {name: coerce(name, value) for name, value in (overrides or {}).items()}
        config = {**self._fixed, **overrides}
        for name in self._order:
            if name not in overrides and self._is_active(name, config):
                config[name] = self._domain(name, config).suggest(name, trial)
        return _plain(config)

    def read(self, params: Mapping[str, Choice], fields: Mapping[str, Any]) -> dict[str, Any]:
        """Decode Optuna's parameters of a trial.

        Args:
            params: Optuna's parameters.
            fields: Flat fields that the trial was trained with, which give the size of a subset.

        Returns:
            Dotted field name to value, lists for list fields; without parameters that the trial
            lacks, and those of a single value, for which Optuna is not asked: a baseline may have
            another one.
        """
        recorded = RecordedSuggester(params)
        found = {}
        for name in self._order:
            num_before = recorded.num_read
            try:
                value = self._domain(name, fields).suggest(name, recorded)
            except KeyError:
                continue
            if recorded.num_read > num_before:
                found[name] = value
        return _plain(found)

    def draw(
        self, rng: random.Random, overrides: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """As :meth:`suggest`, from a random generator."""
        return self.suggest(RandomSuggester(rng), overrides)

    @cached_property
    def probes(self) -> tuple[Probe, ...]:
        """The baselines, then random draws that visit every category and both ends of each range.

        There are :data:`NUM_PROBES` to :data:`MAX_PROBES` draws, so that a very large space is
        not visited completely. Made once.
        """
        found = []
        for baseline in self.baselines():
            suggester = RandomSuggester(random.Random(0), baseline.enqueue)
            found.append(Probe(baseline.name, self.suggest(suggester, baseline.overrides)))
        rng = random.Random(0)
        pins = list(itertools.islice(self._pins(), MAX_PROBES))
        for index in range(max(NUM_PROBES, len(pins))):
            pinned = pins[index] if index < len(pins) else {}
            found.append(Probe(None, self.suggest(RandomSuggester(rng, pinned))))
        return tuple(found)

    def grid(self) -> list[dict[str, Choice]]:
        """Optuna parameters of every configuration, in the order of the study file.

        Raises:
            pydantic.ValidationError: If there is a continuous range or more than :data:`MAX_GRID`
                configurations.
        """
        for name, domain in self._domains.items():
            if not isinstance(domain, CountedSubset) and domain.options() is None:
                raise problem(
                    ("parameters", name),
                    "is a continuous range, which a grid cannot enumerate; write values or a q",
                    at_key=True,
                )
        found = self.points()
        if found is None:
            raise problem(("parameters",), f"makes a grid of more than {MAX_GRID} configurations")
        return found

    def points(self) -> list[dict[str, Choice]] | None:
        """As :meth:`grid`, but None where that raises."""
        if any(
            not isinstance(domain, CountedSubset) and domain.options() is None
            for domain in self._domains.values()
        ):
            return None
        found = list(itertools.islice(self._combinations(0, self._fixed, {}), MAX_GRID + 1))
        return found if len(found) <= MAX_GRID else None

    def baselines(self) -> list[Baseline]:
        """The given configurations, split into what Optuna can take and what it cannot.

        An active parameter that a baseline does not name has its default of
        :class:`TrialConfig` (with ``parity`` the reference's), or its only value.
        """
        return [self._baseline(name, values) for name, values in self._baselines.items()]

    def conditional(self) -> list[str]:
        """Parameters that not every trial has, or whose items differ between trials."""
        return [
            name
            for name, domain in self._domains.items()
            if self._conditions[name]
            or (isinstance(domain, CountedSubset) and domain.count_name in self._domains)
        ]

    def numbers(self) -> list[str]:
        """Parameters that Optuna is asked for as numbers, in the order of the study file."""
        return [
            name
            for name, domain in self._domains.items()
            if isinstance(domain, Continuous | Steps | Rounded | Drawn | Weighted)
        ]

    def describe(self) -> list[str]:
        """One line for each parameter, fixed field and baseline."""
        lines = []
        for name, domain in self._domains.items():
            conditions = [
                f"{other} is {' or '.join(map(described, values))}"
                for other, values in self._conditions[name].items()
            ]
            when = f", when {' and '.join(conditions)}" if conditions else ""
            lines.append(f"search {name}: {domain.describe()}{when}")
        lines += [
            f"fix {name} = {described(value)}" for name, value in _plain(self._fixed).items()
        ]
        for name, values in self._baselines.items():
            words = ", ".join(
                f"{field} = {described(value)}" for field, value in _plain(values).items()
            )
            lines.append(f"baseline {name}: {words or 'all defaults'}")
        return lines

    def _domain(self, name: str, config: Mapping[str, Any]) -> Domain:
        domain = self._domains[name]
        if isinstance(domain, CountedSubset):
            return domain.at(config.get(domain.count_name, _default_value(domain.count_name)))
        return domain

    def _is_active(self, name: str, config: Mapping[str, Any]) -> bool:
        return all(
            other in config and config[other] in allowed
            for other, allowed in self._conditions[name].items()
        )

    def _pins(self) -> Iterator[dict[str, Choice]]:
        """For each value to visit, the Optuna parameters of a draw that has it."""
        for name, domain in self._domains.items():
            needed: dict[str, Choice] = {}
            for other, allowed in self._requirements[name].items():
                needed |= self._domain(other, {}).encode(other, allowed[0]) or {}
            if not isinstance(domain, CountedSubset):
                for value in domain.probes():
                    yield needed | (domain.encode(name, value) or {})

    def _combinations(
        self, index: int, config: dict[str, Any], asked: dict[str, Choice]
    ) -> Iterator[dict[str, Choice]]:
        if index == len(self._order):
            yield asked
            return
        name = self._order[index]
        if not self._is_active(name, config):
            yield from self._combinations(index + 1, config, asked)
            return
        domain = self._domain(name, config)
        for value in domain.options() or ():
            encoded = domain.encode(name, value) or {}
            yield from self._combinations(index + 1, {**config, name: value}, asked | encoded)

    def _baseline(self, name: str, values: Mapping[str, Any]) -> Baseline:
        config = {**self._fixed, **values}
        overrides = dict(values)
        enqueue: dict[str, Choice] = {}
        for field in self._order:
            if not self._is_active(field, config):
                continue
            domain = self._domain(field, config)
            value = config.setdefault(field, _default(field, domain, config))
            encoded = domain.encode(field, value)
            if encoded is None:
                overrides[field] = value
            else:
                overrides.pop(field, None)
                enqueue |= encoded
        return Baseline(name, enqueue, _plain(overrides))

    def _check_count(self, name: str, domain: CountedSubset) -> None:
        counts = self._counts(name, domain.count_name)
        path = ("parameters", name, "choose")
        if max(counts) > MAX_ITEMS:
            raise problem(
                (*path, "from"),
                f"counts up to {max(counts)} items of {domain.count_name}; "
                f"a subset has at most {MAX_ITEMS}",
            )
        for word, size in (("min", domain.min), ("max", domain.max)):
            if size is not None and size > min(counts):
                raise problem(
                    (*path, word),
                    f"must be at most {min(counts)}, the smallest possible {domain.count_name}, "
                    f"got {size}",
                )

    def _counts(self, name: str, count_name: str) -> list[int]:
        """Possible counts while a subset is active, the smallest and the largest among them."""
        default = _default_value(count_name)
        if count_name not in self._domains:
            return [self._fixed.get(count_name, default)]
        needed = self._requirements[name]
        counts = list(needed.get(count_name, self._domain(count_name, {}).probes()))
        is_surely_active = all(
            set(needed.get(other, ())) and set(needed[other]) <= set(allowed)
            for other, allowed in self._requirements[count_name].items()
        )
        return counts if is_surely_active else [*counts, default]


def _default(name: str, domain: Domain, config: Mapping[str, Any]) -> Any:
    """Value of a field that a baseline does not name; with ``parity``, the reference's."""
    if isinstance(domain, Categorical) and len(domain.values) == 1:
        return domain.values[0]
    if config.get("parity"):
        recipe = reference_fields(config.get("adapt.method", _default_value("adapt.method")))
        if name in recipe:
            return coerce(name, recipe[name])
    return _default_value(name)


@cache
def _default_value(name: str) -> Any:
    """Default of a field, lists as tuples."""
    return coerce(name, TrialConfig().to_flat()[name])


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in config.items()
    }
