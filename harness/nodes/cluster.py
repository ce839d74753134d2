"""Where Ray runs: on this machine for one study, or on a cluster that the study joins.

A local Ray belongs to its study alone. It listens on 127.0.0.1 only, receives no signal that is
meant for the driver, and ends when the driver ends, for whatever reason. A cluster is left as it
was found.
"""

import gc
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.nodes.local_ray import LocalRay
from harness.nodes.ray_private import published_node_groups, silence_workers
from harness.nodes.run_slots import Available, fitting_runs
from harness.nodes.thread_waits import SPIN_COUNT, limit_spinning
from harness.spec.sections import Resources
from harness.yaml.text import SpecError

CONNECT_TIMEOUT_S = 5
"""Longest wait for a cluster's address to answer."""

MOST_ADDED_NODES = 1000
"""Nodes counted for a kind of node that an autoscaler adds without limit."""

FORWARDED_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    SPIN_COUNT,
    "OMP_WAIT_POLICY",
    "CUBLAS_WORKSPACE_CONFIG",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO",
    "RAY_USAGE_STATS_ENABLED",
    "MLFLOW_DISABLE_TELEMETRY",
)
"""The driver's environment variables that workers get: those that change what a worker computes,
how its threads wait or where it reports usage. Variables that may hold a password, such as the
database's URL, stay with the driver."""

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # The harness keeps its own records and catches signals itself.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    # A run without GPUs sees none: Ray would let all runs at once use the first.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}

_LOCAL = LocalRay()


def start_ray(
    address: str | None,
    say: Callable[[str], None],
    gives_up: Callable[[], bool] = lambda: False,
) -> None:
    """Start Ray on this machine, or join a running cluster; does nothing if Ray already runs.

    Args:
        address: ``host:port`` of a cluster's head, ``auto`` for the cluster that this machine
            is a node of, None to start a local Ray.
        say: Shows a line to the user.
        gives_up: Whether to stop waiting for a local Ray; called while it starts.

    Raises:
        SpecError: If there is no such cluster, or this machine is not one of its nodes.
        OutageError: If a local Ray did not start.
    """
    if address is not None:
        check_address(address)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    limit_spinning()
    import ray

    # The user sees a run's error as one sentence; its traceback is in the run's folder.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    if ray.is_initialized():
        return
    silence_workers()
    if address is None:
        _LOCAL.start(say, gives_up)
    else:
        _join(address, say)


def shut_down_ray() -> None:
    """Stop Ray, or leave the cluster, once nothing refers to Ray's objects any more.

    Ray silently ends the whole process if one of its references is destroyed after the shutdown.
    Tune leaves such references in cycles, and the garbage collector may run in any thread.
    """
    import ray

    gc.collect()
    ray.shutdown()
    _LOCAL.remove_folder()


def parallel_runs(resources: Resources, say: Callable[[str], None]) -> int:
    """Runs at once on the running Ray: as many as the file says, or as its nodes hold.

    Args:
        resources: What a run needs.
        say: Shows a line to the user, see :func:`harness.nodes.run_slots.fitting_runs`.

    Raises:
        SpecError: If not even one run fits a node that is up or that can be added.
    """
    return fitting_runs(resources, ray_nodes(), say)


def ray_nodes() -> Available:
    """Nodes of the running Ray and, if it publishes its kinds of nodes, those it may still add."""
    nodes = alive_nodes()
    num_alive = Counter(node["Labels"].get("ray.io/node-group") for node in nodes)
    addable: list[Mapping[str, float]] = []
    for group in published_node_groups():
        most = group.max_count if group.max_count >= 0 else MOST_ADDED_NODES
        addable += [group.resources] * max(0, most - num_alive[group.name])
    return Available([node["Resources"] for node in nodes], addable)


def check_address(address: str) -> None:
    """Refuse an address that cannot work, which Ray would try for a minute.

    Raises:
        SpecError: If the address is neither ``auto`` nor ``host:port``, or nothing answers there.
    """
    if "://" in address:
        raise SpecError(
            f"--address {address}: must be auto or host:port, as the driver of a study must run "
            "on a node of the cluster; start it there, not through Ray Client"
        )
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal() and 1024 <= int(port) <= 65535):
        raise SpecError(
            f"--address {address}: must be auto or host:port with a port from 1024 to 65535"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise SpecError(
            f"--address {address}: no Ray cluster answers there ({error.strerror or error})"
        ) from error


def _join(address: str, say: Callable[[str], None]) -> None:
    import ray

    names = [name for name in FORWARDED_VARIABLES if name in os.environ]
    variables = {name: os.environ[name] for name in names}
    try:
        context = ray.init(
            address=address,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": variables},
        )
    except Exception as error:  # Ray raises plain exceptions too
        reason = " ".join(str(error).split())
        if "RAY_AUTH_MODE" not in os.environ and address != "auto":
            # Ray sends its token to an explicit address only with this setting.
            reason += "; if it asks for Ray's token (~/.ray/auth_token), set RAY_AUTH_MODE=token"
        raise SpecError(f"--address {address}: cannot join this Ray cluster: {reason}") from error
    nodes = alive_nodes()
    say(
        f"joined the Ray cluster at {context.address_info['gcs_address']}: {len(nodes)} nodes, "
        f"{sum(node['Resources'].get('CPU', 0) for node in nodes):g} CPUs, "
        f"{sum(node['Resources'].get('GPU', 0) for node in nodes):g} GPUs"
    )


def alive_nodes() -> Sequence[dict[str, Any]]:
    """Nodes of the cluster that are up, as Ray describes them, sorted by address."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    return sorted(alive, key=lambda node: (node["NodeManagerAddress"], node["NodeID"]))
