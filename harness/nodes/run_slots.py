"""How many runs the machines hold at once. A run runs on one node, never on two."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.spec.sections import Resources
from harness.yaml.text import SpecError

_ROUNDING = 1e-9
"""Shares such as 0.1 have no exact binary value: ten of them must still fit one GPU."""


@dataclass(frozen=True)
class Available:
    """Machines that runs can be placed on.

    Attributes:
        nodes: Resources of every node that is up, ``CPU`` and ``GPU`` in units of one.
        addable: Resources of every node that an autoscaler can still add.
    """

    nodes: Sequence[Mapping[str, float]]
    addable: Sequence[Mapping[str, float]] = ()


def this_machine(resources: Resources) -> Available:
    """What a local Ray will have, without starting it.

    Args:
        resources: What a run needs; GPUs are counted only if it needs any.
    """
    gpus = 0
    if resources.gpus:
        import torch

        gpus = torch.cuda.device_count()
    return Available([{"CPU": len(os.sched_getaffinity(0)), "GPU": gpus}])


def fitting_runs(
    resources: Resources,
    available: Available,
    say: Callable[[str], None] = lambda text: None,
) -> int:
    """Runs at once: as many as the file says, or as the nodes hold.

    Args:
        resources: What a run needs.
        available: From :func:`this_machine` or :func:`harness.nodes.cluster.ray_nodes`.
        say: Shows a line to the user, if fewer runs fit than the file asks for, some have to wait
            for nodes to come up, or GPUs are left unused.

    Raises:
        SpecError: If not even one run fits a node that is up or that can be added.
    """
    now = sum(_slots(resources, node) for node in available.nodes)
    fits = now + sum(_slots(resources, node) for node in available.addable)
    if fits == 0:
        raise _does_not_fit(resources, [*available.nodes, *available.addable])
    parallel = min(fits, resources.parallel or fits)
    if parallel < (resources.parallel or 0):
        say(f"warning: only {fits} of resources.parallel {resources.parallel} runs fit at once")
    if parallel > now:
        say(
            f"warning: {now} of {parallel} runs at once fit the nodes that are up; "
            "the others wait until the autoscaler has added nodes"
        )
    if not resources.gpus and any(node.get("GPU") for node in available.nodes):
        say("no run uses a GPU, as resources.gpus is 0; with 0.1 ten runs share one")
    return parallel


def image_cores(resources: Resources, parallel: int, available: Available) -> int:
    """Cores that may make a study's images: those of all its runs on the largest node.

    The first run makes the images, and the others wait for them.

    Args:
        resources: What a run needs.
        parallel: Runs at once.
        available: As for :func:`fitting_runs`.
    """
    most = max((_slots(resources, node) for node in available.nodes), default=1)
    return max(1, min(parallel, most)) * resources.cpus


def _slots(resources: Resources, node: Mapping[str, float]) -> int:
    """Runs that one node holds at once."""
    slots = int(node.get("CPU", 0) // resources.cpus)
    if resources.gpus == 0:
        return slots
    gpus = int(node.get("GPU", 0))
    if resources.gpus >= 1:
        return min(slots, int(gpus // resources.gpus))
    # A share lies within one GPU: at 0.4 each, two runs fit one GPU and four fit two.
    return min(slots, gpus * int(1 / resources.gpus + _ROUNDING))


def _does_not_fit(resources: Resources, nodes: Sequence[Mapping[str, float]]) -> SpecError:
    where = "of this machine" if len(nodes) == 1 else f"of the largest of {len(nodes)} nodes"
    for field, kind in (("cpus", "CPU"), ("gpus", "GPU")):
        needed = getattr(resources, field)
        most = max((node.get(kind, 0) for node in nodes), default=0)
        if needed > most:
            return SpecError(
                f"resources.{field} must be at most the {most:g} {where}, got {needed:g}"
                + ("" if len(nodes) == 1 else "; a run uses one node")
            )
    # CPUs and GPUs suffice, but on different nodes.
    found = sorted({(node.get("CPU", 0), node.get("GPU", 0)) for node in nodes})
    return SpecError(
        f"resources: a run needs {resources.cpus} CPUs and {resources.gpus:g} GPUs on one node, "
        f"the nodes have {', '.join(f'{cpus:g} and {gpus:g}' for cpus, gpus in found)}"
    )
