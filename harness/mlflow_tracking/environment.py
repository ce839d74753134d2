"""What a run's numbers depend on beside its config: code, libraries, machine.

Recorded with every run, so that a replay that differs can say what else is different.
"""

import platform
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.mlflow_tracking.provenance import git_commit
from trainables.fingerprint import LIBRARIES, code_digest

_CPUS = Path("/proc/cpuinfo")
_GPUS = Path("/proc/driver/nvidia/gpus")


@cache
def environment() -> dict[str, str]:
    """The environment of this process; nothing slow is imported.

    Read once: the files may change while a study runs, what its workers imported does not.

    Returns:
        ``code`` (digest of ``trainables/`` and of the libraries' versions), ``git_commit``,
        ``python``, ``numpy``, ``torch``, ``machine`` (processor) and ``device`` (GPUs, or
        ``cpu``), of the machine that the driver runs on.
    """
    return {
        "code": code_digest(),
        "git_commit": git_commit(),
        "python": platform.python_version(),
        **{library: _version(library) for library in LIBRARIES},
        "machine": _machine(),
        "device": _device(),
    }


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


def _machine() -> str:
    """Architecture and processor: kernels are chosen by what the processor can do."""
    text = _CPUS.read_text(encoding="utf-8", errors="replace") if _CPUS.is_file() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return f"{platform.machine()} {found[1] if found else platform.processor()}".strip()


def _device() -> str:
    """Models of the GPUs as the driver of NVIDIA's cards lists them."""
    models = []
    for card in sorted(_GPUS.glob("*/information")):
        found = re.search(r"^Model:\s*(.+)$", card.read_text(errors="replace"), re.MULTILINE)
        models.append(found[1] if found else "unknown GPU")
    return ", ".join(models) or "cpu"
