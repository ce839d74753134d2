"""Files of published weights that a user names."""

from pathlib import Path
from typing import Any

import torch


def read_weights(path: Path) -> dict[str, Any]:
    """Weights by name from a file of ``torch.save``, on the CPU; pickled code is refused.

    Raises:
        ValueError: If the file cannot be read or holds something else; names it.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises almost any type on a file that is not its own
        # Its own message advises to switch off the protection.
        raise ValueError(
            f"{path} is not a readable file of weights: it must hold tensors by name, as "
            f"torch.save writes a state_dict, and nothing that runs code ({type(error).__name__})"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise ValueError(f"{path} does not hold weights by name")
    return state
