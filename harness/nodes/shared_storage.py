"""Do all nodes of a cluster share the storage folder, and have they the same code?

Checkpoints, stages and their locks live in one folder. A node with a different folder at that path
would compute every stage again and lose the checkpoints of runs that move to it; a node with
different code would mix two versions in one study. The check takes seconds, before the first
run.
"""

import fcntl
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.nodes.cluster import alive_nodes
from harness.yaml.text import SpecError
from trainables.fingerprint import code_digest
from trainables.registry import PluginError, check_plugins

LEAST_FREE_BYTES = 2**30
"""Free space that a study needs to start: a few checkpoints."""

NODE_TIMEOUT_S = 120
"""Longest wait for a node's answer, which includes the start of its first worker."""

_TOKEN, _LOCK = "token", "lock"


@dataclass(frozen=True)
class NodeView:
    """What a node sees of the driver's probe.

    Attributes:
        host: The node's host name.
        python: Its Python, such as ``3.11``.
        code: Its :func:`~trainables.fingerprint.code_digest`, None if that cannot be computed.
        token: Content of the probe's file, None if there is none.
        written: Whether the node could write a file into the probe.
        got_lock: Whether the node got the lock that the driver holds.
        free_bytes: Free space of the folder, 0 if there is no folder.
        plugin_problem: Why it cannot use the study's plugins, None if it can.
    """

    host: str
    python: str
    code: str | None
    token: str | None
    written: bool
    got_lock: bool
    free_bytes: int
    plugin_problem: str | None = None


def check_shared(folder: Path, plugins: Sequence[str] = ()) -> None:
    """Probe the storage from every node of the running cluster; a single node needs no check.

    The probe is a folder with a random name that is removed in any case.

    Args:
        folder: The storage, an absolute path that exists here.
        plugins: Modules that every node must be able to import.

    Raises:
        SpecError: If a node has a different folder, cannot write to it, shares no locks, has
            different code or another Python, lacks a plugin, or has too little space; with the
            node and the remedy.
    """
    nodes = alive_nodes()
    if len(nodes) < 2:
        return
    with tempfile.TemporaryDirectory(prefix=".shared-", dir=folder) as name:
        probe, token = Path(name), secrets.token_hex(16)
        (probe / _TOKEN).write_text(token)
        with (probe / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for node, view in zip(nodes, _views(nodes, probe, plugins), strict=True):
                _judge(node, view, token, probe)


def node_view(probe: Path, answer: str, plugins: Sequence[str] = ()) -> NodeView:
    """Examine the probe; runs on the node.

    Args:
        probe: The driver's probe folder.
        answer: Name of the file to write into it.
        plugins: Modules to import.
    """
    try:
        check_plugins(plugins)
        plugin_problem = None
    except PluginError as error:
        plugin_problem = str(error)
    token = _read(probe / _TOKEN)
    return NodeView(
        host=socket.gethostname(),
        python=_python(),
        code=_code(),
        token=token,
        written=token is not None and _write(probe / answer),
        got_lock=token is not None and _get_lock(probe / _LOCK),
        free_bytes=shutil.disk_usage(probe).free if probe.is_dir() else 0,
        plugin_problem=plugin_problem,
    )


def _views(nodes: Sequence[dict[str, Any]], probe: Path, plugins: Sequence[str]) -> list[NodeView]:
    """What each node sees; all nodes are asked at once."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Without a CPU, so that a head without runs answers, too, and a busy node at once.
    ask = ray.remote(num_cpus=0, max_retries=0)(node_view)
    answers = [
        ask.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(probe, node["NodeID"], plugins)
        for node in nodes
    ]
    views = []
    for node, answer in zip(nodes, answers, strict=True):
        try:
            views.append(ray.get(answer, timeout=NODE_TIMEOUT_S))
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise SpecError(
                f"{_place(node)}: the check of the storage could not run there ({reason}); "
                "install the same version of this project on every node"
            ) from error
    return views


def _judge(node: dict[str, Any], view: NodeView, token: str, probe: Path) -> None:
    """Compare a node's view with the driver's.

    Raises:
        SpecError: At the first difference.
    """
    place, folder = _place(node, view.host), probe.parent
    if view.token != token:
        raise SpecError(
            f"{place}: {folder} is not the driver's folder there; mount the same folder at the "
            "same path on all nodes and name it with --storage"
        )
    if not view.written or not (probe / node["NodeID"]).is_file():
        raise SpecError(
            f"{place}: what it writes into {folder} does not reach the driver; mount the folder "
            "for writing on all nodes or name another with --storage"
        )
    if view.got_lock:
        raise SpecError(
            f"{place}: locks in {folder} are not shared with the driver; mount it with locks (NFS "
            "without nolock or local_lock) or name another folder with --storage"
        )
    if view.plugin_problem is not None:
        raise SpecError(
            f"{place}: plugin {view.plugin_problem}; install the plugin on every node, or put its "
            "folder on PYTHONPATH there before Ray is started"
        )
    if view.python != _python() or view.code != code_digest():
        raise SpecError(
            f"{place}: Python {view.python}, code {(view.code or 'none')[:12]}; the driver has "
            f"Python {_python()}, code {code_digest()[:12]}; install the same version of this "
            "project, PyTorch and NumPy on all nodes"
        )
    if view.free_bytes < LEAST_FREE_BYTES:
        raise SpecError(
            f"{place}: {folder} must have {LEAST_FREE_BYTES / 2**30:g} GiB of free space, has "
            f"{view.free_bytes / 2**30:.2f}; make room or name another folder with --storage"
        )


def _place(node: dict[str, Any], host: str | None = None) -> str:
    return f"node {host or node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _code() -> str | None:
    try:
        return code_digest()
    except ModuleNotFoundError:  # of torch, numpy or trainables; also PackageNotFoundError
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _write(path: Path) -> bool:
    try:
        path.write_text("")
    except OSError:
        return False
    return True


def _get_lock(path: Path) -> bool:
    try:
        with path.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # the driver holds it, as it should; or the folder is read-only, see _write
        return False
    return True
