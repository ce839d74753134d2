"""Everything that the harness uses of Ray beyond its public interface.

Ray offers no public way to do these things. :data:`PRIVATE_NAMES` lists what they rest on;
``tests/harness/nodes/test_ray_private.py`` fails if a new version of Ray lacks one of them, and
every function here raises ``AttributeError`` with the missing name.
"""

import importlib
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

PRIVATE_NAMES = (
    ("ray._private.worker", "_worker_logs_enabled"),
    ("ray._private.worker", "global_worker.node"),
    ("ray._private.node", "Node.node_ip_address"),
    ("ray._private.node", "Node.get_logs_dir_path"),
    ("ray._private.state", "state.get_cluster_config"),
    ("ray._private.services", "get_node"),
    ("ray._private.services", "ConsolePopen"),
    ("ray._private.ray_constants", "ENABLE_RAY_CLUSTER"),
    ("ray._private.ray_constants", "ENABLE_RAY_CLUSTERS_ENV_VAR"),
    ("ray.tune.experiment", "Trial.should_recover"),
    ("ray.tune.experiment", "Trial.error_file"),
)
"""Module and attribute of each private name."""

Processes = list[subprocess.Popen[bytes]]


class NodeGroup(NamedTuple):
    """A kind of node that an autoscaler can add."""

    name: str
    resources: dict[str, float]
    max_count: int
    """Most nodes of the kind; negative for no limit."""


def private(module: str, name: str) -> Any:
    """Look up a private name of Ray.

    Raises:
        AttributeError: If this version of Ray does not have it.
    """
    try:
        found: Any = importlib.import_module(module)
        for word in name.split("."):
            found = getattr(found, word)
    except (ImportError, AttributeError):
        import ray

        raise AttributeError(
            f"Ray {ray.__version__} has no {module}.{name}, which harness/nodes/ray_private.py "
            "needs: adapt that file, or install the version of Ray in constraints.txt"
        ) from None
    return found


def silence_workers() -> None:
    """Keep raw reports of Ray's raylet, such as of a killed worker, off the terminal.

    ``log_to_driver=False`` does not: the thread ``listen_error_messages``
    (``ray/_private/worker.py``) always prints them, with colour codes. The ledger has the reason
    why each trial failed.
    """
    _set("ray._private.worker", "_worker_logs_enabled", False)


def published_node_groups() -> Sequence[NodeGroup]:
    """Kinds of nodes that the cluster's autoscaler can add; none if the cluster publishes none."""
    published = private("ray._private.state", "state.get_cluster_config")()
    return [
        NodeGroup(group.name, dict(group.resources), group.max_count)
        for group in (published.node_group_configs if published else ())
    ]


def worker_logs(address: str) -> Path | None:
    """Folder with the logs of the workers on this machine; None if its address is another.

    Args:
        address: IP address of the node that a worker ran on.
    """
    node = private("ray._private.worker", "global_worker.node")
    if node is None or node.node_ip_address != address:
        return None
    return Path(node.get_logs_dir_path())


@contextmanager
def node_lookup(replacement: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """Replace Ray's question whether its new node is registered, which gives up too early.

    Args:
        replacement: Makes the new function from Ray's, which raises RuntimeError until the node
            is registered.
    """
    find = private("ray._private.services", "get_node")
    with _replaced("ray._private.services", "get_node", replacement(find)):
        yield


@contextmanager
def own_sessions() -> Iterator[Processes]:
    """Start each of Ray's processes in a session of its own; yields those that are started.

    Ctrl-C, a closed terminal, ``timeout`` and job schedulers signal the driver's whole process
    group. The driver answers by ending its trials in order and needs Ray for that: without Ray's
    store it waits a minute and is then ended by Ray. Blocking the signals does not help: Ray's
    processes and the trials would inherit the mask. Trials could not terminate their own
    processes, and Ray's would end by SIGKILL only, each after a second.

    Ray's processes still end with the driver, even after SIGKILL: through the kernel
    (PR_SET_PDEATHSIG) or through their pipe.
    """
    started: Processes = []
    popen = private("ray._private.services", "ConsolePopen")

    def start(*arguments: Any, **options: Any) -> Any:
        started.append(popen(*arguments, start_new_session=True, **options))
        return started[-1]

    with _replaced("ray._private.services", "ConsolePopen", start):
        yield started


@contextmanager
def loopback_only() -> Iterator[None]:
    """Let Ray's processes listen on 127.0.0.1 only.

    ``_node_ip_address`` is not enough: ``resolve_ip_for_localhost`` (``ray/_private/services.py``)
    replaces 127.0.0.1 by the machine's outer address unless Ray knows that it is no part of a
    cluster, and with an outer address its servers listen on all interfaces. Ray reads the variable
    when it is imported, which may have been long ago, so the constant is set as well.
    """
    variable = private("ray._private.ray_constants", "ENABLE_RAY_CLUSTERS_ENV_VAR")
    with (
        environment(**{variable: "0"}),
        _replaced("ray._private.ray_constants", "ENABLE_RAY_CLUSTER", False),
    ):
        yield


def start_local(folder: Path, system_config: Mapping[str, Any], **options: Any) -> None:
    """Start Ray on 127.0.0.1.

    Args:
        folder: For Ray's files; Ray opens it to all users.
        system_config: Ray's internal settings.
        options: Public arguments of ``ray.init``.
    """
    import ray

    ray.init(
        address="local",
        _node_ip_address="127.0.0.1",
        _temp_dir=str(folder),
        _system_config=dict(system_config),
        **options,
    )


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables for the processes that Ray starts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def running_actor(trial: Any) -> Any:
    """The Ray actor that trains a Tune trial; None while none does."""
    return trial.temporary_state.ray_actor if trial.status == trial.RUNNING else None


def will_retry(trial: Any) -> bool:
    """Whether Tune starts a Tune trial again after the error that it just had."""
    return bool(trial.should_recover())


def error_text(trial: Any) -> str:
    """Traceback of a Tune trial; empty if there is none.

    From the file on this machine, as Tune copies it to the storage later.
    """
    written = Path(trial.error_file) if trial.error_file else None
    return written.read_text() if written is not None and written.is_file() else ""


@contextmanager
def _replaced(module: str, name: str, value: object) -> Iterator[None]:
    before = private(module, name)
    _set(module, name, value)
    try:
        yield
    finally:
        _set(module, name, before)


def _set(module: str, name: str, value: object) -> None:
    private(module, name)  # raises if there is no such name to set
    setattr(importlib.import_module(module), name, value)
