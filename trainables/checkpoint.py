"""Training states on disk: written whole or not at all, loaded without running code.

A checkpoint is a folder of ``<name>.pt`` files and ``digests.json``, which is written last: a
folder without it was being written when its process died.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

_DIGESTS = "digests.json"


def save_states(folder: Path, states: Mapping[str, Any]) -> None:
    """Write states of tensors and plain values into ``folder``.

    Args:
        folder: Existing folder.
        states: File name without suffix to what :func:`load_state` returns.
    """
    paths = [folder / f"{name}.pt" for name in states]
    digests = {}
    for path, state in zip(paths, states.values(), strict=True):
        with _partial(path).open("wb") as file:
            torch.save(state, file)
            _to_disk(file)
        digests[path.name] = _sha256(_partial(path))
    with _partial(folder / _DIGESTS).open("w") as text:
        json.dump(digests, text)
        _to_disk(text)
    for path in (*paths, folder / _DIGESTS):
        _partial(path).replace(path)


def load_state(folder: Path, name: str = "last") -> Any:
    """Read what :func:`save_states` wrote; tensors come to the CPU, pickled code is refused.

    Raises:
        ValueError: If the checkpoint is incomplete or does not match its digest; names the file.
    """
    path = folder / f"{name}.pt"
    try:
        digests = json.loads((folder / _DIGESTS).read_text())
        found = _sha256(path)
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"checkpoint {folder} is not complete: {error}") from error
    if digests.get(path.name) != found:
        raise ValueError(f"{path} does not match the digest in {_DIGESTS}; it is damaged")
    return torch.load(path, map_location="cpu", weights_only=True)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
