"""Is the storage folder the same on every node of a cluster, and the code too?

Checkpoints, stages and the locks around them live in one folder. A node that sees another folder
under its path would compute every stage again and lose the checkpoints of runs that move; a
node with other code would mix two versions in one study. Both are found here, in seconds,
before the first run.
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

LEAST_FREE_BYTES = 2**30
"""Free space below which a study is not started: a few checkpoints."""

NODE_TIMEOUT_S = 120
"""Longest wait for a node's answer; its first worker has to start."""

_TOKEN, _LOCK = "token", "lock"


@dataclass(frozen=True)
class NodeView:
    """What a node sees of the driver's probe.

    Attributes:
        host: The node's host name.
        python: Its Python, such as ``3.11``.
        code: Its :func:`~trainables.fingerprint.code_digest`, None if it cannot be taken.
        token: What it reads in the probe's file, None if it finds none.
        written: Whether it could write a file of its own into the probe.
        got_lock: Whether it got the lock that the driver holds.
        free_bytes: Free space of the folder, 0 if there is none.
    """

    host: str
    python: str
    code: str | None
    token: str | None
    written: bool
    got_lock: bool
    free_bytes: int


def check_shared(folder: Path) -> None:
    """Look at the storage from every node of the running cluster; nothing on a single node.

    The probe is a folder with a random name, taken away whatever happens.

    Args:
        folder: The storage, an absolute path that exists here.

    Raises:
        SpecError: If a node sees another folder, cannot write to it, shares no locks, has other
            code or another Python, or has too little space; names the node and what to do.
    """
    nodes = alive_nodes()
    if len(nodes) < 2:
        return
    with tempfile.TemporaryDirectory(prefix=".shared-", dir=folder) as name:
        probe, token = Path(name), secrets.token_hex(16)
        (probe / _TOKEN).write_text(token)
        with (probe / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for node, view in zip(nodes, _views(nodes, probe), strict=True):
                _judge(node, view, token, probe)


def node_view(probe: Path, answer: str) -> NodeView:
    """Look at the probe; runs on the node.

    Args:
        probe: The driver's probe folder.
        answer: Name of the file to write into it.
    """
    token = _read(probe / _TOKEN)
    return NodeView(
        host=socket.gethostname(),
        python=_python(),
        code=_code(),
        token=token,
        written=token is not None and _write(probe / answer),
        got_lock=token is not None and _get_lock(probe / _LOCK),
        free_bytes=shutil.disk_usage(probe).free if probe.is_dir() else 0,
    )


def _views(nodes: Sequence[dict[str, Any]], probe: Path) -> list[NodeView]:
    """What each node sees; all are asked at once."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # No CPU is asked for: a head that takes no runs answers too, and a busy node at once.
    ask = ray.remote(num_cpus=0, max_retries=0)(node_view)
    answers = [
        ask.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(probe, node["NodeID"])
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
                "install this project on every node, in the same version"
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
    except ModuleNotFoundError:  # torch, numpy or the trainables; PackageNotFoundError is one
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
    except OSError:  # taken, as it should be; or the folder cannot be written to, as is said
        return False
    return True
