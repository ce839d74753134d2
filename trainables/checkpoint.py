"""Training states on disk: written whole or not at all, loaded without running code."""

import os
from pathlib import Path
from typing import Any

import torch

_FILE = "state.pt"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain values into ``folder`` atomically."""
    partial = folder / (_FILE + ".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / _FILE)


def load_state(folder: Path) -> dict[str, Any]:
    """Read what :func:`save_state` wrote; tensors come to the CPU, pickled code is refused."""
    state: dict[str, Any] = torch.load(folder / _FILE, map_location="cpu", weights_only=True)
    return state
