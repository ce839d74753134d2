"""When a parameter of a study is active: conditions on other parameters.

A parameter is active if, for every entry of its ``when``, the other parameter is active and has
one of the listed values.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from harness.space.domains import CountedSubset, Domain, Subset
from harness.space.fields import field_value, is_list_field
from harness.space.parameters import Parameter
from harness.yaml.text import shown
from harness.yaml.validation import did_you_mean, problem

Condition = dict[str, tuple[Any, ...]]
"""Another parameter to its values for which a parameter is active."""


def conditions_of(
    parameters: Mapping[str, Parameter], domains: Mapping[str, Domain | CountedSubset]
) -> dict[str, Condition]:
    """Conditions of every parameter, with values of their fields' types.

    Raises:
        ValidationError: If a condition names something that is not a parameter, a parameter
            without separate values or a value that the parameter never has; the path starts with
            the name of the parameter that has the condition.
    """
    return {
        name: {
            other: _allowed(name, other, written, domains)
            for other, written in parameter.when.items()
        }
        for name, parameter in parameters.items()
    }


def parents_first(
    domains: Mapping[str, Domain | CountedSubset], conditions: Mapping[str, Condition]
) -> tuple[str, ...]:
    """All names, each after those it depends on, otherwise in the given order.

    A parameter depends on the parameters in its conditions and on the count that it chooses from.

    Raises:
        ValidationError: If parameters depend on each other in a circle.
    """
    order: list[str] = []

    def visit(name: str, chain: tuple[str, ...]) -> None:
        if name in chain:
            circle = " -> ".join((*chain[chain.index(name) :], name))
            raise problem((name,), f"depends on itself: {circle}", at_key=True)
        if name in order:
            return
        domain = domains[name]
        parents = list(conditions[name])
        if isinstance(domain, CountedSubset) and domain.count_name in domains:
            parents.append(domain.count_name)
        for parent in parents:
            visit(parent, (*chain, name))
        order.append(name)

    for name in domains:
        visit(name, ())
    return tuple(order)


def requirements_of(
    order: Iterable[str], conditions: Mapping[str, Condition]
) -> dict[str, Condition]:
    """Values that other parameters must have for each parameter to be active.

    Includes the conditions of the parameters that it depends on.

    Args:
        order: Names, see :func:`parents_first`.
        conditions: Conditions of every name.

    Raises:
        ValidationError: If a parameter can never be active; the path starts with its name.
    """
    found: dict[str, Condition] = {}
    for name in order:
        needed: Condition = {}
        for parent, values in conditions[name].items():
            for other, allowed in (*found[parent].items(), (parent, values)):
                both = tuple(value for value in needed.get(other, allowed) if value in allowed)
                if not both:
                    raise problem(
                        (name, "when"),
                        f"can never hold, because {other} would need two values at once",
                    )
                needed[other] = both
        found[name] = needed
    return found


def _allowed(
    name: str, other: str, written: Any, domains: Mapping[str, Domain | CountedSubset]
) -> tuple[Any, ...]:
    path = (name, "when", other)
    if other not in domains:
        raise problem(
            path,
            f"is not one of the parameters of this study{did_you_mean(other, domains)}",
            at_key=True,
        )
    domain = domains[other]
    if isinstance(domain, Subset | CountedSubset) or domain.options() is None:
        raise problem(
            path, "cannot be a condition, because it has no separate values", at_key=True
        )
    is_list = isinstance(written, list)
    if is_list and is_list_field(other):
        is_list = all(isinstance(item, list) for item in written)
    values: dict[Any, None] = {}
    for item in written if is_list else [written]:
        value = field_value(other, item, path)
        if domain.encode(other, value) is None:
            raise problem(path, f"is never {shown(item)}, it is {domain.describe()}")
        values[value] = None
    if not values:
        raise problem(path, "must not be empty")
    return tuple(values)
